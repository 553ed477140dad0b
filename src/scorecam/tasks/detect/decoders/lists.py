"""The lists of torchvision's detectors: a dict of boxes, labels and scores per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeGuard, cast

import torch
from torch import Tensor

from scorecam.tasks.detect.decoder import KnownForm, RawOutput, changed, unfit
from scorecam.tasks.detect.detections import Detections

KEYS = ("boxes", "labels", "scores")


@dataclass(frozen=True)
class Lists(KnownForm):
    """torchvision's detectors, and post-processed outputs of transformers."""

    name: ClassVar[str] = "torchvision"
    form: ClassVar[str] = "a list with a dict of boxes, labels and scores per image"
    final: ClassVar[bool] = True

    @classmethod
    def fits(cls, raw: RawOutput) -> bool:
        return _is_list(raw.output)

    @classmethod
    def of(cls, raw: RawOutput) -> Self:
        if not _is_list(raw.output):
            raise unfit(cls, raw)
        return cls()

    def decode(self, output: Any) -> Detections:
        if not _is_list(output):
            raise changed(output)
        most = max(len(image["scores"]) for image in output)
        boxes, labels, scores = ([_padded(image[key], most) for image in output] for key in KEYS)
        return Detections(
            torch.stack(boxes).float(), torch.stack(scores)[..., None], labels=torch.stack(labels)
        )

    @property
    def found(self) -> str:
        return "boxes in pixels after non-maximum suppression"


def _is_list(output: Any) -> TypeGuard[Sequence[Mapping[str, Tensor]]]:
    if not isinstance(output, Sequence) or isinstance(output, str) or not output:
        return False
    images = cast("Sequence[Any]", output)
    return all(isinstance(image, Mapping) and all(key in image for key in KEYS) for image in images)


def _padded(rows: Tensor, most: int) -> Tensor:
    """The rows, followed by rows of zeros, which are boxes without an area."""
    return torch.cat([rows, rows.new_zeros(most - len(rows), *rows.shape[1:])])
