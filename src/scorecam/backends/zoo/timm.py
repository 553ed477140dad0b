"""timm's networks by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from scorecam.backends.diagnosis import Diagnosis, Optional
from scorecam.backends.opener import Opener, Options
from scorecam.backends.pytorch.opening import Built, torch_model
from scorecam.backends.weights import load_state
from scorecam.backends.zoo.weights import rows_of, state_of
from scorecam.base.wording import quoted, reason
from scorecam.errors import ModelError, SettingError, WeightsError, did_you_mean
from scorecam.images.preprocess import Preprocess
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.transform import Transform
from scorecam.io.extras import require
from scorecam.model.labels import imagenet
from scorecam.model.model import Model

PREFIX = "timm:"


def _takes(given: Any) -> bool:
    return isinstance(given, str) and given.startswith(PREFIX) and given != PREFIX


def _open(spec: str, options: Options) -> Model:
    return torch_model(_built(spec.removeprefix(PREFIX), options), spec, options)


def _diagnosis() -> Diagnosis:
    return Diagnosis(
        optional=[Optional("timm", "timm:NAME models", "pip install 'scorecam[timm]'")]
    )


OPENER = Opener("timm:NAME", _takes, _open, diagnosis=_diagnosis)


def _built(name: str, options: Options) -> Built:
    timm = require("timm", "timm", f"build {quoted(PREFIX + name)}")
    if not timm.is_model(name):
        raise ModelError(
            f"timm has no network {quoted(name)}.",
            likely=did_you_mean(name, timm.list_models()),
            do="timm.list_models() lists them. For another folder or hub name, use hf:NAME.",
        )
    module, remarks = _module(timm, name, options)
    classes = getattr(module, "num_classes", None)
    if classes == 0:
        remarks.append("This network has no classifier: its columns are features, without names.")
    preprocess = None if options.preprocess is not None else _preprocess(timm, module)
    names = imagenet() if classes == 1000 else None
    return Built(module, preprocess, names, tuple(remarks))


def _module(timm: Any, name: str, options: Options) -> tuple[nn.Module, list[str]]:
    """The network with its weights, and remarks."""
    if options.weights is None:
        if not options.download:
            raise WeightsError(
                f"{PREFIX}{name} needs weights, and nothing is downloaded without permission.",
                do="Pass a file with weights= (--weights), or download=True (--download) for "
                'timm\'s own; or weights="random" for an untrained network.',
            )
        return _made_by(timm.create_model, name, pretrained=True), []
    state = state_of(options.weights)
    usual = _made_by(timm.models.get_pretrained_cfg, name)
    classifier = getattr(usual, "classifier", None)
    last = classifier if isinstance(classifier, str) else (classifier or ("",))[0]
    classes = rows_of(state, f"{last}.weight") if last else None
    changed = {} if classes is None else {"num_classes": classes}
    module = _made_by(timm.create_model, name, pretrained=False, **changed)
    remarks = load_state(module, state)
    if classes not in (None, getattr(usual, "num_classes", classes)):
        remarks.append(f"The weights have {classes} classes, so the model was built with them.")
    return module, remarks


def _made_by(function: Callable[..., Any], name: str, **options: Any) -> Any:
    """What a function of timm makes of a network's name.

    Raises:
        ModelError: it fails, for example because a download fails.
    """
    try:
        return function(name, **options)
    except Exception as error:  # a constructor or a download may raise anything
        raise ModelError(
            f"timm could not make {quoted(name)}: {type(error).__name__}: {reason(error)}",
            likely="The download failed." if options.get("pretrained") else "",
            do=f"Check that timm.create_model({quoted(name)}) works.",
        ) from error


def _preprocess(timm: Any, module: nn.Module) -> Preprocessing:
    """The preprocessing of timm's own configuration, with which it evaluates the network."""
    config: Mapping[str, Any] = timm.data.resolve_model_data_config(module)
    plain = plain_preprocess(config)
    return plain or Transform(timm.data.create_transform(**config, is_training=False))


def plain_preprocess(config: Mapping[str, Any]) -> Preprocess | None:
    """A resize, a crop and a normalisation; None if timm's configuration is something else."""
    try:
        size: tuple[int, int] = tuple(config["input_size"][1:])
        # timm rounds down where it resizes, so the fraction is that of its own whole numbers.
        whole = tuple(math.floor(side / config["crop_pct"]) for side in size)
        fit = {"center": "resize_crop", "squash": "squash"}[config.get("crop_mode", "center")]
        square = size[0] == size[1] if fit == "resize_crop" else whole == size
        if not square or len(config["mean"]) not in (1, 3):
            return None
        return Preprocess(
            size=size,
            fit=fit,  # type: ignore[arg-type]
            fraction=size[0] / whole[0],
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=config["interpolation"],
        )
    except (SettingError, LookupError, ArithmeticError, TypeError, ValueError):
        return None
