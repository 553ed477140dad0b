"""The search for the fastest runtime and precision that agree, for one photo.

Candidates are taken in the order of their seconds per image: measured, or guessed before that. The
first that may be used is the choice. One that was not measured lately is measured before it is
used, and may then lose its place. docs/runtimes.md has the rules.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Sequence

from scorecam.backends.runtimes import casting, conversions, int8, measurements
from scorecam.backends.runtimes.agreement import SAME, Trial, limit
from scorecam.backends.runtimes.conversions import Conversion
from scorecam.backends.runtimes.fallback import cause, with_fallback
from scorecam.backends.runtimes.known import CALIBRATED, EAGER, RUNTIMES, Candidate
from scorecam.backends.runtimes.measurements import Record, Table, table_of
from scorecam.backends.runtimes.runtime import Network
from scorecam.backends.runtimes.timing import now, watched
from scorecam.errors import MissingExtra
from scorecam.model.engine import Engine, Probe, Speed

FREE = 4
"""Photos on which a half precision is probed whatever that costs; float32 is on one."""

FAR = 8
"""Candidates that seem this many times slower than the best are not timed again."""

MARGIN = 0.9
"""Another candidate must be this much faster than the one in use, so that noise changes nothing."""


def search(
    network: Network, speed: Speed, probe: Probe, plain: Engine, options: Sequence[Candidate]
) -> Engine:
    """The engine for one photo; the network itself takes over if it fails.

    Args:
        plain: runs the network itself.
        options: what may be chosen, in the order of preference; the network itself, if it is one,
            is the last.
    """
    trial = Trial(network, plain, probe)
    key = speed, *conversions.surroundings(network, probe)
    run = Search(trial, speed, options, table_of(network.module, key, trial.state))
    chosen = run.run()
    remarks = _remarks(run.failures, speed, chosen)
    if chosen.precision in CALIBRATED:
        remarks.append(int8.moved(run.distance(Candidate(chosen.runtime, chosen.precision))))
    engine = dataclasses.replace(chosen, probed=trial.passes, remarks=remarks)
    own = (engine.runtime, engine.precision) == (EAGER, network.precision)
    return engine if own else with_fallback(engine, plain)


def _remarks(failures: Sequence[str], speed: Speed, chosen: Engine) -> list[str]:
    """Why the user's own choice was not followed. A runtime that "auto" skips needs no remark."""
    if speed.runtime in ("auto", chosen.runtime) and speed.precision in ("auto", chosen.precision):
        return []
    return [f"{why}; {chosen.runtime} in {chosen.precision} was used." for why in failures]


