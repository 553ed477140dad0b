"""Puts masks to a model, and keeps the answers.

Masks are built a batch at a time, straight into one buffer that every batch reuses: at no time do
all the masks exist, or a second copy of a batch. The masks of several images share batches, and
channels whose masks are the same share an answer. When memory runs out the batch is halved and
asked again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scorecam import cam
from scorecam.bank.bank import Provenance, ScoreBank
from scorecam.base.process import threads
from scorecam.base.wording import LONGEST, constructor, one_line
from scorecam.budget.gaussian_process import Surrogate
from scorecam.budget.plan import Inquiry, Plan
from scorecam.cam import Head, Masking, probabilities
from scorecam.errors import ModelError, SettingError
from scorecam.model.batches import Batches, first_batch_size
from scorecam.model.columns import prediction, two_names, two_sided
from scorecam.model.engine import Engine, Probe
from scorecam.model.head import Found, check_declared, find_head, in_range
from scorecam.model.model import Model
from scorecam.settings import Settings
from scorecam.shapes import (
    Activations,
    BatchedScores,
    Columns,
    Grid,
    Heatmap,
    Image,
    Images,
    Weights,
)


@dataclass(frozen=True)
class Progress:
    """How far a computation has come.

    Args:
        done: masked images, and the empty one, scored so far.
        total: of how many; with a reduced budget, of how many at most.
        heatmap: with a reduced budget, the first image's map as far as it is known (`*i` float32,
            raw); it sharpens from call to call.
    """

    done: int
    total: int
    heatmap: Heatmap | None = None

    __repr__ = constructor


OnProgress = Callable[[Progress], None]


def score(
    model: Model,
    images: Images,
    layer: str,
    settings: Settings,
    *,
    progress: OnProgress | None = None,
    accept: Callable[[int, Columns], int] | None = None,
) -> list[ScoreBank]:
    """Ask the model about the masks of each image: of every live channel, or of a chosen few.

    Costs two passes per image, one for the fill, and one per mask that is asked about, where
    channels whose maps differ in scale alone share a mask. The second pass of an image shares the
    batch of the fill and the first masks: a sound model repeats itself there. Where it does not,
    two more passes tell why. One, two or eight more find out the head, where every answer lies in
    [0, 1]; and a few show that a faster way of running the model agrees with it.

    Args:
        images: `b c *i`, preprocessed.
        layer: the name of the layer whose maps become masks.
        settings: how they do, which masks are scored, and what scores them.
        progress: called before the first masked batch and after each.
        accept: called with each image's number and scores before any mask is asked about; tells
            the column whose map is wanted (the largest, without it). What it raises ends the
            computation before it costs anything.

    Returns:
        One bank per image.

    Raises:
        ModelError: the model fails, or answers an image with numbers that are not finite.
        LayerError: the layer has no grid, or did not run.
        MemoryShortage: not even one image at a time fits.
    """
    began = time.perf_counter()
    if model.device.type == "meta":
        raise ModelError(
            "The model is on the device 'meta', where tensors hold no numbers.",
            do="Give its weights and another device.",
        )
    images = images.detach().to(model.device, torch.float32)
    masking, plan = settings.masking, settings.plan
    batches = Batches(first_batch_size(settings.batch_size, images))
    subjects = [
        subject
        for part in batches.over(
            len(images), lambda part: _look(model, images[part], layer, masking)
        )
        for subject in part
    ]
    looked = (time.perf_counter() - began) / len(images)
    _check_names(model, len(subjects[0].scores))
    check_declared(model.head, torch.stack([subject.scores for subject in subjects]))
    accept = accept or (lambda _number, columns: prediction(columns, model.head))
    columns = [accept(number, subject.scores) for number, subject in enumerate(subjects)]
    wanted = sum(_expected(subject, plan) for subject in subjects)
    probe = _probe(model, subjects[0], masking, wanted, looked)
    engine = model.engine(settings.speed, probe)
    if settings.batch_size == "auto" and engine.batch is not None:
        batches.size = min(batches.size, engine.batch)
    asker = _Asker(engine, masking, batches, progress)

    def head_of(subject: _Subject, said: BatchedScores) -> Found:
        return find_head(model, subject.image, said, batches.of(model))

    if plan is None or all(plan.least >= len(each.first) for each in subjects):
        fill, answers = _everything(asker, subjects, head_of)
    else:
        fill, answers = _chosen(asker, subjects, columns, settings, head_of)
    asker.finished()
    sound = [
        _soundness(engine, subject, fill, answer)
        for subject, answer in zip(subjects, answers, strict=True)
    ]
    seconds = (time.perf_counter() - began) / len(images)

    def bank(subject: _Subject, answer: _Answer, sound: _Soundness) -> ScoreBank:
        head = answer.found.head
        check_declared(model.head, answer.scores)
        provenance = Provenance(
            model=model.spec,
            device=str(model.device),
            precision=engine.precision,
            forward_passes=3
            + len(answer.masks)
            + answer.found.passes
            + sound.passes
            + engine.probed,
            batch_size=batches.size,
            seconds=seconds,
            budget=settings.budget_text,
            runtime=engine.runtime,
            seed=settings.seed if plan is not None else 0,
            remarks=tuple(
                one_line(remark, LONGEST)
                for remark in (*engine.remarks, answer.found.remark)
                if remark
            ),
            unrepeated=sound.unrepeated,
            mixed=sound.mixed,
        )
        # Channels that share a mask share its answer.
        place = torch.full_like(subject.first, -1)
        place[answer.masks] = torch.arange(len(answer.masks), device=place.device)
        place = place[subject.inverse]
        asked = place >= 0
        return ScoreBank(
            activations=subject.activations,
            live=subject.live,
            asked=subject.live[asked],
            scores=two_sided(answer.scores[place[asked]], head),
            image_scores=two_sided(subject.scores[None], head)[0],
            fill_scores=two_sided(fill[None], head)[0],
            size=tuple(subject.image.shape[1:]),
            masking=masking,
            head=head,
            names=two_names(model.names, len(subject.scores), head),
            layer=layer,
            provenance=provenance,
        )

    return [bank(*each) for each in zip(subjects, answers, sound, strict=True)]


# ── which masks ──────────────────────────────────────────────────────────────────────────────


HeadOf = Callable[["_Subject", BatchedScores], Found]
"""Finds out what the scores are, from one image's answers."""


