"""What decoders have in common: how they recognise an output, and what they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from scorecam.base.cached_property import cached_property
from scorecam.base.wording import constructor, excerpt
from scorecam.errors import TargetError
from scorecam.model.readout import entries_of
from scorecam.tasks.detect.detections import Detections

PIXELS = 2.0
"""Coordinates up to this are parts of the picture; larger ones are pixels."""


@dataclass(frozen=True, eq=False)
class RawOutput:
    """A detector's output for the unmasked image, and what is known about it.

    Args:
        output: as the model returns it.
        size: (height, width) of the input.
        names: the number of class names; None if they are not known.
    """

    output: Any
    size: tuple[int, int]
    names: int | None = None

    __repr__ = constructor

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors at the top of the output, by name or index."""
        return tensors_in(self.output)

    @cached_property
    def leaves(self) -> list[Tensor]:
        """The tensors of the output at any depth."""
        return [leaf for leaf in tree_leaves(self.output) if isinstance(leaf, Tensor)]

    @property
    def table(self) -> str | None:
        """The name of the only tensor with three axes; None if there is none, or several."""
        found = [key for key, tensor in self.tensors.items() if tensor.ndim == 3]
        return found[0] if len(found) == 1 else None

    @property
    def kind(self) -> str:
        """The class of the output."""
        return type(self.output).__name__

    @property
    def described(self) -> str:
        """The shapes in the output, for sentences."""
        if isinstance(self.output, Tensor):
            return f"a tensor {_shape(self.output)}"
        listed = [
            f"{excerpt(key, 30)} {_shape(value)}"
            for key, value in list(entries_of(self.output).items())[:10]
        ]
        return f"a {self.kind} of {', '.join(listed) or 'nothing'}"


def tensors_in(output: Any) -> dict[str, Tensor]:
    """The tensors at the top of an output, by name or index.

    Of a tuple in the first place of a tuple, as some ultralytics models return it, it is the inner
    one's.
    """
    if isinstance(output, Tensor):
        return {"": output}
    entries = entries_of(output)
    inner = entries.get(0)
    if isinstance(inner, tuple | list) and inner and isinstance(inner[0], Tensor):
        return tensors_in(inner)
    return {str(key): value for key, value in entries.items() if isinstance(value, Tensor)}


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


class Decoder(ABC):
    """Turns outputs of one form into boxes and probabilities.

    A decoder is a frozen dataclass. Its fields are what was found out from the unmasked image, so
    that every masked image is decoded in the same way, and without a look at its numbers.

    Attributes:
        final: whether these outputs have been through non-maximum suppression, or need none.
    """

    final: ClassVar[bool] = False

    @abstractmethod
    def decode(self, output: Any) -> Detections:
        """The boxes of a batch of images. On the meta device, only shapes are known."""

    @property
    @abstractmethod
    def found(self) -> str:
        """What is decoded, in words."""


class KnownForm(Decoder):
    """A decoder of a form of output that is recognised.

    Attributes:
        name: as users write it.
        form: the outputs that it decodes, for users.
    """

    name: ClassVar[str]
    form: ClassVar[str]

    @classmethod
    @abstractmethod
    def fits(cls, raw: RawOutput) -> bool:
        """Whether the output has this form, by its shapes, names and numbers."""

    @classmethod
    @abstractmethod
    def of(cls, raw: RawOutput) -> Self:
        """The decoder for a detector with this output.

        Raises:
            TargetError: the output cannot have this form.
        """


def entry(output: Any, name: str) -> Tensor:
    """A tensor of an output, by the name that `RawOutput.tensors` gave it.

    Raises:
        TargetError: the output has no such tensor.
    """
    if isinstance(output, Tensor):
        return output
    tensors = tensors_in(output)
    if name not in tensors:
        raise changed(output)
    return tensors[name]


def changed(output: Any) -> TargetError:
    """The error for a masked image with an output of another form than the unmasked image's."""
    return TargetError(
        f"The detector returned {RawOutput(output, (1, 1)).described} for masked images, which has "
        "another form than its output for the image.",
        likely="The form of its output depends on the picture.",
        do="Give a function from the output to boxes and probabilities: Detect(decode=...).",
    )


def unfit(decoder: type[KnownForm], raw: RawOutput) -> TargetError:
    """The error for a decoder that the user names and that cannot decode the output."""
    return TargetError(
        f"The output, {raw.described}, cannot be decoded as {decoder.name}: {decoder.form}.",
        do="Leave decode= (--decode) out to have it recognised, or give another name.",
    )


def within_unit(tensor: Tensor) -> bool:
    """Whether all finite numbers are in [0, 1], as probabilities are."""
    finite = tensor[tensor.isfinite()]
    return bool(((finite > -1e-3) & (finite < 1 + 1e-3)).all())


def in_parts(coordinates: Tensor) -> bool:
    """Whether coordinates are parts of the picture instead of pixels."""
    finite = coordinates[coordinates.isfinite()]
    return bool(finite.numel()) and float(finite.abs().max()) <= PIXELS


def pixels_of(size: Sequence[int], *, parts: bool) -> tuple[float, float, float, float]:
    """What x1 y1 x2 y2 are multiplied by to become pixels.

    Args:
        size: (height, width).
    """
    height, width = map(float, size)
    return (width, height, width, height) if parts else (1.0, 1.0, 1.0, 1.0)


def scaled(boxes: Tensor, scale: tuple[float, float, float, float]) -> Tensor:
    """Boxes `… 4` in pixels."""
    return boxes if scale == (1.0, 1.0, 1.0, 1.0) else boxes * torch.tensor(scale).to(boxes)


def unit_of(scale: tuple[float, float, float, float]) -> str:
    """The unit of coordinates with this scale, in words."""
    return "pixels" if scale == (1.0, 1.0, 1.0, 1.0) else "parts of the picture"
