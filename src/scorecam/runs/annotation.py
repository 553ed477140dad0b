"""The annotation of a photo, in pixels of the model's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from scorecam.datasets.sample import Box, PhotoMask, Sample, Thing
from scorecam.datasets.selection import share
from scorecam.images.preprocessing import Preprocessing
from scorecam.metrics.localisation import covered
from scorecam.metrics.metric import Boxes, Truth

SMALL_MASK, SMALL_BOX = 0.11, 0.25
"""An object is small if its mask (or, without a mask, its boxes) covers at most this share."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """Where the objects of the labelled class are in a photo.

    Args:
        sample: the photo.
        mask: of all objects of its class; None without one.
        preprocess: how the photo became the input.
        size: of the photo, (width, height); None for numbers that are used as they are stored.
    """

    sample: Sample
    mask: PhotoMask | None
    preprocess: Preprocessing | None
    size: tuple[int, int] | None

    @property
    def placed(self) -> bool:
        """Whether it is known where the input is in the photo."""
        if self.preprocess is None or self.size is None:
            return False
        return self.preprocess.placement(self.size) is not None

    def in_input(self, boxes: Sequence[Box]) -> Boxes:
        """Boxes of the photo in pixels of the input; see `placed`."""
        assert self.preprocess is not None and self.size is not None  # noqa: S101, PT018
        return self.preprocess.boxes_to_input(
            torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), self.size
        )

    @property
    def truth(self) -> Truth:
        """Where all objects of the labelled class are in the input."""
        boxes = self.sample.boxes(self.sample.label)
        return self._truth(boxes, self.mask, "No box of this class." if boxes == [] else "")

    def truth_of(self, thing: Thing) -> Truth:
        """Where one annotated object is in the input: its mask is the part inside its box."""
        return self._truth([thing.box], self._mask_of(thing), "")

    def share(self, thing: Thing | None) -> tuple[float | None, str | None]:
        """The share of the photo that an object covers, and whether that is small.

        Args:
            thing: the object; None for all objects of the labelled class.
        """
        mask = self.mask if thing is None else self._mask_of(thing)
        boxes = self.sample.boxes(self.sample.label) if thing is None else [thing.box]
        if mask is not None:
            covered, small = float(mask.mean()), SMALL_MASK
        elif boxes and self.size is not None:
            covered, small = share(boxes, self.size), SMALL_BOX
        else:
            return None, None
        return covered, "small" if covered <= small else "large"

    def _mask_of(self, thing: Thing) -> PhotoMask | None:
        if self.mask is None or thing.label != self.sample.label:
            return None
        height, width = self.mask.shape
        inside = covered(torch.tensor([thing.box], dtype=torch.float32), (height, width)) >= 0.5
        return self.mask & inside.numpy()

    def _truth(self, boxes: Sequence[Box] | None, mask: PhotoMask | None, why: str) -> Truth:
        if not self.placed:
            return Truth(why="It is not known where the model's input is in the photo.")
        assert self.preprocess is not None  # noqa: S101  (as it is placed)
        return Truth(
            self.in_input(boxes) if boxes else None,
            None if mask is None else self.preprocess.mask_to_input(mask),
            why or "No box or mask for this object.",
        )
