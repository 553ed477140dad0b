"""Every kind of evidence: how it is measured, and its thresholds.

Each value adds a doubt from 0 to 1: 0 at `good` or better, 1 at `bad` or worse, linear in between.
The doubts are summed. Missing evidence adds no doubt.

To add evidence, write a function in `evidence.py` and add its entry to `MEASURES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scorecam.trust import evidence, place_evidence
from scorecam.trust.checked_map import CheckedMap
from scorecam.trust.evidence import Measured

WEAK, REFUSED = 0.5, 1.0
"""From which sum of doubts a map is weak, and from which it should not be shown."""


@dataclass(frozen=True)
class Criterion:
    """When a value is a reason for doubt.

    Args:
        good: a value as good as this adds no doubt.
        bad: a value as bad as this is enough not to show the map.
        sentence: the evidence in words, with `{}` for the value.
        source: the publication of the idea, if it isn't ours.
        fitted: whether the thresholds were fitted on photos; otherwise they were chosen.
        most: the largest doubt that it adds, in [0, 1].
    """

    good: float
    bad: float
    sentence: str
    source: str = ""
    fitted: bool = True
    most: float = 1.0

    def doubt(self, value: float) -> float:
        """The doubt that a value adds, in [0, 1]."""
        return min(self.most, max(0.0, (value - self.good) / (self.bad - self.good)))


@dataclass(frozen=True)
class Measure:
    """A measurement, which may give several kinds of evidence.

    Args:
        run: measures; returns a value for each code.
        criteria: by code.
        passes: returns the largest number of images that it passes through the model; None if it
            needs only the bank.
    """

    run: Callable[[CheckedMap], Mapping[str, Measured]]
    criteria: Mapping[str, Criterion]
    passes: Callable[[CheckedMap], int] | None = None


MEASURES = (
    Measure(
        evidence.contrast,
        {
            "contrast": Criterion(
                good=0.973,
                bad=0.997,
                sentence="The maps of the five next targets correlate with this one by {} on "
                "average.",
            )
        },
    ),
    Measure(
        evidence.agreement,
        {
            "agreement": Criterion(
                good=0.321,
                bad=-0.026,
                sentence="The maps of the variants official, algorithm1 and increase correlate by "
                "{} on average.",
            )
        },
    ),
    Measure(
        evidence.outstanding,
        {
            "standing": Criterion(
                good=1.145,
                bad=0.758,
                sentence="The class's score stands out {} times as far as the largest of as many "
                "random scores would.",
                source="Grubbs 1950",
            )
        },
    ),
    Measure(
        evidence.faithfulness,
        {
            "random": Criterion(
                good=-0.011,
                bad=-0.085,
                sentence="The map's most important pixels carry {} more of the score than those of "
                "random maps.",
                source="after Petsiuk et al. 2018",
            ),
            "centre": Criterion(
                good=-0.2,
                bad=-0.355,
                sentence="The map's most important pixels carry {} more of the score than those at "
                "the centre.",
                source="after Petsiuk et al. 2018",
            ),
            "rest": Criterion(
                good=0.817,
                bad=0.94,
                sentence="Without the map's most important half, the scores of all classes "
                "correlate with the original ones by {}.",
            ),
        },
        evidence.faithfulness_passes,
    ),
    Measure(
        evidence.elsewhere,
        {
            "elsewhere": Criterion(
                good=0.592,
                bad=1.397,
                sentence="For the map's least important part alone, enlarged, the scores of all "
                "classes correlate with the original ones by {}.",
            )
        },
        evidence.elsewhere_passes,
    ),
    Measure(
        evidence.steadiness,
        {
            "steady": Criterion(
                good=0.914,
                bad=0.886,
                sentence="With the image mirrored, shifted, blurred or noisy, the scores of all "
                "classes correlate with the original ones by {} (median).",
            ),
            "moves": Criterion(
                good=0.897,
                bad=0.834,
                sentence="With the image mirrored, shifted, blurred or noisy, the map moves along: "
                "they correlate by {} (median).",
            ),
            "follows": Criterion(
                good=0.9,
                bad=0.779,
                sentence="With the image mirrored, shifted, blurred or noisy, the centred map, "
                "which is without what all targets share, moves along: they correlate by {} "
                "(median).",
            ),
        },
        evidence.steadiness_passes,
    ),
    Measure(
        evidence.blindness,
        {
            "blind": Criterion(
                good=0.636,
                bad=0.837,
                sentence="With shuffled tiles or pixels or random phases, so that nothing can be "
                "recognised, the scores of all classes correlate with the original ones by {}.",
                source="phases: Oppenheim and Lim 1981",
            )
        },
        evidence.blindness_passes,
    ),
    Measure(
        evidence.head_dependence,
        {
            "head": Criterion(
                good=0.998,
                bad=1.001,
                sentence="The map of a copy with a re-initialised last stage correlates with this "
                "one by {}.",
                source="Adebayo et al. 2018",
            )
        },
        evidence.head_passes,
    ),
)
"""All evidence, in the order in which it is reported.

