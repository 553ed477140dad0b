"""The sanity check: do the maps change when the weights do.

Model-parameter randomisation (Adebayo et al., NeurIPS 2018), cascading from the output down, and
independently stage by stage, each layer by its own initialiser; and, where the user has one, a
network trained on shuffled labels. The class stays the trained model's prediction. The folder can
be resumed like any run's:

    run.json                         what was run
    originals/<method>/<id>.npy      the trained model's heatmaps, float32
    items/<mode stage seed>/...      one record for each photo and other network
    maps/<mode stage seed>/...       those networks' heatmaps of the first photos
    sanity.json, table.md, *.png     what they say together
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from scorecam.backends import opening
from scorecam.base.wording import excerpt, quoted, shown, summary
from scorecam.budget.plan import BudgetSpec
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Sample
from scorecam.errors import MissingExtra, ModelError, OutputError, SettingError
from scorecam.io.arguments import function, several
from scorecam.io.arguments import path as as_path
from scorecam.io.files import write_text
from scorecam.io.ranges import COUNT
from scorecam.methods.method import Method
from scorecam.methods.names import methods_of
from scorecam.metrics.similarity import SIMILARITIES
from scorecam.metrics.statistics import Interval, interval
from scorecam.model.model import Model, WhiteBox
from scorecam.model.runtimes import Runtime
from scorecam.model.shortage import memory_errors_translated
from scorecam.runs import markdown
from scorecam.runs.config import SCHEMA, describe
from scorecam.runs.evaluate import OnProgress, first_image, settled
from scorecam.runs.markdown import Markdown, paragraph
from scorecam.runs.plots import draw_sanity, draw_strips
from scorecam.runs.record import Plane, Record, Unreadable, read_plane
from scorecam.runs.sanity.networks import DATA, MODES, PICTURED, SHUFFLED, Check, Job, all_jobs
from scorecam.runs.sanity.verdict import PASSES, Verdict, table, verdict
from scorecam.runs.seals import digests, sealed
from scorecam.runs.store import Store, as_json
from scorecam.runs.tables import ANOTHER, CHANCE, Point
from scorecam.settings import Settings
from scorecam.shapes import Image


@dataclass(frozen=True)
class Sanity:
    """What the check found.

    Args:
        folder: where everything is.
        stages: from the output to the input.
        points: a mean for every method, mode, stage and measure.
        verdicts: by method, on cascading randomisation: "passes", "fails" or "undecided".
        data_verdicts: the same on the network trained on shuffled labels; empty without one.
        table: the same in Markdown.
        failures: photos, or a photo and a network, that could not be used, and why.
    """

    folder: Path
    stages: tuple[str, ...]
    points: tuple[Point, ...]
    verdicts: Mapping[str, Verdict]
    data_verdicts: Mapping[str, Verdict]
    table: Markdown
    failures: Mapping[str, str]

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
        """One method's likeness, stage by stage."""
        return [
            point.found
            for point in self.points
            if (point.method, point.mode, point.measure) == (method, mode, measure)
        ]


