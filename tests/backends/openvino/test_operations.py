"""OpenVINO's operations are followed: each tensor's grid and layout are those of its shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scorecam
from openvino_networks import saved
from scorecam.backends.runtimes.openvino import load

pytestmark = pytest.mark.needs("openvino")

CHANNELS = 4
SIZE = 12

Made = Callable[[Any, Any], Any]
"""A tensor from `openvino.opset13` and the maps `b 4 12 12` of a convolution."""


def numbers(ops: Any, *values: int) -> Any:
    return ops.constant(np.array(values, np.int64))


def to_last(ops: Any, maps: Any) -> Any:
    return ops.transpose(maps, numbers(ops, 0, 2, 3, 1))


def padded(ops: Any, maps: Any) -> Any:
    """Two rows and one column on each side."""
    return ops.pad(maps, numbers(ops, 0, 0, 2, 1), numbers(ops, 0, 0, 2, 1), "constant")


OPERATIONS: dict[str, tuple[Made, tuple[int, ...], str | None]] = {
    "Transpose": (to_last, (12, 12), "channels last"),
    "MaxPool": (
        lambda ops, maps: ops.max_pool(maps, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0),
        (6, 6),
        "channels first",
    ),
    "Pad and Slice": (
        lambda ops, maps: ops.slice(
            padded(ops, maps),
            numbers(ops, 2, 1),
            numbers(ops, 14, -1),
            numbers(ops, 1, 1),
            numbers(ops, 2, 3),
        ),
        (12, 12),
        "channels first",
    ),
    "Pad and StridedSlice": (
        lambda ops, maps: ops.strided_slice(
            padded(ops, maps),
            numbers(ops, 0, 0, 2, 1),
            numbers(ops, 0, 0, 14, 13),
            numbers(ops, 1, 1, 1, 1),
            [1, 1, 0, 0],
            [1, 1, 0, 0],
        ),
        (12, 12),
        "channels first",
    ),
    "StridedSlice of one entry": (
        lambda ops, maps: ops.strided_slice(
            maps,
            numbers(ops, 0, 2),
            numbers(ops, 0, 3),
            numbers(ops, 1, 1),
            [1, 0],
            [1, 0],
            [0, 0],
            [0, 1],
        ),
        (12, 12),
        None,
    ),
    "Interpolate": (
        lambda ops, maps: ops.interpolate(
            maps, numbers(ops, 24, 18), "nearest", "sizes", axes=numbers(ops, 2, 3)
        ),
        (24, 18),
        "channels first",
    ),
    "Split": (
        lambda ops, maps: ops.split(maps, ops.constant(np.int64(1)), 2).output(0),
        (12, 12),
        "channels first",
    ),
    "Reshape": (
        lambda ops, maps: ops.reshape(
            to_last(ops, maps), numbers(ops, 0, 144, 4), special_zero=True
        ),
        (12, 12),
        "tokens",
    ),
    "Gather": (
        lambda ops, maps: ops.gather(maps, numbers(ops, 1, 0), ops.constant(np.int64(1))),
        (12, 12),
        "channels first",
    ),
    "Clamp": (lambda ops, maps: ops.clamp(maps, 0.0, 6.0), (12, 12), "channels first"),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_grid_and_the_layout_are_followed_through(name: str, tmp_path: Path) -> None:
    made, grid, layout = OPERATIONS[name]
    openvino = load()
    ops = openvino.opset13
    image = ops.parameter([-1, 3, SIZE, SIZE], np.float32, name="image")
    weights = ops.constant(np.random.default_rng(0).normal(size=(CHANNELS, 3, 1, 1)), np.float32)
    maps = ops.convolution(image, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    output = ops.relu(made(ops, maps)).output(0)  # what is only moved is not listed again
    output.set_names({"followed"})
    result = ops.reshape(output, numbers(ops, 0, -1), special_zero=True)
    path = saved(openvino.Model([result], [image], "net"), tmp_path / "net.xml")
    found = scorecam.layers(scorecam.open_model(str(path)), torch.rand(1, 3, SIZE, SIZE))
    [layer] = [each for each in found if each.name == "followed"]
    assert layer.grid == grid
    assert layout in (None, layer.layout)
