"""From a layer's output to activation maps: the layout that the axes of its tensor have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from scorecam.backends.tracing.axes import FEATURES, Axes, Axis, Part


@dataclass(frozen=True)
class Layout:
    """How a tensor holds maps.

    Args:
        shape: of the tensor, without the batch axis.
        extras: for each of these axes, the entries before and after the positions.
        factors: the axes without those entries, each as a product.
        order: of the factors: channels, then the image's axes.
        grid: the number of cells along the image's axes.
        flipped: the image's axes that run backwards, by number.
    """

    shape: tuple[int, ...]
    extras: tuple[tuple[int, int], ...]
    factors: tuple[int, ...]
    order: tuple[int, ...]
    grid: tuple[int, ...]
    flipped: tuple[int, ...] = ()

    @property
    def channels(self) -> int:
        entries = math.prod(self.factors)
        return entries // math.prod(self.grid)

    @property
    def name(self) -> str:
        """As users read it: "channels first", "channels last", "tokens" or "other"."""
        axes = len(self.grid)
        plain = not any(map(any, self.extras)) and len(self.shape) == axes + 1
        if plain and self.order == tuple(range(len(self.order))):
            return "channels first"
        if plain and self.order == (axes, *range(axes)):
            return "channels last"
        if len(self.shape) == 2:
            others = sum(map(sum, self.extras))
            return "tokens" if not others else f"tokens and {others} others"
        return "other"

    def maps(self, output: Tensor) -> Tensor:
        """The maps, `b k *g`, in a layer's output: a view where possible."""
        for axis, (before, after) in enumerate(self.extras, start=1):
            if before or after:
                output = output.narrow(axis, before, output.shape[axis] - before - after)
        split = output.reshape(len(output), *self.factors)
        maps = split.permute(0, *(i + 1 for i in self.order))
        maps = maps.reshape(len(output), self.channels, *self.grid)
        return maps.flip([axis + 2 for axis in self.flipped]) if self.flipped else maps


def layout_of(axes: Axes, image_axes: Sequence[int]) -> Layout | None:
    """The layout of a tensor with these axes; None if it holds no maps that cover the image.

    Args:
        axes: of the tensor.
        image_axes: the axes of the masked input that are the image's, in order.
    """

    def located(part: Part) -> bool:
        return part.axis in image_axes

    if not axes or any(map(located, axes[0].parts)):
        return None
    if not all(_pure(axis, located) for axis in axes[1:]):
        return None
    factors = list(_factors(axes[1:], located))
    places: list[list[int]] = [
        sorted(
            (i for i, part in enumerate(factors) if part.axis == axis),
            key=lambda i: -factors[i].stride,
        )
        for axis in image_axes
    ]
    wholes = [_whole([factors[i] for i in mine]) for mine in places]
    order = [i for mine in places for i in mine]
    if not order:
        return _single_cell(axes, len(image_axes))
    if None in wholes:
        return None
    channels = tuple(i for i in range(len(factors)) if i not in order)
    return Layout(
        shape=tuple(axis.size for axis in axes[1:]),
        extras=tuple((axis.before, axis.after) for axis in axes[1:]),
        factors=tuple(part.size for part in factors),
        order=(*channels, *order),
        grid=tuple(whole.size for whole in wholes if whole is not None),
        flipped=tuple(i for i, whole in enumerate(wholes) if whole and whole.first > whole.last),
    )


def channels_first(shape: Sequence[int], count: int) -> Layout | None:
    """The layout `b k *g` for a tensor of this shape; None if it has another number of axes.

    Args:
        shape: of the tensor, batch axis included.
        count: the number of image axes.
    """
    if len(shape) != count + 2:
        return None
    sizes = tuple(shape[1:])
    return _plain(sizes, tuple(range(len(sizes))), sizes[1:])


def _plain(sizes: tuple[int, ...], order: tuple[int, ...], grid: tuple[int, ...]) -> Layout:
    """The layout of a tensor without other tokens and without axes that combine several."""
    return Layout(sizes, ((0, 0),) * len(sizes), factors=sizes, order=order, grid=grid)


def _pure(axis: Axis, located: Callable[[Part], bool]) -> bool:
    """Whether an axis holds positions or features, but not both, and nothing unknown."""
    kinds = {located(part) for part in axis.parts}
    return not axis.unknown and len(kinds) <= 1 and (not axis.extras or kinds == {True})


def _factors(axes: Sequence[Axis], located: Callable[[Part], bool]) -> Iterator[Part]:
    """Each axis with positions as a product; another axis as one factor."""
    for axis in axes:
        if any(map(located, axis.parts)):
            yield from axis.parts
        else:
            yield Part(FEATURES, axis.size)


def _whole(parts: Sequence[Part]) -> Part | None:
    """The parts of one image axis as one; None if they don't cover it once.

    Without a part, the axis has one cell.
    """
    if not parts:
        return Part(FEATURES, 1)
    whole = parts[0]
    for part in parts[1:]:
        joined = whole.joined(part)
        if joined is None:
            return None
        whole = joined
    low, high = sorted((whole.first, whole.last))
    near = max(abs(low), abs(high - 1)) <= 0.5 / whole.size - 1e-6
    return whole if near else None


def _single_cell(axes: Axes, count: int) -> Layout | None:
    """The layout of one cell, `b k 1 1` or `b 1 1 k`; None if there are not as many axes."""
    sizes = tuple(axis.size for axis in axes[1:])
    longer = [i for i, size in enumerate(sizes) if size != 1]
    if len(sizes) != count + 1 or len(longer) > 1 or any(axis.unknown for axis in axes):
        return None
    channels = longer[0] if longer else 0
    rest = (i for i in range(len(sizes)) if i != channels)
    return _plain(sizes, (channels, *rest), (1,) * count)
