"""The results of a sanity check: means over photos, verdicts, figures and `sanity.json`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scorecam.base.wording import encodable, excerpt, summary
from scorecam.datasets.sample import Sample
from scorecam.errors import MissingExtra
from scorecam.io.files import write_text
from scorecam.metrics.similarity import SIMILARITIES
from scorecam.metrics.statistics import Interval, interval
from scorecam.runs import markdown
from scorecam.runs.config import SCHEMA
from scorecam.runs.layout import Layout
from scorecam.runs.maps import Grid, read_grid
from scorecam.runs.markdown import Markdown, paragraph
from scorecam.runs.record import LikenessRecord, Unreadable
from scorecam.runs.sanity.check import PICTURED, Check
from scorecam.runs.sanity.networks import DATA, SHUFFLED, Job
from scorecam.runs.sanity.plots import draw_sanity, draw_strips
from scorecam.runs.sanity.table import table
from scorecam.runs.sanity.verdict import PASSES, Verdict, verdict
from scorecam.runs.seals import digests, sealed
from scorecam.runs.store import as_json
from scorecam.runs.tables import ANOTHER, CHANCE, Point


@dataclass(frozen=True)
class Sanity:
    """The results of a sanity check.

    Args:
        folder: of the check.
        stages: from the output to the input.
        points: a mean for every method, mode, stage and measure.
        verdicts: by method, on cascading randomisation: "passes", "fails" or "undecided".
        data_verdicts: the same on the network trained on shuffled labels; empty without one.
        table: the same in Markdown.
        failures: by photo, or by photo and network, why it could not be used.
        remarks: on methods that were left out.
    """

    folder: Path
    stages: tuple[str, ...]
    points: tuple[Point, ...]
    verdicts: Mapping[str, Verdict]
    data_verdicts: Mapping[str, Verdict]
    table: Markdown
    failures: Mapping[str, str]
    remarks: tuple[str, ...] = ()

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.folder, 200)
        yield f"{len(self.stages)} stages"
        verdicts = (f"{method} {verdict}" for method, verdict in self.verdicts.items())
        yield excerpt(", ".join(verdicts))
        yield f"{len(self.failures)} failures" if self.failures else ""

    def curve(
        self, method: str, mode: str = "cascading", measure: str = "spearman"
    ) -> list[Interval]:
        """One method's similarity, stage by stage."""
        return [
            point.found
            for point in self.points
            if (point.method, point.mode, point.measure) == (method, mode, measure)
        ]


def write_results(
    check: Check,
    stages: Sequence[str],
    jobs: Sequence[Job],
    samples: Sequence[Sample],
    *,
    failures: Mapping[str, str],
    same: bool,
) -> Sanity:
    """Read all records of a sanity check, and write their means, verdicts and figures.

    Args:
        failures: photos that could not be used, and why.
        same: whether the network trained on shuffled labels has the model's own weights.

    Raises:
        RunError, OutputError: a file was changed during the check, or cannot be written.
    """
    usable = [sample for sample in samples if encodable(sample.name) not in failures]
    values = Similarities()
    for job in jobs:
        for record in check.store.records(job.name, [sample.id for sample in usable]):
            values.add(job, record)
    points = [
        values.point(method.name, mode, stage, measure)
        for method in check.methods
        for mode, stage in dict.fromkeys((job.mode, job.stage) for job in jobs)
        for measure in SIMILARITIES
    ]
    points += _chance(check, usable)
    ends = [("cascading", stages[-1]), (DATA, SHUFFLED)]
    verdicts, data = (
        {method.name: verdict(points, method.name, *end) for method in check.methods}
        for end in ends
    )
    data = data if check.shuffled is not None else {}
    every = {**failures, **values.failures}
    page = table(points, verdicts, data, len(usable))
    page = _with_remarks(page, check.remarks, every, same=same)
    results = Sanity(
        folder=check.store.folder,
        stages=tuple(stages),
        points=tuple(points),
        verdicts=verdicts,
        data_verdicts=data,
        table=page,
        failures=every,
        remarks=check.remarks,
    )
    _draw(results, check, jobs, usable)
    _write(results)
    return results


