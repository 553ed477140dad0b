"""Checks of a score bank's parts: their types and shapes and, for a file, their values."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from scorecam.bank.storage import MOST_CHANNELS, MOST_COLUMNS, flat

TYPES: dict[str, tuple[torch.dtype, int]] = {
    "activations": (torch.float32, -1),
    "live": (torch.int64, 1),
    "asked": (torch.int64, 1),
    "scores": (torch.float32, 2),
    "image_scores": (torch.float32, 1),
    "fill_scores": (torch.float32, 1),
    "columns": (torch.int64, 1),
    "boxes": (torch.float32, 2),
    "masks": (torch.bool, -1),
}
"""The type and the number of axes of each tensor; −1 stands for one more than the image has."""

OPTIONAL = "columns", "boxes", "masks"
"""The tensors that a bank may lack."""

MOST_PAIRS = 2**26
"""The most pairs of masks that are compared to predict scores."""


def check_parts(
    parts: Mapping[str, Tensor | None],
    *,
    size: tuple[int, ...],
    names: tuple[str, ...] | None,
) -> None:
    """Refuse tensors whose types and shapes are not those of a bank.

    Args:
        parts: by name, see `TYPES`; those in `OPTIONAL` may be None.
        size: the image's axes.
        names: of the columns.

    Raises:
        ValueError: there is such a tensor.
    """
    tensors = {name: _typed(name, part) for name, part in parts.items() if _is_expected(name, part)}
    if not isinstance(size, tuple) or not all(isinstance(pixels, int) for pixels in size):
        raise ValueError("the size is not a tuple of whole numbers")
    if not size or min(size) < 1:
        raise ValueError("the size has no pixels")
    maps, scores = tensors["activations"], tensors["scores"]
    if maps.ndim != len(size) + 1 or 0 in maps.shape:
        raise ValueError(f"maps of the shape {tuple(maps.shape)} do not fit {len(size)} image axes")
    if len({tensors[name].device for name in ("activations", "live", "asked", "scores")}) > 1:
        raise ValueError("the tensors are on different devices")
    if not len(tensors["asked"]) <= len(tensors["live"]) <= len(maps):
        raise ValueError(
            "there are more scored channels than live ones, or more live ones than maps"
        )
    if len(scores) != len(tensors["asked"]):
        raise ValueError(
            f"{len(tensors['asked'])} masks were scored, but there are {len(scores)} rows of scores"
        )
    columns = len(tensors["image_scores"])
    kept = scores.shape[1] if "columns" in tensors else columns
    if not columns or len(tensors["fill_scores"]) != columns or scores.shape[1] != kept:
        raise ValueError("the masks, the image and the fill have different columns")
    _check_places(tensors, columns, size)
    if names is not None and len(names) != columns:
        raise ValueError(f"there are {len(names)} names for {columns} columns")


def _check_places(tensors: Mapping[str, Tensor], columns: int, size: tuple[int, ...]) -> None:
    """Refuse boxes and regions that do not fit the columns and the image."""
    if "boxes" in tensors and tuple(tensors["boxes"].shape) != (columns, 2 * len(size)):
        raise ValueError("it does not have one box per column")
    if "masks" in tensors and tuple(tensors["masks"].shape) != (columns, *size):
        raise ValueError("it does not have one region per column")


def _is_expected(name: str, part: Tensor | None) -> bool:
    return part is not None or name not in OPTIONAL


def _typed(name: str, part: object) -> Tensor:
    """The part, after checking that it is a tensor of its type.

    Raises:
        ValueError: it is not.
    """
    dtype, axes = TYPES[name]
    if not isinstance(part, Tensor):
        raise ValueError(f"{name} is not a tensor")  # noqa: TRY004  (one error for all)
    if part.dtype != dtype:
        raise ValueError(f"{name} holds {part.dtype}, not {dtype}")
    if part.layout != torch.strided or part.device.type == "meta":
        raise ValueError(f"{name} is a sparse tensor, or one without numbers")
    if axes not in (-1, part.ndim):
        raise ValueError(f"{name} has the shape {tuple(part.shape)}")
    return part


def check_values(
    parts: Mapping[str, Tensor | None], size: tuple[int, ...], *, rest: bool, flat_allowed: bool
) -> None:
    """Refuse values from a file that no bank has.

    Args:
        parts: after `check_parts`.
        size: the image's axes.
        rest: whether `scores` has one more column, for all columns that were left out.
        flat_allowed: whether the maps of live channels may be flat. Earlier versions, whose files
            have no checksum, could round maps until they were flat.

    Raises:
        ValueError: there is such a value.
    """
    tensors = {name: part for name, part in parts.items() if part is not None}
    maps, live, scored = tensors["activations"], tensors["live"], tensors["asked"]
    if math.prod(map(max, size, maps.shape[1:])) > MOST_CELLS:
        raise ValueError("its maps do not fit the size of its image")
    if not torch.isin(scored, live).all():
        raise ValueError("it has scores of masks that its channels do not have")
    if len(scored) < len(live) and len(scored) * len(live) > MOST_PAIRS:
        raise ValueError(
            f"{len(scored):,} of {len(live):,} masks were scored, which is too many to predict "
            "the others"
        )
    live_maps = maps[live]
    if not live_maps.isfinite().all():
        raise ValueError("the maps of live channels hold NaN or infinity")
    if len(live) and (not live_maps.any() or (not flat_allowed and len(flat(live_maps)))):
        raise ValueError("the maps of live channels are flat")
    if not tensors["image_scores"].isfinite().all():
        raise ValueError("the scores of its image hold NaN or infinity")
    if "boxes" in tensors:
        _check_boxes(tensors["boxes"])
    if "columns" in tensors:
        _check_columns(tensors["columns"], len(tensors["image_scores"]))
        if tensors["scores"].shape[1] != len(tensors["columns"]) + rest:
            raise ValueError("its masks have scores of other columns than it keeps")


MOST_CELLS = 2**26
"""The most pixels of a heatmap, or cells if the grid is larger than the image."""


def _check_columns(columns: Tensor, count: int) -> None:
    """Refuse columns that are not among `count`, or not distinct."""
    if not len(columns) or len(columns.unique()) < len(columns):
        raise ValueError("it has no columns, or one of them twice")
    if int(columns.min()) < 0 or int(columns.max()) >= count:
        raise ValueError(f"its columns are not among the model's {count:,}")


def _check_boxes(boxes: Tensor) -> None:
    """Refuse boxes with infinity, or with NaN in some of their numbers only."""
    missing = boxes.isnan().all(dim=1)
    if not boxes[~missing].isfinite().all():
        raise ValueError("its boxes hold infinity, or only a part of a box")


def check_lengths(channels: int, columns: int) -> None:
    """Refuse a bank that is too large to be read from a file.

    Raises:
        ValueError: it is too large.
    """
    if channels > MOST_CHANNELS:
        raise ValueError(f"it has more than {MOST_CHANNELS:,} channels")
    if columns > MOST_COLUMNS:
        raise ValueError(f"it has more than {MOST_COLUMNS:,} columns")
