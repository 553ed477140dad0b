"""Nodes that are added to an ONNX graph so that each pass also returns a heatmap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from scorecam.backends.branches.weights import SMALLEST, Overlap, WeightsOfClass
from scorecam.backends.onnx import library
from scorecam.backends.onnx.head import LastLayer

PREFIX: Final = "scorecam/"
"""Of the names of tensors that are added."""

FLOAT: Final = 1
INT64: Final = 7
"""ONNX's types."""


@dataclass(frozen=True)
class Maps:
    """Where the activations are.

    Args:
        tensor: the layer's output.
        scale: the constants that turn its integers into real numbers: scale and zero; empty for
            real numbers.
        channels: k.
        axes: of the grid in the tensor; empty for tokens.
        grid: of tokens, the grid's axes.
        skipped: tokens before those of the grid.
    """

    tensor: str
    scale: tuple[str, ...]
    channels: int
    axes: tuple[int, ...]
    grid: tuple[int, ...]
    skipped: int = 0


@dataclass(eq=False)
class Nodes:
    """Nodes and constants that are added to a graph."""

    part: Any = field(default_factory=lambda: library.onnx().ModelProto())
    count: int = 0

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        self.count += 1
        name = output or f"{PREFIX}{self.count}"
        make = library.onnx().helper.make_node
        called = f"{PREFIX}{kind}{self.count}"
        self.part.graph.node.append(make(kind, list(inputs), [name], name=called, **attributes))
        return name

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add a constant, and return its name."""
        self.count += 1
        name = f"{PREFIX}{self.count}"
        array = np.asarray(values, dtype)
        self.part.graph.initializer.append(library.onnx().numpy_helper.from_array(array, name))
        return name

    def whole(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def sizes(self, tensor: str, axes: Sequence[int]) -> str:
        """The sizes of a tensor along some axes."""
        return self.add("Gather", self.add("Shape", tensor), self.whole(*axes), axis=0)

    def real(self, tensor: str) -> str:
        return self.add("Cast", tensor, to=FLOAT)

    def reshaped(self, tensor: str, *sizes: int) -> str:
        return self.add("Reshape", tensor, self.whole(*sizes))


def add_branch(
    nodes: Nodes,
    maps: Maps,
    weights: Overlap | WeightsOfClass,
    *,
    scores: str,
    layer: LastLayer | None,
    output: str,
) -> None:
    """Add the nodes that compute the heatmap on the layer's grid, `b *g` in [0, 1].

    Args:
        nodes: that are added.
        maps: the activations.
        weights: how the activations are weighted.
        scores: `b n`, for the weights of a class.
        layer: the last layer, for the weights of a class.
        output: the name of the heatmap.
    """
    cells = _cells(nodes, maps)  # b k g
    if isinstance(weights, WeightsOfClass) and layer is not None:
        row = _row(nodes, layer, scores, maps.channels)
    else:
        row = _overlap(nodes, cells, maps.channels, weights)
    summed = nodes.add("Relu", nodes.add("MatMul", row, cells))  # b 1 g
    shifted = nodes.add("Sub", summed, _least(nodes, summed))
    scaled = _divided(nodes, shifted, nodes.add("GlobalMaxPool", shifted))
    axes = (0, *maps.axes)
    shape = nodes.sizes(maps.tensor, axes) if maps.axes else nodes.whole(-1, *maps.grid)
    nodes.add("Reshape", scaled, shape, output=output)


def _cells(nodes: Nodes, maps: Maps) -> str:
    """The activations as real numbers, `b k g`."""
    tensor = maps.tensor
    if maps.scale:
        tensor = nodes.add("DequantizeLinear", tensor, *maps.scale)
    tensor = nodes.real(tensor)
    if not maps.axes:
        count = math.prod(maps.grid)
        kept = nodes.whole(*range(maps.skipped, maps.skipped + count))
        tensor = nodes.add("Gather", tensor, kept, axis=1)
    elif maps.axes[0] == 2:
        return nodes.reshaped(tensor, 0, maps.channels, -1)
    flat = nodes.reshaped(tensor, 0, -1, maps.channels)
    return nodes.add("Transpose", flat, perm=[0, 2, 1])


def _row(nodes: Nodes, layer: LastLayer, scores: str, channels: int) -> str:
    """The weights of the class with the highest score, `b 1 k`, but for a positive factor."""
    best = nodes.add("ArgMax", nodes.real(scores), axis=1, keepdims=0)
    row = nodes.add("Gather", layer.tensor, best, axis=layer.classes)
    if layer.classes == 1:
        row = nodes.add("Transpose", row, perm=[1, 0])
    row = nodes.reshaped(nodes.real(row), -1, 1, channels)
    if layer.zero:
        # One zero for all classes, or one for each.
        zeros = nodes.add("Expand", nodes.real(layer.zero), nodes.whole(len(layer.weights)))
        zero = nodes.add("Gather", zeros, best, axis=0)
        row = nodes.add("Sub", row, nodes.reshaped(zero, -1, 1, 1))
    return row


def _overlap(nodes: Nodes, cells: str, channels: int, weights: Overlap | WeightsOfClass) -> str:
    """The weights by how far each mask overlaps the first map, `b 1 k`."""
    first = weights.channels if isinstance(weights, Overlap) else np.ones(channels)
    found = nodes.add("MatMul", nodes.constant(np.reshape(first, (1, 1, channels))), cells)
    found = nodes.add("Transpose", nodes.add("Relu", found), perm=[0, 2, 1])  # b g 1
    shifted = nodes.add("Sub", cells, _least(nodes, cells))
    masks = _divided(nodes, shifted, nodes.add("GlobalMaxPool", shifted))
    overlap = nodes.add("MatMul", masks, found)  # b k 1
    if channels > 1:
        live = nodes.real(nodes.add("Greater", nodes.add("GlobalMaxPool", masks), _zero(nodes)))
        # Channels without a mask have an overlap of zero.
        mean = nodes.add(
            "Div", _mean(nodes, overlap, channels), _mean(nodes, live, channels, 1e-12)
        )
        overlap = nodes.add("Mul", nodes.add("Sub", overlap, mean), live)
    return nodes.add("Transpose", overlap, perm=[0, 2, 1])


def _mean(nodes: Nodes, column: str, channels: int, least: float | None = None) -> str:
    """The mean of `b k 1` over the channels, `b 1 1`; at least `least`."""
    share = nodes.constant(np.full((1, 1, channels), 1 / channels))
    mean = nodes.add("MatMul", share, column)
    return mean if least is None else nodes.add("Max", mean, nodes.constant(least))


def _zero(nodes: Nodes) -> str:
    return nodes.constant(0.0)


def _least(nodes: Nodes, maps: str) -> str:
    """The minimum of each map. A pool has the same form in every version of ONNX."""
    return nodes.add("Neg", nodes.add("GlobalMaxPool", nodes.add("Neg", maps)))


def _divided(nodes: Nodes, maps: str, by: str) -> str:
    """Maps divided by their maximum; maps of zeros stay so."""
    return nodes.add("Div", maps, nodes.add("Max", by, nodes.constant(SMALLEST)))
