"""The rates of the trust check, for groups of records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.trust.check_records import PROBABILITY, Record, doubt, is_sound
from scorecam.metrics.statistics import wilson
from scorecam.trust.criteria import CRITERIA, NOTE_DOUBTS, REFUSED, WEAK

CONFIDENT = 0.9
"""The probability above which a prediction counts as confident."""


def rate(records: Sequence[Record], passes: Callable[[Record], bool]) -> dict[str, Any]:
    """The share of records that pass, with its Wilson interval."""
    return wilson(sum(map(passes, records)), len(records)).plain()


def roc(records: Sequence[Record], without: frozenset[str]) -> tuple[list[Any], float]:
    """The ROC points (sound refused, broken refused), from the strictest limit on; and the area."""
    good = [doubt(r, CRITERIA, without) for r in records if is_sound(r)]
    bad = [doubt(r, CRITERIA, without) for r in records if not is_sound(r)]
    cuts = [math.inf, *sorted({*good, *bad}, reverse=True)]
    points = [
        (float(np.mean([d >= cut for d in good])), float(np.mean([d >= cut for d in bad])))
        for cut in cuts
    ]
    wins = [(b > g) + 0.5 * (b == g) for b in bad for g in good]
    return points, float(np.mean(wins))


def _fault(kind: str) -> str:
    """The fault of a broken network."""
    known = {"memorised": "memorised", "fine-tuned": "shuffled labels"}
    return next((name for start, name in known.items() if kind.startswith(start)), "randomised")


def groups(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records by expected verdict, then by kind and family."""
    by_name: dict[str, list[Record]] = {}
    for record in records:
        verdict = "accept" if is_sound(record) else "refuse"
        names = [verdict, f"{verdict}: {record['kind']}", f"{verdict}: {record['family']}"]
        if not is_sound(record):
            kind = _fault(record["kind"])
            names += [f"refuse: {kind}", f"refuse: {kind}, {record['family']}"]
            if (record["probability"] or 0.0) > CONFIDENT:
                names += [f"refuse: {kind}, confident", names[-1] + ", confident"]
        for name in names:
            by_name.setdefault(name, []).append(record)
    return by_name


def summary(records: Sequence[Record], without: frozenset[str]) -> dict[str, Any]:
    """The rates of every group, the ROC curve and the area under it."""
    rates: dict[str, Any] = {}
    for name, part in sorted(groups(records).items()):
        good = name.startswith("accept")
        rates[name] = rate(part, lambda r, g=good: (doubt(r, CRITERIA, without) < REFUSED) == g)
        if good:
            rates[f"{name}, usable"] = rate(part, lambda r: doubt(r, CRITERIA, without) < WEAK)
    points, area = roc(records, without)
    return {"rates": rates, "auc": area, "roc": points}


def ablation(records: Sequence[Record]) -> dict[str, Any]:
    """The two rates without each evidence, and with each evidence alone."""
    results: dict[str, Any] = {}
    for code in CRITERIA:
        others = frozenset(CRITERIA) - {code} | PROBABILITY | frozenset(NOTE_DOUBTS) - {"flat"}
        for name, without in ((f"without {code}", PROBABILITY | {code}), (f"only {code}", others)):
            rates = summary(records, without)
            results[name] = {
                "refused": rates["rates"]["refuse"]["mean"],
                "accepted": rates["rates"]["accept"]["mean"],
                "auc": rates["auc"],
            }
    return results
