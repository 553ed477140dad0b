"""A photo of a run as the model sees it: its scores, its target, and where the object is."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from scorecam.bank.bank import ScoreBank
from scorecam.cam import probabilities
from scorecam.datasets.sample import PhotoMask, Sample
from scorecam.datasets.selection import share
from scorecam.errors import ModelError
from scorecam.images.preprocessing import Preprocessing
from scorecam.metrics.metric import Truth
from scorecam.model.scorer import Scorer
from scorecam.runs.record import ClassScore
from scorecam.runs.setup import Setup
from scorecam.shapes import Image

SMALL_MASK, SMALL_BOX = 0.11, 0.25
"""An object is small if its mask (or, without a mask, its boxes) covers at most this share."""


@dataclass(eq=False)
class PreparedPhoto:
    """A photo that was read and scored.

    Args:
        size: of the photo, (width, height); None for numbers that are used as they are stored.
        image: `c *i`, preprocessed.
        target, predicted, labelled: columns; `labelled` is None if the class is unknown.
        truth: where the object is in the input.
        share: the share of the photo that the object covers; None without an annotation.
        group: "small" or "large", by that share.
        remarks: about how the photo was read.
        banks: by variant, filled as methods need them.
    """

    sample: Sample
    size: tuple[int, int] | None
    image: Image
    scorer: Scorer
    target: int
    predicted: int
    labelled: int | None
    truth: Truth
    share: float | None
    group: str | None
    remarks: tuple[str, ...] = ()
    banks: dict[str, ScoreBank] = field(default_factory=dict[str, ScoreBank])

    @property
    def passes(self) -> int:
        """The number of images scored so far, without those that methods score themselves."""
        return self.scorer.scored + sum(
            bank.provenance.forward_passes for bank in self.banks.values()
        )

    def class_score(self, index: int) -> ClassScore:
        """A column of the model, with its name and probability."""
        head, names = self.scorer.head, self.scorer.names
        every = probabilities(self.scorer.columns[None], head)[0]
        return ClassScore(
            index,
            names[index] if names is not None and len(names) == len(every) else None,
            None if head == "value" else float(every[index]),
        )


def prepare_photo(sample: Sample, setup: Setup) -> PreparedPhoto:
    """Read a photo and score it.

    Raises:
        PhotoError, DatasetError, ModelError, MemoryShortage: it cannot be read or scored.
    """
    if sample.failure is not None:
        raise sample.failure
    preprocess = setup.model.preprocess
    stored = setup.model.read(sample.path)
    image = stored.image.to(setup.model.device)
    size = None if stored.photo is None else stored.photo.size
    scorer = _scorer(setup, image)
    predicted = int(scorer.columns.argmax())
    own = None if sample.label is None else setup.columns.get(sample.label)
    target = own if setup.target == "label" and own is not None else predicted
    mask = None if sample.mask is None else sample.mask()
    covered, group = _share(sample, mask, size)
    if own is None:
        truth = Truth(why="The class of the photo is unknown, or the model does not have it.")
    elif target != own:
        truth = Truth(why="The explained class is not the labelled one.")
    else:
        truth = _truth(sample, mask, preprocess, size)
    return PreparedPhoto(
        sample=sample,
        size=size,
        image=image,
        scorer=scorer,
        target=target,
        predicted=predicted,
        labelled=own,
        truth=truth,
        share=covered,
        group=group,
        remarks=stored.remarks,
    )


def _scorer(setup: Setup, image: Image) -> Scorer:
    """Score the photo itself."""
    scorer = Scorer(
        setup.model,
        image,
        fill=setup.settings.masking.fill_like(image),
        speed=setup.settings.speed,
        batch_size=setup.settings.batch_size,
    )
    if not scorer.columns.isfinite().all():
        raise ModelError("The model's scores for this photo contain NaN or infinity.")
    return scorer


def _share(
    sample: Sample, mask: PhotoMask | None, size: tuple[int, int] | None
) -> tuple[float | None, str | None]:
    """The object's share of the photo, and whether that is small."""
    boxes = sample.boxes(sample.label)
    if mask is not None:
        covered, small = float(mask.mean()), SMALL_MASK
    elif boxes and size is not None:
        covered, small = share(boxes, size), SMALL_BOX
    else:
        return None, None
    return covered, "small" if covered <= small else "large"


def _truth(
    sample: Sample,
    mask: PhotoMask | None,
    preprocess: Preprocessing | None,
    size: tuple[int, int] | None,
) -> Truth:
    """Where the objects of the labelled class are in the input."""
    if preprocess is None or size is None or preprocess.placement(size) is None:
        return Truth(why="It is not known where the model's input is in the photo.")
    boxes = sample.boxes(sample.label)
    return Truth(
        preprocess.boxes_to_input(torch.tensor(boxes, dtype=torch.float32), size)
        if boxes
        else None,
        None if mask is None else preprocess.mask_to_input(mask),
        "No box of this class." if boxes == [] else "No box or mask for this object.",
    )
