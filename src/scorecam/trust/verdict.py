"""The verdict on a map: its evidence with the doubt that each adds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from scorecam.bank.health import Note
from scorecam.base.wording import constructor, summary
from scorecam.trust.criteria import CRITERIA, NOTE_DOUBTS, PLACE_CRITERIA, REFUSED, WEAK, Criterion
from scorecam.trust.evidence import Measured

Verdict = Literal["usable", "weak", "don't show"]
State = Literal["passed", "weak", "failed", "cannot be told"]

CHOSEN = "thresholds chosen, not fitted"

FITTED = "thresholds fitted on 60 photos and 35 garments that trained networks get right"
"""The source of the thresholds. Bad maps were those of broken networks; see docs/trust.md."""


@dataclass(frozen=True)
class Evidence:
    """One piece of evidence for or against a map.

    Args:
        code: for programs: a health note's code, or one of `CRITERIA` or `PLACE_CRITERIA`.
        value: the measured value; None if it could not be measured.
        good: a value as good as this adds no doubt; None for a health note.
        bad: a value as bad as this is enough not to show the map; for a health note, its threshold.
        state: "passed" without doubt, "weak", "failed" if the doubt is enough not to show the map,
            "cannot be told" if it could not be measured.
        doubt: the doubt that it adds, in [0, 1].
        sentence: the evidence in words, with the source of the thresholds.
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
    """Whether a map can be trusted, and why.

    Args:
        verdict: "usable", "weak" or "don't show".
        doubt: the sum of the evidence's doubts; "weak" from 0.5 and "don't show" from 1.
        evidence: the bank's health notes first, then the measurements.
        passes: images passed through the model.
        seconds: the time it took.
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
        """The verdict in one line, with the codes of the main reasons for doubt."""
        against = sorted((e for e in self.evidence if e.doubt > 0), key=lambda e: -e.doubt)
        if not against:
            measured = sum(e.value is not None for e in self.evidence)
            return f"{self.verdict}: all {measured} checks passed"
        reasons = ", ".join(e.code for e in against[:3])
        return (
            f"{self.verdict} (doubt {self.doubt:.2f}, limit {REFUSED:g}). "
            f"Main reasons for doubt: {reasons}"
        )


def judged(notes: Iterable[Note], measured: Mapping[str, Measured]) -> tuple[Evidence, ...]:
    """The notes and measurements as evidence."""
    return (*map(_of_note, notes), *(_of_value(code, value) for code, value in measured.items()))


def _of_note(note: Note) -> Evidence:
    doubt = NOTE_DOUBTS[note.code]
    return Evidence(
        code=note.code,
        value=note.value,
        good=None,
        bad=note.threshold,
        state="failed" if doubt >= REFUSED else "weak",
        doubt=doubt,
        sentence=note.sentence,
    )


def _of_value(code: str, value: Measured) -> Evidence:
    criterion = PLACE_CRITERIA[code] if code in PLACE_CRITERIA else CRITERIA[code]
    if isinstance(value, str):
        return Evidence(
            code=code,
            value=None,
            good=criterion.good,
            bad=criterion.bad,
            state="cannot be told",
            doubt=0.0,
            sentence=f"Not measured. {value}",
        )
    doubt = criterion.doubt(value)
    return Evidence(
        code=code,
        value=value,
        good=criterion.good,
        bad=criterion.bad,
        state="passed" if doubt == 0 else "failed" if doubt >= REFUSED else "weak",
        doubt=doubt,
        sentence=_sentence(criterion, value),
    )


def _sentence(criterion: Criterion, value: float) -> str:
    low, high = ("≤", "≥") if criterion.bad > criterion.good else ("≥", "≤")
    limits = f"pass {low} {criterion.good:.3g}, fail {high} {criterion.bad:.3g}"
    limits += f"; {FITTED if criterion.fitted else CHOSEN}"
    source = f"{criterion.source}; " if criterion.source else ""
    return f"{criterion.sentence.format(f'{round(value, 3):g}')[:-1]} ({source}{limits})."


def verdict(doubt: float) -> Verdict:
    """The verdict for a sum of doubts."""
    if doubt >= REFUSED:
        return "don't show"
    return "weak" if doubt >= WEAK else "usable"
