"""Health: what the bank alone says about how far to trust a heatmap. Free, always there.

Every rule gives its number, its threshold, and where the threshold comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from scorecam.bank import ScoreBank
from scorecam.cam import Variant
from scorecam.model import Target, probabilities
from scorecam.shapes import Heatmap


@dataclass(frozen=True)
class Note:
    """One thing to know before believing a heatmap.

    Args:
        code: the rule, for programs.
        value: what was measured.
        threshold: beyond which the rule speaks.
        sentence: the same for people, with where the threshold comes from.
    """

    code: str
    value: float
    threshold: float
    sentence: str


BORDER = 0.1
"""The border is this part of the image along every edge."""


def notes(bank: ScoreBank, target: Target, variant: Variant, heatmap: Heatmap) -> tuple[Note, ...]:
    """Everything the bank says against this heatmap; empty when nothing does."""
    weights = bank.weights(target.index, variant)
    return tuple(
        note
        for rule in (
            _not_finite(bank),
            _flat(bank, heatmap),
            _below_fill(bank, target),
            _improbable(bank, target),
            _one_channel(weights),
            _border(heatmap),
        )
        for note in rule
    )


def _not_finite(bank: ScoreBank) -> Iterator[Note]:
    maps = int((~bank.activations.flatten(1).isfinite().all(dim=1)).sum())
    answers = int((~bank.answered).sum())
    if maps or answers:
        yield Note(
            "not-finite",
            float(maps + answers),
            0.0,
            f"{maps} activation maps and {answers} masked scores hold NaN or infinity and were "
            "left out (any at all is too many: a sound network has none; half precision "
            "overflows above 65,504).",
        )


def _flat(bank: ScoreBank, heatmap: Heatmap) -> Iterator[Note]:
    low, high = heatmap.aminmax()
    if high > low:
        return
    if len(bank.asked) == 0:
        why = f"all {len(bank.activations)} activation maps are flat and make no mask"
    elif high > 0:
        why = "every place got the same evidence"
    else:
        why = "the weighted sum of the maps is nowhere positive, so ReLU leaves nothing"
    yield Note(
        "flat",
        float(high - low),
        0.0,
        f"The heatmap is constant: {why} (a map that shows anything has a range above 0).",
    )


def _below_fill(bank: ScoreBank, target: Target) -> Iterator[Note]:
    scores = bank.scores[bank.answered, target.index]
    if not len(scores):
        return
    best = float(scores.max() - bank.fill_scores[target.index])
    if best <= 0:
        yield Note(
            "below-fill",
            best,
            0.0,
            f"Every masked image scores {target.label} lower than the empty image does (the best "
            f"by {-best:.3g}): showing parts of the photo only takes away (by Definition 4 of "
            "the paper an increase above 0 is what makes a map count).",
        )


def _improbable(bank: ScoreBank, target: Target) -> Iterator[Note]:
    columns = bank.image_scores
    if target.probability is None or len(columns) < 2:
        return
    chance = 1 / len(columns) if bank.head != "sigmoid" else 0.01
    if target.probability < chance:
        best = int(probabilities(columns[None], bank.head)[0].argmax())
        instead = bank.target(best)
        yield Note(
            "improbable",
            target.probability,
            chance,
            f"The model gives {target.label} a probability of {target.probability:.2g}, less than "
            f"{chance:.2g}, what a guess among {len(columns)} classes would: the map shows what "
            f"little speaks for it. The model's own answer is {instead.label} "
            f"({instead.probability:.0%}).",
        )


def _one_channel(weights: torch.Tensor) -> Iterator[Note]:
    total = weights.abs().sum()
    if not total > 0 or int((weights != 0).sum()) < 3:
        return
    share = float(weights.abs().max() / total)
    if share > 0.5:
        channel = int(weights.abs().argmax())
        yield Note(
            "one-channel",
            share,
            0.5,
            f"Channel {channel} alone has {share:.0%} of the weight, more than all others together "
            "(threshold 50 %): the map is little more than that one activation map.",
        )


def _border(heatmap: Heatmap) -> Iterator[Note]:
    total = float(heatmap.sum())
    inner = heatmap
    for axis, pixels in enumerate(heatmap.shape):
        margin = round(pixels * BORDER)
        inner = inner.narrow(axis, margin, pixels - 2 * margin)
    area = 1 - inner.numel() / heatmap.numel()
    if not total > 0 or area == 0:
        return
    share = 1 - float(inner.sum()) / total
    if share > BORDER_THRESHOLD:
        yield Note(
            "border",
            share,
            BORDER_THRESHOLD,
            f"{share:.0%} of the heatmap lies in the outer tenth along the edges, which is "
            f"{area:.0%} of the image ({BORDER_SOURCE}): padding or a frame may be "
            "speaking rather than the object.",
        )


BORDER_THRESHOLD = 0.5
BORDER_SOURCE = "TODO"
