"""The rule that turns evidence into a verdict, and its thresholds.

Each evidence adds between 0 and 1 of doubt: nothing where it is as good as `good`, 1 where it is
as bad as `bad`, in proportion between. The doubts are added; from `WEAK` on the map is weak, from
`REFUSED` on it should not be shown. What cannot be told adds none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from scorecam.bank.health import Note
from scorecam.base.wording import constructor, summary
from scorecam.trust.evidence import Found

Verdict = Literal["usable", "weak", "don't show"]
State = Literal["passed", "weak", "failed", "cannot be told"]

WEAK, REFUSED = 0.5, 1.0

FITTED = "thresholds fitted on 60 photographs and 35 garments that sound networks get right"
"""Where the thresholds come from; with networks that know nothing beside them: docs/trust.md."""


@dataclass(frozen=True)
class Evidence:
    """One thing that speaks for a map or against it.

    Args:
        code: for programs; a health note's own code, or one of `RULES`.
        value: what was measured; None where it cannot be told.
        good: from which value on it adds no doubt; None for a health note.
        bad: from which value on it alone refuses the map; a health note's threshold.
        state: "passed" without doubt, "failed" where it alone refuses the map.
        doubt: what it adds, in [0, 1].
        sentence: the same for people, with where the thresholds come from.
    """

    code: str
    value: float | None
    good: float | None
    bad: float
    state: State
    doubt: float
    sentence: str

    __repr__ = constructor


@dataclass(frozen=True)
class Trust:
    """Whether a map may be believed, and why.

    Args:
        verdict: "usable", "weak" or "don't show".
        doubt: the evidence's doubts added; "weak" from 0.5 and "don't show" from 1.
        evidence: the bank's health notes first, then what was measured.
        passes: images that were put to the model for it.
        seconds: it took.
    """

    verdict: Verdict
    doubt: float
    evidence: tuple[Evidence, ...]
    passes: int
    seconds: float

    @summary
    def __repr__(self) -> Iterator[str]:
        yield f"{self.verdict}, doubt {self.doubt:.2f} of {REFUSED:g}"
        failed = [evidence.code for evidence in self.evidence if evidence.state == "failed"]
        yield f"failed {' '.join(failed)}" if failed else ""
        yield f"{len(self.evidence)} checks, {self.passes} passes, {self.seconds:.1f} s"

    @property
    def sentence(self) -> str:
        """The verdict in one line, for pictures: with the code of what weighs most against it."""
        against = sorted((e for e in self.evidence if e.doubt > 0), key=lambda e: -e.doubt)
        told = sum(e.value is not None for e in self.evidence)
        if not against:
            return f"{self.verdict}: nothing of {told} checks speaks against this map"
        most = ", ".join(e.code for e in against[:3])
        return f"{self.verdict}: doubt {self.doubt:.2f} of {REFUSED:g}, most from {most}"


@dataclass(frozen=True)
class Rule:
    """When a measurement is a reason for doubt.

    Args:
        good: as good as this, or better, adds no doubt.
        bad: as bad as this, or worse, is reason enough to refuse the map.
        says: what was measured, as a sentence in which the number stands for `{}`.
        source: whose idea it is, where it is not ours.
    """

    good: float
    bad: float
    says: str
    source: str = ""

    def doubt(self, value: float) -> float:
        """How much a value adds, in [0, 1]."""
        return min(1.0, max(0.0, (value - self.good) / (self.bad - self.good)))


RULES: dict[str, Rule] = {
    "contrast": Rule(
        0.971, 1.009, "The maps of the five next classes correlate with this one by {} on average."
    ),
    "agreement": Rule(
        0.376,
        -0.126,
        "The maps of the variants official, algorithm1 and increase correlate by {} on average.",
    ),
    "standing": Rule(
        1.197,
        0.653,
        "The class stands {} times as far out of the others as the largest of as many random "
        "numbers would.",
        "Grubbs 1950",
    ),
    "random": Rule(
        0.097,
        -0.281,
        "The map's most important pixels carry {} more of the answer than those of random maps.",
        "after Petsiuk et al. 2018",
    ),
    "centre": Rule(
        -0.135,
        -0.487,
        "The map's most important pixels carry {} more of the answer than those at the centre.",
        "after Petsiuk et al. 2018",
    ),
    "rest": Rule(
        0.722,
        1.106,
        "With the map's most important half taken away, the scores of all classes correlate with "
        "what they were by {}.",
    ),
    "elsewhere": Rule(
        0.394,
        1.793,
        "Of the map's least important part alone, enlarged, the scores of all classes correlate "
        "with what they were by {}.",
    ),
    "steady": Rule(
        0.923,
        0.867,
        "When the picture is mirrored, shifted, blurred or noisy, the scores of all classes "
        "correlate with what they were by {} (median).",
    ),
    "moves": Rule(
        0.944,
        0.739,
        "When the picture is mirrored, shifted, blurred or noisy, the map goes with it: they "
        "correlate by {} (median).",
    ),
    "blind": Rule(
        0.583,
        0.943,
        "When nothing can be recognised, with tiles or pixels mixed or phases at random, the "
        "scores of all classes correlate with what they were by {}.",
        "phases: Oppenheim and Lim 1981",
    ),
    "head": Rule(
        0.984,
        1.027,
        "The map of a copy whose last stage was drawn anew correlates with this one by {}.",
        "Adebayo et al. 2018",
    ),
}
"""By code. Fitted by `benchmarks/trust_report.py --fit` on composites of cut-out objects, shown to
EfficientNet-Lite0, and on garments, shown to a small network: both as trained, with their last
parts drawn anew, and trained on shuffled labels. Judged on other photos and networks:
docs/trust.md."""

NOTES: dict[str, float] = {
    "flat": 1.0,
    "improbable": 1.0,
    "not-finite": 0.5,
    "below-fill": 0.5,
    "one-channel": 0.5,
    "not-logits": 0.5,
    "saturated": 0.5,
    "not-repeatable": 0.5,
    "mixes-batch": 0.5,
    "rough": 0.5,
    "border": 0.5,
}
"""What each of the bank's health notes adds: chosen, not fitted. `improbable` is the rule about the
probability: of a softmax's prediction it never speaks, since the largest of n is at least 1/n."""


