"""`results.parquet`: one row per photo, method and outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scorecam.io.extras import require
from scorecam.metrics.metric import Outcome
from scorecam.runs.record import FailureRecord, ItemRecord
from scorecam.runs.store import Store
from scorecam.runs.tally import Tally, empty_tally

COLUMNS = ("id", "name", "label", "target", "group", "method", "metric", "value", "note")


def write_parquet(
    path: Path, store: Store[ItemRecord], samples: Sequence[str], outcomes: Sequence[Outcome]
) -> tuple[dict[str, Tally], Counter[str]]:
    """Write the rows of all records.

    Returns:
        The tally of each method; and the number of records left out, by their state: "damaged" or
        "edited".

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    pa = require("pyarrow", "eval", "write results")
    pq = require("pyarrow.parquet", "eval", "write results")
    types = {"value": pa.float64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    tallies = {method: empty_tally(outcomes) for method in store.methods}
    left_out: Counter[str] = Counter()
    # pyarrow refuses a path that is not UTF-8; it takes an open file.
    with path.open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for method, tally in tallies.items():
            rows: dict[str, list[Any]] = {name: [] for name in COLUMNS}
            for sample in samples:
                record, state = store.judge(method, sample)
                if record is None:
                    left_out.update([] if state == "missing" else [state])
                    continue
                tally.add(record)
                for row in _rows(record, outcomes):
                    for name, value in zip(COLUMNS, row, strict=True):
                        rows[name].append(value)
            writer.write_table(pa.table(rows, schema=schema))
    return tallies, left_out


FAILURE = "failure"
"""The name in the column `metric` of a photo that could not be explained."""


def failure_note(record: FailureRecord) -> str:
    """The note of a failure's row."""
    return f"{record.failure.kind}: {record.failure.message}"


def _rows(record: ItemRecord, outcomes: Sequence[Outcome]) -> Iterator[tuple[Any, ...]]:
    """The rows of one record, in the order of `COLUMNS`."""
    label = None if record.label is None else str(record.label)
    first = (record.id, record.name, label)
    if isinstance(record, FailureRecord):
        metrics = [each.name for each in outcomes] if record.not_found else [FAILURE]
        for metric in metrics:
            yield (*first, None, None, record.method, metric, None, failure_note(record))
        return
    target = record.target.name or str(record.target.index)
    own = (*first, target, record.group, record.method)
    for outcome in outcomes:
        name = outcome.name
        yield (*own, name, record.values.get(name), record.undefined.get(name))
