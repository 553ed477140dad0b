"""All runtimes and precisions that "auto" considers, measured on one probe."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from scorecam.backends.runtimes import casting, conversions
from scorecam.backends.runtimes.agreement import Trial, limit
from scorecam.backends.runtimes.choice import candidates, plain_engine
from scorecam.backends.runtimes.fallback import cause
from scorecam.backends.runtimes.known import EAGER, RUNTIMES, Candidate
from scorecam.backends.runtimes.runtime import Network
from scorecam.errors import MissingExtra
from scorecam.model.engine import Engine, MeasuredEngine, Probe, Speed

TIMES = 5
"""Times that each is timed, in turns; the least counts, as other work only adds to it."""

ANY = Speed("auto", "auto")


def compare(network: Network, probe: Probe, outside: str | None = None) -> list[MeasuredEngine]:
    """Every candidate, measured; networks are converted, whatever that costs.

    Args:
        outside: the name of a part that is computed outside PyTorch, so that nothing is converted.
    """
    trial = Trial(network, plain_engine(network, probe), probe)
    own = Candidate(EAGER, network.precision)
    speed = ANY if outside is None else dataclasses.replace(ANY, runtime=EAGER)
    rows = {
        candidate: _Row(trial, candidate)
        for candidate in dict.fromkeys([*candidates(network, speed), own])
    }
    for _ in range(TIMES):
        for row in rows.values():
            row.time()
    return _ranked(trial, list(rows.values()))


class _Row:
    """One candidate. One thread uses it.

    Attributes:
        engine: None if it cannot be used.
        why: why not.
    """

    def __init__(self, trial: Trial, candidate: Candidate) -> None:
        self.candidate = candidate
        self.limit = limit(ANY, candidate.precision)
        self.seconds = math.inf
        self.distance = math.inf
        self.converting: float | None = None
        self.engine: Engine | None = None
        self.why = ""
        self._trial = trial
        try:
            self.engine = self._made()
            self.distance = trial.answer(self.engine).distance
        except MissingExtra as error:
            self.why = str(error)
        except Exception as error:  # noqa: BLE001  (runtimes raise errors of any kind)
            self.why = f"it cannot run this network ({cause(error)})"
            self.engine = None

    def time(self) -> None:
        """Time it once more."""
        if self.engine is not None:
            self.seconds = min(self.seconds, self._trial.time(self.engine))

    @property
    def agrees(self) -> bool:
        return self.engine is not None and self.distance <= self.limit

    def _made(self) -> Engine:
        (runtime, precision), trial = self.candidate, self._trial
        if runtime != EAGER:
            made = conversions.converted(trial, RUNTIMES[runtime], precision)
            self.converting = made.seconds
            return made.engine(RUNTIMES[runtime], precision)
        if precision == trial.network.precision:
            return trial.plain
        return casting.in_precision(trial.plain, trial.network.device, precision)


def _ranked(trial: Trial, rows: Sequence[_Row]) -> list[MeasuredEngine]:
    """The rows as records, the fastest first."""
    rows = sorted(rows, key=lambda row: row.seconds)
    agreeing = [row for row in rows if row.agrees]
    # Without a conversion, the fastest that needs none would be used.
    unconverted = min(row.seconds for row in rows if row.candidate.runtime == EAGER)
    records: list[MeasuredEngine] = []
    for row in rows:
        chosen = row is agreeing[0]
        measured = row.engine is not None
        records.append(
            MeasuredEngine(
                *row.candidate,
                seconds=row.seconds if measured else None,
                distance=row.distance if measured and math.isfinite(row.distance) else None,
                limit=row.limit,
                agrees=row.agrees,
                conversion_seconds=row.converting,
                images_to_pay=_images_to_pay(trial, row, unconverted),
                chosen=chosen,
                why=row.why or _why(row, agreeing[0], chosen=chosen),
            )
        )
    return records


def _why(row: _Row, best: _Row, *, chosen: bool) -> str:
    if chosen:
        return "the fastest that agrees"
    if not row.agrees:
        return f"it moves the heatmap by {row.distance:.2g}, more than {row.limit:g}"
    return f"it takes {row.seconds / best.seconds:.1f} times as long" if best.seconds else "slower"


def _images_to_pay(trial: Trial, row: _Row, unconverted: float) -> int | None:
    """The masked images after which "auto" converts; None for what needs no conversion."""
    if row.candidate.runtime == EAGER or row.engine is None or not unconverted:
        return None
    price = conversions.price(trial, RUNTIMES[row.candidate.runtime])
    return math.ceil(price / unconverted) if math.isfinite(price) else None
