"""Puts masks to a model, and keeps the answers.

Masks are built a batch at a time, straight into one buffer that every batch reuses: at no time do
all the masks exist, or a second copy of a batch. The masks of several images share batches. When
memory runs out the batch is halved and asked again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from scorecam import cam
from scorecam.bank import Provenance, ScoreBank
from scorecam.cam import Masking
from scorecam.errors import MemoryShortage, ModelError, SettingError
from scorecam.model import (
    Head,
    Model,
    looks_like_probabilities,
    memory_errors_translated,
    two_names,
    two_sided,
)
from scorecam.shapes import Activations, BatchedScores, Columns, Image, Images

BatchSize = int | Literal["auto"]

STRONGER = 1024.0
"""How many times as strong an input must be to drive small logits out of [0, 1]."""

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a computation has come.

    Args:
        done: masked images, and the empty one, scored so far.
        total: of how many.
    """

    done: int
    total: int


OnProgress = Callable[[Progress], None]


def score(
    model: Model,
    images: Images,
    layer: str,
    masking: Masking,
    *,
    batch_size: BatchSize = "auto",
    progress: OnProgress | None = None,
    accept: Callable[[int, Columns], object] | None = None,
) -> list[ScoreBank]:
    """Ask the model about the mask of every live channel, for each image.

    Costs one pass per image, one for the fill, and one per live channel of each image; two more per
    image where every answer lies in [0, 1] and the head has to be found out.

    Args:
        images: `b c *i`, preprocessed.
        layer: the name of the layer whose maps become masks.
        masking: how they do.
        batch_size: images per pass; "auto" starts from what suits the device.
        progress: called before the first masked batch and after each.
        accept: called with each image's number and scores before any mask is asked about; what it
            raises ends the computation before it costs anything.

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
    batches = _Batches(_first_batch_size(batch_size, images))
    subjects = [
        subject
        for part in batches.over(len(images), lambda part: _look(model, images[part], layer))
        for subject in part
    ]
    _check_names(model, len(subjects[0].scores))
    if accept is not None:
        for number, subject in enumerate(subjects):
            accept(number, subject.scores)
    questions = _Questions(subjects, masking)
    answers = list(batches.over(len(questions), _asker(model, questions, batches, progress)))
    fill, *scores = torch.cat(answers).split(questions.lengths)
    seconds = (time.perf_counter() - began) / len(images)

    def bank(subject: _Subject, asked: Tensor, scores: BatchedScores) -> ScoreBank:
        said = torch.cat([subject.scores[None], fill, scores])
        head, probes = _head(model, subject.image, said, batches)
        provenance = Provenance(
            model=model.spec,
            device=str(model.device),
            precision=model.precision,
            forward_passes=2 + len(asked) + probes,
            batch_size=batches.size,
            seconds=seconds,
        )
        return ScoreBank(
            activations=subject.activations,
            asked=asked,
            scores=two_sided(scores, head),
            image_scores=two_sided(subject.scores[None], head)[0],
            fill_scores=two_sided(fill, head)[0],
            size=tuple(subject.image.shape[1:]),
            masking=masking,
            head=head,
            names=two_names(model.names, len(subject.scores), head),
            layer=layer,
            provenance=provenance,
        )

    return [bank(*each) for each in zip(subjects, questions.asked, scores, strict=True)]


@dataclass(frozen=True)
class _Subject:
    """One image, the maps that become its masks, and what the model says of it unmasked."""

    image: Image
    activations: Activations
    scores: Columns


def _look(model: Model, images: Images, layer: str) -> list[_Subject]:
    activations, scores = model.activations(images, layer)
    if not scores.isfinite().all():
        raise ModelError(
            "The model answers the unmasked image with NaN or infinity.",
            likely="Its weights may hold NaN, it may overflow in half precision, or the image may "
            "not be preprocessed as the model expects.",
            do="Check model(x) on this image; try float32 weights.",
        )
    return [_Subject(*each) for each in zip(images, activations, scores, strict=True)]


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


class _Questions:
    """All masked images, in order and by number: the fill first, then every subject's masks."""

    def __init__(self, subjects: Sequence[_Subject], masking: Masking) -> None:
        self.subjects = subjects
        self.masking = masking
        self.size = tuple(subjects[0].image.shape[1:])
        self.fill = masking.fill_like(subjects[0].image)
        self.asked = [
            cam.live(subject.activations, self.size, masking).nonzero()[:, 0]
            for subject in subjects
        ]
        self.lengths = [1, *(len(asked) for asked in self.asked)]

    def __len__(self) -> int:
        return sum(self.lengths)

    def write(self, part: slice, buffer: Images) -> None:
        """Write the masked images numbered `part` into `buffer`."""
        if part.start == 0:
            buffer[0] = self.fill
        begin = 1
        for subject, asked in zip(self.subjects, self.asked, strict=True):
            end = begin + len(asked)
            start, stop = max(part.start, begin), min(part.stop, end)
            if start < stop:
                maps = subject.activations[asked[start - begin : stop - begin]]
                masks = cam.masks(maps, self.size, self.masking)
                rows = buffer[start - part.start : stop - part.start]
                cam.blend(subject.image, masks, self.fill, out=rows)
            begin = end


