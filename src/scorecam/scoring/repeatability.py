"""Whether an image gets the same scores again, alone and in a batch with other images."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scorecam.model.engine import Engine
from scorecam.scoring.masked_image import MaskedImage
from scorecam.scoring.selection import MaskScores
from scorecam.shapes import BatchedScores, Columns

SAME = 0.01
"""Two scores of one image are the same if they differ by at most this part of the range."""

ROUNDING = {"float16": 4e-3, "bfloat16": 3e-2}
"""How far rounding moves a score, relative to the largest score, by precision."""

FLOAT32_ROUNDING = 1e-5


@dataclass(frozen=True)
class Repeatability:
    """How far apart the scores of one image are, relative to the range of all scores.

    Args:
        unrepeated: between two passes of the image alone.
        mixed: between a pass alone and a pass in a batch with other images.
        passes: extra passes that were needed to distinguish the two.
    """

    unrepeated: float
    mixed: float
    passes: int = 0


def repeatability(engine: Engine, image: MaskedImage, masked: MaskScores) -> Repeatability:
    """Compare the two scores of the image. If they differ, score it twice more, alone."""
    scores = torch.cat(
        [image.scores[None], masked.fill[None], masked.scores, masked.repeated[None]]
    )
    scale = _Scale(
        scores,
        rounding=ROUNDING.get(engine.precision, FLOAT32_ROUNDING),
        logits=masked.head.head == "logits",
    )
    moved = scale.distance(image.scores, masked.repeated)
    if moved <= SAME:
        return Repeatability(moved, moved)
    one, other = (engine.scores(image.image[None])[0] for _ in range(2))
    unrepeated = scale.distance(one, other)
    # If passes of the image alone differ, the effect of the batch cannot be measured.
    mixed = 0.0 if unrepeated > SAME else scale.distance(one, masked.repeated)
    return Repeatability(unrepeated, mixed, passes=2)


@dataclass(frozen=True)
class _Scale:
    """The range of all scores of an image and its masks, which differences are divided by.

    Args:
        scores: `b n`.
        rounding: how far rounding moves a score, relative to the largest score.
        logits: whether adding one number to all columns changes nothing.
    """

    scores: BatchedScores
    rounding: float
    logits: bool

    def distance(self, one: Columns, other: Columns) -> float:
        """The difference of two rows beyond rounding, relative to the range; in [0, 1]."""
        pair = torch.stack([one, other])
        if not pair.isfinite().all():
            return 1.0
        finite = self.scores[self.scores.isfinite().all(dim=1)]
        scores = torch.cat([pair, finite]).double()
        allowed = self.rounding * float(scores.abs().max())
        if self.logits:
            scores = scores - scores.mean(dim=1, keepdim=True)
        beyond = float((scores[0] - scores[1]).abs().max()) - allowed
        if beyond <= 0:
            return 0.0
        return min(1.0, beyond / float((scores.amax(dim=0) - scores.amin(dim=0)).max()))
