"""Looking for layers without an image: an empty one in the size that the model takes."""

from __future__ import annotations

import torch

from scorecam.errors import SettingError, TargetError
from scorecam.model.model import Inputs, Model
from scorecam.scoring.banks import fitted_image
from scorecam.shapes import Images


def blank(model: Model) -> Inputs:
    """Inputs of the only size that is known.

    Raises:
        SettingError: none is.
    """
    blank = model.blank()
    if blank is not None:
        return blank
    preprocess = model.preprocess
    if preprocess is not None:
        return torch.zeros(1, len(preprocess.mean), *preprocess.size, dtype=torch.float32)
    raise SettingError(
        "A layer's grid depends on the size of the input, which is not known.",
        do="Give an image, scorecam.layers(model, torch.zeros(3, 224, 224)); or the model's "
        "preprocessing (--preprocess).",
    )


def with_columns(model: Model, images: Images, *, blank: bool) -> Model:
    """The model with the columns that its task finds; itself without a task.

    Raises:
        TargetError: the task finds nothing.
    """
    try:
        return model if model.task is None else fitted_image(model, images, None, run=False)[1]
    except TargetError as error:
        if not blank:
            raise
        raise TargetError(
            error.what,
            likely="No image was given, so the task looked at an empty one.",
            do="Give an image with something to explain (--image).",
        ) from error
