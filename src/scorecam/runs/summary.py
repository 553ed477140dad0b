"""What a run's records say together: `results.parquet`, `summary.json`, `table.md`, and plots."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scorecam.base.wording import LONGEST_PARAGRAPH, excerpt, one_line, summary
from scorecam.datasets.sample import Dataset
from scorecam.errors import MissingExtra
from scorecam.io.extras import require
from scorecam.io.files import replacing, write_text
from scorecam.metrics.metric import Outcome
from scorecam.metrics.statistics import Interval, interval, paired
from scorecam.model.shortage import memory_errors_translated
from scorecam.runs import markdown
from scorecam.runs.config import SCHEMA, Config
from scorecam.runs.markdown import Markdown, words
from scorecam.runs.plots import draw
from scorecam.runs.seals import digests, sealed
from scorecam.runs.store import Record, Store, as_json
from scorecam.runs.subject import Setup
from scorecam.runs.tables import Curve, Row, in_words

GROUPS = ("all", "small", "large")
ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}
COLUMNS = ("id", "name", "label", "target", "group", "method", "metric", "value", "note")


@dataclass(frozen=True)
class Summary:
    """What a run found.

    Args:
        folder: where everything is.
        photos: of the data set.
        done: those that every method has finished.
        failures: photos without any result, by kind of failure.
        failed: what went wrong: a record for each photo and method.
        rows: means and paired differences.
        table: the same in Markdown.
        remarks: what the user should hear of ...
        news: ... and those of them that came up at the end.
    """

    folder: Path
    photos: int
    done: int
    failures: dict[str, int]
    failed: tuple[Record, ...]
    rows: tuple[Row, ...]
    table: Markdown
    remarks: tuple[str, ...] = ()
    news: tuple[str, ...] = ()

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


@dataclass
class Column:
    """What one method's records say of one outcome, by photo."""

    values: dict[str, float] = field(default_factory=dict[str, float])
    undefined: set[str] = field(default_factory=set[str])


@dataclass
class Tally:
    """What all records of one method say together."""

    columns: dict[str, Column]
    groups: dict[str, str] = field(default_factory=dict[str, str])
    failures: dict[str, Record] = field(default_factory=dict[str, Record])
    photos: set[str] = field(default_factory=set[str])
    curves: dict[str, Curve] = field(default_factory=dict[str, Curve])


@memory_errors_translated()
def write_results(
    store: Store,
    config: Config,
    setup: Setup,
    dataset: Dataset,
    remarks: tuple[Sequence[str], Sequence[str]],
) -> Summary:
    """Read every record that is there, and write what they say together.

    Of shards that end together the slower to write may have read before the other's last record:
    whoever finds everything done, and has not read it all, writes again.

    Args:
        remarks: those that were told before the first photo, and those since.

    Raises:
        OutputError: a file cannot be written.
        MissingExtra: pyarrow or scipy is not installed.
    """
    summary = _write_once(store, config, setup, dataset, remarks)
    there = store.done([sample.id for sample in dataset.samples])
    if summary.done < summary.photos and len(there) == len(dataset) * len(store.methods):
        summary = _write_once(store, config, setup, dataset, remarks)
    return summary


def check_extras() -> None:
    """Raises MissingExtra, before hours are spent, if results could not be written."""
    for name in ("pyarrow", "scipy"):
        require(name, "eval", "write results")