def sanity(
    model: Model | nn.Module,
    dataset: Dataset | str | os.PathLike[str],
    methods: str | Sequence[Method] = "scorecam,gradcam,edges",
    *,
    out: str | os.PathLike[str],
    modes: Sequence[str] = MODES,
    seeds: int = 1,
    shuffled: Model | nn.Module | None = None,
    layer: str | None = None,
    budget: BudgetSpec = "fast",
    runtime: Runtime = "auto",
    progress: OnProgress | None = None,
) -> Sanity:
    """Compare every method's maps of randomised copies of a network with those of the network.

    The user's network is only read. Costs one explanation per photo, method, stage, mode and seed.

    Args:
        model: a PyTorch model with its preprocessing.
        dataset: photos; labels are not used.
        methods: names; "edges" is a control that must fail.
        out: a folder, which an interrupted check goes on in.
        modes: "cascading", "independent" or both.
        seeds: networks that are drawn for each stage and mode; a photo's likeness is their mean.
            Intervals are over photos: how much draws differ is not in them.
        shuffled: the same network trained on shuffled labels: the data-randomisation check.
        layer: its name; None for the default.
        budget: which masks Score-CAM asks about.
        runtime: what runs the networks; "auto" is decided once.
        progress: called after every photo and network.

    Raises:
        ModelError: the network cannot be copied, or a layer cannot be drawn anew.
        SettingError: an option makes no sense.
        RunError, DatasetError, OutputError: as for `evaluate`.
    """
    folder = Path(as_path("out", out, OutputError))
    function("progress", progress, "a Progress")
    opened = model if isinstance(model, Model) else opening.open_model(model)
    if not isinstance(opened, WhiteBox):
        raise ModelError(
            f"{opened.spec} has no weights that could be drawn anew.",
            do="Give the PyTorch network it was made of.",
        )
    other = shuffled
    if other is not None and not isinstance(other, Model):
        other = opening.open_model(other, preprocess=opened.preprocess)
    chosen = dataset if isinstance(dataset, Dataset) else open_dataset(as_path("dataset", dataset))
    asked = methods_of(methods)
    do = f"There are {' and '.join(MODES)}."
    modes = [modes] if isinstance(modes, str) else several("modes", modes, str, do)
    seeds = COUNT.check("seeds", seeds)
    settings = Settings(budget=budget, runtime=runtime)
    _check(modes)
    image, where = first_image(opened, chosen, layer)
    stages = opened.stages(image[None])
    jobs = list(all_jobs(stages, modes, seeds))
    if other is not None:
        _check_same(opened, other, stages, image, where)
        jobs.append(Job(DATA, SHUFFLED, 0, ()))
    recorded = {
        "check": "sanity",
        "layer": where,
        "budget": settings.budget_text,
        "runtime": settings.runtime,
        "modes": list(modes),
        "seeds": seeds,
        "shuffled sha256": None if other is None else other.fingerprint(),
    }
    config = describe(opened, chosen, asked, [], settings=recorded, masking=settings.masking)
    store = Store(folder, [job.name for job in jobs], likeness=True)
    speed = settled(store.recorded(), opened, image, settings.speed)
    config |= {"runtime used": speed.runtime, "precision used": speed.precision}
    config, _ = store.begin(config)
    used = {"runtime": config["runtime used"], "precision": config["precision used"]}
    check = Check(
        model=opened,
        shuffled=other,
        methods=tuple(asked),
        layer=where,
        settings=replace(settings, **used),
        store=store,
    )
    same = config["shuffled sha256"] == config["weights sha256"]
    with memory_errors_translated():
        failures = check.go(jobs, chosen.samples, image, progress)
        return _summary(check, stages, jobs, chosen.samples, failures, same=same)


def _check(modes: Sequence[str]) -> None:
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown or not modes:
        raise SettingError(
            f"There is no mode {', '.join(map(quoted, unknown)) or 'named'}.",
            do=f"There are {' and '.join(MODES)}.",
        )
    if len(set(modes)) < len(modes):
        raise SettingError("A mode is there twice.", do="Name each once.")


def _check_same(
    model: Model, shuffled: Model, stages: Sequence[str], image: Image, layer: str
) -> None:
    """That the network trained on shuffled labels is the same network otherwise."""
    shuffled.find_layer(layer, image[None])
    own, others = (len(each.scores(image[None])[0]) for each in (model, shuffled))
    odd = ""
    if own != others:
        odd = f"has {others} classes, the model {own}"
    elif isinstance(shuffled, WhiteBox) and (parts := shuffled.stages(image[None])) != list(stages):
        odd = f"consists of {', '.join(parts)}; the model of {', '.join(stages)}"
    if odd:
        raise ModelError(
            f"The network trained on shuffled labels {odd}.",
            likely="They are not the same network.",
            do="Train the same network on the same photos, their labels shuffled.",
        )


# ── what it says ─────────────────────────────────────────────────────────────────────────────


