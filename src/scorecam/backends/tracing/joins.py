"""The axis along which tensors are joined."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from scorecam.backends.tracing.axes import Axes, Axis, features, rolled, unknown


def concatenated(operands: Sequence[Axes | None], sizes: Sequence[int], place: int) -> Axis:
    """The axis along which tensors are concatenated.

    Args:
        operands: the axes of each tensor; None if it does not depend on the image.
        sizes: of each tensor along the axis.
        place: the axis.
    """
    total = sum(sizes)
    located = [i for i, axes in enumerate(operands) if axes is not None and axes[place].ordered]
    if not located:
        return _of_one(operands, sizes, place)
    if len(located) > 1 and (joined := _rejoined([operands[i] for i in located], place)):
        return joined if joined.size == total else unknown(total)
    if len(located) > 1:
        return unknown(total)
    [i] = located
    axis = (operands[i] or ())[place]
    before, after = sum(sizes[:i]), sum(sizes[i + 1 :])
    return replace(axis, before=axis.before + before, after=axis.after + after)


def _of_one(operands: Sequence[Axes | None], sizes: Sequence[int], place: int) -> Axis:
    """An axis without positions: if one tensor depends on the image, the others are extras."""
    followed = [i for i, axes in enumerate(operands) if axes is not None]
    total = sum(sizes)
    if any((operands[i] or ())[place].unknown for i in followed):
        return unknown(total)
    if len(followed) != 1 or len(sizes) == 1:
        return features(total)
    [i] = followed
    axis = (operands[i] or ())[place]
    before, after = sum(sizes[:i]), sum(sizes[i + 1 :])
    return replace(axis, before=axis.before + before, after=axis.after + after)


def _rejoined(operands: Sequence[Axes | None], place: int) -> Axis | None:
    """An axis whose pieces were cut and are put together again, perhaps rolled."""
    pieces = [axes[place] for axes in operands if axes is not None]
    if any(len(piece.parts) != 1 or piece.extras for piece in pieces):
        return None
    order = [piece.parts[0] for piece in pieces]
    parts = sorted(order, key=lambda part: part.first)
    for one, next_one in itertools.pairwise(parts):
        if one.axis != next_one.axis or abs(one.last - next_one.first) > 1e-6:
            return None
    whole = replace(parts[0], size=sum(part.size for part in parts), last=parts[-1].last)
    ahead = sum(part.size for part in parts[: parts.index(order[0])])
    return rolled(Axis((whole,)), -ahead) if order != parts else Axis((whole,))
