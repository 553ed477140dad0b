"""A photo of a run as the model sees it: its scores, its target, and where the object is."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from scorecam.bank.bank import ScoreBank
from scorecam.cam import probabilities
from scorecam.datasets.sample import Sample
from scorecam.errors import ModelError
from scorecam.model.model import Model
from scorecam.model.scorer import Scorer
from scorecam.runs.annotation import Annotation
from scorecam.runs.answer import Answer, of_class, of_task
from scorecam.runs.record import ClassScore
from scorecam.runs.setup import Setup
from scorecam.shapes import Image


@dataclass(eq=False)
class PreparedPhoto:
    """A photo that was read and scored.

    Args:
        size: of the photo, (width, height); None for numbers that are used as they are stored.
        image: `c *i`, preprocessed.
        answer: what is explained, and by which model: a task has other columns for each photo.
        share: the share of the photo that the object covers; None without an annotation.
        group: "small" or "large", by that share.
        remarks: about how the photo was read.
        names: of all columns or classes of the model, if it has a task; see `Setup`.
        banks: by variant, filled as methods need them.
    """

    sample: Sample
    size: tuple[int, int] | None
    image: Image
    answer: Answer
    scorer: Scorer
    share: float | None
    group: str | None
    remarks: tuple[str, ...] = ()
    names: Sequence[str] = ()
    banks: dict[str, ScoreBank] = field(default_factory=dict[str, ScoreBank])

    @property
    def model(self) -> Model:
        """The model, with the columns of this photo if it has a task."""
        return self.answer.model

    @property
    def target(self) -> int:
        """The explained column."""
        return self.answer.target

    @property
    def box(self) -> tuple[float, ...] | None:
        """The box of the target, x1 y1 x2 y2 in pixels of the photo; None without one."""
        found, preprocess = self.model.task_columns, self.model.preprocess
        if found is None or found.boxes is None or preprocess is None or self.size is None:
            return None
        box, placement = found.boxes[self.target], preprocess.placement(self.size)
        if placement is None or not box.isfinite().all():
            return None
        return tuple(round(edge, 2) for edge in placement.box_to_photo(box.tolist()))

    @property
    def passes(self) -> int:
        """The number of images scored so far, without those that methods score themselves."""
        return self.scorer.scored + sum(
            bank.provenance.forward_passes for bank in self.banks.values()
        )

    def class_score(self, index: int) -> ClassScore:
        """A column of the model, with its name and probability; of a box, its class."""
        found = self.model.task_columns
        if found is not None and found.classes is not None:
            return ClassScore(*found.classes[index], None)
        head, names = self.scorer.head, self.scorer.names
        every = probabilities(self.scorer.columns[None], head)[0]
        name = names[index] if names is not None and len(names) == len(every) else None
        number = index if found is None or name is None else _number(name, self.names)
        return ClassScore(number, name, None if head == "value" else float(every[index]))


def _number(name: str, names: Sequence[str]) -> int:
    """The index of a column that a task named: the same for one name in all photos of a run."""
    return names.index(name) if name in names else len(names) + zlib.crc32(name.encode()) % 2**30


def prepare_photo(sample: Sample, setup: Setup) -> PreparedPhoto:
    """Read a photo and score it.

    Raises:
        PhotoError, DatasetError, ModelError, MemoryShortage: it cannot be read or scored.
        ObjectNotFound: the model's task does not find the object.
    """
    if sample.failure is not None:
        raise sample.failure
    stored = setup.model.read(sample.path)
    image = stored.image.to(setup.model.device)
    size = None if stored.photo is None else stored.photo.size
    mask = None if sample.mask is None else sample.mask()
    annotation = Annotation(sample, mask, setup.model.preprocess, size)
    if setup.model.task is None:
        scorer = _scorer(setup, setup.model, image)
        answer = of_class(setup, annotation, int(scorer.columns.argmax()))
    else:
        answer = of_task(setup, annotation, image)
        scorer = _scorer(setup, answer.model, image)
    covered, group = annotation.share(answer.thing)
    return PreparedPhoto(
        sample=sample,
        size=size,
        image=image,
        answer=answer,
        scorer=scorer,
        share=covered,
        group=group,
        remarks=stored.remarks,
        names=setup.names or (),
    )


def _scorer(setup: Setup, model: Model, image: Image) -> Scorer:
    """Score the photo itself."""
    scorer = Scorer(
        model,
        image,
        fill=setup.settings.masking.fill_like(image),
        speed=setup.settings.speed,
        batch_size=setup.settings.batch_size,
    )
    if not scorer.columns.isfinite().all():
        raise ModelError("The model's scores for this photo contain NaN or infinity.")
    return scorer
