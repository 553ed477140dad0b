"""A photo as the model sees it: what is explained, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from scorecam.bank.bank import ScoreBank
from scorecam.cam import probabilities
from scorecam.datasets.sample import Label, Sample
from scorecam.datasets.selection import share
from scorecam.errors import ModelError
from scorecam.images.photo import read
from scorecam.images.preprocess import Preprocess
from scorecam.methods.method import Method
from scorecam.metrics.metric import Metric, Truth
from scorecam.model.model import Model
from scorecam.model.scorer import Scorer
from scorecam.settings import Settings
from scorecam.shapes import Image

SMALL_MASK, SMALL_BOX = 0.11, 0.25
"""An object is small where its mask, or else its boxes, cover at most this much of the photo."""


@dataclass(frozen=True)
class Setup:
    """How photos are explained and judged.

    Args:
        model: what is explained.
        layer: by name.
        methods, metrics: which.
        columns: the model's column of each class of the data set.
        target: what is explained: the labelled class where it is known, or the predicted one.
        settings: of Score-CAM. Its runtime and precision are not "auto", so that every photo gets
            the same; its masking also defines the empty image; its seed is for all methods.
        fill: what a muted pixel shows in the measures: "run": as in Score-CAM's masking; "black".
    """

    model: Model
    layer: str
    methods: tuple[Method, ...]
    metrics: tuple[Metric, ...]
    columns: Mapping[Label, int] = field(default_factory=dict[Label, int])
    target: str = "label"
    settings: Settings = field(default_factory=Settings)
    fill: str = "run"

    @property
    def asking(self) -> Method | None:
        """The first method that asks about masks: the one whose answers are kept."""
        return next((each for each in self.methods if "variant" in each.settings), None)

    def aim(self, method: Method | None) -> str:
        """The variant whose map a method's bank is asked for."""
        if self.settings.exact or method is None:
            return "official"
        return str(method.settings.get("variant", "official"))

    def canvas(self, image: Image) -> Image:
        """The empty image of the measures."""
        if self.fill == "run" or self.model.preprocess is None:
            return self.settings.masking.fill_like(image)
        return self.model.preprocess.black().to(image).expand_as(image)


@dataclass(eq=False)
class Subject:
    """A photo as the model sees it, and what is known of it.

    Args:
        size: the photo's, (width, height).
        image: `c h w`, preprocessed.
        target, predicted, labelled: columns; the last None where the class is not known.
        truth: where the object is, in the input.
        share: what part of the photo it takes; None where nobody said.
        group: "small" or "large", by that.
        remarks: what of the photo was not read as it is stored.
        banks: what was asked about it so far, by the variant that a reduced budget aims at.
    """

    sample: Sample
    size: tuple[int, int]
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
        """Images put to the model so far, but for what methods do on their own."""
        return self.scorer.asked + sum(
            bank.provenance.forward_passes for bank in self.banks.values()
        )


def look(sample: Sample, setup: Setup) -> Subject:
    """Read a photo and put it to the model.

    Raises:
        PhotoError, DatasetError, ModelError, MemoryShortage: it cannot be.
    """
    if sample.failure is not None:
        raise sample.failure
    preprocess = setup.model.preprocess
    if preprocess is None:
        raise ModelError(
            "How a photo becomes this model's input is not known.",
            do="Give preprocess= (--preprocess).",
        )
    read_as = read(sample.path)
    photo = read_as.image
    image = preprocess(photo).to(setup.model.device)
    scorer = Scorer(
        setup.model,
        image,
        fill=setup.settings.masking.fill_like(image),
        speed=setup.settings.speed,
        batch_size=setup.settings.batch_size,
    )
    if not scorer.columns.isfinite().all():
        raise ModelError("The model answers this photo with NaN or infinity.")
    predicted = int(scorer.columns.argmax())
    own = None if sample.label is None else setup.columns.get(sample.label)
    target = own if setup.target == "label" and own is not None else predicted
    truth, covered, group = _truth(sample, preprocess, photo.size, explained=target == own)
    if own is None:
        truth = Truth(why="The photo's class is not known, or is none of the model's.")
    return Subject(
        sample,
        photo.size,
        image,
        scorer,
        target,
        predicted,
        own,
        truth,
        covered,
        group,
        read_as.remarks,
    )


def _truth(
    sample: Sample, preprocess: Preprocess, size: tuple[int, int], *, explained: bool
) -> tuple[Truth, float | None, str | None]:
    """Where the object is in the input, its share of the photo, and whether that is small.

    Args:
        size: of the photo, (width, height).
        explained: whether the labelled class is the one that is explained.
    """
    mask = None if sample.mask is None else sample.mask()
    boxes = sample.boxes(sample.label)
    covered = group = None
    if mask is not None:
        covered = float(mask.mean())
    elif boxes:
        covered = share(boxes, size)
    if covered is not None:
        group = "small" if covered <= (SMALL_BOX if mask is None else SMALL_MASK) else "large"
    if not explained:
        return Truth(why="The explained class is not the labelled one."), covered, group
    truth = Truth(
        preprocess.boxes_to_input(torch.tensor(boxes, dtype=torch.float32), size)
        if boxes
        else None,
        None if mask is None else preprocess.mask_to_input(mask),
        "No box of this class." if boxes == [] else "The data set says not where the object is.",
    )
    return truth, covered, group


def column(subject: Subject, index: int) -> dict[str, Any]:
    """A column of the model as a record."""
    head = subject.scorer.head
    said = probabilities(subject.scorer.columns[None], head)[0]
    names = subject.scorer.names
    return {
        "index": index,
        "name": names[index] if names is not None and len(names) == len(said) else None,
        "probability": None if head == "value" else float(said[index]),
    }
