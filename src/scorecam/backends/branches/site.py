"""A layer of a network in a file, and the same network with a branch that computes a heatmap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scorecam.backends.branches.weights import BranchWeights, WeightsOfClass
from scorecam.shapes import BatchedActivations, BatchedScores, Grids, Images

MAP: Final = "map"
"""The name of the output with the heatmap."""


class Site(ABC):
    """A layer of a network in a file, and the place for a branch that computes a heatmap.

    Attributes:
        layer: its name.
        grid: of its activations.
    """

    layer: str
    grid: tuple[int, ...]

    @property
    @abstractmethod
    def source(self) -> Path:
        """The file."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """The number of maps, k."""

    @property
    @abstractmethod
    def last_layer(self) -> WeightsOfClass | None:
        """The weights of a last layer on the mean of the activations; None if there is none."""

    @abstractmethod
    def activations(self, images: Images) -> tuple[BatchedActivations, BatchedScores]:
        """The layer's maps, `b k *g`, and the scores."""

    @abstractmethod
    def built(self, weights: BranchWeights) -> Built:
        """The network with a branch of these weights.

        Raises:
            ModelError: the runtime cannot open it.
        """


class Built(ABC):
    """A network with a branch, not saved yet."""

    @abstractmethod
    def run(self, images: Images) -> Grids:
        """The heatmaps that it computes, on the layer's grid."""

    @abstractmethod
    def changed(self, images: Images) -> float:
        """The largest change of any other output, as a share of its largest absolute number."""

    @abstractmethod
    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file, with more texts in its metadata."""
