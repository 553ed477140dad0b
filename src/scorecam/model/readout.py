"""Which numbers of a model's output are scores.

Outputs are tensors, tuples, dicts or records. A readout takes one and returns `b` or `b n` numbers.
Without one, the scores are found if only one part of the output can be the scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from scorecam.base.wording import quoted, reason
from scorecam.errors import ScorecamError, TargetError, did_you_mean
from scorecam.model.output_index import split_index
from scorecam.shapes import BatchedScores

SAY_WHICH = (
    "Say which part they are: scorecam.open_model(net, output=...) takes an index, a name or a "
    "function of the output; --output takes an index or a name."
)
"""The advice in errors if the scores cannot be found."""

Readout = Callable[[Any], Tensor]
"""A model's output → `b` or `b n` numbers.

The output holds tensors of torch, whatever runs the model. PyTorch networks pass what they return;
other backends pass the tensor of a single output, or a dict of tensors by name.
"""


def readout_for(output: int | str | Readout | None) -> Readout:
    """The readout for a user's `output`.

    Args:
        output: the index of the scores in a tuple, their name in a dict or record, such a name with
            what to take of it (`boxes[:, max, 3]`), a function of the whole output, or None to
            find them.
    """
    if output is None:
        return find_scores
    if callable(output):
        return output
    return Part(output)


@dataclasses.dataclass(frozen=True)
class Part:
    """The readout that takes one entry of the output.

    Args:
        place: its index in a tuple, or its name in a dict or record; perhaps with what to take of
            it. Without a name, that is taken of the whole output.
    """

    place: int | str

    def __call__(self, output: Any) -> Tensor:
        place, index = self.place, None
        if isinstance(place, str) and place not in entries_of(output):
            place, index = split_index(place)
        found = part(output, place) if place != "" else output
        return found if index is None else index(found)


def name_of(readout: Readout) -> str:
    """The name of the column that a function returns: the function's, if it has one."""
    name = getattr(readout, "__name__", "<lambda>")
    return "readout" if name == "<lambda>" else name


def trace_key(readout: Readout) -> object:
    """Equal for readouts that depend on the same tensors of a network; see `TaskColumns`."""
    return getattr(readout, "trace_key", readout)


def fewest_cells(readout: Readout) -> int:
    """The fewest cells of a default layer for a readout that reads many positions; 0 for others.

    It is the readout's attribute `fewest_cells`.
    """
    return int(getattr(readout, "fewest_cells", 0))


def part(output: Any, place: int | str) -> Any:
    """One entry of a tuple, a dict or a record.

    Raises:
        TargetError: it has no such entry.
    """
    entries = entries_of(output)
    if place in entries:
        return entries[place]
    if isinstance(place, int) and 0 <= place < len(entries):
        return list(entries.values())[place]
    raise TargetError(
        f"The model's output, a {type(output).__name__}, has no entry {quoted(place)}.",
        likely=did_you_mean(place, map(str, entries)),
        do=f"It has {', '.join(map(quoted, entries)) or 'none'}. {SAY_WHICH}",
    )


def find_scores(output: Any) -> Any:
    """The scores in an output: its `logits`, or its only matrix.

    Raises:
        TargetError: there is no matrix, or there are several.
    """
    if isinstance(output, Tensor):
        return output
    entries = entries_of(output)
    if isinstance(entries.get("logits"), Tensor):
        return entries["logits"]
    matrices = [key for key, entry in entries.items() if _is_matrix(entry)]
    if len(matrices) == 1:
        return entries[matrices[0]]
    shapes = ", ".join(f"{quoted(key)}: {_shape(entry)}" for key, entry in entries.items())
    raise TargetError(
        f"The model's output is a {type(output).__name__} and its scores could not be "
        f"identified ({shapes or 'it holds nothing'}).",
        do=SAY_WHICH,
    )


def _is_matrix(entry: Any) -> bool:
    """Whether this may be scores: one row of real numbers per image."""
    return isinstance(entry, Tensor) and entry.ndim == 2 and _is_real(entry)


def _is_real(tensor: Tensor) -> bool:
    """Whether a tensor holds real numbers, not integers, booleans or complex numbers."""
    return tensor.is_floating_point() or tensor.is_quantized


