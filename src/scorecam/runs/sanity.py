"""The sanity check: do the maps change when the weights do.

Model-parameter randomisation (Adebayo et al., NeurIPS 2018), cascading from the output down, and
independently stage by stage, each layer by its own initialiser; the class stays the trained model's
prediction. The folder can be resumed like any run's:

    run.json                         what was run
    originals/<method>/<id>.npy      the trained model's heatmaps, float32
    items/<mode stage seed>/...      one record for each photo and randomised network
    sanity.json, table.md, *.png     what they say together
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from scorecam import backends
from scorecam.asking import Scorer
from scorecam.bank import ScoreBank
from scorecam.budget import BudgetSpec, described
from scorecam.cam import Masking
from scorecam.datasets import open_dataset
from scorecam.datasets.photos import shown
from scorecam.datasets.sample import Dataset, Sample
from scorecam.errors import MissingExtra, ModelError, ScorecamError, SettingError
from scorecam.explainer import ScoreCAM
from scorecam.files import replacing
from scorecam.method import Case, Method
from scorecam.methods import parse_methods
from scorecam.metrics.similarity import SIMILARITIES
from scorecam.metrics.statistics import Interval, interval
from scorecam.model import Model, Runtime, Speed, WhiteBox
from scorecam.photo import read_photo
from scorecam.runs.config import SCHEMA, describe
from scorecam.runs.local import OnProgress, Progress, first_image, settled
from scorecam.runs.plots import draw_sanity
from scorecam.runs.rows import Point
from scorecam.runs.store import Record, Store, as_json
from scorecam.runs.verdicts import PASSES, Verdict, table, verdict
from scorecam.shapes import Heatmap, Image

MODES = ("cascading", "independent")


@dataclass(frozen=True)
class Job:
    """One randomised network.

    Args:
        mode: "cascading": every stage from the output down to this one; "independent": it alone.
        stage: by name.
        seed: of what was drawn.
        chosen: the stages that are drawn anew.
    """

    mode: str
    stage: str
    seed: int
    chosen: tuple[str, ...]

    @property
    def name(self) -> str:
        """As records are filed."""
        return f"{self.mode} {self.stage} {self.seed}"


@dataclass(frozen=True)
class Sanity:
    """What the check found.

    Args:
        folder: where everything is.
        stages: from the output to the input.
        points: a mean for every method, mode, stage and measure.
        verdicts: by method: "passes", "fails" or "undecided".
        table: the same in Markdown.
        failures: photos that could not be used, and why.
    """

    folder: Path
    stages: tuple[str, ...]
    points: tuple[Point, ...]
    verdicts: Mapping[str, Verdict]
    table: str
    failures: Mapping[str, str]

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
        seeds: networks that are drawn for each stage and mode.
        layer: its name; None for the default.
        budget: which masks Score-CAM asks about.
        runtime: what runs the networks; "auto" is decided once.
        progress: called after every photo and network.

    Raises:
        ModelError: the network cannot be copied, or a layer cannot be drawn anew.
        SettingError: an option makes no sense.
        RunError, DatasetError, OutputError: as for `evaluate`.
    """
    opened = model if isinstance(model, Model) else backends.open_model(model)
    if not isinstance(opened, WhiteBox):
        raise ModelError(
            f"{opened.spec} has no weights that could be drawn anew.",
            do="Give the PyTorch network it was made of.",
        )
    chosen = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    asked = parse_methods(methods) if isinstance(methods, str) else list(methods)
    _check(modes, seeds)
    image, where = first_image(opened, chosen, layer)
    stages = opened.stages(image[None])
    jobs = list(_jobs(stages, modes, seeds))
    settings = {
        "check": "sanity",
        "layer": where,
        "budget": described(budget, None),
        "runtime": runtime,
        "modes": list(modes),
        "seeds": seeds,
    }
    config = describe(opened, chosen, asked, [], settings=settings, masking=Masking())
    store = Store(Path(out), [job.name for job in jobs])
    speed = settled(store.recorded(), opened, image, Speed(runtime))
    config |= {"runtime used": speed.runtime, "precision used": speed.precision}
    config, _ = store.begin(config)
    speed = Speed(config["runtime used"], config["precision used"])
    check = _Check(opened, tuple(asked), where, budget, speed, store)
    failures = check.go(jobs, chosen.samples, image, progress)
    return _summary(check, stages, jobs, chosen.samples, failures)


def _check(modes: Sequence[str], seeds: int) -> None:
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown or not modes:
        raise SettingError(
            f"There is no mode {', '.join(map(repr, unknown)) or 'named'}.",
            do=f"There are {' and '.join(MODES)}.",
        )
    if isinstance(seeds, bool) or seeds < 1:
        raise SettingError(f"seeds={seeds!r} is not a number of at least 1.", do="1 will do.")


def _jobs(stages: Sequence[str], modes: Sequence[str], seeds: int) -> Iterator[Job]:
    for mode in modes:
        for place, stage in enumerate(stages):
            chosen = tuple(stages[: place + 1]) if mode == "cascading" else (stage,)
            for seed in range(seeds):
                yield Job(mode, stage, seed, chosen)


