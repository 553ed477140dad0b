"""Opening a model."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from scorecam.backends import exported
from scorecam.backends.diagnosis import Diagnosis
from scorecam.backends.file_kinds import Program, foreign_at, program_at
from scorecam.backends.onnx import opening as onnx
from scorecam.backends.opener import Opener, Options, PhotoFunction, without_options
from scorecam.backends.openvino import opening as openvino
from scorecam.backends.pytorch import opening as pytorch
from scorecam.backends.zoo import factory, hf, lite, timm, torchvision
from scorecam.base.wording import excerpt, quoted
from scorecam.cam import Head
from scorecam.errors import ModelError, SettingError, did_you_mean
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.reading import Reading
from scorecam.io.arguments import flag, function
from scorecam.model.labels import Labels
from scorecam.model.model import Model, Task
from scorecam.model.readout import Readout

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["as_model", "open_model"]

OPENERS: tuple[Opener, ...] = (
    lite.OPENER,
    torchvision.OPENER,
    timm.OPENER,
    hf.OPENER,
    openvino.OPENER,  # before ONNX: it takes openvino:net.onnx
    onnx.OPENER,
    factory.OPENER,  # takes any NAME:NAME, so it comes after the other specs
    exported.OPENER,
    pytorch.OPENER,
)
"""The kinds of models; the first that takes the user's value opens it."""


def open_model(
    model: str | os.PathLike[str] | nn.Module | ExportedProgram | Model,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocess: str | os.PathLike[str] | Preprocessing | PhotoFunction | None = None,
    bands: tuple[int, ...] | None = None,
    window: tuple[float, float] | None = None,
    labels: Labels | None = None,
    head: Head | Literal["auto"] = "auto",
    output: int | str | Readout | None = None,
    masked_input: int | str | None = None,
    derived: Mapping[int | str, Callable[[Any], Any]] | None = None,
    layout: str | None = None,
    reshape: Callable[[Any], Any] | None = None,
    device: str | torch.device | None = None,
    download: bool = False,
    task: Task | None = None,
) -> Model:
    """Open a model.

    Args:
        model: a spec ("lite0", "lite1", "lite2", "torchvision:NAME", "timm:NAME", "hf:FOLDER",
            "package.module:factory"), the path of an ONNX file, a `torch.nn.Module` (TorchScript
            too), or an `ExportedProgram`. It is never changed: with weights or another device, a
            copy is used. A `Model` is returned as it is; it takes no
            options but a task.
        weights: a safetensors file or a checkpoint; "random" for an untrained network of a spec.
            Nothing is downloaded without `download`.
        preprocess: how a photo becomes the input: "imagenet", a JSON file, a `Preprocess`, or your
            own transform: torchvision's Compose, timm's, an image processor of Hugging Face, or any
            function from a PIL image to a tensor `c h w`. Specs bring their own.
        bands: which bands of a file of numbers, such as a TIFF of five bands, become the model's
            colours, in that order, counted from 1; None for all of them.
        window: the values of a file of numbers that become black and white; None for those that
            the file states.
        labels: one name per column: a list, a dict from index to name or from name to index (as
            `class_to_idx`), a file (one per line, or JSON), or "imagenet". For a model of one
            logit: the names of class 0 and class 1, or only that of class 1, which a positive
            logit means.
        head: what the output's numbers are: "logits", "probabilities", "sigmoid" or "value";
            "auto" decides where it is certain, and otherwise takes them for logits. A single column
            is a binary answer with the columns 0, "negative", and 1, "positive", unless it is a
            "value".
        output: where the scores are in the output: an index in a tuple, a name in a dict or
            record, or a function of the whole output that returns `b` or `b n`. None for
            `logits`, or the only matrix.
        masked_input: which of several inputs is masked, by index or name; None if only one can be
            images. The other inputs are repeated for every masked image.
        derived: inputs that follow from the masked one, such as the scalogram of a signal: for
            each, by index or name, a function that computes it from a batch of the masked input.
            It is called for every batch of masked images, so that the mask reaches this input too.
        layout: where the channels of the explained layer are, if that cannot be followed:
            "channels first" (`b k *g`) or "channels last" (`b *g k`).
        reshape: a function from the explained layer's output to its maps, `b k *g`, such as
            pytorch-grad-cam's `reshape_transform`. It is seldom needed.
        device: where the model runs; by default, where it is.
        download: whether weights may be downloaded: those of `timm:NAME`, or `hf:NAME` with a name
            on Hugging Face's hub.
        task: what is explained, if not the classes, such as `scorecam.tasks.Detect()`.

    Raises:
        ModelError: there is no such model, or it cannot be built.
        WeightsError: the weights are missing, unreadable, or do not fit.
        MissingExtra: it needs a library that is not installed.
        SettingError: another argument is invalid.
    """
    taking = [opener for opener in OPENERS if opener.takes(model)]
    if not taking and not isinstance(model, Model):
        raise _unknown(model)
    options = Options(
        weights=weights,
        preprocess=preprocess,
        reading=Reading(bands=bands, window=window),
        labels=labels,
        head=head,
        output=output,
        masked_input=masked_input,
        derived=derived,
        layout=layout,
        reshape=function("reshape", reshape, "a layer's output"),
        device=device,
        download=flag("download", download),
    )
    if not isinstance(task, Task | None):
        raise SettingError(
            f"task={quoted(task)} is not a task.",
            do="Give one from scorecam.tasks, such as scorecam.tasks.Detect(); explain takes the "
            "name of a task as well.",
        )
    given = isinstance(model, Model)
    opened = without_options(model, options) if given else taking[0].open(model, options)
    return opened if task is None else opened.with_task(task)


