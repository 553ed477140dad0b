"""The seam between the method and whatever answers its questions.

A `Model` shows activations and gives scores; nothing above this file knows what runs inside. What
the scores are (the head), which numbers of the output they come from (the readout), and which
column is explained (the target) are defined here, once, for every backend.
"""

from __future__ import annotations

import contextlib
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from scorecam.arguments import choice
from scorecam.errors import (
    MemoryShortage,
    TargetError,
    did_you_mean,
)
from scorecam.pixels import Preprocess
from scorecam.ranges import whole
from scorecam.readout import Readout
from scorecam.shapes import BatchedActivations, BatchedScores, Columns, Image, Images
from scorecam.wording import quoted

Head = Literal["logits", "probabilities", "sigmoid", "value"]
"""What the readout's numbers are."""

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


Runtime = Literal["auto", "eager", "compile", "openvino"]
Precision = Literal["float32", "bfloat16", "float16", "auto"]


@dataclass(frozen=True)
class Speed:
    """How masked images may be scored.

    Args:
        runtime: what runs the model; "auto" chooses among those that agree with it.
        precision: what it computes in; "auto" takes the fastest whose map stays close.
    """

    runtime: Runtime = "auto"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name, kind in (("runtime", Runtime), ("precision", Precision)):
            choice(name, getattr(self, name), get_args(kind))


@dataclass(frozen=True)
class Probe:
    """A few masked images, by which a fast way of scoring shows that it agrees with the model.

    Args:
        image: the unmasked image, `c *i`.
        masked: makes the rest of the probe, `b c *i`, where it is needed.
        passes: masked images that are to be scored, about.
        seconds: what one image took the model itself.
        distance: the largest difference between the scaled heatmaps that two answers lead to, each
            to the masked images and then the image, `b+1 n`.
    """

    image: Image
    masked: Callable[[], Images]
    passes: int
    seconds: float
    distance: Callable[[BatchedScores, BatchedScores], float]


@dataclass(frozen=True)
class Engine:
    """A way of scoring masked images.

    Args:
        scores: `b c *i` → `b n` float32, of any `b` up to `batch`.
        runtime: what runs.
        precision: what it computes in.
        batch: images per pass that suit it; None where any number does.
        layout: how the images should lie in memory.
        beside: threads that torch may use while masked images are made; None where any number
            will do. Those of a runtime and torch's, which go on waiting, get in each other's way.
        probed: passes of the model itself that it took to choose it.
        remarks: what the user should hear of: why it is not what was asked for. It may grow while
            the engine is in use.
    """

    scores: Callable[[Images], BatchedScores]
    runtime: str
    precision: str
    batch: int | None = None
    layout: torch.memory_format = torch.contiguous_format
    beside: int | None = None
    probed: int = 0
    remarks: list[str] = field(default_factory=list[str])


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
    def apart(self, inputs: Inputs) -> tuple[Images, list[Model]]:
        """The images in several inputs, and for each image the model with the rest held fixed.

        Inputs as long as the batch are taken to belong to the images; nothing is asked.
        """

    def confirmed(self, inputs: Inputs, models: Sequence[Model]) -> Sequence[Model]:  # noqa: ARG002
        """The models of `apart`, once it is sure which inputs belong to which image.

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


# ── head ─────────────────────────────────────────────────────────────────────────────────────


def probabilities(scores: BatchedScores, head: Head) -> BatchedScores:
    """p: softmax over the columns for logits, sigmoid for sigmoid, the numbers themselves else."""
    if head == "logits":
        return scores.softmax(dim=1)
    if head == "sigmoid":
        return scores.sigmoid()
    return scores


def reduced(scores: BatchedScores, columns: Tensor, head: Head) -> BatchedScores:
    """These columns; for logits one more, which holds the others' probability together."""
    if head != "logits" or len(columns) == scores.shape[1]:
        return scores[:, columns]
    others = torch.ones(scores.shape[1], dtype=torch.bool, device=scores.device)
    others[columns] = False
    rest = scores[:, others].logsumexp(dim=1, keepdim=True)
    return torch.cat([scores[:, columns], rest], dim=1)


def check_head(head: str) -> Head | Literal["auto"]:
    """`head`, if it is one.

    Raises:
        SettingError: it is not.
    """
    known: tuple[Head | Literal["auto"], ...] = ("auto", *get_args(Head))
    return cast("Head | Literal['auto']", choice("head", head, known))


SIDES = "negative", "positive"
"""The columns of a yes-or-no answer without names of its own, in the order of class lists."""

POSITIVE = 1
"""The column of a yes-or-no answer that a positive logit speaks for."""


def two_sided(scores: BatchedScores, head: Head) -> BatchedScores:
    """A single column of a yes-or-no model as two, in the order of class lists: no, then yes.

    Anything else, and a single value, stays as it is.
    """
    if scores.shape[1] != 1 or head == "value":
        return scores
    against = 1 - scores if head == "probabilities" else -scores
    return torch.cat([against, scores], dim=1)


