"""Health: warnings about a heatmap, from the bank alone. They need no passes.

`measure` computes one number per rule, and each number that crosses its threshold becomes a note.
Some thresholds are exact (a constant map shows nothing). The others were measured on photos that
sound networks classify correctly; `docs/health.md` has the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import constructor
from scorecam.cam import ROUNDING, Variant, probabilities
from scorecam.model.target import Target
from scorecam.shapes import Columns, Heatmap, Weights

BORDER = 0.1
"""The width of the border along every edge, relative to the image."""

SURE = 0.01
"""Probabilities are saturated if all of them are this close to 0, or to 1."""


@dataclass(frozen=True)
class Note:
    """A warning about a heatmap.

    Args:
        code: the rule, for programs.
        value: the measured value.
        threshold: the limit of the value.
        sentence: the same for people, with the reason for the threshold.
    """

    code: str
    value: float
    threshold: float
    sentence: str

    __repr__ = constructor


@dataclass(frozen=True)
class NoteRule:
    """When a measured value leads to a note, and the note's sentence.

    Args:
        threshold: the limit of the value.
        bad: which values lead to a note: those "above" it, "below" it, or "at most" it.
        sentence: (value, bank, target) → the sentence.
    """

    threshold: float
    bad: Literal["above", "below", "at most"]
    sentence: Callable[[float, ScoreBank, Target], str]

    def crossed(self, value: float) -> bool:
        """Whether the value is on the bad side of the threshold."""
        if self.bad == "above":
            return value > self.threshold
        return value < self.threshold or (self.bad == "at most" and value == self.threshold)


def notes(bank: ScoreBank, target: Target, variant: Variant, heatmap: Heatmap) -> tuple[Note, ...]:
    """The warnings about this heatmap; often none."""
    measured = measure(bank, target, variant, heatmap)
    return tuple(
        Note(code, value, RULES[code].threshold, RULES[code].sentence(value, bank, target))
        for code, value in measured.items()
        if RULES[code].crossed(value)
    )


def measure(
    bank: ScoreBank, target: Target, variant: Variant, heatmap: Heatmap
) -> dict[str, float]:
    """The value of each rule; rules that do not apply are left out.

    Returns:
        not-finite: the number of maps and scores left out because they are NaN or infinite.
        flat: the range of the heatmap.
        below-fill: the largest masked score minus the fill's, in the readout's units.
        constant: for values, the range of all scores of the target divided by the largest of them.
        baseline: for values, how far the best masked score gets from the fill's score to the
            image's, as a share.
        improbable: p_t(X) divided by the probability of a guess.
        one-channel: the largest channel's share of the absolute weight, or of the positive weight
            if that is larger, in [0, 1].
        signed-layer: the share of negative numbers in the activations, if no weight is negative and
            there are several channels.
        saturated: the range of the weights of the scored masks, divided by the largest weight.
        not-repeatable: the difference of two scores of the unmasked image, relative to the range of
            all scores, in [0, 1].
        mixes-batch: the change of the unmasked image's score in a batch, relative to the same.
        not-logits: 1 if a formula for logits was used with probabilities, else 0.
        rough: the estimated largest error of the scaled map, if masks were left out.
        border: the share of the heatmap in the outer tenth along the edges, relative to a uniform
            map.
    """
    bad_maps, bad_scores = _not_finite(bank)
    low, high = heatmap.aminmax()
    values = {"not-finite": float(bad_maps + bad_scores), "flat": float(high - low)}
    values["not-logits"] = float(bank.head == "probabilities" and variant.reads == "z")
    scores = bank.scores[bank.answered, bank.place(target.index)]
    fill = bank.fill_scores[target.index]
    if len(scores) and fill.isfinite():
        values["below-fill"] = float(scores.max() - fill)
    if bank.head == "value" and high > low:
        values |= _of_value(scores, fill, bank.image_scores[target.index])
    # The labels of several heads share no probability of a guess.
    several = bank.provenance.task != "" and bank.head == "probabilities"
    if target.probability is not None and len(bank.image_scores) > 1 and not several:
        values["improbable"] = target.probability / _chance(bank)
    weights = bank.weights(target.index, variant)
    if (share := _largest_share(weights)) is not None:
        values["one-channel"] = share
    if len(bank.live) > 1 and (weights > 0).any() and not (weights < 0).any():
        values["signed-layer"] = float((bank.activations[bank.live] < 0).float().mean())
    if (evenness := _evenness(bank, target, variant)) is not None:
        values["saturated"] = evenness
    values["not-repeatable"] = bank.provenance.unrepeated
    values["mixes-batch"] = bank.provenance.mixed
    if not bank.exact:
        values["rough"] = bank.error(target.index, variant)
    if high > low and min(heatmap.shape) * BORDER >= 1:
        inner = _inner(heatmap)
        area = 1 - inner.numel() / heatmap.numel()
        values["border"] = (1 - float(inner.sum() / heatmap.sum())) / area
    return values


def _of_value(scores: Columns, fill: Tensor, image: Tensor) -> dict[str, float]:
    """The measured values of a value, from its masked scores and its two ends."""
    every = torch.cat([scores, torch.stack([fill, image])])
    if len(scores) < 2 or not bool(every.isfinite().all()):
        return {}
    spread, largest = float(every.max() - every.min()), float(every.abs().max())
    measured = {"constant": spread / largest} if largest else {}
    way, best = float(image - fill), float(scores.max() - fill)
    return measured | ({"baseline": best / way} if way > 0 and best > 0 else {})


def _not_finite(bank: ScoreBank) -> tuple[int, int]:
    maps = ~bank.activations.flatten(1).isfinite().all(dim=1)
    fill = ~bank.fill_scores.isfinite().all()
    return int(maps.sum()), int((~bank.answered).sum() + fill)


def _largest_share(weights: Weights) -> float | None:
    """The largest channel's share of the absolute weight, or of the positive weight.

    The larger of the two: weights of `centred` add up to zero, so that no channel can have more
    than half of their absolute sum. Of two channels, one always has half, so they do not count.
    """
    parts = [part for part in (weights.abs(), weights.relu()) if int((part > 0).sum()) > 2]
    return max((float(part.max() / part.sum()) for part in parts), default=None)


def _evenness(bank: ScoreBank, target: Target, variant: Variant) -> float | None:
    """The range of the scored masks' weights, divided by the largest; None if it has no meaning.

    It takes two masks. Weights that are all zero make a flat map, which has its own note; but
    probabilities are all zero if the model rules out the target. A map that is combined with a
    field is not a sum of activations.
    """
    scored = bank.asked[bank.answered]
    if len(scored) < 2 or variant.field:
        return None
    weights = bank.weights(target.index, variant)[scored]
    largest = float(weights.abs().max())
    if largest == 0:
        return 0.0 if variant.reads == "p" and bank.head != "value" else None
    return float(weights.max() - weights.min()) / largest


def _chance(bank: ScoreBank) -> float:
    """The probability of a class by guessing."""
    return 0.5 if bank.head == "sigmoid" else 1 / len(bank.image_scores)


def _inner(heatmap: Heatmap) -> Heatmap:
    for axis, pixels in enumerate(heatmap.shape):
        margin = round(pixels * BORDER)
        heatmap = heatmap.narrow(axis, margin, pixels - 2 * margin)
    return heatmap


# ── sentences ────────────────────────────────────────────────────────────────────────────────


def _say_not_finite(_: float, bank: ScoreBank, __: Target) -> str:
    maps, answers = _not_finite(bank)
    return (
        f"{maps} activation maps and the scores of {answers} masked or empty images are NaN or "
        "infinite and were left out (threshold 0: a sound network has none; half precision "
        "overflows above 65,504)."
    )


def _say_flat(_: float, bank: ScoreBank, target: Target) -> str:
    scores = bank.scores[bank.answered, bank.place(target.index)]
    differences = (scores - scores.double().mean()).abs()
    if len(bank.asked) == 0:
        why = f"all {len(bank.activations)} activation maps are flat and make no mask"
    elif len(scores) > 1 and bool((differences <= ROUNDING * scores.abs().max()).all()):
        why = f"every masked photo has the same score for {target.label}, except for rounding"
        if bank.head == "value":
            why += ". The network may end in a tanh, sigmoid or clamp that is saturated, or may not"
            why += " use the image"
    else:
        why = "the weighted sum of the maps is nowhere positive, or everywhere the same"
    return (
        f"The heatmap is constant, so it shows nothing: {why} (its range is 0; it should be "
        "larger)."
    )


def _say_below_fill(value: float, bank: ScoreBank, target: Target) -> str:
    return (
        f"No masked photo scores higher for {target.label} than the empty image; the best is "
        f"{abs(value):.3g} below it. Showing parts of the photo only lowers the score (threshold "
        "0, from the paper's Definition 4: a map counts by how much it increases the score)."
        f"{OTHER_DIRECTION if bank.provenance.task == 'regress' else ''}"
    )


OTHER_DIRECTION = " To see what acts against the value, give the other direction= (--direction)."


def _say_constant(value: float, _: ScoreBank, target: Target) -> str:
    return (
        f"From the empty image to the whole one, the score of {target.label} changes by only "
        f"{value:.2g} of its size (threshold 0.001). The network may end in a tanh, sigmoid or "
        "clamp that is nearly saturated, or may hardly use the image. The map shows what causes "
        "this small change."
    )


def _say_baseline(value: float, _: ScoreBank, target: Target) -> str:
    return (
        f"The best masked image gets {value:.0%} of the way from the empty image's score for "
        f"{target.label} to the image's (threshold 10 %). The value may need most of the picture, "
        "or the empty image may be unusual for the network: compare with another fill, "
        "masking=scorecam.Masking(fill=...)."
    )


def _say_improbable(_: float, bank: ScoreBank, target: Target) -> str:
    columns = bank.image_scores
    best = bank.target(int(probabilities(columns[None], bank.head)[0].argmax()))
    guess = "yes or no" if bank.head == "sigmoid" else f"among {len(columns)} classes"
    return (
        f"The model gives {target.label} a probability of {target.probability:.2g}, less than the "
        f"{_chance(bank):.2g} of a guess {guess} (the threshold). "
        f"The map shows only weak evidence. The model predicts "
        f"{best.label} ({best.probability:.0%})."
    )


def _say_one_channel(value: float, _: ScoreBank, __: Target) -> str:
    return (
        f"One channel has {value:.0%} of the weight, more than all the others together "
        "(threshold 50 %). The map is mostly that one activation map."
    )


def _say_signed_layer(value: float, _: ScoreBank, __: Target) -> str:
    return (
        f"{value:.0%} of the layer's numbers are negative, and no weight is (threshold 0). The map "
        "is then close to the plain sum of the activations, which is the same for every class and "
        "does not show where a signed layer is active. Use the variant centred."
    )


def _say_not_logits(_: float, __: ScoreBank, ___: Target) -> str:
    return (
        "The model ends in probabilities, but this formula is made for logits (threshold 0). "
        "Probabilities differ by at most 1, so that under a softmax over channels weights differ "
        "by at most a factor e = 2.72, and the map is close to the mean of the activations. "
        "Explain the model without its last layer, or use the variant official."
    )


def _say_saturated(value: float, bank: ScoreBank, target: Target) -> str:
    scores = bank.scores[bank.answered]
    given = probabilities(scores, bank.head)[:, bank.place(target.index)]
    why = "The network may be untrained, or may not use what the masks hide."
    if bank.head != "value" and float(given.min()) >= 1 - SURE:
        why = (
            f"Every masked photo has a probability of {float(given.min()):.2g} or more: the scores "
            "are saturated. If they are a regression, use head='value'; else the variant increase."
        )
    elif bank.head != "value" and float(given.max()) <= SURE:
        why = (
            f"No masked photo has a probability above {float(given.max()):.2g}: the scores are "
            "saturated. The variant increase uses the scores themselves."
        )
    return (
        f"The channels' weights differ by only {value:.2g} of the largest (threshold 0.01: below "
        "it, the map is nearly the sum of the activations, which does not depend on "
        f"{target.label}). {why}"
    )


def _say_not_repeatable(value: float, _: ScoreBank, __: Target) -> str:
    return (
        f"Two scores of the same image differ by {value:.0%} of the "
        "range of all scores (threshold 1 %; a sound network repeats its scores, up to "
        "rounding). The map differs from run to run. Dropout or noise may be active outside "
        "training, or the network may change with every call."
    )


def _say_mixes_batch(value: float, _: ScoreBank, __: Target) -> str:
    return (
        f"The image's score changed by {value:.0%} of the range of all scores when other "
        "images were in its batch (threshold 1 %; a sound network scores each image by itself, "
        "up to rounding). The map depends on the batch. A BatchNorm without "
        "running statistics causes this. batch_size=1 scores each image alone."
    )


def _say_rough(value: float, bank: ScoreBank, target: Target) -> str:
    return (
        f"{len(bank.asked)} of {len(bank.live)} masks were scored, and the estimated error of the "
        f"map of {target.label} is {value:.2f} of its range (threshold 0.25, about twice that of "
        "budget='fast'). Explain this class itself, or score more masks."
    )


def _say_border(value: float, _: ScoreBank, __: Target) -> str:
    return (
        f"The map sits on the border: the outer tenth along the edges holds {value:.2f} times its "
        "share of a uniform map (threshold 1.1; the largest value on 58 photos that "
        "EfficientNet-Lite0 classifies correctly was 1.00). A frame, a caption or padding may "
        "drive it."
    )


RULES: dict[str, NoteRule] = {
    "not-finite": NoteRule(0.0, "above", _say_not_finite),
    "flat": NoteRule(0.0, "at most", _say_flat),
    "below-fill": NoteRule(0.0, "at most", _say_below_fill),
    "constant": NoteRule(0.001, "below", _say_constant),
    "baseline": NoteRule(0.1, "below", _say_baseline),
    "improbable": NoteRule(1.0, "below", _say_improbable),
    "one-channel": NoteRule(0.5, "above", _say_one_channel),
    "signed-layer": NoteRule(0.0, "above", _say_signed_layer),
    "not-logits": NoteRule(0.0, "above", _say_not_logits),
    "saturated": NoteRule(0.01, "below", _say_saturated),
    "not-repeatable": NoteRule(0.01, "above", _say_not_repeatable),
    "mixes-batch": NoteRule(0.01, "above", _say_mixes_batch),
    "rough": NoteRule(0.25, "above", _say_rough),
    "border": NoteRule(1.1, "above", _say_border),
}