def _write_once(
    store: Store,
    config: Config,
    setup: Setup,
    dataset: Dataset,
    remarks: tuple[Sequence[str], Sequence[str]],
) -> Summary:
    samples = [sample.id for sample in dataset.samples]
    outcomes = [outcome for metric in setup.metrics for outcome in metric.outcomes]
    tallies: dict[str, Tally] = {}
    store.check_there()
    with replacing(store.folder / "results.parquet") as temporary:
        left_out = _write_parquet(temporary, store, samples, outcomes, tallies)
    rows = _rows(tallies, outcomes)
    done = len(set.intersection(*(tally.photos for tally in tallies.values())))
    lost = set.intersection(*(set(tally.failures) for tally in tallies.values()))
    first = next(iter(tallies.values())).failures
    failures = Counter(first[sample]["failure"]["kind"] for sample in lost)
    said = [one_line(remark, LONGEST_PARAGRAPH) for remark in (*remarks[0], *remarks[1])]
    if done < len(samples):
        said.append(f"{len(samples) - done} of {len(samples)} photos are not done yet.")
    said += [f"Records left out, {why}: {count:,}." for why, count in sorted(left_out.items())]
    try:
        curves = {name: tally.curves for name, tally in tallies.items()}
        draw(store.folder, rows, curves, {each.name: _title(each) for each in outcomes})
    except MissingExtra as error:
        said.append(f"No plots: {error}")
    summary = Summary(
        store.folder,
        len(samples),
        done,
        dict(sorted(failures.items())),
        tuple(record for tally in tallies.values() for record in tally.failures.values()),
        tuple(rows),
        _table(rows, tallies, outcomes, _about(config, len(samples), done)),
        tuple(said),
        tuple(said[len(remarks[0]) :]),
    )
    markdown.write(store.folder / "table.md", summary.table)
    _write_summary(store, config, summary)
    return summary


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def _write_parquet(
    path: Path,
    store: Store,
    samples: Sequence[str],
    outcomes: Sequence[Outcome],
    tallies: dict[str, Tally],
) -> Counter[str]:
    """One row for each photo, method and outcome; fills `tallies` on the way.

    Returns:
        How many records were left out, by why: "damaged" or "edited".
    """
    pa = require("pyarrow", "eval", "write results")
    pq = require("pyarrow.parquet", "eval", "write results")
    kinds = {"value": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    left_out: Counter[str] = Counter()
    # pyarrow refuses a path that is not UTF-8; it takes an open file.
    with path.open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for method in store.methods:
            tally = Tally({outcome.name: Column() for outcome in outcomes})
            tallies[method] = tally
            rows: dict[str, list[Any]] = {name: [] for name in COLUMNS}
            for sample in samples:
                record, state = store.judge(method, sample)
                if record is None:
                    left_out.update([] if state == "missing" else [state])
                    continue
                for row in _read(record, outcomes, tally):
                    for name, value in zip(COLUMNS, row, strict=True):
                        rows[name].append(value)
            writer.write_table(pa.table(rows, schema=schema))
    return left_out


def _read(record: Record, outcomes: Sequence[Outcome], tally: Tally) -> Iterator[tuple[Any, ...]]:
    """A record's rows; what it says is added to the tally."""
    sample, method = record["id"], record["method"]
    label = None if record["label"] is None else str(record["label"])
    tally.photos.add(sample)
    if "failure" in record:
        tally.failures[sample] = record
        note = f"{record['failure']['kind']}: {record['failure']['message']}"
        yield sample, record["name"], label, None, None, method, "failure", None, note
        return
    target, group = record.get("target") or {}, record.get("group")
    aim = target.get("name") or str(target.get("index"))
    if group:
        tally.groups[sample] = group
    for name, curve in (record.get("curves") or {}).items():
        tally.curves.setdefault(name, Curve()).add(curve)
    for outcome in outcomes:
        column = tally.columns[outcome.name]
        value = record["values"].get(outcome.name)
        if value is None:
            column.undefined.add(sample)
        else:
            column.values[sample] = value
        note = (record.get("undefined") or {}).get(outcome.name)
        yield sample, record["name"], label, aim, group, method, outcome.name, value, note


def _rows(tallies: dict[str, Tally], outcomes: Sequence[Outcome]) -> list[Row]:
    """Means of every method, and differences to the first."""
    rows: list[Row] = []
    first = next(iter(tallies))
    groups = [
        group
        for group in GROUPS
        if group == "all" or any(group in tally.groups.values() for tally in tallies.values())
    ]
    for method, tally in tallies.items():
        for outcome in outcomes:
            column = tally.columns[outcome.name]
            base = tallies[first].columns[outcome.name].values
            for group in groups:
                values = {
                    sample: value
                    for sample, value in column.values.items()
                    if group in ("all", tally.groups.get(sample))
                }
                missing = sum(
                    group in ("all", tally.groups.get(sample)) for sample in column.undefined
                )
                found = interval(list(values.values()))
                rows.append(Row(method, outcome.name, group, found, missing))
                both = [sample for sample in values if sample in base]
                if method != first and both and group == "all" and outcome.better != "neither":
                    gap = paired([values[s] for s in both], [base[s] for s in both])
                    rows.append(Row(method, outcome.name, group, gap, against=first))
    return rows


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def _write_summary(store: Store, config: Config, summary: Summary) -> None:
    files = [store.folder / "table.md", *sorted(store.folder.glob("*.png"))]
    document = {
        "schema": SCHEMA,
        "config": config,
        "photos": summary.photos,
        "done": summary.done,
        "items": items(summary),
        "files": digests(files),
    }
    write_text(store.folder / "summary.json", as_json(sealed(document)))


def items(summary: Summary) -> list[dict[str, Any]]:
    """The rows as plain values, what is not known null; then what went wrong."""
    found: list[dict[str, Any]] = []
    for row in summary.rows:
        own = {"method": row.method, "outcome": row.outcome, "group": row.group}
        found.append(
            {**own, "against": row.against, **row.found.plain(), "undefined": row.undefined}
        )
    kept = ("id", "name", "method", "failure")
    return found + [{key: record[key] for key in kept} for record in summary.failed]


def _about(config: Config, photos: int, done: int) -> Markdown:
    """What the numbers below are of."""
    return markdown.document(
        markdown.heading(1, "{}, layer {}", config["model"], config["layer"]),
        markdown.paragraph(
            "{} of {} photos; target: the {} class; budget {}; {} on {}. Means over photos with "
            "95 % bootstrap intervals; (n) where not every photo has a value.",
            done,
            photos,
            *(config[key] for key in ("target", "budget", "precision used", "runtime used")),
        ),
    )


def _table(
    rows: Sequence[Row],
    tallies: dict[str, Tally],
    outcomes: Sequence[Outcome],
    about: Markdown,
) -> Markdown:
    """Everything for people, in Markdown."""
    first = next(iter(tallies))
    head = [_title(outcome) for outcome in outcomes]
    parts = [about]
    groups = list(dict.fromkeys(row.group for row in rows))
    names = {"all": "All photos", "small": "Small objects", "large": "Large objects"}
    for group in groups:
        parts.append(markdown.heading(2, "{}", names[group]))
        lines: list[list[str]] = []
        for method, tally in tallies.items():
            own = {
                row.outcome: row
                for row in rows
                if (row.method, row.group, row.against) == (method, group, None)
            }
            whole = len(tally.photos) if group == "all" else len(_inside(tallies, group))
            lines.append([method, *(_cell(own[o.name], whole) for o in outcomes)])
        parts.append(markdown.table(["method", *head], lines))
    gaps = {(row.method, row.outcome): row.found for row in rows if row.against}
    if gaps:
        judged = [o for o in outcomes if o.better != "neither"]
        lines = [
            [method, *(_gap(gaps.get((method, o.name)), o) for o in judged)]
            for method in tallies
            if method != first
        ]
        titles = [_title(outcome) for outcome in judged]
        parts += [
            markdown.heading(2, "Differences to {}, photo by photo", first),
            markdown.table(["method", *titles], lines),
            markdown.paragraph(
                "A + or − in the last place says that the interval leaves out 0: better, or worse."
            ),
        ]
    failed = Counter(
        record["failure"]["kind"]
        for tally in tallies.values()
        for record in tally.failures.values()
    )
    if failed:
        told = ", ".join(f"{count} × {kind}" for kind, count in sorted(failed.items()))
        parts.append(markdown.paragraph("Failures (photo and method): {}.", told))
    return markdown.document(*parts)


def _inside(tallies: dict[str, Tally], group: str) -> set[str]:
    """The photos of a group."""
    told = [tally.groups.items() for tally in tallies.values()]
    return {sample for groups in told for sample, own in groups if own == group}


def _title(outcome: Outcome) -> str:
    """An outcome's title, and which way is better."""
    return f"{outcome.title}{ARROWS[outcome.better]}"


def _cell(row: Row, whole: int) -> Markdown:
    found = row.found
    text = in_words(found)
    return words("{} ({})", text, found.n) if 0 < found.n < whole else text


def _gap(found: Interval | None, outcome: Outcome) -> Markdown:
    if found is None or not found.n:
        return words("–")
    text = in_words(found, "+")
    if not found.excludes(0.0):
        return text
    return words("{} {}", text, "+" if (found.mean > 0) == (outcome.better == "higher") else "−")