The thresholds were fitted by `benchmarks/trust/check_report.py --fit` on composites of cut-out
objects, with EfficientNet-Lite0, and on garments, with a small network: as trained, with their last
parts re-initialised, and trained on shuffled labels. They were evaluated on other photos and
networks; see docs/trust.md.
"""

PLACE_MEASURES = (
    Measure(
        place_evidence.place,
        {
            "cells": Criterion(
                good=1.0,
                bad=0.25,
                sentence="The box or region is as large as {} cells of the layer's grid.",
                fitted=False,
            ),
            "inside": Criterion(
                good=1.4,
                bad=0.9,
                most=WEAK,
                sentence="In the box or region and a cell around it, the map has {} times the sum "
                "of a uniform map.",
                source="after Wang et al. 2020",
                fitted=False,
            ),
            "own": Criterion(
                good=1.2,
                bad=0.5,
                sentence="It has {} times as much there as the maps of other boxes or regions, or "
                "as the plain mean of the activations if there are none.",
                fitted=False,
            ),
        },
    ),
)
"""More evidence about a map of a box or a region of the picture, which needs only the bank.

The thresholds were chosen: a map shows nothing smaller than a cell of its grid; those of `inside`
and `own` on faces, and judged on other faces (docs/detection-results.md). A map outside of its box
may show context, so that alone makes it weak at most.
"""

CRITERIA: Mapping[str, Criterion] = {
    code: criterion for measure in MEASURES for code, criterion in measure.criteria.items()
}
"""By code, for every map."""

PLACE_CRITERIA: Mapping[str, Criterion] = {
    code: criterion for measure in PLACE_MEASURES for code, criterion in measure.criteria.items()
}
"""By code, for maps of a box or a region."""

NOTE_DOUBTS: Mapping[str, float] = {
    "flat": 1.0,
    "improbable": 1.0,
    "not-finite": 0.5,
    "below-fill": 0.5,
    "constant": 0.5,
    "baseline": 0.5,
    "one-channel": 0.5,
    "signed-layer": 0.5,
    "not-logits": 0.5,
    "saturated": 0.5,
    "not-repeatable": 0.5,
    "mixes-batch": 0.5,
    "rough": 0.5,
    "border": 0.5,
}
"""The doubt that each health note of the bank adds: chosen, not fitted. `improbable` is about the
probability; it never applies to the prediction of a softmax, since the largest of n probabilities
is at least 1/n."""

_OPENING_PASSES = 2 + 8
"""The image, the empty image, and at most 8 images to verify a faster runtime."""


def measure(checked: CheckedMap, codes: frozenset[str]) -> dict[str, Measured]:
    """The evidence with these codes, in the order of `MEASURES`.

    Raises:
        ModelError: the explanation is of another model, or the model fails.
    """
    measures = _measures_for(codes)
    if place_evidence.region(checked) is not None:
        measures += [each for each in PLACE_MEASURES if codes & set(each.criteria)]
    if any(each.passes is not None for each in measures):
        checked.verify_model()
    return {
        code: value
        for each in measures
        for code, value in each.run(checked).items()
        if code in codes
    }


def passes(checked: CheckedMap, codes: frozenset[str]) -> int:
    """The largest number of images that measuring these passes through the model or its copy."""
    counts = [each.passes(checked) for each in _measures_for(codes) if each.passes is not None]
    return sum(counts) + (_OPENING_PASSES if counts else 0)


def _measures_for(codes: frozenset[str]) -> list[Measure]:
    return [each for each in MEASURES if codes & set(each.criteria)]
