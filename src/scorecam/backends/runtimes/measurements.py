"""What is known about the runtimes and precisions of a network: their speed and their agreement.

Everything here belongs to the process. Threads share it, and `_LOCK` guards it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import nn

from scorecam.backends.runtimes.agreement import SAME
from scorecam.backends.runtimes.known import Candidate
from scorecam.backends.runtimes.state import State
from scorecam.base.fork_lock import ForkLock

TABLES = 8
"""Tables of one network that are kept: one per readout, image size and setting of torch."""

TIMES = 3
"""Photos of which a candidate's times are kept. Older times are forgotten."""

VERDICTS = 8
"""Photos of which a candidate's distances are kept."""

SHARE = 0.05
"""The share of the time spent so far that looking again may take."""

CHANGED = 1.5
"""The chosen candidate's times changed by this factor: the machine became busy, or idle."""

LONGEST_GAP = 64
"""Photos after which every candidate is looked at again, if time allows."""

_LOCK = ForkLock()


@dataclass
class Schedule:
    """When to look again: after a gap that doubles each time.

    Args:
        due: the number of the photo.
        gap: photos until the time after that.
    """

    due: int = 0
    gap: int = 1

    def done(self, photo: int) -> None:
        """It was done for this photo."""
        self.due = photo + self.gap
        self.gap = min(2 * self.gap, LONGEST_GAP)

    def restart(self, photo: int) -> None:
        """Look again at once, and soon after that."""
        self.due, self.gap = photo, 1


class Record:
    """What is known about one candidate.

    Attributes:
        limit: how far it may move the heatmap.
        certain: whether nothing can change the network's output unnoticed. If not, every photo is
            probed.
        rent: seconds of passes that were spent in other candidates instead of converting.
        timing, probing: when to time it again, and when to probe it again.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.certain = True
        self.rent = 0.0
        self.timing = Schedule()
        self.probing = Schedule(gap=4 if limit <= SAME else 1)
        self._times: dict[int, float] = {}
        self._distances: dict[Hashable, float] = {}

    # ── speed ────────────────────────────────────────────────────────────────────────────────

    def add_time(self, photo: int, seconds: float) -> None:
        """A pass took this long per image. Other work on the machine only adds to it."""
        with _LOCK:
            self._times[photo] = min(seconds, self._times.get(photo, seconds))
            for oldest in sorted(self._times)[:-TIMES]:
                del self._times[oldest]

    def replace_times(self, photo: int, seconds: float) -> None:
        """It was timed again, so older times no longer count."""
        with _LOCK:
            self._times = {photo: seconds}

    @property
    def seconds(self) -> float | None:
        """Seconds per image: the least of the last photos; None if it was never timed."""
        with _LOCK:
            return min(self._times.values(), default=None)

    @property
    def last(self) -> tuple[int, float]:
        """The photo that it was last timed on, and the seconds per image there."""
        with _LOCK:
            return max(self._times.items(), default=(0, 0.0))

    def add_rent(self, seconds: float) -> None:
        """Passes that it could have made took this long in another candidate."""
        with _LOCK:
            self.rent += seconds

    # ── agreement ────────────────────────────────────────────────────────────────────────────

    def add_distance(self, photo: Hashable, distance: float) -> None:
        """It moves the heatmap of this photo's probe by `distance`."""
        with _LOCK:
            self._distances.pop(photo, None)
            self._distances[photo] = distance
            for oldest in list(self._distances)[:-VERDICTS]:
                del self._distances[oldest]

    def distance(self, photo: Hashable) -> float | None:
        """How far it moves the heatmap of this photo; None if that is not known."""
        return self._distances.get(photo) if self.certain else None

    @property
    def distances(self) -> list[float]:
        """Those of the last photos that were probed, the oldest first."""
        with _LOCK:
            return list(self._distances.values())

    @property
    def trusted(self) -> bool:
        """Whether it may be used unprobed: at most a quarter of the last probes disagreed."""
        probed = self.distances
        return bool(probed) and self.certain and 4 * self._beyond(probed) <= len(probed)

    @property
    def ruled_out(self) -> bool:
        """Whether most of the last probes disagreed. Then it is probed only now and then."""
        probed = self.distances
        return 2 * self._beyond(probed) > len(probed)

    def _beyond(self, distances: list[float]) -> int:
        return sum(not distance <= self.limit for distance in distances)


class Table:
    """The records of a network in one state for one wish of the user, and what choosing has cost.

    Attributes:
        photos: calls so far that chose an engine.
        spent: seconds that scoring took so far, about.
        looked: seconds of them that were spent on looking again.
        chosen: the last choice.
        changed_on: the photo on which the machine was last noticed to be faster or slower.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.photos = 0
        self.spent = self.looked = 0.0
        self.chosen: Candidate | None = None
        self.changed_on = 0
        self._usual = 0.0
        self._records: dict[Candidate, Record] = {}

    def record(self, candidate: Candidate, limit: float) -> Record:
        """What is known about a candidate that must stay within `limit`."""
        with _LOCK:
            return self._records.setdefault(candidate, Record(limit))

    def next_photo(self) -> int:
        """The number of a new photo, from 1."""
        with _LOCK:
            self.photos += 1
            return self.photos

    def affords(self, seconds: float) -> bool:
        """Whether looking again may take this long."""
        return self.looked + seconds <= SHARE * self.spent

    def add(self, *, spent: float = 0.0, looked: float = 0.0) -> None:
        """Count time."""
        with _LOCK:
            self.spent += spent
            self.looked += looked

    def choose(self, candidate: Candidate, seconds: float) -> None:
        """Note a choice, and its seconds per image."""
        with _LOCK:
            if candidate != self.chosen:
                self.chosen, self._usual = candidate, seconds

    def notice(self, photo: int, seconds: float) -> bool:
        """Whether the chosen candidate has become much faster or slower than it was."""
        with _LOCK:
            usual = self._usual
            if usual / CHANGED <= seconds <= usual * CHANGED:
                return False
            self._usual, self.changed_on = seconds, photo
            for record in self._records.values():
                record.timing.restart(photo)
            return True


_TABLES: WeakKeyDictionary[nn.Module, dict[Hashable, Table]] = WeakKeyDictionary()


def table_of(module: nn.Module, key: Hashable, state: State) -> Table:
    """The network's table in this state; a new one if the network has changed."""
    with _LOCK:
        tables = _TABLES.setdefault(module, {})
        table = tables.pop(key, None)
        if table is None or table.state.changed(state):
            table = Table(state)
        tables[key] = table
        for oldest in list(tables)[:-TABLES]:
            del tables[oldest]
        return table