class Search:
    """Chooses an engine. One thread uses it, for one call.

    Args:
        trial: scores the probe.
        speed: what the user chose.
        candidates: see `search`.
        table: what is known about them.

    Attributes:
        failures: why candidates were refused, for the user.
    """

    def __init__(
        self, trial: Trial, speed: Speed, candidates: Sequence[Candidate], table: Table
    ) -> None:
        self.failures: list[str] = []
        self._trial = trial
        self._speed = speed
        self._table = table
        self._photo = table.next_photo()
        self._named = speed.runtime not in ("auto", EAGER)
        self._own = Candidate(EAGER, trial.network.precision)
        self._open = list(candidates)
        self._too_early: list[Candidate] = []
        self._converted: dict[Candidate, Conversion] = {}

    def run(self) -> Engine:
        """The engine to use; it reports its times."""
        self._notice_changes()
        self._record(self._own).add_time(self._photo, self._trial.probe.seconds)
        if not self._named:
            self._look_again()
        chosen = self._choice()
        seconds = self._seconds(chosen) * self._trial.probe.passes
        self._table.choose(chosen, self._seconds(chosen))
        self._table.add(spent=seconds + self._trial.probe.seconds)
        for candidate in self._too_early:
            self._record(candidate).add_rent(seconds)
        engine, record, photo = self._engine(chosen), self._record(chosen), self._photo
        return dataclasses.replace(
            engine, scores=watched(engine, lambda took: record.add_time(photo, took))
        )

    def distance(self, candidate: Candidate) -> float:
        """How far the candidate moved the heatmap of the photo that was probed last."""
        return self._record(candidate).distances[-1]

    def _choice(self) -> Candidate:
        """The first candidate that may be used; the network itself if there is none."""
        while self._open:
            candidate = self._next()
            if candidate == self._own:
                break
            with self._failing(candidate):
                if not self._usable(candidate):
                    self._open.remove(candidate)
                elif candidate == self._next():  # it may have turned out slower than others
                    return candidate
        return self._own

    @contextlib.contextmanager
    def _failing(self, candidate: Candidate) -> Generator[None]:
        """In this context, an error of the candidate means that it is not used."""
        try:
            yield
        except MissingExtra:
            raise
        except Exception as error:  # noqa: BLE001  (runtimes raise errors of any kind)
            self.failures.append(f"{candidate.runtime} cannot run this network ({cause(error)})")
            self._open.remove(candidate)

    def _next(self) -> Candidate:
        return self._open[0] if self._named else min(self._open, key=self._rank)

    def _rank(self, candidate: Candidate) -> tuple[float, float]:
        seconds = self._seconds(candidate)
        return seconds * (MARGIN if candidate == self._table.chosen else 1), guess(candidate)

    def _seconds(self, candidate: Candidate) -> float:
        """Seconds per image, measured or guessed."""
        seconds = self._record(candidate).seconds
        if seconds is None:
            return guess(candidate) * self._seconds(self._own)
        return seconds

    def _record(self, candidate: Candidate) -> Record:
        return self._table.record(candidate, limit(self._speed, candidate.precision))

    # ── whether a candidate may be used ──────────────────────────────────────────────────────

    def _usable(self, candidate: Candidate) -> bool:
        """Whether it may be used for this photo. It is converted, probed and timed if need be."""
        if not (self._named or self._is_ready(candidate) or self._pays(candidate)):
            self._too_early.append(candidate)
            return False
        engine, record = self._engine(candidate), self._record(candidate)
        distance = record.distance(self._trial.photo)
        if distance is None and self._may_probe(candidate, engine):
            distance = self._probe(candidate)
        elif distance is None and not record.trusted:
            return self._agrees(candidate, max(record.distances))
        if distance is not None and not self._agrees(candidate, distance):
            return False
        if not self._named and not self._is_fresh(candidate):
            self._time(candidate)
        return True

    def _agrees(self, candidate: Candidate, distance: float) -> bool:
        if distance <= self._record(candidate).limit:
            return True
        runtime, precision = candidate
        self.failures.append(f"{runtime} in {precision} moves the heatmap by {distance:.2g}")
        return False

    def _is_ready(self, candidate: Candidate) -> bool:
        if candidate.runtime == EAGER:
            return True
        return conversions.is_kept(self._trial, RUNTIMES[candidate.runtime], candidate.precision)

    def _pays(self, candidate: Candidate) -> bool:
        """Whether "auto" should convert the network for it now."""
        runtime = candidate.runtime
        ready = [other for other in self._open if other != candidate and self._is_ready(other)]
        own = self._record(self._own)
        if any(
            other.runtime == runtime and self._seconds(other) < self._seconds(self._own)
            for other in ready
        ):
            return False  # another precision of this runtime does well

        def worth_it() -> bool:
            without = min(map(self._seconds, [*ready, self._own]))
            rent = self._record(candidate).rent + without * self._trial.probe.passes
            return conversions.pays(self._trial, RUNTIMES[runtime], seconds=rent)

        if not worth_it():
            return False
        if own.timing.due == 0:
            # The first pass for a photo warms the network up, so it seems slower than it is.
            own.replace_times(self._photo, self._trial.seconds)
            own.timing.done(self._photo)
        return worth_it()

    def _engine(self, candidate: Candidate) -> Engine:
        """Its engine; converted now if need be."""
        runtime, precision = candidate
        plain = self._trial.plain
        if candidate == self._own:
            return plain
        if runtime == EAGER:
            return casting.in_precision(plain, self._trial.network.device, precision)
        made = self._converted.get(candidate)
        if made is None:
            new = not self._is_ready(candidate)
            made = conversions.converted(self._trial, RUNTIMES[runtime], precision)
            self._converted[candidate] = made
            self._table.add(spent=made.seconds if new else 0.0)
        return made.engine(RUNTIMES[runtime], precision)

    # ── probing ──────────────────────────────────────────────────────────────────────────────

    def _is_free(self, candidate: Candidate) -> bool:
        """Whether probing it needs no allowance: it was probed on few photos, or must be."""
        record = self._record(candidate)
        probed = len(record.distances)
        return not record.certain or probed < (1 if record.limit <= SAME else FREE)

    def _may_probe(self, candidate: Candidate, engine: Engine) -> bool:
        record = self._record(candidate)
        if not record.certain or not record.distances:
            return True
        in_doubt = not record.trusted and not record.ruled_out
        if not in_doubt and self._photo < record.probing.due:
            return False
        cost = self._trial.rows(engine.batch) * self._seconds(candidate)
        if not self._trial.answered:
            cost += self._trial.rows(None) * self._seconds(self._own)
        return self._is_free(candidate) or self._table.affords(cost)

    def _probe(self, candidate: Candidate) -> float:
        """How far it moves the heatmap of this photo; it is timed at the same time."""
        trial, record = self._trial, self._record(candidate)
        free, began = self._is_free(candidate), now(trial.network.device)
        distance, seconds = self._answer(candidate)
        own = self._record(self._own)
        own.add_time(self._photo, trial.seconds)
        if own.timing.due == 0:
            own.timing.done(self._photo)
        record.add_distance(trial.photo, distance)
        record.probing.done(self._photo)
        if not self._named:
            self._keep_time(candidate, seconds)
        if not free:
            self._table.add(looked=now(trial.network.device) - began)
        return distance

    def _answer(self, candidate: Candidate) -> tuple[float, float]:
        """The distance, and the seconds per row of its passes."""
        trial, record = self._trial, self._record(candidate)
        engine = self._engine(candidate)
        if candidate.runtime == EAGER:
            answer = trial.answer(engine)
            if record.certain and not record.distances:
                changes = not trial.state.whole or bool(trial.changed_by_passes())
                record.certain = not (changes or trial.drew)
            return answer
        made = self._converted[candidate]
        again = made.probed
        answer = conversions.compared(trial, made, engine)
        record.certain = made.certain and made.images is None
        if again and not made.certain and not answer.distance <= record.limit:
            conversions.forget(trial.network, made)
            if self._named:
                del self._converted[candidate]
                engine = self._engine(candidate)
                answer = conversions.compared(trial, self._converted[candidate], engine)
        return answer

    # ── timing ───────────────────────────────────────────────────────────────────────────────

    def _notice_changes(self) -> None:
        """Look at all candidates again if the machine has become busy, or idle."""
        chosen = self._table.chosen
        if chosen is not None:
            photo, seconds = self._record(chosen).last
            self._table.notice(photo, seconds)

    def _look_again(self) -> None:
        """Time the candidates that are due, as far as the allowance goes."""
        for candidate in filter(self._is_ready, tuple(self._open)):
            with self._failing(candidate):
                self._engine(candidate)  # one that cannot be used is left out here
        ready = sorted(filter(self._is_ready, self._open), key=self._rank)
        due = [
            candidate
            for candidate in ready
            if self._is_due(candidate) and self._seconds(candidate) <= FAR * self._seconds(ready[0])
        ]
        for candidate in sorted(due, key=lambda due: self._record(due).timing.due):
            if not self._affords(candidate):
                break  # cheaper ones wait too, or its turn would never come
            with self._failing(candidate):
                self._time(candidate)

    def _is_due(self, candidate: Candidate) -> bool:
        record = self._record(candidate)
        if candidate == self._table.chosen or record.ruled_out:
            return False
        return self._photo >= record.timing.due

    def _affords(self, candidate: Candidate) -> bool:
        cost = self._trial.rows(self._engine(candidate).batch) * self._seconds(candidate)
        return self._table.affords(cost)

    def _is_fresh(self, candidate: Candidate) -> bool:
        """Whether its time may be compared with others; or cannot be measured now."""
        record = self._record(candidate)
        if record.seconds is None:
            return False
        photo, table = record.last[0], self._table
        recent = photo >= table.changed_on and self._photo - photo <= measurements.TIMES
        return candidate == table.chosen or recent or not self._affords(candidate)

    def _time(self, candidate: Candidate) -> None:
        """Time it on the probe, and forget its earlier times."""
        trial, began = self._trial, now(self._trial.network.device)
        if candidate == self._own and not trial.answered:
            seconds = trial.seconds  # probing may need these scores
        else:
            seconds = trial.time(self._engine(candidate))
        self._keep_time(candidate, seconds)
        self._table.add(looked=now(trial.network.device) - began)

    def _keep_time(self, candidate: Candidate, seconds: float) -> None:
        """Keep a time. If a candidate's first pass seems slow, it is timed again."""
        others = [other for other in self._open if other != candidate and self._is_ready(other)]
        rival = min(map(self._seconds, others), default=0.0)
        engine, record = self._engine(candidate), self._record(candidate)
        if record.seconds is None and rival <= seconds <= FAR * rival:
            seconds = min(seconds, self._trial.time(engine))
        record.replace_times(self._photo, seconds)
        record.timing.done(self._photo)


def guess(candidate: Candidate) -> float:
    """The time of a pass before it is measured, relative to the network's own.

    It only decides the order in which candidates are tried.
    """
    half = candidate.precision not in ("float32", "float64")
    if candidate.runtime == EAGER:
        return 0.45 if half else 1.0
    return 0.2 if half else 0.4