# ── doing it ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Check:
    """What every photo and network is put through."""

    model: WhiteBox
    methods: tuple[Method, ...]
    layer: str
    budget: BudgetSpec
    speed: Speed
    store: Store

    def go(
        self,
        jobs: Sequence[Job],
        samples: Sequence[Sample],
        image: Image,
        progress: OnProgress | None,
    ) -> dict[str, str]:
        """Do what is not done yet; returns the photos that cannot be used, and why."""
        began = time.perf_counter()
        failures: dict[str, str] = {}
        targets: dict[str, int] = {}
        for sample in samples:
            try:
                targets[sample.id] = self._original(sample)
            except ScorecamError as error:
                failures[shown(sample.name)] = str(error)
        usable = [sample for sample in samples if sample.id in targets]
        there = self.store.done([sample.id for sample in usable])
        total, done, fresh = len(jobs) * len(usable), 0, 0
        for job in jobs:
            missing = [sample for sample in usable if (job.name, sample.id) not in there]
            done += len(usable) - len(missing)
            if not missing:
                continue
            drawn = self.model.randomised(job.chosen, image[None], job.seed)
            for sample in missing:
                self.store.write(self._compared(drawn, job, sample, targets[sample.id]))
                done, fresh = done + 1, fresh + 1
                if progress is not None:
                    seconds = time.perf_counter() - began
                    progress(Progress(done, total, fresh, len(failures), seconds))
        return failures

    def _original(self, sample: Sample) -> int:
        """The trained model's prediction; its maps are in the folder afterwards."""
        image = self._image(sample)
        scorer = Scorer(self.model, image, speed=Speed("eager"))
        target = int(scorer.columns.argmax())
        missing = [each for each in self.methods if not self._map_of(each, sample).exists()]
        maps = self._maps(self.model, image, target, missing)
        for method in missing:
            path = self._map_of(method, sample)
            with replacing(path) as temporary, temporary.open("wb") as stream:
                np.save(stream, maps[method.name].cpu().numpy())
        return target

    def _compared(self, drawn: Model, job: Job, sample: Sample, target: int) -> Record:
        record: Record = {
            "schema": SCHEMA,
            "id": sample.id,
            "name": shown(sample.name),
            "method": job.name,
            "values": {},
        }
        try:
            maps = self._maps(drawn, self._image(sample), target, self.methods)
        except ScorecamError as error:
            return record | {"failure": {"kind": type(error).__name__, "message": str(error)}}
        for method in self.methods:
            original = torch.from_numpy(np.load(self._map_of(method, sample)))
            found = {
                name: alike(original, maps[method.name]) for name, alike in SIMILARITIES.items()
            }
            record["values"][method.name] = {
                name: None if math.isnan(value) else value for name, value in found.items()
            }
        return record

    def _maps(
        self, model: Model, image: Image, target: int, methods: Sequence[Method]
    ) -> dict[str, Heatmap]:
        """Every method's heatmap; with a reduced budget each variant asks for its own masks."""
        banks: dict[str, ScoreBank] = {}

        def case(method: Method) -> Case:
            aim = str(method.settings.get("variant", "official"))
            key = "official" if self.budget == "exact" else aim

            def ask() -> ScoreBank:
                if key not in banks:
                    banks[key] = ScoreCAM(
                        model, self.layer, key, budget=self.budget, runtime=self.speed.runtime
                    ).bank(image, target)
                return banks[key]

            return Case(
                model,
                image,
                target,
                self.layer,
                ask,
                lambda: Scorer(model, image, speed=self.speed),
            )

        return {method.name: method.heatmap(case(method)) for method in methods}

    def _image(self, sample: Sample) -> Image:
        preprocess = self.model.preprocess
        if preprocess is None:
            raise ModelError("The model's preprocessing is not known.", do="Give preprocess=.")
        return preprocess(read_photo(sample.path)).to(self.model.device)

    def _map_of(self, method: Method, sample: Sample) -> Path:
        return self.store.folder / "originals" / self.store.slug(method.name) / f"{sample.id}.npy"


# ── what it says ─────────────────────────────────────────────────────────────────────────────


def _summary(
    check: _Check,
    stages: Sequence[str],
    jobs: Sequence[Job],
    samples: Sequence[Sample],
    failures: Mapping[str, str],
) -> Sanity:
    ids = [sample.id for sample in samples]
    values: dict[tuple[str, str, str, str], list[float]] = {}
    undefined: dict[tuple[str, str, str, str], int] = {}
    for job in jobs:
        for record in check.store.records(job.name, ids):
            for method, found in record["values"].items():
                for measure, value in found.items():
                    key = (method, job.mode, job.stage, measure)
                    if value is None:
                        undefined[key] = undefined.get(key, 0) + 1
                    else:
                        values.setdefault(key, []).append(value)
    points = [
        Point(*key, interval(values.get(key, [])), undefined.get(key, 0))
        for method in check.methods
        for mode in dict.fromkeys(job.mode for job in jobs)
        for stage in stages
        for measure in SIMILARITIES
        for key in [(method.name, mode, stage, measure)]
    ]
    verdicts = {method.name: verdict(points, method.name, stages[-1]) for method in check.methods}
    page = table(points, verdicts, stages, len(samples) - len(failures))
    found = Sanity(check.store.folder, tuple(stages), tuple(points), verdicts, page, dict(failures))
    _write(found)
    return found


def _write(found: Sanity) -> None:
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "stages": list(found.stages),
        "verdicts": dict(found.verdicts),
        "rule": f"Spearman's interval, every stage drawn anew, below {PASSES:g}",
        "items": [_item(point) for point in found.points],
        "failures": dict(found.failures),
    }
    with replacing(found.folder / "sanity.json") as temporary:
        temporary.write_text(as_json(document), "utf-8")
    with replacing(found.folder / "table.md") as temporary:
        temporary.write_text(found.table, "utf-8")
    try:
        draw_sanity(found.folder, found.stages, found.points)
    except MissingExtra:
        return


def _item(point: Point) -> dict[str, Any]:
    item = asdict(point)
    del item["found"]
    return item | point.found.plain()
