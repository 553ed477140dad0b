"""What the axes of a tensor mean: images, positions in the image, features, or unknown.

An axis may combine several axes of the input (the tokens of a vision transformer, or frames folded
into the batch), or hold a part of one (the windows of Swin). So an axis is a product of `Part`s,
each a run of positions along one axis of the input, and entries that have no position, such as
class tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

BATCH = 0
"""The value of `Part.axis` for the images of the batch. A single image leaves no part behind."""

FEATURES, UNKNOWN = -1, -2
"""Values of `Part.axis` for numbers without a position, and for what could not be followed."""


@dataclass(frozen=True)
class Part:
    """A factor of an axis.

    Args:
        axis: the axis of the input that it runs along, such as `BATCH`; or `FEATURES` or
            `UNKNOWN`.
        size: the number of positions.
        stride: the distance of its positions: more than 1 if another part holds those in between.
        first: where the first position begins, relative to the image: 0 is the edge.
        last: where the last position ends: 1 is the opposite edge; less than `first` if flipped.
    """

    axis: int
    size: int
    stride: int = 1
    first: float = 0.0
    last: float = 1.0

    @property
    def positions(self) -> bool:
        """Whether these are positions in the image."""
        return self.axis > BATCH

    def split(self, coarse: int) -> tuple[Part, Part]:
        """The part as `coarse` groups, and the positions in a group."""
        fine = self.size // coarse
        return (
            replace(self, size=coarse, stride=self.stride * fine),
            replace(self, size=fine),
        )

    def joined(self, finer: Part) -> Part | None:
        """This part and the next, finer one as one part; None if they don't belong together."""
        if self.axis != finer.axis:
            return None
        if self.axis < BATCH:
            return replace(self, size=self.size * finer.size)
        same = (self.first, self.last) == (finer.first, finer.last)
        if same and self.stride == finer.stride * finer.size:
            return replace(finer, size=self.size * finer.size)
        return None


@dataclass(frozen=True)
class Axis:
    """An axis of a tensor.

    Args:
        parts: its factors, the last one running fastest; empty for a single entry.
        before: entries without a position in front of the others, such as class tokens.
        after: such entries behind the others.
    """

    parts: tuple[Part, ...] = ()
    before: int = 0
    after: int = 0

    @property
    def size(self) -> int:
        return self.before + math.prod(part.size for part in self.parts) + self.after

    @property
    def positions(self) -> bool:
        """Whether it holds positions in the image."""
        return any(part.positions for part in self.parts)

    @property
    def ordered(self) -> bool:
        """Whether it holds positions or the images of the batch: its order matters."""
        return any(part.axis >= BATCH for part in self.parts)

    @property
    def unknown(self) -> bool:
        return any(part.axis == UNKNOWN for part in self.parts)

    @property
    def extras(self) -> bool:
        """Whether it has entries without a position besides the positions."""
        return bool(self.before or self.after)


Axes = tuple[Axis, ...]
"""The axes of a tensor, first to last."""

SINGLE = Axis()


def features(size: int) -> Axis:
    """An axis of numbers without a position."""
    return Axis((Part(FEATURES, size),)) if size != 1 else SINGLE


def unknown(size: int) -> Axis:
    """An axis that could not be followed."""
    return Axis((Part(UNKNOWN, size),)) if size != 1 else SINGLE


def of_image(shape: Sequence[int]) -> Axes:
    """The axes of the input itself; the first is the batch."""
    return tuple(
        SINGLE if axis == BATCH and size == 1 else Axis((Part(axis, size),))
        for axis, size in enumerate(shape)
    )


def all_unknown(shape: Sequence[int]) -> Axes:
    """The axes of a tensor that could not be followed."""
    return tuple(map(unknown, shape))


# ── changes of one axis ──────────────────────────────────────────────────────────────────────────