def diagnoses() -> list[Diagnosis]:
    """What the backends contribute to `scorecam doctor`."""
    return [opener.diagnosis() for opener in OPENERS]


def _unknown(model: object) -> ModelError:
    """The error for a value that no opener can open."""
    if isinstance(model, str | os.PathLike) and (program := program_at(model)):
        return _program(str(model), program)
    if isinstance(model, str | os.PathLike) and (foreign := foreign_at(model)):
        return ModelError(
            f"{quoted(model)} is {foreign.name}, which is not opened here.", do=foreign.do
        )
    if not isinstance(model, str):
        return ModelError(
            f"A model is a spec, the path of a file or a torch.nn.Module, and not of the type "
            f"{type(model).__name__}.",
            likely=_likely(model),
            do='For example scorecam.open_model("lite0") or scorecam.open_model(net).',
        )
    likely = did_you_mean(model, (name for opener in OPENERS for name in opener.names))
    if pathlib.Path(model).suffix:
        likely = "A weights file goes to weights= (--weights), in addition to the model."
    *specs, last = (opener.specs for opener in OPENERS if opener.specs)
    return ModelError(
        f"There is no model {quoted(model)}.",
        likely=likely,
        do=f"A model is {', '.join(specs)}, or {last}.",
    )


def _program(path: str, program: Program) -> ModelError:
    """The error for a file with a program. Such files can run code when they are loaded."""
    loaded = program.opened.format(file=excerpt(repr(path), 300))
    opened = f"net = {loaded}; scorecam.open_model(net)"
    return ModelError(
        f"{quoted(path)} is {program.name}. scorecam does not open such files itself, as they can "
        "run code.",
        do=f"If you trust it: {opened}. On the command line, --model package.module:factory takes "
        "a function that returns it."
        if loaded
        else "Give the network that it was compiled from.",
    )


def _likely(model: object) -> str:
    """What a user may have passed instead of a network."""
    if isinstance(model, Mapping):
        return "It may be a state dict, which has no architecture: give it to weights=, as a file."
    if isinstance(model, os.PathLike):
        return "A weights file goes to weights=, in addition to the model."
    if isinstance(model, type) and issubclass(model, nn.Module):
        return f"It is the class; call it first: {model.__name__}(...)."
    if type(model).__name__ in ("ModelProto", "InferenceSession", "CompiledModel"):
        return "Networks in files are opened by their path, such as net.onnx."
    if callable(model):
        return (
            "A compiled program or a function has no layers that can be read; give the network "
            "that it was made from."
        )
    return ""


def as_model(model: Model | nn.Module) -> Model:
    """A model from `open_model` as it is; a network, opened with the defaults."""
    return model if isinstance(model, Model) else open_model(model)
