"""Where the class maps are in a model's output, by its names and shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from torch import Tensor

from scorecam.base.wording import quoted, reason
from scorecam.errors import ScorecamError, SettingError
from scorecam.model.readout import Part, Readout, entries_of, readout_for
from scorecam.tasks.segment.class_maps import ClassMaps, PixelMaps, QueryMaps

QUERIES = (
    ("class_queries_logits", "masks_queries_logits"),
    ("pred_logits", "pred_masks"),
    ("logits", "pred_masks"),
)
"""The names of the classes and masks of queries: transformers, the first release, and DETR."""

MAPS = ("out", "logits", "masks", "segmentation", "sem_seg", "pred")
"""The names of class maps, the most certain first."""

SAY_WHICH = (
    "Say where the class maps are: output= (--output) takes an index or a name, and in Python also "
    "a function of the output that returns them."
)


@dataclass(frozen=True)
class Found:
    """The class maps in an output.

    Args:
        maps: reads them.
        name: of the part of the output, in words.
        remarks: on choices.
    """

    maps: ClassMaps
    name: str
    remarks: list[str] = field(default_factory=list[str])


def find_maps(
    output: Any, size: Sequence[int], names: int, given: int | str | Readout | None
) -> Found:
    """The class maps in the output for one image.

    Args:
        size: of the image, `*i`.
        names: the number of class names; 0 if there are none.
        given: where the user says they are.

    Raises:
        SettingError: there are none.
    """
    if given is not None:
        read = readout_for(given)
        tensor = _read(output, read)
        return _pixels(tensor, read, "the given part of the output", size=size, names=names)
    if isinstance(output, Tensor):
        return _pixels(output, _whole, "the output", size=size, names=names)
    entries = entries_of(output)
    for classes, masks in QUERIES:
        if _axes(entries.get(classes)) == 3 and _axes(entries.get(masks)) == 2 + len(size):
            maps = QueryMaps(Part(classes), Part(masks))
            return Found(maps, f"the queries {quoted(classes)} and {quoted(masks)}")
    fitting = [key for key, entry in entries.items() if _fits(entry, size)]
    if not fitting:
        _refuse(output, entries)
    key, remark = _chosen(entries, fitting)
    found = _pixels(
        entries[key], Part(key), f"the output's part {quoted(key)}", size=size, names=names
    )
    return Found(found.maps, found.name, [*found.remarks, *filter(None, [remark])])


def _whole(output: Any) -> Tensor:
    return output


def _read(output: Any, read: Readout) -> Any:
    """What the user's readout returns.

    Raises:
        SettingError: it fails.
    """
    try:
        return read(output)
    except ScorecamError:
        raise
    except Exception as error:
        raise SettingError(
            f"The function output= failed on the model's output, a {type(output).__name__}: "
            f"{type(error).__name__}: {reason(error)}",
            do="Try it on model(x) of a batch of two images.",
        ) from error


def _axes(entry: Any) -> int:
    return entry.ndim if isinstance(entry, Tensor) else 0


def _fits(entry: Any, size: Sequence[int]) -> bool:
    """Whether an entry may hold class maps."""
    return _axes(entry) == len(size) + 2 and bool(_layouts(entry.shape, size))


def _chosen(entries: dict[Any, Any], fitting: list[Any]) -> tuple[Any, str]:
    """One of several entries: by its name, or the one with most cells, or the first of these."""
    named = [name for name in MAPS if name in fitting]
    if named or len(fitting) == 1:
        return (named or fitting)[0], ""
    most = max(entries[key].numel() for key in fitting)
    key = next(key for key in fitting if entries[key].numel() == most)
    others = ", ".join(quoted(other) for other in fitting if other != key)
    return key, (
        f"The output has several parts with the axes of the image; {quoted(key)} was explained, "
        f"and not {others}. To choose another, give output= (--output)."
    )


# ── one tensor ───────────────────────────────────────────────────────────────────────────────────


def _pixels(tensor: Any, read: Readout, name: str, *, size: Sequence[int], names: int) -> Found:
    if not isinstance(tensor, Tensor):
        _refuse(tensor, entries_of(tensor))
    shape, axes = tuple(tensor.shape), len(size)
    if not (tensor.is_floating_point() or tensor.is_quantized) and _axes(tensor) > axes:
        _refuse_indices(tensor)
    if len(shape) == axes + 1 and _scale(shape[1:], size) < LIMIT:
        return Found(PixelMaps(read, None), name)
    layouts = _layouts(shape, size) if len(shape) == axes + 2 else []
    if not layouts:
        _refuse(tensor, {})
    expected = [axis for axis in layouts if names in (0, *_names_of(shape[axis]))]
    axis = (expected or layouts)[0]
    last = "The classes are on the output's last axis, as the other axes are those of the image."
    return Found(PixelMaps(read, axis), name, [last] if axis == -1 else [])


def _names_of(classes: int) -> tuple[int, ...]:
    return (1, 2) if classes == 1 else (classes,)


LIMIT = 1.25
"""The factor by which the scales of a grid along the axes of the image may differ."""


def _layouts(shape: Sequence[int], size: Sequence[int]) -> list[int]:
    """The axes that may be that of the classes, the most likely first."""
    grids: dict[int, Sequence[int]] = {1: shape[2:], -1: shape[1:-1]}
    possible = {axis: _scale(grid, size) for axis, grid in grids.items()}
    fitting = [axis for axis, scale in possible.items() if scale < LIMIT]
    # At the image's size, there is no doubt. Of signals, the longer axis is time.
    return sorted(
        fitting,
        key=lambda axis: (tuple(grids[axis]) != tuple(size), -math.prod(grids[axis]), -axis),
    )


def _scale(grid: Sequence[int], size: Sequence[int]) -> float:
    """How much the scales of a grid differ along the axes of the image; infinite if it is no grid.

    A grid of g cells may come from any length that is rounded to it.
    """
    if math.prod(grid) < 2:
        return math.inf
    ratios = [pixels / cells for pixels, cells in zip(size, grid, strict=True)]
    slack = [1 + 1 / cells for cells in grid]
    low = max(ratio / free for ratio, free in zip(ratios, slack, strict=True))
    high = min(ratio * free for ratio, free in zip(ratios, slack, strict=True))
    return low / high


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


def _refuse_indices(tensor: Tensor) -> NoReturn:
    kind = str(tensor.dtype).removeprefix("torch.")
    raise SettingError(
        f"The output holds one class index per pixel ({kind}, shape {tuple(tensor.shape)}), and "
        "no scores.",
        likely="The network ends in argmax, or a threshold.",
        do="Explain the network before that step: a module that returns its input, or a file "
        "exported with the scores as an output.",
    )


def _refuse(output: Any, entries: dict[Any, Any]) -> NoReturn:
    shapes = ", ".join(f"{quoted(key)}: {_shape(entry)}" for key, entry in entries.items())
    raise SettingError(
        f"The output has no class maps: it is {_shape(output)}"
        + (f" with {shapes}." if shapes else "."),
        likely=_likely_cause(output, entries),
        do=SAY_WHICH,
    )


def _likely_cause(output: Any, entries: dict[Any, Any]) -> str:
    causes: dict[str, Callable[[], bool]] = {
        "It is the loss of training: give the model no labels.": lambda: "loss" in entries,
        "The model may be a detector: its task is detect (--task detect).": lambda: (
            any("box" in str(key) for key in _keys(output, entries)) or _axes(output) == 3
        ),
        "The model may be a classifier, which needs no task.": lambda: (
            _axes(output) == 2 or any(_axes(entry) == 2 for entry in entries.values())
        ),
    }
    return next((cause for cause, holds in causes.items() if holds()), "")


def _keys(output: Any, entries: dict[Any, Any]) -> set[Any]:
    """The names of entries, also of those of one record per image."""
    first = output[0] if isinstance(output, Sequence) and len(output) else None
    return {*entries, *(entries_of(first) if not isinstance(first, Tensor) else ())}


def _shape(entry: Any) -> str:
    if isinstance(entry, Tensor):
        return f"a tensor of the shape {tuple(entry.shape)}"
    return f"a {type(entry).__name__}"
