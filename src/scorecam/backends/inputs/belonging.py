"""Which of a network's other inputs belong to single images, and which are shared by all.

A tensor as long as the batch may have a row for each image, or be a table that happens to have that
length. A few passes decide: the network is run again on some of the images, or on copies of a
single one. It repeats its output only if the input is interpreted correctly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorecam.backends.inputs.call import Call, may_belong, one_by_one, whole
from scorecam.backends.inputs.structure import Key
from scorecam.base.wording import quoted
from scorecam.errors import MemoryShortage, ModelError, ScorecamError, SettingError
from scorecam.shapes import BatchedScores, Images

GENERAL = (
    "The model may expect another number of colours or another image size.",
    "Check that model(x) itself works on such a batch; if not, batch_size=1 (--batch-size).",
)
"""The cause and the advice if nothing else is known."""

MOST_COMBINED = 4
"""Up to this many unclear inputs, all combinations are tried; beyond it, only all and none."""

MIXED, ALONE = ((0, 0, 1),), ((0, 0), (1, 1))
"""Batches of image indexes: first two images in one batch, then each image without the other."""

ScoreImages = Callable[[Call, Images], BatchedScores]
"""Scores images with the network, called in this way."""


def calls_for(
    images: Images, entries: Mapping[Key, Any], plain: Call, score_images: ScoreImages
) -> list[Call]:
    """How to call the network with each of some images; passes decide what is unclear.

    Args:
        images: the masked input, as the user has it.
        entries: the other inputs.
        plain: the index or name of the images, and how inputs are passed.
        score_images: scores images.

    Raises:
        SettingError: an input does not fit the batch, or it stays unclear which images it belongs
            to.
    """
    unclear = [key for key, value in entries.items() if may_belong(value, len(images))]
    if not any(isinstance(value, Tensor) and value.ndim for value in entries.values()):
        return one_by_one(plain, images, (), entries)
    scores = _scores(images, entries, plain, score_images)
    batch = _Batch(plain, images, entries=entries, scores=scores, score_images=score_images)
    return one_by_one(plain, images, _own(batch, unclear), entries)


def _own(batch: _Batch, unclear: list[Key]) -> Collection[Key]:
    """The inputs that belong to single images.

    Raises:
        SettingError: it stays unclear.
    """
    fitting = list(_combinations(unclear))
    if not unclear:
        return ()
    if len(batch.images) == 1:
        # Equal sizes could hide that a batch axis was taken for another one.
        copies = 2 if batch.scores.shape[-1] != 2 else 3
        found = (own for own in fitting if batch.repeats(own, [0] * copies))
        return next(found, unclear)  # if nothing fits, the network takes single images only
    for tried in (MIXED, ALONE):
        fitting = [own for own in fitting if all(batch.repeats(own, places) for places in tried)]
        if len(fitting) == 1:
            break
    if fitting:  # if several fit, the network makes no difference between them
        return fitting[0]
    raise SettingError(
        f"It is unclear whether {', '.join(map(quoted, unclear))}, as long as the batch, "
        "belongs to the images one by one or is shared by all.",
        likely="The network's output for an image changes with the other images in the batch.",
        do="Explain one image at a time, with its own part of the inputs.",
    )


def _scores(
    images: Images, entries: Mapping[Key, Any], plain: Call, score_images: ScoreImages
) -> BatchedScores:
    """The scores of the inputs as the user gave them.

    Raises:
        SettingError: an input does not fit the batch, or holds NaN.
    """
    tensors = {key: value for key, value in entries.items() if isinstance(value, Tensor)}
    try:
        scores = score_images(whole(plain, entries), images)
    except MemoryShortage:
        raise
    except ScorecamError as error:
        raise _misfit(images, tensors, error) from error
    if not scores.isfinite().all():
        for key, value in tensors.items():
            if value.is_floating_point() and value.isnan().any():
                raise SettingError(
                    f"The input {quoted(key)} holds NaN, and so do the network's scores.",
                    likely="A missing value was not replaced.",
                    do="Replace NaN as in training, for example input.nan_to_num().",
                )
    return scores


def _misfit(images: Images, tensors: Mapping[Key, Tensor], error: ScorecamError) -> ScorecamError:
    """The error for inputs on which the network fails: the likely cause is in their shapes."""
    rows = len(images)
    for key, value in tensors.items():
        if value.ndim and (len(value) != rows or value.numel() == 0):
            return SettingError(
                f"The network fails, and the input {quoted(key)} has the shape "
                f"{tuple(value.shape)} for a batch of {rows}: {error.what}",
                likely="The input is empty."
                if value.numel() == 0
                else "The input may lack its batch axis, or belong to another batch.",
                do=f"Give one row per image, {rows} here; an input that all images share may have "
                "any length.",
            )
    if (error.likely, error.do) != GENERAL:
        return error
    shapes = ", ".join(f"{quoted(key)} {tuple(value.shape)}" for key, value in tensors.items())
    return ModelError(
        error.what,
        likely="One of the inputs may lack its batch axis, or have another size. The others have "
        f"the shapes {shapes}.",
        do="Check that the network itself works on these inputs.",
    )


def _combinations(unclear: list[Key]) -> Iterator[tuple[Key, ...]]:
    """Sets of inputs that may belong to single images: first all inputs, then fewer, then none."""
    sizes = range(len(unclear), -1, -1) if len(unclear) <= MOST_COMBINED else (len(unclear), 0)
    for size in sizes:
        yield from itertools.combinations(unclear, size)


@dataclass(frozen=True)
class _Batch:
    """Images and inputs as the user gave them, and the network's scores for all of them.

    Args:
        scores: of all images, `b n`.
    """

    plain: Call
    images: Images
    entries: Mapping[Key, Any]
    scores: BatchedScores
    score_images: ScoreImages

    def repeats(self, own: Collection[Key], places: Sequence[int]) -> bool:
        """Whether these images, with their rows of `own`, get the same scores as in the batch."""
        rows = list(places)
        inputs = {key: value[rows] if key in own else value for key, value in self.entries.items()}
        try:
            scores = self.score_images(whole(self.plain, inputs), self.images[rows])
        except ScorecamError:
            return False
        scale = float(self.scores.nan_to_num(0.0, 0.0, 0.0).abs().max())
        return scores.shape[1:] == self.scores.shape[1:] and torch.allclose(
            scores, self.scores[rows], rtol=1e-3, atol=1e-4 * scale, equal_nan=True
        )
