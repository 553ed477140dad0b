"""Compare the results of a run with its records: every row, and every mean."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scorecam.errors import RunError
from scorecam.io.reading import Kind, read_bytes
from scorecam.runs.parquet import FAILURE, failure_note
from scorecam.runs.record import FailureRecord, ItemRecord
from scorecam.runs.store import Store

Cells = dict[str, tuple[float | None, str | None]]
Key = tuple[str, str, str]
"""A method, an outcome and a group of photos."""

TABLE = Kind("a run's results.parquet", 2**32, RunError)
_COLUMNS = ("id", "method", "metric", "value", "note")


_AGAIN = "Run the command of the run again: it writes the results of all records."


@dataclass(frozen=True)
class Results:
    """The result of the comparison.

    Args:
        wrong: files that do not agree with the records, each with a sentence.
        remark: what could not be checked; "" if everything was.
    """

    wrong: tuple[tuple[Path, str], ...]
    remark: str = ""


@dataclass
class _Values:
    """The values in the records, by photo.

    Args:
        values: by method, outcome and group.
        photos: by method.
        unreadable: records that cannot be read.
    """

    values: dict[Key, dict[str, float]] = field(
        default_factory=lambda: defaultdict(dict[str, float])
    )
    photos: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    unreadable: int = 0

    def add(self, record: ItemRecord) -> None:
        self.photos[record.method].add(record.id)
        if isinstance(record, FailureRecord):
            return
        for outcome, value in record.values.items():
            for group in {"all", record.group or "all"}:
                self.values[record.method, outcome, group][record.id] = value


def check_results(store: Store[ItemRecord], summary: dict[str, Any]) -> Results:
    """Compare `results.parquet` and `summary.json` with the records."""
    records = _Values()
    wrong: list[tuple[Path, str]] = []
    table, remark = _table(store)
    if isinstance(table, str):
        wrong.append((store.layout.results, table))
    different = 0
    for method in store.methods:
        records.photos[method] = set()
        rows = table[method] if isinstance(table, dict) else None
        different += _compare_rows(store, method, rows, records)
    if different:
        what = f"It disagrees with the records of {different:,} photos and methods."
        wrong.append((store.layout.results, f"{what} {_AGAIN}"))
    if records.unreadable:
        remark += " summary.json was not compared with the records, because some are damaged."
    elif count := _wrong_numbers(store, summary, records):
        what = f"{count:,} of its numbers disagree with the records."
        wrong.append((store.layout.summary, f"{what} {_AGAIN}"))
    return Results(tuple(wrong), remark.strip())


def _table(store: Store[ItemRecord]) -> tuple[dict[str, dict[str, Cells]] | str | None, str]:
    """The cells of `results.parquet` by method and photo, or what is wrong; and a remark."""
    file = store.layout.results
    if not os.path.lexists(file):
        return "This result is missing.", ""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return None, "results.parquet was not checked: that needs pip install 'scorecam[eval]'."
    table: dict[str, dict[str, Cells]] = {method: {} for method in store.methods}
    try:
        content = pa.BufferReader(read_bytes(file, TABLE))
        # Its threads may outlive the command and abort the process when Python ends.
        with pq.ParquetFile(content, pre_buffer=False) as stream:
            columns = stream.read(list(_COLUMNS), use_threads=False)
        for row in columns.to_pylist():
            cells = table[row["method"]].setdefault(row["id"], {})
            cells[row["metric"]] = row["value"], row["note"]
    except Exception:  # noqa: BLE001  (pyarrow raises many kinds of errors)
        return "It is not the table that was written.", ""
    return table, ""


def _compare_rows(
    store: Store[ItemRecord], method: str, rows: dict[str, Cells] | None, records: _Values
) -> int:
    """Add the records of a method; returns the number of photos whose rows disagree with them.

    Args:
        rows: by photo; None if the table cannot be read.
    """
    different = 0
    photos: set[str] = set()
    for file in store.layout.items_of(method):
        photos.add(file.stem)
        record, _ = store.judge(method, file.stem)
        if record is None:
            records.unreadable += 1
            continue
        records.add(record)
        different += rows is not None and not _agrees(record, rows.get(file.stem))
    return different + (0 if rows is None else len(rows.keys() - photos))


def _agrees(record: ItemRecord, cells: Cells | None) -> bool:
    if cells is None:
        return False
    if isinstance(record, FailureRecord):
        named = {*cells} == {FAILURE} or (record.not_found and FAILURE not in cells)
        return named and {*cells.values()} == {(None, failure_note(record))}
    if not record.values.keys() <= cells.keys():
        return False
    return all(
        cell == (record.values.get(outcome), record.undefined.get(outcome))
        for outcome, cell in cells.items()
    )


def _wrong_numbers(store: Store[ItemRecord], summary: dict[str, Any], records: _Values) -> int:
    """The number of values in the summary that disagree with the records."""
    done = len(set.intersection(*records.photos.values()))
    wrong = int(summary.get("done") != done)
    items = summary.get("items")
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and "failure" not in item:
            wrong += not _is_right(store.methods[0], item, records)
    return wrong


def _is_right(first: str, item: dict[str, Any], records: _Values) -> bool:
    """Whether an item of the summary has the mean and the count of the records."""
    method, outcome, group = (str(item.get(key)) for key in ("method", "outcome", "group"))
    own = records.values.get((method, outcome, group), {})
    if item.get("against") is not None:
        base = records.values.get((first, outcome, "all"), {})
        own = {photo: own[photo] - base[photo] for photo in own if photo in base}
    if item.get("n") != len(own):
        return False
    recorded = item.get("mean")
    if not own:
        return recorded is None
    mean = math.fsum(own.values()) / len(own)
    is_number = isinstance(recorded, int | float)
    return is_number and math.isclose(recorded, mean, rel_tol=1e-9, abs_tol=1e-12)
