"""Which of a network's other inputs belong to single images, and which are shared by all.

A tensor as long as the batch may have a row for each image, or be a table that happens to have that
length. A few passes decide: the network is run again on some of the images. It repeats its output
for the whole batch only if the input is interpreted correctly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from scorecam.backends.pytorch.inputs import Call, Key, may_belong, one_by_one, whole
from scorecam.base.wording import quoted
from scorecam.errors import ScorecamError, SettingError
from scorecam.shapes import BatchedScores, Images

MOST_COMBINED = 4
"""Up to this many unclear inputs, all combinations are tried; beyond it, only all and none."""

MIXED, ALONE = ((0, 0, 1),), ((0, 0), (1, 1))
"""Batches of image indexes: first two images in one batch, then each image without the other."""

ScoreImages = Callable[[Call, Images], BatchedScores]
"""Scores images with the network, called in this way."""


def calls_for(
    images: Images, entries: Mapping[Key, Any], plain: Call, score_images: ScoreImages
) -> list[Call]:
    """How to call the network with each of several images; passes decide what is unclear.

    Args:
        entries: the other inputs.
        plain: the index or name of the images, and how inputs are passed.
        score_images: scores images.

    Raises:
        SettingError: it stays unclear which images an input belongs to.
    """
    unclear = [key for key, value in entries.items() if may_belong(value, len(images))]
    if not unclear:
        return one_by_one(plain, images, (), entries)
    scores = score_images(whole(plain, entries), images)
    batch = _Batch(plain, images, entries=entries, scores=scores, score_images=score_images)
    fitting = list(_combinations(unclear))
    for tried in (MIXED, ALONE):
        fitting = [own for own in fitting if all(batch.repeats(own, places) for places in tried)]
        if len(fitting) == 1:
            break
    if fitting:  # if several fit, the network makes no difference between them
        return one_by_one(plain, images, fitting[0], entries)
    raise SettingError(
        f"It is unclear whether {', '.join(map(quoted, unclear))}, as long as the batch, "
        "belongs to the images one by one or is shared by all.",
        likely="The network's output for an image changes with the other images in the batch.",
        do="Explain one image at a time, with its own part of the inputs.",
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
