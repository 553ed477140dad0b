"""The form in which a network takes its images: where the image's axes and the colours are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from scorecam.backends.tracing.trace import Trace
from scorecam.shapes import Images


@dataclass(frozen=True)
class Form:
    """How the network's own input holds images, `b c *i`.

    Args:
        image_axes: the axes of the image, in order; the batch is axis 0.
        colours: the sizes of the other axes, in order; empty if the network takes no colours.
    """

    image_axes: tuple[int, ...]
    colours: tuple[int, ...]

    @property
    def usual(self) -> bool:
        """Whether it is `b c *i` already."""
        return len(self.colours) == 1 and self.image_axes[0] == 2

    @property
    def _order(self) -> tuple[int, ...]:
        """The input's axes as batch, colours, image."""
        count = 1 + len(self.image_axes) + len(self.colours)
        return (
            0,
            *(axis for axis in range(1, count) if axis not in self.image_axes),
            *self.image_axes,
        )

    def images(self, inputs: Tensor) -> Images:
        """The network's input as images, `b c *i`."""
        moved = inputs.permute(self._order)
        image = moved.shape[1 + len(self.colours) :]
        return moved.reshape(len(inputs), math.prod(self.colours), *image)

    def inputs(self, images: Images) -> Tensor:
        """Images, `b c *i`, as the network takes them."""
        order = self._order
        split = images.reshape(len(images), *self.colours, *images.shape[2:])
        # Contiguous, as the user's own input probably is: networks call `view` on it.
        return split.permute([order.index(axis) for axis in range(len(order))]).contiguous()


def channels_first(shape: Sequence[int]) -> Form:
    """The form `b c *i`, for an input of this shape."""
    return Form(tuple(range(2, len(shape))), (shape[1],))


def channels_last(shape: Sequence[int]) -> Form:
    """The form `b *i c`, for images `b c *i` of this shape."""
    return Form(tuple(range(1, len(shape) - 1)), (shape[1],))


def form_of(trace: Trace) -> Form | None:
    """The form that a network's operations show; None if they show none.

    Convolutions and pools slide along the image's axes. Axes that the first layer with weights
    neither slides along nor sums over, such as the frames of a video, belong to the image too.
    Without any convolution, the image's axes are those that this layer does not sum over, and that
    are kept longest.

    Args:
        trace: of a pass with an input as the user gave it.
    """
    sizes = tuple(axis.size for axis in trace.record.nodes[0].axes)
    usual, slid, mixed = set(trace.image_axes), trace.record.slid, trace.record.mixed
    if mixed is None:
        return None
    alive = slid | trace.record.carried
    axes = alive - mixed if slid else _kept_longest(trace, mixed)
    if usual and (slid or axes) <= usual <= alive - mixed | (set() if slid else usual):
        axes = usual
    if not axes:
        return None
    others = (size for axis, size in enumerate(sizes) if axis and axis not in axes)
    return Form(tuple(sorted(axes)), tuple(others))


def _kept_longest(trace: Trace, mixed: set[int]) -> set[int]:
    """The axes with positions in the last tensor on the path that has any, without the colours."""
    for node, need in zip(reversed(trace.record.nodes), reversed(trace.path.needs), strict=True):
        found = {part.axis for axis in node.axes for part in axis.parts if part.positions}
        if need and found - mixed:
            return found - mixed
    return set()
