"""Which of a network's further inputs belong to the images, and which are shared by all of them.

A tensor as long as the batch may be one row per image, or a table that happens to have that length.
The network itself can tell: asked again about some of the images, with the input read in the right
way, it repeats what it answered to the whole batch.
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

MOST = 4
"""Inputs in doubt whose readings are all tried; more are taken together."""

MIXED, ALONE = ((0, 0, 1),), ((0, 0), (1, 1))
"""Images that are put to the network together: first in one batch, then each by itself."""

Ask = Callable[[Call, Images], BatchedScores]
"""What the network answers when it is called in this way."""


def calls_for(images: Images, entries: Mapping[Key, Any], plain: Call, ask: Ask) -> list[Call]:
    """How to call the network with each of several images, asking it where that is in doubt.

    Args:
        entries: the other inputs.
        plain: the images' place, and how inputs are passed.
        ask: puts images to the network.

    Raises:
        SettingError: it is not clear which images an input belongs to.
    """
    doubtful = [key for key, value in entries.items() if may_belong(value, len(images))]
    if not doubtful:
        return one_by_one(plain, images, (), entries)
    batch = _Batch(plain, images, entries, ask(whole(plain, entries), images), ask)
    fitting = list(_readings(doubtful))
    for tried in (MIXED, ALONE):
        fitting = [own for own in fitting if all(batch.repeats(own, places) for places in tried)]
        if len(fitting) == 1:
            break
    if fitting:  # several make no difference to the network
        return one_by_one(plain, images, fitting[0], entries)
    raise SettingError(
        f"It is unclear whether {', '.join(map(quoted, doubtful))}, as long as the batch, "
        "belongs to the images one by one or is shared by all.",
        likely="The network's answer to an image changes with the other images in its batch.",
        do="Explain one image at a time, with its own part of the inputs.",
    )


def _readings(doubtful: list[Key]) -> Iterator[tuple[Key, ...]]:
    """Sets of inputs that belong to the images: first all of them, then fewer, then none."""
    sizes = range(len(doubtful), -1, -1) if len(doubtful) <= MOST else (len(doubtful), 0)
    for size in sizes:
        yield from itertools.combinations(doubtful, size)


@dataclass(frozen=True)
class _Batch:
    """Images and inputs as they were given, and what the network answered to all of them.

    Args:
        said: the answers, `b n`.
    """

    plain: Call
    images: Images
    entries: Mapping[Key, Any]
    said: BatchedScores
    ask: Ask

    def repeats(self, own: Collection[Key], places: Sequence[int]) -> bool:
        """Whether some images, with their rows of `own`, get the answers that they got before."""
        rows = list(places)
        inputs = {key: each[rows] if key in own else each for key, each in self.entries.items()}
        try:
            found = self.ask(whole(self.plain, inputs), self.images[rows])
        except ScorecamError:
            return False
        scale = float(self.said.nan_to_num(0.0, 0.0, 0.0).abs().max())
        return found.shape[1:] == self.said.shape[1:] and torch.allclose(
            found, self.said[rows], rtol=1e-3, atol=1e-4 * scale, equal_nan=True
        )
