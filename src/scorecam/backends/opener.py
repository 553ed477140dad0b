"""How `open_model` opens each kind of model: one `Opener` per file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from PIL import Image

from scorecam.backends.diagnosis import Diagnosis
from scorecam.base.wording import excerpt
from scorecam.cam import Head
from scorecam.errors import SettingError
from scorecam.images.preprocess import Preprocess
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.reading import AS_STATED, Reading
from scorecam.images.transform import Transform
from scorecam.model.labels import Labels
from scorecam.model.model import Model
from scorecam.model.readout import Readout

Path = str | os.PathLike[str]

PhotoFunction = Callable[[Image.Image], Any]
"""A user's transform from a photo to a tensor."""


@dataclass(frozen=True)
class Options:
    """The options of `open_model`, as the user gave them; their meaning is described there."""

    weights: Path | None = None
    preprocess: Path | Preprocessing | PhotoFunction | None = None
    reading: Reading = AS_STATED
    labels: Labels | None = None
    head: Head | Literal["auto"] = "auto"
    output: int | str | Readout | None = None
    masked_input: int | str | None = None
    derived: Mapping[int | str, Callable[[Any], Any]] | None = None
    layout: str | None = None
    reshape: Callable[[Any], Any] | None = None
    device: str | torch.device | None = None
    download: bool = False


def preprocessing_of(value: Path | Preprocessing | PhotoFunction) -> Preprocessing:
    """The user's preprocessing: as it is, around a function, or from a file."""
    if isinstance(value, Preprocessing):
        return value
    return Transform(value) if callable(value) else Preprocess.load(value)


def without_options(model: Model, options: Options) -> Model:
    """The model as it is.

    Raises:
        SettingError: options were given too.
    """
    given = [
        _as_written(option.name)
        for option in fields(options)
        if not _is_default(getattr(options, option.name), option.default)
    ]
    if given:
        raise SettingError(
            f"{excerpt(model.spec)} is open already, so these options cannot be used: "
            f"{', '.join(given)}.",
            likely="These options act when a model is opened.",
            do="Leave them out, or give them where the model is made.",
        )
    return model


def _is_default(value: object, default: object) -> bool:
    return value is default or (default is not None and value == default)


def _as_written(option: str) -> str:
    """An option as users write it, in Python and on the command line."""
    if option == "reading":
        return "bands= (--bands) or window= (--window)"
    if option in ("derived", "layout", "reshape"):  # only in Python
        return f"{option}="
    return f"{option}= (--{option.replace('_', '-')})"


@dataclass(frozen=True)
class Opener:
    """How one kind of model is opened.

    Args:
        specs: what users write for such a model, for error messages; empty if not a string.
        takes: whether this opener can open what the user passed.
        open: opens it. It raises the errors that `open_model` lists.
        names: every spec, if they can be listed.
        diagnosis: returns its lines of `scorecam doctor`.
    """

    specs: str
    takes: Callable[[Any], bool]
    open: Callable[[Any, Options], Model]
    names: tuple[str, ...] = ()
    diagnosis: Callable[[], Diagnosis] = Diagnosis