def resampled(axis: Axis, size: int) -> Axis:
    """After an operation that slides along the axis: a convolution, a pool, an upsampling."""
    if size == axis.size and (axis.extras or len(axis.parts) > 1 or not axis.positions):
        return axis
    if size == 1:
        return SINGLE
    if not axis.parts:
        return features(size)  # one value, repeated
    if axis.extras or len(axis.parts) != 1:
        return unknown(size)
    part = axis.parts[0]
    if not part.positions:
        return unknown(size) if axis.ordered else Axis((replace(part, size=size),))
    # Padding in front of a convolution adds no cells that stay: the edges are the image's again.
    low, high = sorted((part.first, part.last))
    low, high = max(low, 0.0), min(high, 1.0)
    first, last = (low, high) if part.first <= part.last else (high, low)
    return Axis((replace(part, size=size, first=first, last=last),))


def all_resampled(axes: Sequence[Axis], sizes: Sequence[int]) -> Axes:
    """Each axis after such an operation."""
    return tuple(resampled(axis, size) for axis, size in zip(axes, sizes, strict=True))


def sliced(axis: Axis, start: int, stop: int, step: int = 1) -> Axis:
    """The entries from `start` to `stop`."""
    size = len(range(start, stop, step))
    if size == axis.size:
        return axis
    if axis.extras:
        return _sliced_with_extras(axis, start, stop) if step == 1 else unknown(size)
    if not axis.ordered:
        return unknown(size) if axis.unknown or not axis.parts else features(size)
    if len(axis.parts) != 1 or size == 0 or not axis.positions:
        return unknown(size)
    part = axis.parts[0]
    if step > 1:
        return Axis((replace(part, size=size),))
    cell = (part.last - part.first) / part.size
    first = part.first + start * cell
    return Axis((replace(part, size=size, first=first, last=first + size * cell),))


def _sliced_with_extras(axis: Axis, start: int, stop: int) -> Axis:
    """Entries without a position only, or all positions; anything else is unknown."""
    positions = axis.size - axis.after
    if stop <= axis.before or start >= positions:
        return features(stop - start)
    if start <= axis.before and stop >= positions:
        return replace(axis, before=axis.before - start, after=stop - positions)
    return unknown(stop - start)


def padded(axis: Axis, before: int, after: int) -> Axis:
    """With constant entries in front and behind; negative numbers cut entries off."""
    size = axis.size + before + after
    if before <= 0 and after <= 0:
        return sliced(axis, -before, axis.size + after)
    if axis.extras or len(axis.parts) != 1 or not axis.positions:
        return features(size) if not axis.ordered and not axis.unknown else unknown(size)
    part = axis.parts[0]
    cell = (part.last - part.first) / part.size
    first, last = part.first - before * cell, part.last + after * cell
    return Axis((replace(part, size=size, first=first, last=last),))


def rolled(axis: Axis, shift: int) -> Axis:
    """Moved by `shift` entries; those that leave at one end come back at the other."""
    if shift == 0 or not axis.ordered:
        return axis
    if axis.extras or len(axis.parts) != 1 or not axis.positions:
        return unknown(axis.size)
    part = axis.parts[0]
    half = part.size // 2
    shift = (shift + half) % part.size - half
    moved = shift * (part.last - part.first) / part.size
    first, last = part.first - moved, part.last - moved
    return Axis((replace(part, first=first, last=last),))


def flipped(axis: Axis) -> Axis:
    """In the opposite order."""
    if axis.extras or len(axis.parts) > 1 or not axis.positions:
        return unknown(axis.size) if axis.ordered else axis
    return replace(
        axis, parts=tuple(replace(part, first=part.last, last=part.first) for part in axis.parts)
    )


# ── several axes ─────────────────────────────────────────────────────────────────────────────────


