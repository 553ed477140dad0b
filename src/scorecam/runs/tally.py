"""All records of each method: values by outcome, failures and curves; and the means of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scorecam.metrics.metric import Outcome
from scorecam.metrics.statistics import interval, paired
from scorecam.runs.record import FailureRecord, ItemRecord
from scorecam.runs.tables import Curve, Row

GROUPS = ("all", "small", "large")


@dataclass
class OutcomeValues:
    """The values of one outcome, by photo, and the photos where it is undefined."""

    values: dict[str, float] = field(default_factory=dict[str, float])
    undefined: set[str] = field(default_factory=set[str])


@dataclass
class Tally:
    """All records of one method.

    Args:
        outcomes: by name.
        groups: the group of each photo that has one.
        failures: by photo.
        not_found: photos in which the model's task does not find the object.
        photos: all photos, including these and failures.
        curves: by name.
    """

    outcomes: dict[str, OutcomeValues]
    groups: dict[str, str] = field(default_factory=dict[str, str])
    failures: dict[str, FailureRecord] = field(default_factory=dict[str, FailureRecord])
    not_found: set[str] = field(default_factory=set[str])
    photos: set[str] = field(default_factory=set[str])
    curves: dict[str, Curve] = field(default_factory=dict[str, Curve])

    def add(self, record: ItemRecord) -> None:
        """Add one record."""
        self.photos.add(record.id)
        if isinstance(record, FailureRecord):
            if not record.not_found:
                self.failures[record.id] = record
                return
            self.not_found.add(record.id)
            for outcome in self.outcomes.values():
                outcome.undefined.add(record.id)
            return
        if record.group:
            self.groups[record.id] = record.group
        for name, curve in record.curves.items():
            self.curves.setdefault(name, Curve()).add(curve)
        for name, outcome in self.outcomes.items():
            if name in record.values:
                outcome.values[record.id] = record.values[name]
            else:
                outcome.undefined.add(record.id)

    def is_in(self, group: str, photo: str) -> bool:
        """Whether a photo belongs to a group; every photo belongs to "all"."""
        return group == "all" or self.groups.get(photo) == group


def empty_tally(outcomes: Sequence[Outcome]) -> Tally:
    """A tally without records."""
    return Tally({outcome.name: OutcomeValues() for outcome in outcomes})


def rows_of(tallies: Mapping[str, Tally], outcomes: Sequence[Outcome]) -> list[Row]:
    """The means of every method, and their differences from the first method."""
    known = {group for tally in tallies.values() for group in tally.groups.values()}
    groups = [group for group in GROUPS if group == "all" or group in known]
    first = next(iter(tallies))
    rows: list[Row] = []
    for method, tally in tallies.items():
        for outcome in outcomes:
            own, base = (tallies[name].outcomes[outcome.name] for name in (method, first))
            for group in groups:
                rows.append(_mean(method, outcome, group, tally))
                judged = outcome.better != "neither" and method != first and group == "all"
                both = [photo for photo in own.values if photo in base.values] if judged else []
                if both:
                    gap = paired([own.values[p] for p in both], [base.values[p] for p in both])
                    rows.append(Row(method, outcome.name, group, gap, against=first))
    return rows


def _mean(method: str, outcome: Outcome, group: str, tally: Tally) -> Row:
    own = tally.outcomes[outcome.name]
    values = [value for photo, value in own.values.items() if tally.is_in(group, photo)]
    undefined = sum(tally.is_in(group, photo) for photo in own.undefined)
    return Row(method, outcome.name, group, interval(values), undefined=undefined)