def _asker(
    model: Model, questions: _Questions, batches: _Batches, progress: OnProgress | None
) -> Callable[[slice], BatchedScores]:
    """A function that asks the questions of one slice, in a buffer it keeps for the next."""
    buffer: Tensor | None = None

    def ask(part: slice) -> BatchedScores:
        nonlocal buffer
        if part.start == 0 and progress is not None:
            progress(Progress(0, len(questions)))
        rows = part.stop - part.start
        if buffer is None or len(buffer) > batches.size:
            buffer = None  # freed before its smaller successor is made
            image = questions.subjects[0].image
            buffer = image.new_empty(rows, *image.shape)
        questions.write(part, buffer[:rows])
        scores = model.scores(buffer[:rows])
        if progress is not None:
            progress(Progress(part.stop, len(questions)))
        return scores

    return ask


class _Batches:
    """Slices of at most `size`, halved whenever the work on one runs out of memory."""

    def __init__(self, size: int) -> None:
        self.size = size

    def over(self, total: int, work: Callable[[slice], T]) -> Iterator[T]:
        start = 0
        while start < total:
            part = slice(start, min(start + self.size, total))
            try:
                with memory_errors_translated():
                    result = work(part)
            except MemoryShortage as shortage:
                self.size = (part.stop - part.start) // 2
                if self.size == 0:
                    raise MemoryShortage(
                        "Memory ran out on a single masked image.",
                        do="Use a smaller input, a smaller model, or another device.",
                    ) from shortage
                continue
            yield result
            start = part.stop


def _first_batch_size(asked: BatchSize, images: Images) -> int:
    """The batch size to start from: the user's, or about the memory of 32 photos of 224 × 224."""
    if asked == "auto":
        photos = 128 if images.is_cuda else 32
        return max(1, min(256, photos * 224**2 // math.prod(images.shape[2:])))
    if isinstance(asked, bool) or not isinstance(asked, int | np.integer) or asked < 1:
        raise SettingError(
            f"batch_size={asked!r} is not a whole number of at least 1, or 'auto'.",
            do="Leave it out: memory is found out about as it goes.",
        )
    return int(asked)


def _head(model: Model, image: Image, said: BatchedScores, batches: _Batches) -> tuple[Head, int]:
    """What the scores are, and the passes it cost to find out.

    Probabilities never leave [0, 1]. Small logits may happen to lie there too, even to sum to one;
    a much stronger input tells, since only a bounded output stays in range.

    Args:
        image: one input.
        said: everything the model has said of it, `b n`.
    """
    unbounded: Head = "sigmoid" if said.shape[1] == 1 else "logits"
    if model.head != "auto":
        return unbounded if model.head == "logits" else model.head, 0
    said = said[said.isfinite().all(dim=1)]
    if not looks_like_probabilities(said):
        return unbounded, 0
    strong = torch.stack([image * STRONGER, image * -STRONGER])
    answers = torch.cat(list(batches.over(len(strong), lambda part: model.scores(strong[part]))))
    answers = answers[~answers.isnan().any(dim=1)]  # half precision overflows
    return ("probabilities" if looks_like_probabilities(answers) else unbounded), len(strong)