@dataclass(frozen=True)
class _Answer:
    """What was asked about one image, and answered.

    Args:
        masks: numbers of the masks among the image's distinct ones, in the order asked.
        scores: `s n`.
        again: the answer to the unmasked image, asked a second time among others, `n`.
        found: what the scores are.
    """

    masks: Tensor
    scores: BatchedScores
    again: Columns
    found: Found


def _everything(
    asker: _Asker, subjects: Sequence[_Subject], head_of: HeadOf
) -> tuple[Columns, list[_Answer]]:
    """Every mask of every image, in full batches."""
    masks = [torch.arange(len(subject.first)) for subject in subjects]
    asker.total = 1 + sum(map(len, masks))
    first, *answers = asker.ask(list(zip(subjects, masks, strict=True)), first=True)
    fill, again = first[0], first[1:]
    heads = [
        head_of(subject, _said(subject, fill, scores))
        for subject, scores in zip(subjects, answers, strict=True)
    ]
    return fill, [_Answer(*each) for each in zip(masks, answers, again, heads, strict=True)]


def _said(subject: _Subject, fill: Columns, scores: BatchedScores) -> BatchedScores:
    """Everything the model has answered about an image."""
    return torch.cat([subject.scores[None], fill[None], scores])


def _chosen(
    asker: _Asker,
    subjects: Sequence[_Subject],
    columns: Sequence[int],
    settings: Settings,
    head_of: HeadOf,
) -> tuple[Columns, list[_Answer]]:
    """The masks that tell most about each image's map, in rounds that the images share."""
    plan = settings.plan
    assert plan is not None  # noqa: S101  (the caller takes every mask otherwise)
    inquiries = [
        Inquiry(subject.surrogate(settings.seed), subject.scores, (column, settings.variant), plan)
        for subject, column in zip(subjects, columns, strict=True)
    ]
    asker.total = 1 + sum(inquiry.most for inquiry in inquiries)
    asker.heatmap = lambda: subjects[0].heatmap(inquiries[0].weights(), inquiries[0].field())
    first: BatchedScores | None = None
    heads: list[Found] = []
    answers: list[list[BatchedScores]] = [[] for _ in subjects]
    while True:
        # The fill and the image once more share the first round, so that it fits a batch.
        masks = [inquiry.next(spare=2 if first is None else 0) for inquiry in inquiries]
        if first is not None and not any(map(len, masks)):
            break
        found = asker.ask(list(zip(subjects, masks, strict=True)), first=first is None)
        if first is None:
            first = found.pop(0)
            for subject, scores in zip(subjects, found, strict=True):
                heads.append(head_of(subject, _said(subject, first[0], scores)))
        for inquiry, scores, head, kept in zip(inquiries, found, heads, answers, strict=True):
            if len(scores):
                kept.append(scores)
                inquiry.hear(scores, first[0], head.head)
        asker.tell()
    return first[0], [
        _Answer(
            torch.tensor(inquiry.asked, dtype=torch.int64),
            torch.cat([subject.scores.new_zeros(0, first.shape[1]), *kept]),
            again,
            head,
        )
        for inquiry, subject, kept, again, head in zip(
            inquiries, subjects, answers, first[1:], heads, strict=True
        )
    ]


