"""Files of networks that compute a heatmap themselves: which models can be saved with one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scorecam.backends.branch_weights import BranchWeights, WeightsOfClass
from scorecam.base.wording import quoted
from scorecam.errors import ModelError
from scorecam.model.model import Model
from scorecam.shapes import BatchedActivations, BatchedScores, Grids, Images

MAP: Final = "map"
"""The name of the output with the heatmap."""

FILES: Final = "a network in an ONNX file"
"""What can be saved with a heatmap, in words."""


class Site(ABC):
    """A layer of a network in a file, and the place for a branch that computes a heatmap.

    Attributes:
        source: the file.
        layer: its name.
        grid: of its activations.
        channels: k.
        last_layer: the weights of a last layer on the mean of the layer's activations; None if the
            network does not end so.
    """

    source: Path
    layer: str
    grid: tuple[int, ...]
    channels: int
    last_layer: WeightsOfClass | None

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


def site_of(model: Model, images: Images, layer: str | None) -> Site:
    """The place for a branch.

    Args:
        model: a network in a file.
        images: `1 c *i`, preprocessed.
        layer: by name; None for the default.

    Raises:
        ModelError: the model is no such file, or its graph cannot have the branch.
        LayerError: there is no such layer, or it has no grid that a branch can read.
    """
    from scorecam.backends.onnx.site import onnx_site

    site = onnx_site(model, images, layer)
    if site is None:
        raise ModelError(
            f"{quoted(model.spec)} is no ONNX file, so no heatmap can be added to its graph.",
            likely="It is a network in PyTorch or in another format.",
            do='Export it with torch.onnx.export first: torch.onnx.export(net, (x,), "net.onnx", '
            "dynamo=True). Then give net.onnx.",
        )
    return site