def reshaped(axes: Axes, shape: Sequence[int]) -> Axes:
    """The axes of the same numbers, in the same order, with another shape."""
    if 0 in shape:
        return all_unknown(shape)
    result: list[Axis] = []
    for old, new in _groups([axis.size for axis in axes], shape):
        result += _regrouped(axes[old.start : old.stop], shape[new.start : new.stop])
    return tuple(result)


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Runs of old and new axes with the same product; axes of one entry are runs of their own."""
    i = j = 0
    while i < len(old) or j < len(new):
        start, begin = i, j
        if j < len(new) and new[j] == 1:
            j += 1
        elif i < len(old) and old[i] == 1:
            i += 1
        else:
            i, j = i + 1, j + 1
            product, other = old[start], new[begin]
            while product != other:
                if product < other:
                    product *= old[i]
                    i += 1
                else:
                    other *= new[j]
                    j += 1
        yield slice(start, i), slice(begin, j)


def _regrouped(axes: Axes, sizes: Sequence[int]) -> list[Axis]:
    """The axes of one run with the new sizes."""
    if len(axes) == len(sizes) == 1:
        return list(axes)
    if not axes or all(size == 1 for size in sizes):
        return [SINGLE] * len(sizes)
    if any(axis.extras for axis in axes):
        return _beside_single_axes(axes, sizes)
    parts = [part for axis in reversed(axes) for part in reversed(axis.parts)]
    result: list[Axis] = []
    for size in sizes:
        taken: list[Part] = []
        need = size
        while need > 1:
            part = parts.pop()
            if need % part.size == 0:
                need //= part.size
            elif part.size % need == 0:
                part, rest = part.split(need)
                parts.append(rest)
                need = 1
            else:
                return [unknown(size) for size in sizes]
            taken.append(part)
        result.append(Axis(tuple(_joined(taken))))
    return result


def _beside_single_axes(axes: Axes, sizes: Sequence[int]) -> list[Axis]:
    """A run whose axis has extra entries: it is moved among axes of one entry, or is outermost."""
    outer, *inner = axes
    if len(sizes) == 1 and not outer.parts and not any(axis.extras for axis in inner):
        [whole] = _regrouped(tuple(inner), [sizes[0] // outer.size])  # other tensors around it
        return [replace(whole, before=outer.before * whole.size, after=outer.after * whole.size)]
    longer = [axis for axis in axes if axis.size != 1]
    if len(longer) == 1 and sum(size != 1 for size in sizes) == 1:
        return [longer[0] if size != 1 else SINGLE for size in sizes]
    return [unknown(size) for size in sizes]


def _joined(parts: Iterable[Part]) -> list[Part]:
    result: list[Part] = []
    for part in parts:
        joined = result[-1].joined(part) if result else None
        if joined is None:
            result.append(part)
        else:
            result[-1] = joined
    return result


def broadcast(operands: Sequence[Axes], shape: Sequence[int]) -> Axes:
    """The axes of an elementwise operation's result.

    Args:
        operands: those that depend on the image.
        shape: of the result.
    """
    result: list[Axis] = []
    for place, size in enumerate(reversed(shape)):
        found = [axes[-1 - place] for axes in operands if place < len(axes)]
        result.append(agreed([axis for axis in found if axis.size == size], size))
    return tuple(reversed(result))


def agreed(axes: Sequence[Axis], size: int) -> Axis:
    """What several tensors say about one axis: positions count more than features."""
    located = [axis for axis in dict.fromkeys(axes) if axis.ordered]
    if len(located) > 1:
        return _nearest(located, size)
    known = [axis for axis in axes if not axis.unknown]
    if not located and len(set(known)) > 1:
        return features(size)  # each depends on the image at other entries
    return next(iter(located or known or axes), features(size))


def _nearest(located: Sequence[Axis], size: int) -> Axis:
    """One axis for several that hold the same positions up to rounding; else unknown."""
    first = located[0]
    if all(_alike(first, other) for other in located[1:]):
        return first
    return unknown(size)


def _alike(one: Axis, other: Axis) -> bool:
    if (one.before, one.after, len(one.parts)) != (other.before, other.after, len(other.parts)):
        return False
    return all(
        (a.axis, a.size, a.stride) == (b.axis, b.size, b.stride)
        and max(abs(a.first - b.first), abs(a.last - b.last)) < 1 / max(a.size, 2)
        for a, b in zip(one.parts, other.parts, strict=True)
    )
