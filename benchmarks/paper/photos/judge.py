"""EfficientNet-Lite0 as the judge of what a photo shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from scorecam import open_model
from scorecam.cam import probabilities


class Judge:
    """The class probabilities of photos, `n 1000`: of the centre crop, or of the whole photo."""

    def __init__(self) -> None:
        self._model = open_model("lite0")
        own = self._model.preprocess
        if own is None:
            raise RuntimeError("lite0 has no preprocessing.")
        # The photos were first chosen with the constants 127/255 and 128/255 rounded to three
        # decimals. The same rounding chooses the same photos again.
        self._middle = replace(own, mean=(0.498,) * 3, std=(0.502,) * 3)
        self._whole = replace(self._middle, fit="squash")

    def __call__(self, photos: Sequence[Image.Image], *, whole: bool = False) -> Tensor:
        preprocess = self._whole if whole else self._middle
        images = torch.stack([preprocess(photo) for photo in photos])
        return probabilities(self._model.scores(images), "logits")