def _summary(
    check: Check,
    stages: Sequence[str],
    jobs: Sequence[Job],
    samples: Sequence[Sample],
    failures: Mapping[str, str],
    *,
    same: bool,
) -> Sanity:
    usable = [each for each in samples if shown(each.name) not in failures]
    told = _Told()
    for job in jobs:
        for record in check.store.records(job.name, [sample.id for sample in usable]):
            told.add(job, record)
    points = [
        told.point(method.name, mode, stage, measure)
        for method in check.methods
        for mode, stage in dict.fromkeys((job.mode, job.stage) for job in jobs)
        for measure in SIMILARITIES
    ]
    points += _chance(check, usable)
    ends = [("cascading", stages[-1]), (DATA, SHUFFLED)]
    verdicts, data = (
        {each.name: verdict(points, each.name, *end) for each in check.methods} for end in ends
    )
    data = data if check.shuffled is not None else {}
    page = table(points, verdicts, data, len(usable))
    if same:
        remark = paragraph("The network trained on shuffled labels has the model's own weights.")
        page = markdown.document(page, remark)
    wrong = {**failures, **told.failures}
    if wrong:
        each = "; ".join(f"{name}: {why}" for name, why in wrong.items())
        page = markdown.document(page, paragraph("What failed: {}", each))
    found = Sanity(check.store.folder, tuple(stages), tuple(points), verdicts, data, page, wrong)
    _draw(found, check, jobs, usable)
    _write(found)
    return found


class _Told:
    """What the records say, photo by photo."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, str, str], dict[str, list[float]]] = {}
        self.failures: dict[str, str] = {}

    def add(self, job: Job, record: Record) -> None:
        """One photo and network."""
        if "failure" in record:
            what = f"{record['name']}, {job.mode} {job.stage}"
            self.failures[what] = record["failure"]["message"]
        for method, found in record.get("values", {}).items():
            for measure, value in found.items():
                key = (method, job.mode, job.stage, measure)
                own = self.values.setdefault(key, {}).setdefault(record["id"], [])
                own += [] if value is None else [value]

    def point(self, method: str, mode: str, stage: str, measure: str) -> Point:
        """The mean over photos; a photo's is first taken over the networks that were drawn.

        Draws of one photo are not independent photos: they must not make the interval narrower.
        """
        own = self.values.get((method, mode, stage, measure), {}).values()
        means = [sum(each) / len(each) for each in own if each]
        return Point(method, mode, stage, measure, interval(means), len(own) - len(means))


def _chance(check: Check, samples: Sequence[Sample]) -> list[Point]:
    """How alike the trained network's maps of different photos are: each, and the next one's.

    Maps of any network have habits, such as fading at the edges; likeness down to this level says
    nothing of the photo.
    """
    points: list[Point] = []
    for method in check.methods if len(samples) > 1 else ():
        maps = [check.original(method, each) for each in samples]
        for measure, alike in SIMILARITIES.items():
            found = [
                alike(one, other) for one, other in zip(maps, [*maps[1:], maps[0]], strict=True)
            ]
            known = [value for value in found if not math.isnan(value)]
            undefined = len(found) - len(known)
            points.append(Point(method.name, CHANCE, ANOTHER, measure, interval(known), undefined))
    return points


def _write(found: Sanity) -> None:
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "stages": list(found.stages),
        "verdicts": dict(found.verdicts),
        "data_verdicts": dict(found.data_verdicts),
        "rule": f"Spearman's interval, every stage drawn anew, below {PASSES:g}",
        "items": [_item(point) for point in found.points],
        "failures": dict(found.failures),
    }
    page = found.folder / "table.md"
    markdown.write(page, found.table)
    document["files"] = digests([page, *sorted(found.folder.glob("*.png"))])
    write_text(found.folder / "sanity.json", as_json(sealed(document)))


def _draw(found: Sanity, check: Check, jobs: Sequence[Job], samples: Sequence[Sample]) -> None:
    """The curves, and the first photos' maps stage by stage (the paper's Figure 9)."""
    first = [job for job in jobs if job.seed == 0 and job.mode in ("cascading", DATA)]
    try:
        draw_sanity(found.folder, found.points)
        for number, sample in enumerate(samples[:PICTURED], start=1):
            strips: dict[str, list[Any]] = {}
            for method in check.methods:
                files = [check.map_of(method, sample, job) for job in first]
                strips[method.name] = [check.original(method, sample).numpy(), *map(_kept, files)]
            photo = check.photo(sample)
            titles = ["trained network", *(job.stage for job in first)]
            draw_strips(found.folder / f"cascade-{number}.png", photo, titles, strips)
    except MissingExtra:
        return


def _kept(file: Path) -> Plane | None:
    """Another network's map; None where it is not kept, or damaged."""
    with contextlib.suppress(Unreadable):
        return read_plane(file)
    return None


def _item(point: Point) -> dict[str, Any]:
    item = asdict(point)
    del item["found"]
    return item | point.found.plain()
