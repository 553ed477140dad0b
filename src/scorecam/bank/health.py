"""Health: what the bank alone says about how far to trust a heatmap. Free, always there.

`measure` gives one number per rule; a rule speaks when its number crosses its threshold. Thresholds
are either facts (a map that shows anything is not constant) or were measured on photos that sound
networks get right, by `benchmarks/health.py`; `docs/health.md` has the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import constructor
from scorecam.cam import Variant, probabilities
from scorecam.model.target import Target
from scorecam.shapes import Heatmap

BORDER = 0.1
"""The border is this part of the image along every edge."""

SURE = 0.01
"""Probabilities this close to 0 or 1 throughout are saturated."""


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

    __repr__ = constructor


@dataclass(frozen=True)
class Rule:
    """When a measurement is worth a note, and what to say then.

    Args:
        threshold: the last value that is still good.
        bad: which values are worrying: those "above" it, "below" it, or "at most" it.
        sentence: (value, bank, target) → what to say.
    """

    threshold: float
    bad: Literal["above", "below", "at most"]
    sentence: Callable[[float, ScoreBank, Target], str]

    def crossed(self, value: float) -> bool:
        """Whether the value lies on the bad side of the threshold."""
        if self.bad == "above":
            return value > self.threshold
        return value < self.threshold or (self.bad == "at most" and value == self.threshold)


def notes(bank: ScoreBank, target: Target, variant: Variant, heatmap: Heatmap) -> tuple[Note, ...]:
    """Everything the bank says against this heatmap; empty when nothing does."""
    measured = measure(bank, target, variant, heatmap)
    return tuple(
        Note(code, value, RULES[code].threshold, RULES[code].sentence(value, bank, target))
        for code, value in measured.items()
        if RULES[code].crossed(value)
    )


def measure(
    bank: ScoreBank, target: Target, variant: Variant, heatmap: Heatmap
) -> dict[str, float]:
    """What each rule looks at; a rule that does not apply here is left out.

    Returns:
        not-finite: maps and answers left out because they hold NaN or infinity, a count.
        flat: the range of the heatmap.
        below-fill: the largest masked score less the fill's, in the readout's units.
        improbable: p_t(X) over the chance of a guess.
        one-channel: the largest channel's share of the absolute weight, in [0, 1].
        saturated: the range of the weights of the masks that were answered, over the largest.
        not-repeatable: how far apart two answers to the unmasked image were, of the range of all
            answers, in [0, 1].
        mixes-batch: how far the answer to the unmasked image moved among other images, likewise.
        not-logits: 1 where a formula made for logits was given probabilities, else 0.
        rough: the estimated largest error of the scaled map, where masks were left out.
        border: the share of the heatmap in the outer tenth along the edges, over that of a map
            spread evenly.
    """
    odd_maps, odd_answers = _not_finite(bank)
    low, high = heatmap.aminmax()
    found = {"not-finite": float(odd_maps + odd_answers), "flat": float(high - low)}
    found["not-logits"] = float(bank.head == "probabilities" and variant.reads == "z")
    scores = bank.scores[bank.answered, bank.place(target.index)]
    fill = bank.fill_scores[target.index]
    if len(scores) and fill.isfinite():
        found["below-fill"] = float(scores.max() - fill)
    if target.probability is not None and len(bank.image_scores) > 1:
        found["improbable"] = target.probability / _chance(bank)
    weights = bank.weights(target.index, variant).abs()
    if int((weights > 0).sum()) > 2:  # of two channels, one always has half
        found["one-channel"] = float(weights.max() / weights.sum())
    if (even := _evenness(bank, target, variant)) is not None:
        found["saturated"] = even
    found["not-repeatable"] = bank.provenance.unrepeated
    found["mixes-batch"] = bank.provenance.mixed
    if not bank.exact:
        found["rough"] = bank.error(target.index, variant)
    if high > low and min(heatmap.shape) * BORDER >= 1:
        inner = _inner(heatmap)
        area = 1 - inner.numel() / heatmap.numel()
        found["border"] = (1 - float(inner.sum() / heatmap.sum())) / area
    return found


def _not_finite(bank: ScoreBank) -> tuple[int, int]:
    maps = ~bank.activations.flatten(1).isfinite().all(dim=1)
    fill = ~bank.fill_scores.isfinite().all()
    return int(maps.sum()), int((~bank.answered).sum() + fill)


def _evenness(bank: ScoreBank, target: Target, variant: Variant) -> float | None:
    """The range of the answered masks' weights over the largest; None where it says nothing.

    Two masks at least are needed. Weights that are all zero make a flat map, which has its own
    note, except for probabilities, which are zero where the target is out of the question. A map
    that is held against a field is no sum of activations, whatever the weights.
    """
    asked = bank.asked[bank.answered]
    if len(asked) < 2 or variant.field:
        return None
    weights = bank.weights(target.index, variant)[asked]
    largest = float(weights.abs().max())
    if largest == 0:
        return 0.0 if variant.reads == "p" and bank.head != "value" else None
    return float(weights.max() - weights.min()) / largest


def _chance(bank: ScoreBank) -> float:
    """The probability that a model which knows nothing would give a class."""
    return 0.5 if bank.head == "sigmoid" else 1 / len(bank.image_scores)


def _inner(heatmap: Heatmap) -> Heatmap:
    for axis, pixels in enumerate(heatmap.shape):
        margin = round(pixels * BORDER)
        heatmap = heatmap.narrow(axis, margin, pixels - 2 * margin)
    return heatmap


# ── what to say ──────────────────────────────────────────────────────────────────────────────


def _say_not_finite(_: float, bank: ScoreBank, __: Target) -> str:
    maps, answers = _not_finite(bank)
    return (
        f"{maps} activation maps and {answers} answers to masked or empty images hold NaN or "
        "infinity and were left out (threshold 0: a sound network has none; half precision "
        "overflows above 65,504)."
    )


def _say_flat(_: float, bank: ScoreBank, __: Target) -> str:
    if len(bank.asked) == 0:
        why = f"all {len(bank.activations)} activation maps are flat and make no mask"
    else:
        why = "the weighted sum of the maps is nowhere positive, or everywhere the same"
    return (
        f"The heatmap is constant, so it shows nothing: {why} (its range is 0; any map that shows "
        "something has more)."
    )


def _say_below_fill(value: float, _: ScoreBank, target: Target) -> str:
    return (
        f"No masked photo scores {target.label} higher than the empty image does; the best is "
        f"{abs(value):.3g} below it: showing parts of the photo only takes away (threshold 0, "
        "from the paper's Definition 4: a map counts by how much it increases the score)."
    )


def _say_improbable(_: float, bank: ScoreBank, target: Target) -> str:
    columns = bank.image_scores
    best = bank.target(int(probabilities(columns[None], bank.head)[0].argmax()))
    guess = "yes or no" if bank.head == "sigmoid" else f"among {len(columns)} classes"
    return (
        f"The model gives {target.label} a probability of {target.probability:.2g}, less than the "
        f"{_chance(bank):.2g} of a guess {guess}, which is the threshold: "
        f"little speaks for it, and the map shows that little. The model's own answer is "
        f"{best.label} ({best.probability:.0%})."
    )


def _say_one_channel(value: float, _: ScoreBank, __: Target) -> str:
    return (
        f"One channel alone has {value:.0%} of the weight, more than all the others together "
        "(threshold 50 %): the map is little more than that one activation map."
    )


def _say_not_logits(_: float, __: ScoreBank, ___: Target) -> str:
    return (
        "The model ends in probabilities, and this formula is made for logits (threshold 0: any "
        "such pairing). Probabilities differ by at most 1: under a softmax over channels no weight "
        "exceeds another by more than a factor e = 2.72, and the map is close to the plain mean of "
        "the activations. Explain the model without its last layer, or use the variant official."
    )


def _say_saturated(value: float, bank: ScoreBank, target: Target) -> str:
    scores = bank.scores[bank.answered]
    given = probabilities(scores, bank.head)[:, bank.place(target.index)]
    why = "The network may be untrained, or may ignore what the masks hide."
    if bank.head != "value" and float(given.min()) >= 1 - SURE:
        why = (
            f"Every masked photo has a probability of {float(given.min()):.2g} or more: the scores "
            "are saturated. If they are a regression, use head='value'; else the variant increase."
        )
    elif bank.head != "value" and float(given.max()) <= SURE:
        why = (
            f"No masked photo has a probability above {float(given.max()):.2g}: the scores are "
            "saturated. The variant increase looks at the scores themselves."
        )
    return (
        f"The channels' weights differ by {value:.2g} of the largest only (threshold 0.01: the map "
        "is then, to a hundredth, the plain sum of the activations, which says nothing about "
        f"{target.label}). {why}"
    )


def _say_not_repeatable(value: float, _: ScoreBank, __: Target) -> str:
    return (
        f"The model answered the same image twice, and the answers differ by {value:.0%} of the "
        "range of all its answers (threshold 1 %; a sound network gives the same answer, up to "
        "rounding): the map differs from run to run. Dropout or noise may be on outside "
        "training, or the network may change with every call."
    )


def _say_mixes_batch(value: float, _: ScoreBank, __: Target) -> str:
    return (
        f"The answer to the image moved by {value:.0%} of the range of all answers when other "
        "images were in its batch (threshold 1 %; a sound network answers each image by itself, "
        "but for rounding): the map depends on what it was computed with. A BatchNorm without "
        "running statistics does this. batch_size=1 asks about each image alone."
    )


def _say_rough(value: float, bank: ScoreBank, target: Target) -> str:
    return (
        f"{len(bank.asked)} of {len(bank.live)} masks were asked about, and the map of "
        f"{target.label} may be off by {value:.2f} of its range (threshold 0.25, twice what "
        "budget='fast' stops at): ask for this class itself, for more masks, or for all."
    )


def _say_border(value: float, _: ScoreBank, __: Target) -> str:
    return (
        f"The outer tenth along the edges holds {value:.2f} times what it would of a map spread "
        "evenly (threshold 1.1: the largest on 58 photos that EfficientNet-Lite0 gets right was "
        "1.00): a frame, a caption or padding may be speaking rather than the object."
    )


RULES: dict[str, Rule] = {
    "not-finite": Rule(0.0, "above", _say_not_finite),
    "flat": Rule(0.0, "at most", _say_flat),
    "below-fill": Rule(0.0, "at most", _say_below_fill),
    "improbable": Rule(1.0, "below", _say_improbable),
    "one-channel": Rule(0.5, "above", _say_one_channel),
    "not-logits": Rule(0.0, "above", _say_not_logits),
    "saturated": Rule(0.01, "below", _say_saturated),
    "not-repeatable": Rule(0.01, "above", _say_not_repeatable),
    "mixes-batch": Rule(0.01, "above", _say_mixes_batch),
    "rough": Rule(0.25, "above", _say_rough),
    "border": Rule(1.1, "above", _say_border),
}
