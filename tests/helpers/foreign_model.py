"""Models without PyTorch, as a third party's backend would make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch

from scorecam import Preprocess
from scorecam.errors import LayerError, ModelError
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.model.model import Inputs, Layer, Model, Randomisable
from scorecam.model.readout import Readout, read
from scorecam.shapes import BatchedActivations, BatchedScores, Images

BANDS = 4
LAYER = "bands"
PREPROCESS = Preprocess(size=(16, 16), fit="squash", mean=(0.0,) * 3, std=(1.0,) * 3)


@dataclass(frozen=True, eq=False, repr=False)
class Foreign(Model):
    """A linear classifier of four bands of brightness, in NumPy.

    Its fast runtime scores the same and counts its images.

    Args:
        weights: `classes bands`.
        readout: of its outputs, a dict with one tensor, "scores".
        used: the runtime, the precision and the number of images of every pass of its engines.
    """

    weights: Any
    readout: Readout | None = None
    head: Any = "value"
    used: Any = None
    spec: str = "plan.trt"

    axes, device, precision = 2, torch.device("cpu"), "int8"
    preprocess: Any = PREPROCESS
    names: Any = ("dark", "bright")
    remarks: Any = ()

    runtimes, precisions = ("numpy", "tensorrt"), ("int8", "fp8")

    def versions(self) -> Mapping[str, str]:
        return {"tensorrt": "10.9"}

    def fingerprint(self) -> str:
        return self.weights.tobytes().hex()

    def layers(self, images: Images) -> list[Layer]:
        grid = tuple(images.shape[2:])
        return [Layer(LAYER, grid, BANDS, "channels first", default=True, why="the only layer")]

    def find_layer(self, layer: object, images: Images) -> str:
        del images
        if layer not in (None, LAYER):
            raise LayerError(f"There is no layer {layer!r}.", do=f"The only layer is {LAYER}.")
        return LAYER

    def activations(self, images: Images, layer: str) -> tuple[BatchedActivations, BatchedScores]:
        self.find_layer(layer, images)
        maps = self._maps(images)
        return torch.from_numpy(maps), self._scores(maps)

    def scores(self, images: Images) -> BatchedScores:
        return self._scores(self._maps(images))

    def _maps(self, images: Images) -> Any:
        if images.shape[1] != 3:
            raise ModelError(f"The model takes 3 colours, not {images.shape[1]}.")
        grey = images.numpy().mean(axis=1, keepdims=True)
        edges = np.linspace(0.0, 1.0, BANDS + 1)
        low, high = (edge[None, :, None, None] for edge in (edges[:-1], edges[1:]))
        return np.where((grey > low) & (grey <= high), grey, 0.0).astype(np.float32)

    def _scores(self, maps: Any) -> BatchedScores:
        scores = torch.from_numpy(maps.mean(axis=(2, 3)) @ self.weights.T)
        return scores if self.readout is None else read({"scores": scores}, self.readout, len(maps))

    def engine(self, speed: Speed, probe: Probe) -> Engine:
        del probe
        runtime = "tensorrt" if speed.runtime == "auto" else speed.runtime
        precision = "int8" if speed.precision in ("auto", "float32") else speed.precision

        def scores(images: Images) -> BatchedScores:
            if self.used is not None:
                self.used.append((runtime, precision, len(images)))
            return self.scores(images)

        return Engine(scores, runtime, precision)

    def with_readout(self, readout: Readout) -> Model:
        return replace(self, readout=readout, head="value", names=None)

    def split_inputs(self, inputs: Inputs) -> tuple[Images, list[Model]]:
        images = next(iter(inputs.values() if isinstance(inputs, Mapping) else inputs))
        return images, [self] * len(images)


class Reweighted(Foreign, Randomisable):
    """The same, with weights that can be re-initialised, and without gradients."""

    def stages(self, images: Images) -> list[str]:
        del images
        return ["weights"]

    def randomised(self, stages: Sequence[str], images: Images, seed: int) -> Self:
        del stages, images
        drawn = np.random.default_rng(seed).normal(size=self.weights.shape)
        return replace(self, weights=drawn.astype(np.float32))


WEIGHTS = np.array([[1, 0.5, 0, 0.1], [0, 0.3, 1, 2]], np.float32)


def foreign() -> Foreign:
    """A model that gives only activations and scores."""
    return Foreign(WEIGHTS, used=[])


def reweighted() -> Reweighted:
    """A model with weights that can be re-initialised."""
    return Reweighted(WEIGHTS, used=[])