def judged(notes: Iterable[Note], found: Mapping[str, Found]) -> tuple[Evidence, ...]:
    """Every note and every measurement as evidence."""
    return (*map(_noted, notes), *(_measured(code, value) for code, value in found.items()))


def _noted(note: Note) -> Evidence:
    doubt = NOTES[note.code]
    state: State = "failed" if doubt >= REFUSED else "weak"
    return Evidence(note.code, note.value, None, note.threshold, state, doubt, note.sentence)


def _measured(code: str, value: Found) -> Evidence:
    rule = RULES[code]
    if isinstance(value, str):
        said = f"Cannot be told: {value}"
        return Evidence(code, None, rule.good, rule.bad, "cannot be told", 0.0, said)
    doubt = rule.doubt(value)
    state: State = "passed" if doubt == 0 else "failed" if doubt >= REFUSED else "weak"
    way = "up to" if rule.bad > rule.good else "down to"
    ends = f"no doubt {way} {rule.good:.3g}, full doubt at {rule.bad:.3g}; {FITTED}"
    source = f"{rule.source}; " if rule.source else ""
    said = f"{rule.says.format(f'{round(value, 3):g}')[:-1]} ({source}{ends})."
    return Evidence(code, value, rule.good, rule.bad, state, doubt, said)


def verdict(doubt: float) -> Verdict:
    """What so much doubt means."""
    if doubt >= REFUSED:
        return "don't show"
    return "weak" if doubt >= WEAK else "usable"