# ── whether it repeats itself ────────────────────────────────────────────────────────────────

ALIKE = 0.01
"""Two answers to one image are the same where they differ by at most this part of the range."""

ROUNDING = {"float16": 4e-3, "bfloat16": 3e-2}
EXACT = 1e-5
"""How far rounding moves an answer, of the largest number in it: by precision, and in float32."""


@dataclass(frozen=True)
class _Soundness:
    """Whether the model gives one image one answer.

    Args:
        unrepeated: how far apart two answers to the image were, of the range of all answers.
        mixed: how far its answer moved among other images in a batch.
        passes: images put to the model to tell the two apart.
    """

    unrepeated: float
    mixed: float
    passes: int = 0


def _soundness(engine: Engine, subject: _Subject, fill: Columns, answer: _Answer) -> _Soundness:
    """Compare the two answers to the image; where they differ, ask it twice more, alone."""
    said = torch.cat([_said(subject, fill, answer.scores), answer.again[None]])
    logits = answer.found.head == "logits"
    rounding = ROUNDING.get(engine.precision, EXACT)

    def apart(one: Columns, other: Columns) -> float:
        return _apart(torch.stack([one, other]), said, rounding, logits=logits)

    moved = apart(subject.scores, answer.again)
    if moved <= ALIKE:
        return _Soundness(moved, moved)
    one, other = (engine.scores(subject.image[None])[0] for _ in range(2))
    unrepeated = apart(one, other)
    # What does not even repeat itself alone says nothing about its batch.
    return _Soundness(unrepeated, 0.0 if unrepeated > ALIKE else apart(one, answer.again), 2)


def _apart(pair: BatchedScores, said: BatchedScores, rounding: float, *, logits: bool) -> float:
    """How far apart two answers are, beyond rounding, of the range of all answers; in [0, 1]."""
    if not pair.isfinite().all():
        return 1.0
    said = torch.cat([pair, said[said.isfinite().all(dim=1)]]).double()
    allowed = rounding * float(said.abs().max())
    if logits:  # what moves all columns alike changes no probability
        said = said - said.mean(dim=1, keepdim=True)
    beyond = float((said[0] - said[1]).abs().max()) - allowed
    if beyond <= 0:
        return 0.0
    return min(1.0, beyond / float((said.amax(dim=0) - said.amin(dim=0)).max()))


def _expected(subject: _Subject, plan: Plan | None) -> int:
    """About how many masks will be asked about."""
    masks = len(subject.first)
    return masks if plan is None else min(masks, plan.expected)


# ── asking ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Subject:
    """One image, the maps that become its masks, and what the model says of it unmasked.

    Args:
        live: the channels that have a mask, `l`.
        first: of those, the first one of every distinct mask, `d`.
        inverse: of those, the number of each one's mask, `l`.
    """

    image: Image
    activations: Activations
    scores: Columns
    live: Tensor
    first: Tensor
    inverse: Tensor

    @property
    def live_maps(self) -> Activations:
        """The maps that have a mask, `l *g`."""
        return self.activations[self.live]

    def surrogate(self, seed: int) -> Surrogate:
        """What predicts the scores of masks that were not asked."""
        return Surrogate(self.live_maps, self.first, self.inverse, seed)

    def heatmap(self, weights: Weights, field: Grid | None) -> Heatmap:
        """The map made with one weight per distinct mask, and held against a field."""
        return cam.heatmap(self.live_maps, weights[self.inverse], self.image.shape[1:], field)

    def masks_of(self, masks: Tensor) -> Activations:
        """The maps behind the masks of these numbers."""
        return self.activations[self.live[self.first[masks]]]


def _look(model: Model, images: Images, layer: str, masking: Masking) -> list[_Subject]:
    activations, scores = model.activations(images, layer)
    if not scores.isfinite().all():
        raise ModelError(
            "The model answers the unmasked image with NaN or infinity.",
            likely="Its weights may hold NaN, it may overflow in half precision, or the image may "
            "not be preprocessed as the model expects.",
            do="Check model(x) on this image; try float32 weights.",
        )
    size = images.shape[2:]
    subjects: list[_Subject] = []
    for image, maps, columns in zip(images, activations, scores, strict=True):
        live = cam.live(maps, size, masking).nonzero()[:, 0]
        masks = cam.distinct(maps[live], masking)
        subjects.append(_Subject(image, maps, columns, live, *masks))
    return subjects


PROBES = 4


