"""EfficientNet-Lite0, which says what it recognises in a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from scorecam import open_model
from scorecam.cam import probabilities


class Judge:
    """Gives the probabilities (n 1000) of photos: of their middle, or of the whole squeezed."""

    def __init__(self) -> None:
        self._model = open_model("lite0")
        own = self._model.preprocess
        if own is None:
            raise RuntimeError("lite0 comes with its preprocessing")
        # The photos were first chosen with the constants 127/255 and 128/255 rounded to three
        # decimals. To choose the same ones again, stay with that.
        self._middle = replace(own, mean=(0.498,) * 3, std=(0.502,) * 3)
        self._whole = replace(self._middle, fit="squash")

    def __call__(self, photos: Sequence[Image.Image], *, whole: bool = False) -> Tensor:
        preprocess = self._whole if whole else self._middle
        images = torch.stack([preprocess(photo) for photo in photos])
        return probabilities(self._model.scores(images), "logits")
