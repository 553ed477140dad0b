"""Engines for tasks: the network is converted once, and each image reads its output differently.

A task's readout belongs to one image. A conversion that contained it would serve that image only.
So the converted network returns its whole output as one row of numbers per image, and the readout
runs outside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from scorecam.backends.runtimes import choice
from scorecam.backends.runtimes.known import EAGER
from scorecam.backends.runtimes.runtime import Network
from scorecam.errors import ModelError
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.model.readout import Readout, read
from scorecam.shapes import BatchedScores, Image, Images

TWO = 2


@dataclass(frozen=True)
class Rows:
    """The readout that returns a whole output as one row of numbers per image.

    Args:
        structure: of the output.
        shapes: of its tensors for one image.
    """

    structure: TreeSpec
    shapes: tuple[tuple[int, ...], ...]

    def __call__(self, output: Any) -> BatchedScores:
        tensors = tree_flatten(output)[0]
        return torch.cat([tensor.flatten(1).to(torch.float32) for tensor in tensors], dim=1)

    def output(self, rows: BatchedScores) -> Any:
        """The output that these rows came from."""
        sizes = [torch.Size(shape).numel() for shape in self.shapes]
        parts = zip(rows.split(sizes, dim=1), self.shapes, strict=True)
        tensors = [part.reshape(len(rows), *shape) for part, shape in parts]
        return tree_unflatten(tensors, self.structure)


def rows_of(output: Any, images: int) -> Rows | None:
    """How an output becomes rows; None unless it is floating-point tensors with a row per image."""
    tensors, structure = tree_flatten(output)
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return None
        if tensor.ndim == 0 or len(tensor) != images:
            return None
    return (
        Rows(structure, tuple(tuple(tensor.shape[1:]) for tensor in tensors)) if tensors else None
    )


class TaskNetwork(Network, Protocol):
    """A network with the readout of a task."""

    @property
    def readout(self) -> Readout: ...
    def output(self, images: Images) -> Any: ...


def task_engine(
    network: TaskNetwork, as_rows: Callable[[Rows], Network], speed: Speed, probe: Probe
) -> Engine:
    """The engine for a network with the readout of a task.

    Args:
        as_rows: returns the same network with another readout.
        speed: what the user chose.
        probe: a few masked images.
    """
    rows = None if speed.runtime == EAGER else _rows(network, probe.image)
    if rows is None:
        return choice.choose_for(network, speed, probe, "The readout of the task")

    def scores_in(numbers: BatchedScores) -> BatchedScores:
        return read(rows.output(numbers), network.readout, len(numbers))

    engine = choice.choose(as_rows(rows), speed, _ReadProbe(probe, scores_in))
    engine = dataclasses.replace(engine, probed=engine.probed + TWO)
    if (engine.runtime, engine.precision) == (EAGER, network.precision):
        return dataclasses.replace(engine, scores=network.scores)

    def scores(images: Images) -> BatchedScores:
        return scores_in(engine.scores(images))

    return dataclasses.replace(engine, scores=scores)


def _rows(network: TaskNetwork, image: Image) -> Rows | None:
    """How the output becomes rows; None if it does not, or the network takes one image at a time.

    With one image, a tensor with a row per image cannot be told from any other.
    """
    try:
        return rows_of(network.output(image.expand(TWO, *image.shape)), TWO)
    except ModelError:
        return None


class _ReadProbe(Probe):
    """The probe of rows: they are compared by the scores that the task reads from them."""

    def __init__(self, probe: Probe, scores_in: Callable[[BatchedScores], BatchedScores]) -> None:
        self.image, self.passes, self.seconds = probe.image, probe.passes, probe.seconds
        self._probe = probe
        self._scores_in = scores_in

    def masked(self) -> Images:
        return self._probe.masked()

    def typical(self, count: int) -> Images:
        return self._probe.typical(count)

    def distance(self, one: BatchedScores, other: BatchedScores) -> float:
        return self._probe.distance(self._scores_in(one), self._scores_in(other))
