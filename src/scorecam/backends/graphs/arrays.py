"""Images and other inputs as a graph takes them, and its outputs as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorecam.backends.graphs.graph import GraphValue, Numbers
from scorecam.backends.inputs.structure import Key
from scorecam.base.wording import quoted
from scorecam.errors import ModelError, SettingError


def as_array(value: Any, taken: GraphValue) -> Numbers:
    """An input in the type that the graph takes.

    Raises:
        SettingError: it takes whole numbers, and these numbers are outside their range.
    """
    if not isinstance(value, Tensor):
        return np.asarray(value, taken.dtype)
    if value.is_floating_point() and taken.dtype.kind in "iu":
        value = _rounded(value, taken)
    numbers = value.detach().cpu().numpy()
    return np.asarray(numbers, taken.dtype, order="C")


def _rounded(value: Tensor, taken: GraphValue) -> Tensor:
    """Real numbers as whole ones."""
    low, high = map(float, value.aminmax())
    limits = np.iinfo(taken.dtype)
    if low < limits.min - 0.5 or high > limits.max + 0.5 or 0 < high - low <= 1:
        raise SettingError(
            f"The input {quoted(taken.name)} takes whole numbers ({taken.dtype}), and the image "
            f"has values from {low:.3g} to {high:.3g}.",
            likely="It was scaled or normalised, and the network expects raw pixels.",
            do="Preprocess it without: Preprocess(..., mean=(0, 0, 0), std=(1 / 255,) * 3) gives "
            "values from 0 to 255 (--preprocess takes a JSON file).",
        )
    return value.round()


def blank_inputs(values: Sequence[GraphValue], masked: Key) -> dict[str, Tensor] | None:
    """Inputs of zeros for one image, by name; None if the graph takes other shapes too.

    Args:
        values: the inputs of the graph.
        masked: the name of the input that is masked.
    """
    found: dict[str, Tensor] = {}
    for value in values:
        if value.shape is None or None in value.shape[1:]:
            return None
        images = value.name == masked or None in value.shape
        shape = [1 if images and not i else size or 1 for i, size in enumerate(value.shape)]
        kind = np.float32 if value.name == masked else value.dtype
        found[value.name] = torch.from_numpy(np.zeros(shape, kind))
    return found


def takes(taken: GraphValue, shape: Sequence[int]) -> bool:
    """Whether an input may have this shape. The number of images may differ."""
    if taken.shape is None:
        return True
    pairs = zip(taken.shape[1:], shape[1:], strict=False)
    return len(taken.shape) == len(shape) and all(size in (None, given) for size, given in pairs)


def unfit(taken: GraphValue, shape: Sequence[int]) -> ModelError:
    """The error for an input of another shape than the graph takes."""
    sizes = ", ".join("any" if size is None else str(size) for size in taken.shape or ())
    return ModelError(
        f"The input {quoted(taken.name)} takes tensors of the shape ({sizes}), and not "
        f"{tuple(shape)}.",
        likely="The network was exported for another number of colours or another image size, or "
        "takes no images.",
        do="Give an input of that shape. A preprocessing resizes photos: preprocess= "
        "(--preprocess).",
    )


def check_numbers(taken: GraphValue) -> None:
    """Refuse an input that cannot be an image.

    Raises:
        ModelError: it takes booleans or texts.
    """
    kinds = {"b": "booleans", "O": "texts", "U": "texts", "S": "texts"}
    if found := kinds.get(taken.dtype.kind):
        raise ModelError(
            f"The input {quoted(taken.name)} takes {found}, so it cannot be an image.",
            likely="The network takes no images, or its images are another input.",
            do="Name the input of the images: masked_input= (--masked-input).",
        )


def integer_remark(taken: GraphValue) -> str:
    """The remark about an input of whole numbers."""
    return (
        f"The input {quoted(taken.name)} takes whole numbers ({taken.dtype}), so masked images are "
        "rounded."
    )


def as_tensor(numbers: Numbers) -> Tensor:
    """An output as a tensor of its own."""
    if numbers.dtype.kind not in "biufc":
        numbers = numbers.astype(np.float32)  # bfloat16 and narrower
    if numbers.dtype.kind == "u" and numbers.dtype.itemsize > 1:
        numbers = numbers.astype(np.int64)
    return torch.from_numpy(numbers if numbers.flags.writeable else numbers.copy())
