"""Torchvision's classifiers by name."""

from __future__ import annotations

import pathlib
from typing import Any

from torch import nn

from scorecam.backends.diagnosis import Diagnosis, Optional
from scorecam.backends.opener import Opener, Options, Path
from scorecam.backends.pytorch.opening import Built, torch_model
from scorecam.backends.weights import classes_of, load_state
from scorecam.backends.zoo.weights import state_of, with_fitting_names
from scorecam.base.wording import quoted, reason
from scorecam.errors import MissingExtra, ModelError, WeightsError, did_you_mean
from scorecam.images.preprocess import Preprocess
from scorecam.model.model import Model

PREFIX = "torchvision:"


def _takes(given: Any) -> bool:
    return isinstance(given, str) and given.startswith(PREFIX) and given != PREFIX


def _open(spec: str, options: Options) -> Model:
    return torch_model(_built(spec.removeprefix(PREFIX), options.weights), spec, options)


def _diagnosis() -> Diagnosis:
    return Diagnosis(
        optional=[Optional("torchvision", "torchvision:NAME models", "pip install torchvision")]
    )


OPENER = Opener(
    "torchvision:NAME (such as torchvision:resnet50)", _takes, _open, diagnosis=_diagnosis
)


def _built(name: str, weights: Path | None) -> Built:
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
            do="Pass a file with weights= (--weights), such as one that torchvision saved in "
            '~/.cache/torch/hub/checkpoints; or "random" for an untrained network.',
        )
    state = state_of(weights)

    def make(classes: int) -> nn.Module:
        untouched = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        options: dict[str, Any] = {"weights": None, "num_classes": classes, **untouched}
        return models.get_model(name, **options)

    classes = classes_of(state, make)
    module = make(classes)
    remarks = load_state(module, state)
    entries: list[Any] = list(models.get_model_weights(name))
    own = [entry for entry in entries if entry.url.endswith(f"/{pathlib.Path(weights).name}")]
    entry = (own or entries)[0]
    if not own:
        remarks.append(f"Photos are preprocessed as for torchvision's {entry}; see --preprocess.")
    names = tuple(entry.meta["categories"])
    built = Built(module, _from_transforms(entry.transforms()), names, tuple(remarks))
    return with_fitting_names(built, classes)


def _from_transforms(transforms: Any) -> Preprocess:
    """A classification preset of torchvision as a `Preprocess`."""
    side, shorter = transforms.crop_size[0], transforms.resize_size[0]
    return Preprocess(
        size=(side, side),
        fit="resize_crop",
        fraction=side / shorter,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
    )
