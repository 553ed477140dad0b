"""The rates of the trust check with other sets of evidence, each with thresholds fitted for it.

`follows` is the evidence about the part of the map that depends on the class. `class-free` is the
share of the map that the plain mean of the activations explains. It was tried, and is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.trust.check_fit import fitted
from benchmarks.trust.check_rates import groups, rate
from benchmarks.trust.check_records import Record, Rules, doubt
from scorecam.trust.criteria import CRITERIA, REFUSED

CLASS_FREE = "class-free"

TRIALS: dict[str, tuple[str, ...]] = {
    "all": tuple(CRITERIA),
    "without follows": tuple(code for code in CRITERIA if code != "follows"),
    "without moves": tuple(code for code in CRITERIA if code != "moves"),
    "class-free instead of follows": (*(c for c in CRITERIA if c != "follows"), CLASS_FREE),
    "with class-free": (*CRITERIA, CLASS_FREE),
}

SHOWN = (
    "accept",
    "refuse",
    "refuse: randomised",
    "refuse: memorised",
)


def trials(
    fitting: Sequence[Record],
    few_fitting: Sequence[Record],
    judged: Sequence[Record],
    few_judged: Sequence[Record],
) -> dict[str, Any]:
    """The thresholds and rates of every trial.

    Args:
        fitting: the records that thresholds are fitted on.
        few_fitting: those of fine-tuned networks of the same photos, never used for fitting.
        judged: the records to judge.
        few_judged: those of fine-tuned networks.
    """
    results: dict[str, Any] = {}
    for name, codes in TRIALS.items():
        rules, settings = fitted(_with_class_free(fitting), codes)
        results[name] = {
            "fit": dict(zip(("near", "far", "stretch"), settings, strict=True)),
            "thresholds": {code: [rule.good, rule.bad] for code, rule in rules.items()},
            "fitting set": _rates(fitting, rules) | _fine_tuned(few_fitting, rules),
            "judged": _rates(judged, rules) | _fine_tuned(few_judged, rules),
        }
    return results


def _with_class_free(records: Sequence[Record]) -> list[Record]:
    """The records with the class-free share among the evidence."""
    return [
        {**record, "values": record["values"] and {**record["values"], CLASS_FREE: _share(record)}}
        for record in records
    ]


def _share(record: Record) -> float | str:
    share = record["class_free"]
    return "The mean is constant." if share is None else share


def _rates(records: Sequence[Record], rules: Rules) -> dict[str, Any]:
    """The rates of right verdicts."""
    by_name = groups(_with_class_free(records))
    return {
        name: rate(
            by_name[name], lambda r, n=name: (doubt(r, rules) < REFUSED) == n.startswith("a")
        )
        for name in SHOWN
        if name in by_name
    }


def _fine_tuned(records: Sequence[Record], rules: Rules) -> dict[str, Any]:
    return {
        f"fine-tuned, {name}": each
        for name, each in _rates(records, rules).items()
        if name in ("accept", "refuse")
    }


def trials_table(tried: Mapping[str, Any]) -> str:
    """The rates of every trial in Markdown."""
    names = [*SHOWN, "fine-tuned, refuse", "fine-tuned, accept"]
    lines = [f"| trial | set | {' | '.join(names)} |", f"|{'---|' * (len(names) + 2)}"]
    for trial, result in tried.items():
        for part in ("fitting set", "judged"):
            rates = [f"{result[part][name]['mean']:.1%}" for name in names]
            lines.append(f"| {trial} | {part} | {' | '.join(rates)} |")
    return "\n".join(lines)
