"""Models for a single image, rewritten for any batch where that is safe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scorecam.backends.graphs.graph import Numbers
from scorecam.backends.openvino.graph import dtype_of, known_shape, reshaped, sizes
from scorecam.backends.openvino.requests import compiled

ANY = -1
"""OpenVINO's size of an axis of any size."""

CLOSE = 1e-4
"""The largest difference between a row of a batch and a single pass, as a share of the range."""

REMARK = (
    "The file was exported for batches of 1, and runs with any batch here: the batch axis of all "
    "its tensors follows, and two images in a batch give the same answers as one by one."
)


def for_any_batch(model: Any) -> Any | None:
    """A copy of a model for a single image that takes any batch; None if that is not safe.

    Some networks accept another batch and answer wrongly: they sort the numbers of all images into
    a single answer. So every tensor must have the larger batch, every output as its first axis,
    and the answers must be those of single passes.
    """
    inputs = model.inputs
    shape = known_shape(inputs[0]) if len(inputs) == 1 else None
    if shape is None or len(shape) < 2 or shape[0] != 1:
        return None
    twice = _reshaped(model, (2, *shape[1:]))
    batched = _reshaped(model, (ANY, *shape[1:]))
    if twice is None or batched is None:
        return None
    firsts = [size[0] if (size := sizes(each)) else 0 for each in batched.outputs]
    follows = all(first is None for first in firsts) and _follow(model, twice)
    return batched if follows and _same_answers(model, batched, shape) else None


def _reshaped(model: Any, shape: Sequence[int]) -> Any | None:
    try:
        return reshaped(model, [shape])
    except RuntimeError:
        return None


def _follow(model: Any, twice: Any) -> bool:
    """Whether one axis of every tensor that depends on the image is twice as long."""
    pairs = zip(model.get_ordered_ops(), twice.get_ordered_ops(), strict=True)
    dependent: set[str] = set()
    for one, other in pairs:
        sources = {each.get_source_output().get_node().get_name() for each in one.inputs()}
        kind = one.get_type_name()
        if kind != "Parameter" and (dependent.isdisjoint(sources) or kind == "ShapeOf"):
            continue
        dependent.add(one.get_name())
        for single, double in zip(one.outputs(), other.outputs(), strict=True):
            if not _doubled(known_shape(single), known_shape(double)):
                return False
    return True


def _doubled(one: Sequence[int] | None, other: Sequence[int] | None) -> bool:
    if one is None or other is None or len(one) != len(other):
        return False
    changed = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    return len(changed) == 1 and changed[0][1] == 2 * changed[0][0]


def _same_answers(model: Any, batched: Any, shape: Sequence[int]) -> bool:
    """Whether two images in a batch give the answers of two passes."""
    kind = dtype_of(model.inputs[0].get_element_type())
    if kind is None:
        return False
    drawn = np.random.default_rng(0).random((2, *shape[1:]))
    images = (drawn * (1 if kind.kind == "f" else 255)).astype(kind)
    try:
        single = compiled(model, "float32", several=False)
        alone = list(single.run_each([[images[:1]], [images[1:]]]))
        [together] = compiled(batched, "float32", several=False).run_each([[images]])
    except RuntimeError:
        return False
    rows = [np.concatenate(parts) for parts in zip(*alone, strict=True)]
    return all(map(_close, rows, together))


def _close(one: Numbers, other: Numbers) -> bool:
    if one.shape != other.shape:
        return False
    scale = float(np.abs(one).max(initial=0)) or 1.0
    return bool(np.abs(one - other).max(initial=0) <= CLOSE * scale)
