"""From a layer's output to activation maps: the layout that the axes of its tensor have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from scorecam.backends.tracing.axes import BATCH, FEATURES, Axes, Axis, Part


@dataclass(frozen=True)
class Layout:
    """How a tensor holds maps.

    Args:
        images: in the batch of the pass that showed it.
        extras: for each axis of the tensor, the entries before and after the others.
        axes: for each axis, the sizes of its factors, without those entries.
        order: of all factors: the batch, channels, then the image's axes.
        grid: the number of cells along the image's axes.
        flipped: the image's axes that run backwards, by number.
    """

    images: int
    extras: tuple[tuple[int, int], ...]
    axes: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]
    grid: tuple[int, ...]
    flipped: tuple[int, ...] = ()

    @property
    def channels(self) -> int:
        entries = math.prod(map(math.prod, self.axes))
        return entries // math.prod(self.grid) // self.images

    @property
    def name(self) -> str:
        """As users read it: "channels first", "channels last", "tokens" or "other"."""
        axes, count = len(self.grid), len(self.axes)
        alone = len(self.axes[0]) == 1 and self.order[0] == 0 and not any(self.extras[0])
        plain = alone and not any(map(any, self.extras)) and count == axes + 2
        if plain and self.order == tuple(range(len(self.order))):
            return "channels first"
        if plain and self.order == (0, axes + 1, *range(1, axes + 1)):
            return "channels last"
        if alone and count == 3:
            others = sum(map(sum, self.extras))
            return "tokens" if not others else f"tokens and {others} others"
        return "other"

    def maps(self, output: Tensor, images: int) -> Tensor | None:
        """The maps, `b k *g`, in a layer's output: a view where possible.

        None if the output has another shape than in the pass that showed the layout.

        Args:
            images: in the batch.
        """
        sizes = list(map(list, self.axes))
        extras = list(self.extras)
        batch = self._axis_of_batch
        place = self.order[0] - sum(map(len, self.axes[:batch]))
        sizes[batch][place] = images
        if batch == 0:  # entries of other images in the same batch grow with it
            before, after = (entries * images for entries in extras[0])
            extras[0] = before // self.images, after // self.images
        shape = [math.prod(s) + sum(e) for s, e in zip(sizes, extras, strict=True)]
        if list(output.shape) != shape:
            return None
        for axis, (before, after) in enumerate(extras):
            if before or after:
                output = output.narrow(axis, before, output.shape[axis] - before - after)
        split = output.reshape(list(itertools.chain(*sizes)))
        maps = split.permute(self.order).reshape(images, self.channels, *self.grid)
        return maps.flip([axis + 2 for axis in self.flipped]) if self.flipped else maps

    @property
    def _axis_of_batch(self) -> int:
        """The axis of the tensor that holds the images of the batch."""
        ends = itertools.accumulate(map(len, self.axes))
        return next(axis for axis, end in enumerate(ends) if self.order[0] < end)


def layout_of(axes: Axes, image_axes: Sequence[int], images: int) -> Layout | None:
    """The layout of a tensor with these axes; None if it holds no maps that cover the image.

    Args:
        axes: of the tensor.
        image_axes: the axes of the masked input that are the image's, in order.
        images: in the batch.
    """

    def located(part: Part) -> bool:
        return part.axis == BATCH or part.axis in image_axes

    if not all(_pure(axis, located) for axis in axes[1:]):
        return None
    if not axes or not _pure(axes[0], located, mixed=True):
        return None
    split = [_factors(axis, located) for axis in axes]
    factors = list(itertools.chain(*split))
    batch = _batch(axes, factors, images)
    if batch is None:
        return None
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
        return _single_cell(axes, len(image_axes), images)
    if None in wholes:
        return None
    channels = tuple(i for i in range(len(factors)) if i not in order and i != batch)
    return Layout(
        images,
        extras=tuple((axis.before, axis.after) for axis in axes),
        axes=tuple(tuple(part.size for part in parts) for parts in split),
        order=(batch, *channels, *order),
        grid=tuple(whole.size for whole in wholes if whole is not None),
        flipped=tuple(i for i, whole in enumerate(wholes) if whole and whole.first > whole.last),
    )


def _batch(axes: Axes, factors: Sequence[Part], images: int) -> int | None:
    """The factor that holds the images of the batch; None if it is not known.

    With one image there is no such factor: then the first axis must have one entry.
    """
    found = [i for i, part in enumerate(factors) if part.axis == BATCH]
    if found:
        return found[0] if len(found) == 1 and factors[found[0]].size == images else None
    alone = axes[0].size == images and not axes[0].extras
    return 0 if alone and (images == 1 or axes[0].unknown) else None


def channels_first(shape: Sequence[int], count: int) -> Layout | None:
    """The layout `b k *g` for a tensor of this shape; None if it has another number of axes.

    Args:
        shape: of the tensor, batch axis included.
        count: the number of image axes.
    """
    if len(shape) != count + 2:
        return None
    return _plain(tuple(shape), tuple(range(len(shape))), tuple(shape[2:]))


def _plain(sizes: tuple[int, ...], order: tuple[int, ...], grid: tuple[int, ...]) -> Layout:
    """The layout of a tensor without other tokens and without axes that combine several."""
    axes = tuple((size,) for size in sizes)
    return Layout(sizes[0], ((0, 0),) * len(sizes), axes=axes, order=order, grid=grid)


def _pure(axis: Axis, located: Callable[[Part], bool], *, mixed: bool = False) -> bool:
    """Whether an axis holds positions or features, but not both, and nothing unknown.

    Args:
        mixed: whether it may hold both, as when heads of attention are folded into the batch; then
            it may be unknown as well, if nothing was followed.
    """
    kinds = {located(part) for part in axis.parts}
    if mixed:
        return not (axis.unknown and any(kinds)) and (not axis.extras or kinds == {True})
    return not axis.unknown and len(kinds) <= 1


def _factors(axis: Axis, located: Callable[[Part], bool]) -> list[Part]:
    """An axis with positions as a product; another axis as one factor."""
    if any(map(located, axis.parts)):
        return list(axis.parts)
    return [Part(FEATURES, axis.size - axis.before - axis.after)]


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


def _single_cell(axes: Axes, count: int, images: int) -> Layout | None:
    """The layout of one cell, `b k 1 1` or `b 1 1 k`; None if there are not as many axes."""
    sizes = tuple(axis.size for axis in axes)
    longer = [i for i, size in enumerate(sizes) if i and size != 1]
    known = sizes[:1] == (images,) and not any(axis.unknown for axis in axes)
    if len(sizes) != count + 2 or len(longer) > 1 or not known:
        return None
    channels = longer[0] if longer else 1
    rest = (i for i in range(1, len(sizes)) if i != channels)
    return _plain(sizes, (0, channels, *rest), (1,) * count)
