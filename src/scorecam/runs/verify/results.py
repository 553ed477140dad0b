"""Whether a run's results are those of its records: every row, and every mean."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from scorecam.errors import RunError
from scorecam.io.reading import Kind, read_bytes
from scorecam.runs.record import Record
from scorecam.runs.store import Store

Cells = dict[str, tuple[float | None, str | None]]
Key = tuple[str, str, str]
"""A method, an outcome and a group of photos."""

TABLE = Kind("a run's results.parquet", 2**32, RunError)
_COLUMNS = ("id", "method", "metric", "value", "note")


@dataclass(frozen=True)
class Results:
    """What was found.

    Args:
        wrong: files that do not agree with the records, and how, as a sentence.
        remark: what could not be checked; "" where everything was.
    """

    wrong: tuple[tuple[str, str], ...]
    remark: str = ""


@dataclass
class _Tally:
    """What the records say, photo by photo."""

    values: dict[Key, dict[str, float]] = field(
        default_factory=lambda: defaultdict(dict[str, float])
    )
    lost: int = 0
    photos: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def add(self, method: str, record: Record) -> None:
        self.photos[method].add(record["id"])
        if "failure" in record:
            return
        for outcome, value in record["values"].items():
            for group in {"all", record.get("group") or "all"}:
                self.values[method, outcome, group][record["id"]] = value


def check_results(store: Store, summary: dict[str, Any]) -> Results:
    """Hold `results.parquet` and `summary.json` against the records."""
    tally = _Tally()
    wrong: list[tuple[str, str]] = []
    table, remark = _table(store)
    if isinstance(table, str):
        wrong.append(("results.parquet", table))
    bad = 0
    for method in store.methods:
        tally.photos[method] = set()
        rows = table[method] if isinstance(table, dict) else None
        bad += _method(store, method, rows, tally)
    again = "Give the command of the run again: it writes the results of all records."
    if bad:
        what = f"It disagrees with the records of {bad:,} photos and methods."
        wrong.append(("results.parquet", f"{what} {again}"))
    if tally.lost:
        remark += " summary.json was not held against the records, since some are damaged."
    elif odd := _means(store, summary, tally):
        what = f"{odd:,} of its numbers are not those of the records."
        wrong.append(("summary.json", f"{what} {again}"))
    return Results(tuple(wrong), remark.strip())


def _table(store: Store) -> tuple[dict[str, dict[str, Cells]] | str | None, str]:
    """The cells of `results.parquet` by method and photo, or what is wrong; and a remark."""
    file = store.folder / "results.parquet"
    if not os.path.lexists(file):
        return "This result is missing.", ""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return None, "results.parquet was not checked: that needs pip install 'scorecam[eval]'."
    found: dict[str, dict[str, Cells]] = {method: {} for method in store.methods}
    try:
        content = pa.BufferReader(read_bytes(file, TABLE))
        # Its threads may outlive the command and abort the process when Python ends.
        with pq.ParquetFile(content, pre_buffer=False) as stream:
            columns = stream.read(list(_COLUMNS), use_threads=False)
        for row in columns.to_pylist():
            cells = found[row["method"]].setdefault(row["id"], {})
            cells[row["metric"]] = row["value"], row["note"]
    except Exception:  # noqa: BLE001  (a damaged table raises what pyarrow happens to)
        return "It is not the table that was written.", ""
    return found, ""


def _method(store: Store, method: str, rows: dict[str, Cells] | None, tally: _Tally) -> int:
    """How many photos of a method the table disagrees on; its records are tallied."""
    bad = 0
    folder = store.folder / "items" / store.slug(method)
    seen: set[str] = set()
    for file in folder.glob("??/*.json"):
        seen.add(file.stem)
        record, _ = store.judge(method, file.stem)
        if record is None:
            tally.lost += 1
            continue
        tally.add(method, record)
        bad += rows is not None and not _agrees(record, rows.get(file.stem))
    return bad + (0 if rows is None else len(rows.keys() - seen))


def _agrees(record: Record, cells: Cells | None) -> bool:
    if cells is None:
        return False
    if "failure" in record:
        note = f"{record['failure']['kind']}: {record['failure']['message']}"
        return cells == {"failure": (None, note)}
    values, undefined = record["values"], record.get("undefined") or {}
    if not values.keys() <= cells.keys():
        return False
    return all(
        cell == (values.get(outcome), undefined.get(outcome)) for outcome, cell in cells.items()
    )


def _means(store: Store, summary: dict[str, Any], tally: _Tally) -> int:
    """How many numbers of the summary are not those of the records."""
    done = len(set.intersection(*tally.photos.values()))
    odd = int(summary.get("done") != done)
    items = summary.get("items")
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and "failure" not in item:
            odd += not _holds(store.methods[0], item, tally)
    return odd


def _holds(first: str, item: dict[str, Any], tally: _Tally) -> bool:
    """Whether a row of the summary has the mean and the count of the records."""
    method, outcome, group = (str(item.get(key)) for key in ("method", "outcome", "group"))
    own = tally.values.get((method, outcome, group), {})
    if item.get("against") is not None:
        base = tally.values.get((first, outcome, "all"), {})
        own = {sample: own[sample] - base[sample] for sample in own if sample in base}
    if item.get("n") != len(own):
        return False
    if not own:
        return item.get("mean") is None
    mean = math.fsum(own.values()) / len(own)
    found = item.get("mean")
    return isinstance(found, int | float) and math.isclose(found, mean, rel_tol=1e-9, abs_tol=1e-12)
