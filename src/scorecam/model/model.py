"""The seam between the method and whatever answers its questions.

A `Model` shows activations and gives scores; nothing above this file knows what runs inside. What
the scores are (the head), which numbers of the output they come from (the readout), and which
column is explained (the target) are defined here, once, for every backend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from scorecam.base.wording import constructor, excerpt, summary
from scorecam.cam import Head
from scorecam.errors import PhotoError
from scorecam.images.preprocess import Preprocess
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.model.readout import Readout
from scorecam.shapes import BatchedActivations, BatchedScores, Images

Inputs = Images | Mapping[str, Tensor] | Sequence[Tensor]
"""What a model takes: images, or several inputs by name or in order, one of them the images."""

TargetSpec = int | str | Readout | None
"""What users may ask for: a column, its name, a readout of their own, or None: the prediction."""


@dataclass(frozen=True)
class Layer:
    """A layer whose output can be explained.

    Args:
        name: as in `module.named_modules()`.
        grid: its spatial axes, one number each.
        channels: k.
        layout: "channels first" (`b k *g`) or "channels last" (`b *g k`).
        default: whether it is explained when nothing is said.
        why: why it is, or is not, the default.
    """

    name: str
    grid: tuple[int, ...]
    channels: int
    layout: Literal["channels first", "channels last"]
    default: bool
    why: str

    __repr__ = constructor


class Model(ABC):
    """Anything that can show a layer's activations and score images.

    Calls are self-contained: a backend leaves whatever it runs as it found it, also after an
    error. Backends raise `MemoryShortage` when a batch does not fit, so that the caller can retry
    with a smaller one, and `ModelError` for anything else that goes wrong inside.

    Attributes:
        spec: how the model was named, for the records.
        preprocess: how a photo becomes its input, where known.
        names: one name per column of the readout, where known.
        head: what the scores are, or "auto" to tell from the answers.
        remarks: what was decided on the way that the user should hear of.
    """

    spec: str
    preprocess: Preprocess | None
    names: tuple[str, ...] | None
    head: Head | Literal["auto"]
    remarks: tuple[str, ...]

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.spec)
        if self.names is not None:
            yield f"{len(self.names)} columns"
        if self.preprocess is not None:
            yield f"input {'×'.join(map(str, self.preprocess.size))}"
        yield f"head {self.head}"

    @property
    @abstractmethod
    def axes(self) -> int:
        """How many image axes it takes: 1 for signals, 2 for photos, 3 for volumes."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where inputs are put."""

    @property
    @abstractmethod
    def precision(self) -> str:
        """The floating-point type that it computes in, such as "float32"."""

    def photo_preprocess(self) -> Preprocess:
        """How a photo becomes the model's input.

        Raises:
            PhotoError: it is not known.
        """
        if self.preprocess is None:
            raise PhotoError(
                "It is not known how to turn a photo into this model's input.",
                likely="The model was opened without preprocess=.",
                do='Use scorecam.open_model(net, preprocess="imagenet"), a JSON file or a '
                "scorecam.Preprocess (--preprocess on the command line); or explain a tensor that "
                "is already preprocessed.",
            )
        return self.preprocess

    def fingerprint(self) -> str:
        """SHA-256 of the weights; empty where they cannot be had."""
        return ""

    @abstractmethod
    def layers(self, images: Images) -> list[Layer]:
        """The layers that can be explained for images of this size, in the order they run."""

    @abstractmethod
    def find_layer(self, layer: object, images: Images) -> str:
        """The name of `layer`: a name, a backend's own handle, or None for the default."""

    @abstractmethod
    def activations(self, images: Images, layer: str) -> tuple[BatchedActivations, BatchedScores]:
        """One pass: the layer's maps (`b k *g`, cloned) and the scores (`b n`), both float32."""

    @abstractmethod
    def scores(self, images: Images) -> BatchedScores:
        """One pass: the scores alone, `b n` float32."""

    def engine(self, speed: Speed, probe: Probe) -> Engine:  # noqa: ARG002
        """The way of scoring masked images that suits `speed` best; its own, here."""
        return Engine(self.scores, "eager", self.precision)

    def last_step(self, images: Images) -> tuple[BatchedScores, str]:
        """One pass: the scores, and what made them: "softmax" (over the columns) or "sigmoid".

        The step is empty where it is another one, or is not known.
        """
        return self.scores(images), ""

    @abstractmethod
    def with_readout(self, readout: Readout) -> Model:
        """The same model, read by `readout`, whose numbers are values."""

    @abstractmethod
    def split_inputs(self, inputs: Inputs) -> tuple[Images, list[Model]]:
        """The images in several inputs, and for each image the model with the rest held fixed.

        Inputs as long as the batch are taken to belong to the images; nothing is asked.
        """

    def confirmed(self, inputs: Inputs, models: Sequence[Model]) -> Sequence[Model]:  # noqa: ARG002
        """The models of `split_inputs`, once it is sure which inputs belong to which image.

        Raises:
            SettingError: it is not clear which.
        """
        return models


class WhiteBox(Model):
    """A model that can be looked into and differentiated: what gradient methods need."""

    @abstractmethod
    def differentiable(self) -> AbstractContextManager[nn.Module]:
        """The model as a module with autograd on: images, `b c *i`, to the readout, `b n` float32.

        What it runs is its submodule `network`, in evaluation mode, with parameters that want no
        gradient. Hooks that are left on it, and anything else that changed, are taken back.

        Raises:
            ModelError: whatever is done with it fails.
        """

    @abstractmethod
    def stages(self, images: Images) -> list[str]:
        """Its parts that have weights, by name, from the output to the input: the order of a pass.

        A part is a block of a sequence at most two names deep (`layer4.1`, `blocks.15`), or else a
        module of the network itself.
        """

    @abstractmethod
    def randomised(self, stages: Sequence[str], images: Images, seed: int) -> WhiteBox:
        """A copy in which these stages were drawn anew, each layer by its own initialiser.

        Raises:
            ModelError: the network cannot be copied, or a layer has no initialiser.
        """