def _probe(model: Model, subject: _Subject, masking: Masking, passes: int, seconds: float) -> Probe:
    """A few of the image's masks and the image itself, for faster engines to show themselves on."""
    some = torch.linspace(0, max(0, len(subject.first) - 1), PROBES).long().unique()
    maps = subject.masks_of(some[: len(subject.first)])
    shown = torch.cat([maps, subject.activations.mean(dim=0, keepdim=True)])

    def masked() -> Images:
        images = subject.image.new_empty(len(maps), *subject.image.shape)
        made = cam.masks(maps, subject.image.shape[1:], masking)
        cam.blend(subject.image, made, masking.fill_like(subject.image), images)
        return images

    column = int(subject.scores.argmax())

    def heatmap(scores: BatchedScores, head: Head) -> Tensor:
        weights = probabilities(scores, head)[:, column]
        return cam.scaled(cam.weighted_sum(shown, weights).relu())

    def distance(one: BatchedScores, other: BatchedScores) -> float:
        head: Head = "logits" if one.shape[1] > 1 else "sigmoid"
        if model.head != "auto":
            head = model.head
        elif in_range(one):
            head = "probabilities"
        found = float((heatmap(one, head) - heatmap(other, head)).abs().max())
        return math.inf if math.isnan(found) else found

    return Probe(subject.image, masked, passes, seconds, distance)


def _check_names(model: Model, columns: int) -> None:
    if columns == 1 and model.head != "value" and len(model.names or ()) <= 2:
        return  # a yes-or-no answer has two names for its one column
    if model.names is not None and len(model.names) != columns:
        raise SettingError(
            f"There are {len(model.names)} class names, but the model has {columns} columns.",
            likely="The names may belong to another model, or the file may have a header or an "
            "empty line.",
            do="Give one name per column with labels= (--labels), in the model's order.",
        )


class _Asker:
    """Puts masked images to an engine, a batch at a time, in a buffer it keeps."""

    def __init__(
        self, engine: Engine, masking: Masking, batches: Batches, progress: OnProgress | None
    ) -> None:
        self.engine = engine
        self.masking = masking
        self.batches = batches
        self.progress = progress
        self.done = self.total = 0
        self.heatmap: Callable[[], Heatmap] | None = None
        self._buffer: Tensor | None = None

    def ask(
        self, questions: Sequence[tuple[_Subject, Tensor]], *, first: bool
    ) -> list[BatchedScores]:
        """The scores of each image's masks, by number.

        Args:
            first: whether to ask before them, in the same batches, about the fill and once more
                about each unmasked image; their scores come first.
        """
        unmasked = 1 + len(questions) if first else 0
        lengths = [unmasked, *(len(masks) for _, masks in questions)]
        if self.done == 0:
            self.tell()

        def work(part: slice) -> BatchedScores:
            with threads(self.engine.beside):
                rows = self._write(part, questions, unmasked)
            scores = self.engine.scores(rows)
            second_looks = min(part.stop, unmasked) - max(part.start, 1)
            self.done += len(rows) - max(0, second_looks)
            if self.heatmap is None:
                self.tell()
            return scores

        answers = torch.cat(list(self.batches.over(sum(lengths), work)))
        return list(answers.split(lengths))[0 if first else 1 :]

    def tell(self) -> None:
        """Report how far it has come."""
        if self.progress is not None:
            heatmap = self.heatmap() if self.heatmap is not None and self.done else None
            self.progress(Progress(self.done, self.total, heatmap))

    def finished(self) -> None:
        """What was asked was all: with a reduced budget, it may be less than at most."""
        if self.done < self.total:
            self.total = self.done
            self.tell()

    def _write(
        self, part: slice, questions: Sequence[tuple[_Subject, Tensor]], unmasked: int
    ) -> Images:
        """The images numbered `part` of all questions: the fill, the images, the masked images."""
        image = questions[0][0].image
        muted = self.masking.fill_like(image)
        rows = self._rows(part.stop - part.start, image)
        for number in range(part.start, min(part.stop, unmasked)):
            rows[number - part.start] = questions[number - 1][0].image if number else muted
        begin = unmasked
        for subject, masks in questions:
            end = begin + len(masks)
            start, stop = max(part.start, begin), min(part.stop, end)
            if start < stop:
                maps = subject.masks_of(masks[start - begin : stop - begin])
                made = cam.masks(maps, image.shape[1:], self.masking)
                cam.blend(subject.image, made, muted, rows[start - part.start : stop - part.start])
            begin = end
        return rows

    def _rows(self, count: int, image: Image) -> Images:
        if self._buffer is None or not count <= len(self._buffer) <= self.batches.size:
            self._buffer = None  # freed before its successor is made
            self._buffer = torch.empty(
                (count, *image.shape),
                dtype=image.dtype,
                device=image.device,
                memory_format=self.engine.layout,
            )
        return self._buffer[:count]
