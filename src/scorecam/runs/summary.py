"""The summary of a run: `results.parquet`, `summary.json`, `table.md` and plots."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scorecam.base.wording import LONGEST_PARAGRAPH, excerpt, one_line, summary
from scorecam.datasets.sample import Dataset
from scorecam.errors import MissingExtra
from scorecam.io.extras import require
from scorecam.io.files import replacing, write_text
from scorecam.metrics.statistics import Interval
from scorecam.model.shortage import memory_errors_translated
from scorecam.runs import markdown
from scorecam.runs.config import SCHEMA, Config
from scorecam.runs.markdown import Markdown
from scorecam.runs.parquet import write_parquet
from scorecam.runs.plots import draw
from scorecam.runs.record import ItemRecord, record_json
from scorecam.runs.seals import digests, sealed
from scorecam.runs.setup import Setup
from scorecam.runs.store import Store, as_json
from scorecam.runs.summary_table import introduction, outcome_title, summary_table
from scorecam.runs.tables import Row
from scorecam.runs.tally import Tally, rows_of


@dataclass(frozen=True)
class Summary:
    """The results of a run.

    Args:
        folder: of the run.
        photos: in the data set.
        done: photos that every method has finished.
        failures: photos without any result, by the kind of failure.
        failed: the failures, as in their records: one per photo and method.
        not_found: photos in which the model's task did not find the object.
        rows: means and paired differences.
        table: the same as Markdown.
        remarks: everything that the user should know.
        news: those of the remarks that are not shown before the first photo.
    """

    folder: Path
    photos: int
    done: int
    failures: dict[str, int]
    failed: tuple[Mapping[str, Any], ...]
    rows: tuple[Row, ...]
    table: Markdown
    remarks: tuple[str, ...] = ()
    news: tuple[str, ...] = ()
    not_found: int = 0

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.folder, 200)
        yield f"{self.done} of {self.photos} photos done"
        yield f"{sum(self.failures.values())} failed"
        methods = dict.fromkeys(row.method for row in self.rows)
        yield f"methods {excerpt(' '.join(methods))}" if methods else ""

    def mean(self, method: str, outcome: str, group: str = "all") -> Interval:
        """One method's mean of one outcome, with its interval."""
        for row in self.rows:
            if (row.method, row.outcome, row.group, row.against) == (method, outcome, group, None):
                return row.found
        return Interval(math.nan, math.nan, math.nan, 0)


@memory_errors_translated()
def write_results(
    store: Store[ItemRecord],
    config: Config,
    setup: Setup,
    *,
    dataset: Dataset,
    remarks: Sequence[str],
    news: Sequence[str],
) -> Summary:
    """Read all records of a run and write their summary.

    If two shards end at the same time, one may write its summary before the other's last record.
    A shard that finds all photos done, but has not read all of them, writes the summary again.

    Args:
        remarks: shown before the first photo.
        news: remarks since then.

    Raises:
        OutputError: a file cannot be written.
        MissingExtra: pyarrow or scipy is not installed.
    """
    summary = _write_once(store, config, setup, dataset=dataset, remarks=remarks, news=news)
    done = store.done([sample.id for sample in dataset.samples])
    if summary.done < summary.photos and len(done) == len(dataset) * len(store.methods):
        summary = _write_once(store, config, setup, dataset=dataset, remarks=remarks, news=news)
    return summary


def check_extras() -> None:
    """Raises MissingExtra at the start of a run if its results could not be written at the end."""
    for name in ("pyarrow", "scipy"):
        require(name, "eval", "write results")


def _write_once(
    store: Store[ItemRecord],
    config: Config,
    setup: Setup,
    *,
    dataset: Dataset,
    remarks: Sequence[str],
    news: Sequence[str],
) -> Summary:
    samples = [sample.id for sample in dataset.samples]
    outcomes = [outcome for metric in setup.metrics for outcome in metric.outcomes]
    layout = store.layout
    store.check_exists()
    with replacing(layout.results) as temporary:
        tallies, left_out = write_parquet(temporary, store, samples, outcomes)
    rows = rows_of(tallies, outcomes)
    done = len(set.intersection(*(tally.photos for tally in tallies.values())))
    not_found = len(set[str]().union(*(tally.not_found for tally in tallies.values())))
    now = [*news, *_not_found(not_found)]
    if done < len(samples):
        now.append(f"{len(samples) - done} of {len(samples)} photos are not done yet.")
    now += [f"Records left out, {why}: {count:,}." for why, count in sorted(left_out.items())]
    try:
        curves = {name: tally.curves for name, tally in tallies.items()}
        draw(layout, rows, curves, {each.name: outcome_title(each) for each in outcomes})
    except MissingExtra as error:
        now.append(f"No plots: {error}")
    every = [one_line(remark, LONGEST_PARAGRAPH) for remark in (*remarks, *now)]
    failed = [record for tally in tallies.values() for record in tally.failures.values()]
    about = introduction(config, len(samples), done)
    summary = Summary(
        folder=store.folder,
        photos=len(samples),
        done=done,
        failures=_failures(tallies),
        failed=tuple(map(record_json, failed)),
        rows=tuple(rows),
        table=summary_table(rows, tallies, outcomes, about),
        remarks=tuple(every),
        news=tuple(every[len(remarks) :]),
        not_found=not_found,
    )
    markdown.write(layout.table, summary.table)
    _write_summary(store, config, summary)
    return summary


def _not_found(photos: int) -> list[str]:
    """A remark if the model's task did not find the object of some photos."""
    what = f"Photos in which the model did not find the object: {photos:,}."
    return [f"{what} Their outcomes are undefined."] if photos else []


def _failures(tallies: Mapping[str, Tally]) -> dict[str, int]:
    """Photos on which every method failed, by the kind of the first method's failure."""
    failed = set.intersection(*(set(tally.failures) for tally in tallies.values()))
    first = next(iter(tallies.values())).failures
    return dict(sorted(Counter(first[photo].failure.kind for photo in failed).items()))


def _write_summary(store: Store[ItemRecord], config: Config, summary: Summary) -> None:
    document = {
        "schema": SCHEMA,
        "config": config,
        "photos": summary.photos,
        "done": summary.done,
        **({"not found": summary.not_found} if summary.not_found else {}),
        "items": items(summary),
        "files": digests([store.layout.table, *store.layout.plots()]),
    }
    write_text(store.layout.summary, as_json(sealed(document)))


def items(summary: Summary) -> list[dict[str, Any]]:
    """The rows as JSON values, with null for unknown numbers; then the failures."""
    rows = [
        {
            "method": row.method,
            "outcome": row.outcome,
            "group": row.group,
            "against": row.against,
            **row.found.plain(),
            "undefined": row.undefined,
        }
        for row in summary.rows
    ]
    keys = ("id", "name", "method", "failure")
    return rows + [{key: record[key] for key in keys} for record in summary.failed]
