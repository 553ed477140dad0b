"""Fitting the thresholds of the trust check.

The threshold without doubt of each evidence is a quantile over the maps of sound networks, in the
family of networks with the worse values. Full doubt starts beyond it, by a multiple of the distance
to a more extreme quantile. The two quantiles and the multiple are the same for all evidence. These
three numbers are chosen on a grid. On the fitting set, 90 % of the maps of sound networks must be
accepted in every family, and then as many maps of broken networks as possible refused. Among equal
candidates, the one with the widest margin on both sides of the limit is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np

from benchmarks.trust.check_records import Record, Rules, doubt, is_sound
from scorecam.trust.criteria import CRITERIA, REFUSED, Criterion

QUANTILES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
FARTHER = (0.95, 0.98, 1.0)
STRETCH = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
ACCEPTED = 0.9
"""The share of sound maps to accept in every family, on the fitting set."""

LOWER_IS_WORSE = {"agreement", "standing", "random", "centre", "steady", "moves", "follows"}


def thresholds(
    records: Sequence[Record], near: float, far: float, stretch: float, codes: Iterable[str]
) -> Rules:
    """The rules for these codes, from quantiles over the maps of sound networks."""
    fitted_rules: dict[str, Criterion] = {}
    sound = [record for record in records if is_sound(record)]
    families = sorted({record["family"] for record in sound})
    for code in codes:
        sign = -1 if code in LOWER_IS_WORSE else 1
        each = [
            [
                sign * r["values"][code]
                for r in sound
                if r["family"] == family and not isinstance(r["values"][code], str)
            ]
            for family in families
        ]
        good = max(np.quantile(values, near) for values in each)
        end = max(np.quantile(values, far) for values in each)
        bad = good + stretch * max(end - good, 1e-3)
        fitted_rules[code] = Criterion(sign * round(good, 4), sign * round(bad, 4), code)
    return fitted_rules


def fitted(
    records: Sequence[Record], codes: Iterable[str] = tuple(CRITERIA)
) -> tuple[Rules, tuple[float, float, float]]:
    """The best rules on the grid for these codes, with their three numbers."""

    def worth(settings: tuple[float, float, float]) -> tuple[float, float, float]:
        rules = thresholds(records, *settings, codes=codes)
        kept = min(
            shares([r for r in records if r["family"] == family], rules)[1]
            for family in {record["family"] for record in records}
        )
        good = np.array([doubt(record, rules) for record in records if is_sound(record)])
        bad = np.array([doubt(record, rules) for record in records if not is_sound(record)])
        margin = min(
            np.quantile(bad[bad >= REFUSED], 0.05) - REFUSED, REFUSED - np.quantile(good, 0.9)
        )
        return min(kept, ACCEPTED), float((bad >= REFUSED).mean()), float(margin)

    grid = [each for each in product(QUANTILES, FARTHER, STRETCH) if each[1] > each[0]]
    best = max(grid, key=worth)
    return thresholds(records, *best, codes=codes), best


def shares(records: Sequence[Record], rules: Rules) -> tuple[float, float]:
    """The share of refused maps of broken networks, and of accepted maps of sound ones."""
    refused = [doubt(record, rules) >= REFUSED for record in records if not is_sound(record)]
    kept = [doubt(record, rules) < REFUSED for record in records if is_sound(record)]
    return float(np.mean(refused)), float(np.mean(kept))