def _with_remarks(
    page: Markdown, remarks: Sequence[str], failures: Mapping[str, str], *, same: bool
) -> Markdown:
    for remark in remarks:
        page = markdown.document(page, paragraph("{}", remark))
    if same:
        remark = paragraph("The network trained on shuffled labels has the model's own weights.")
        page = markdown.document(page, remark)
    if failures:
        listed = "; ".join(f"{name}: {why}" for name, why in failures.items())
        page = markdown.document(page, paragraph("What failed: {}", listed))
    return page


class Similarities:
    """The values of all records, photo by photo."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, str, str], dict[str, list[float]]] = {}
        self.failures: dict[str, str] = {}

    def add(self, job: Job, record: LikenessRecord) -> None:
        """Add the record of one photo and network."""
        if record.failure is not None:
            self.failures[f"{record.name}, {job.mode} {job.stage}"] = record.failure.message
        for method, by_measure in record.values.items():
            for measure, value in by_measure.items():
                key = (method, job.mode, job.stage, measure)
                own = self.values.setdefault(key, {}).setdefault(record.id, [])
                own += [] if value is None else [value]

    def point(self, method: str, mode: str, stage: str, measure: str) -> Point:
        """The mean over photos; each photo's value is its mean over the seeds.

        The seeds of one photo are not independent photos, so they must not narrow the interval.
        """
        own = self.values.get((method, mode, stage, measure), {}).values()
        means = [sum(values) / len(values) for values in own if values]
        return Point(
            method, mode, stage, measure, found=interval(means), undefined=len(own) - len(means)
        )


def _chance(check: Check, samples: Sequence[Sample]) -> list[Point]:
    """How similar the trained network's maps of different photos are: each map and the next one.

    All maps have features in common, such as fading at the edges, so similarity at this level does
    not depend on the photo.
    """
    points: list[Point] = []
    for method in check.methods if len(samples) > 1 else ():
        maps = [check.original(method, sample) for sample in samples]
        for measure, similarity in SIMILARITIES.items():
            values = [
                similarity(one, other)
                for one, other in zip(maps, [*maps[1:], maps[0]], strict=True)
            ]
            known = [value for value in values if not math.isnan(value)]
            undefined = len(values) - len(known)
            mean = interval(known)
            points.append(
                Point(method.name, CHANCE, ANOTHER, measure, found=mean, undefined=undefined)
            )
    return points


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def _write(results: Sanity) -> None:
    layout = Layout(results.folder)
    markdown.write(layout.table, results.table)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "stages": list(results.stages),
        "verdicts": dict(results.verdicts),
        "data_verdicts": dict(results.data_verdicts),
        "rule": f"Spearman's interval, every stage drawn anew, below {PASSES:g}",
        "items": [_item(point) for point in results.points],
        "failures": dict(results.failures),
        "remarks": list(results.remarks),
        "files": digests([layout.table, *layout.plots()]),
    }
    write_text(layout.sanity, as_json(sealed(document)))


def _draw(results: Sanity, check: Check, jobs: Sequence[Job], samples: Sequence[Sample]) -> None:
    """The curves, and the first photos' maps stage by stage (the paper's Figure 9)."""
    layout = check.store.layout
    first = [job for job in jobs if job.seed == 0 and job.mode in ("cascading", DATA)]
    titles = ["trained network", *(job.stage for job in first)]
    with contextlib.suppress(MissingExtra):
        draw_sanity(layout, results.points)
        for number, sample in enumerate(samples[:PICTURED], start=1):
            strips: dict[str, list[Any]] = {}
            for method in check.methods:
                own = [layout.network_map(job.name, method.name, sample.id) for job in first]
                original = check.original(method, sample).numpy()
                strips[method.name] = [original, *map(_kept, own)]
            if any(maps[0].ndim != 2 for maps in strips.values()):
                break  # signals and volumes are not drawn
            draw_strips(layout.cascade(number), check.photo(sample), titles, strips)


def _kept(file: Path) -> Grid | None:
    """Another network's map; None if it was not kept, or is damaged."""
    with contextlib.suppress(Unreadable):
        return read_grid(file)
    return None


def _item(point: Point) -> dict[str, Any]:
    item = asdict(point)
    del item["found"]
    return item | point.found.plain()