def entries_of(output: Any) -> dict[Any, Any]:
    """The entries of a tuple, list, dict or record, by index or name; empty for anything else."""
    if isinstance(output, Mapping):
        return dict(cast("Mapping[Any, Any]", output))
    named = getattr(output, "_asdict", None)
    if callable(named):
        return dict(cast("Mapping[Any, Any]", named()))
    if isinstance(output, Sequence) and not isinstance(output, str):
        return dict(enumerate(cast("Sequence[Any]", output)))
    if dataclasses.is_dataclass(output):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return {key: value for key, value in getattr(output, "__dict__", {}).items() if key[:1] != "_"}


def read(output: Any, readout: Readout, images: int) -> BatchedScores:
    """The scores in a model's output: `b n` float32.

    Raises:
        TargetError: the readout fails, or does not return `b` or `b n` real numbers.
    """
    numbers = called(readout, output)
    if not isinstance(numbers, Tensor):
        raise TargetError(
            f"The scores read from the model's output are a {type(numbers).__name__}, not a "
            "tensor.",
            do="Say which part of the output is the scores: a function of the output that returns "
            "one number, or one row of numbers, per image.",
        )
    if not _is_real(numbers):
        raise TargetError(
            f"The scores read from the model's output are {_kind(numbers)}.",
            likely=_likely_cause(numbers),
            do="Read the scores that they were computed from: real numbers that grow with the "
            "class. In Python, use output= or a target function; on the command line, let the "
            "model's factory return a module that returns them.",
        )
    numbers = numbers.dequantize() if numbers.is_quantized else numbers
    if images == 1 and numbers.ndim == 0:
        numbers = numbers[None]  # a network that squeezes its logit also squeezes a batch of 1
    if numbers.ndim > 3 and max(numbers.shape[1:]) == numbers.shape[1:].numel():
        numbers = numbers.flatten(1)  # a mean over positions that kept its axes: b n 1 1, b 1 1 n
    scores = numbers[:, None] if numbers.ndim == 1 else numbers
    if scores.ndim != 2 or scores.shape[0] != images or scores.shape[1] == 0:
        raise TargetError(
            f"The scores read from the model's output have the shape {tuple(numbers.shape)} for "
            f"{images} images; one number, or one row of numbers, per image is needed.",
            likely="The model may not be a classifier, it may take one image at a time, or the "
            "function may have lost the batch axis.",
            do="Keep the batch axis first, for example `lambda output: output[:, 3]`; or give "
            "batch_size=1 (--batch-size 1)."
            if numbers.ndim < 3
            else f"Say what to take of each axis, such as {_example(numbers, images)}: output= "
            "takes such a text or a function of the output; --output takes the name with it, as in "
            f"'NAME{_example(numbers, images)}'.",
        )
    return scores.to(torch.float32)


def _example(numbers: Tensor, images: int) -> str:
    """What may be taken of an output with more than two axes: the batch, and one row per image."""
    shape = tuple(numbers.shape)
    batch = shape.index(images) if images in shape[:-1] else 0
    kept = {batch, len(shape) - 1}
    return f"[{', '.join(':' if axis in kept else 'max' for axis in range(len(shape)))}]"


def _kind(numbers: Tensor) -> str:
    """The kind of numbers in a tensor that holds no scores."""
    kind = str(numbers.dtype).removeprefix("torch.")
    if numbers.dtype == torch.bool:
        return "booleans"
    return f"complex numbers ({kind})" if numbers.is_complex() else f"integers ({kind})"


def _likely_cause(numbers: Tensor) -> str:
    if numbers.is_complex():
        return "They may be the result of a Fourier transform."
    if numbers.dtype == torch.bool:
        return "The output may have been compared with a threshold."
    return "They may be class indices, such as argmax returns, or counts."


def called(readout: Readout, output: Any) -> Any:
    """What a readout returns, whatever it is.

    Raises:
        TargetError: it fails.
    """
    try:
        return readout(output)
    except ScorecamError:
        raise
    except Exception as error:
        raise TargetError(
            f"The function that reads the model's output failed: {type(error).__name__}: "
            f"{reason(error)}",
            likely=f"The output is a {type(output).__name__}.",
            do="Try the function on model(x) of a batch of two images.",
        ) from error


def _shape(entry: Any) -> str:
    return str(tuple(entry.shape)) if isinstance(entry, Tensor) else type(entry).__name__