def two_names(names: tuple[str, ...] | None, columns: int, head: Head) -> tuple[str, ...] | None:
    """The names of the columns that `two_sided` makes of `columns`, where there are any."""
    if columns != 1:
        return names
    if head == "value":
        return names or ("value",)
    if names is None:
        return SIDES
    # Two names come as in class lists: class 1 is the one that a positive logit speaks for.
    return names if len(names) == 2 else (f"not {names[0]}", names[0])


def prediction(scores: Columns, head: Head | Literal["auto"]) -> int:
    """The column that is explained where none is asked for, before the head is known.

    The largest of several. Of a single column, which `two_sided` makes two of, the positive side.

    Args:
        scores: the model's answer to the unmasked image, `n`.
        head: as declared.
    """
    if len(scores) == 1 and head != "value":
        return POSITIVE
    return int(scores.argmax())


# ── target ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Target:
    """The column that is explained.

    Args:
        index: its place among the columns.
        name: its name, where the columns have names.
        score: the readout of the unmasked image, z_t(X).
        probability: p_t(X), where the head has one; in [0, 1].
    """

    index: int
    name: str | None
    score: float
    probability: float | None

    @property
    def label(self) -> str:
        """The name, or "class 3" where there is none."""
        return self.name if self.name is not None else f"class {self.index}"


def find_target(
    target: int | str | None, columns: Columns, names: Sequence[str] | None, head: Head
) -> Target:
    """The column a user means.

    Args:
        target: an index (numpy's and torch's integers too), a name (case ignored), or None for
            the largest column.
        columns: the readout of the unmasked image, `n`.
        names: one per column, where known.

    Raises:
        TargetError: there is no such column.
    """
    if target is None:
        index = int(columns.argmax())
    elif isinstance(target, str):
        index = _index_of(target, len(columns), names)
    else:
        index = _checked(_plain(target), len(columns))
    probability = None
    if head != "value":
        probability = float(probabilities(columns[None], head)[0, index])
    return Target(index, names[index] if names else None, float(columns[index]), probability)


def _index_of(name: str, columns: int, names: Sequence[str] | None) -> int:
    folded = name.strip().casefold()
    found = [i for i, known in enumerate(names or ()) if known.casefold() == folded]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise TargetError(
            f"{len(found)} classes are called {quoted(name)}.",
            do=f"Use the index: {', '.join(map(str, found))}.",
        )
    if folded.isdecimal() and (number := whole(folded)) is not None:
        return _checked(number, columns)
    if not names:
        raise TargetError(
            f"The target {quoted(name)} is a name, but this model's classes have no names.",
            do=f"Use an index from 0 to {columns - 1}, or give the names with labels= (--labels).",
        )
    raise TargetError(
        f"No class is called {quoted(name)}.",
        likely=did_you_mean(name, names),
        do=f"Use one of the {len(names)} names, or an index from 0 to {columns - 1}.",
    )


def _plain(target: Any) -> int:
    if getattr(target, "dtype", type(target)) not in (bool, np.dtype(bool), torch.bool):
        with contextlib.suppress(TypeError, ValueError):
            return operator.index(target)
    raise TargetError(
        f"A target is an index, a class name, a function or None, not {quoted(target)}.",
        likely=_why_no_target(target),
        do="Give one of these.",
    )


def _why_no_target(target: Any) -> str:
    """What a value that is no target was meant for, where that is known."""
    if isinstance(target, list | tuple | np.ndarray):
        return (
            "A list with one target per image is for several images: scorecam.ScoreCAM(model)(x)."
        )
    if isinstance(target, float):
        return "It may come from a table or a file, where indices became fractions."
    return ""


def _checked(index: int, columns: int) -> int:
    if not 0 <= index < columns:
        raise TargetError(
            f"There is no class {quoted(index)}: the model has {columns}, numbered 0 to "
            f"{columns - 1}.",
            likely="Class lists that start at 1 are one too high." if index == columns else "",
            do="Use an index in that range, or a class name.",
        )
    return index


# ── memory ───────────────────────────────────────────────────────────────────────────────────


MEMORY_RAN_OUT = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "alloc_failed",
    "unable to find a valid cudnn algorithm",
    "unable to find an engine",
)
"""What torch's errors say, in lower case, when memory ran out."""


@contextlib.contextmanager
def memory_errors_translated() -> Generator[None]:
    """Raise `MemoryShortage` for the ways we know of in which torch says that memory ran out."""
    try:
        yield
    except MemoryShortage:
        raise
    except (MemoryError, RuntimeError) as error:
        said = str(error).lower()
        ran_out = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not (ran_out or any(phrase in said for phrase in MEMORY_RAN_OUT)):
            raise
        raise MemoryShortage(
            "Memory ran out.",
            likely="The input or the model is too large for the device.",
            do="Use a smaller batch or input, or another device.",
        ) from error
