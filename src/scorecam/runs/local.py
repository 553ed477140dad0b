"""A data set measured in this process: resumable at any moment, alone or in shards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from scorecam import backends
from scorecam.asking import BatchSize, Scorer
from scorecam.bank import ScoreBank
from scorecam.budget import BudgetSpec, described, plan
from scorecam.cam import Masking
from scorecam.datasets import open_dataset
from scorecam.datasets.columns import columns_of
from scorecam.datasets.sample import Dataset, Sample
from scorecam.datasets.selection import select
from scorecam.errors import DatasetError, PhotoError, ScorecamError, SettingError, did_you_mean
from scorecam.method import Method
from scorecam.methods import parse_methods
from scorecam.metrics import Metric, parse_metrics
from scorecam.model import Model, Precision, Runtime, Speed
from scorecam.photo import read_photo
from scorecam.runs.config import Config, describe
from scorecam.runs.results import Summary, write_results
from scorecam.runs.store import Record, Store
from scorecam.runs.work import Setup, work
from scorecam.shapes import Image

MANY = 10**9
"""Passes that a run may take, for the choice of runtime: converting a network always pays."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Args:
        done: photos that are finished, those of earlier times included.
        total: of how many, in this shard.
        fresh: finished since this process began.
        failed: photos without a result, since this process began.
        seconds: since this process began.
    """

    done: int
    total: int
    fresh: int
    failed: int
    seconds: float

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take at this rate; None before the first photo."""
        if not self.fresh:
            return None
        return (self.total - self.done) * self.seconds / self.fresh


OnProgress = Callable[[Progress], None]


def evaluate(
    model: Model | nn.Module,
    dataset: Dataset | str | os.PathLike[str],
    methods: str | Sequence[Method] = "scorecam",
    metrics: str | Sequence[Metric] = "paper",
    *,
    out: str | os.PathLike[str],
    layer: str | None = None,
    target: Literal["label", "predicted"] = "label",
    budget: BudgetSpec = "exact",
    tolerance: float | None = None,
    precision: Precision = "float32",
    runtime: Runtime = "auto",
    masking: Masking | None = None,
    batch_size: BatchSize = "auto",
    seed: int = 0,
    shard: tuple[int, int] | None = None,
    banks: bool = False,
    retry: bool = False,
    progress: OnProgress | None = None,
) -> Summary:
    """Explain every photo of a data set by every method, and measure every heatmap.

    What is done is in the folder at once, and is not done again: a run that was stopped, or killed,
    goes on where it was, with the same results. Photos that cannot be read are results too.

    Args:
        model: from `open_model`, with its preprocessing; or a module of which that is known.
        dataset: a path (see `open_dataset`) or a `Dataset`.
        methods: names, such as "scorecam,gradcam"; the first is what others are compared with.
        metrics: names of measures or presets, such as "paper".
        out: the run's folder.
        layer: its name; None for the default.
        target: which class is explained: the labelled one, where it is known, or the predicted.
        budget, tolerance, precision, masking, batch_size, seed: as for `explain`.
        runtime: as for `explain`; but "auto" is decided once, when a run begins, and recorded.
        shard: (i, n): only every n-th photo, from the i-th, counted from 1. Shards may run at the
            same time in one folder; the last to finish writes the results of all.
        banks: keep every photo's answers.
        retry: do failures again.
        progress: called after every photo.

    Returns:
        The summary of everything that is in the folder.

    Raises:
        RunError: the folder holds another run, or is damaged.
        DatasetError: the data set cannot be read, or is empty.
        SettingError: an option makes no sense.
        OutputError: a result cannot be written; what was done before is kept.
        ModelError, LayerError, MissingExtra: as for `explain`.
    """
    opened = model if isinstance(model, Model) else backends.open_model(model)
    chosen = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    asked = parse_methods(methods) if isinstance(methods, str) else list(methods)
    measures = parse_metrics(metrics) if isinstance(metrics, str) else list(metrics)
    mine = select(chosen, shard=shard) if shard is not None else chosen
    plan(budget, tolerance)
    Speed(runtime, precision)
    _check_target(target)
    image = _first_image(opened, chosen)
    remarks = [*chosen.remarks]
    name = opened.find_layer(layer, image[None]) if image is not None else str(layer)
    settings = {
        "layer": name,
        "target": target,
        "budget": described(budget, tolerance),
        "precision": precision,
        "runtime": runtime,
        "seed": seed,
    }
    masking = masking or Masking()
    config = describe(opened, chosen, asked, measures, settings=settings, masking=masking)
    store = Store(Path(out), [method.name for method in asked])
    speed = _speed(store.recorded(), opened, image, Speed(runtime, precision))
    config |= {"runtime used": speed.runtime, "precision used": speed.precision}
    config, said = store.begin(config)
    columns = columns_of(chosen.classes, opened.names, _columns(opened, image))
    remarks += [*said, *columns.remarks]
    setup = Setup(
        model=opened,
        layer=name,
        methods=tuple(asked),
        metrics=tuple(measures),
        columns=columns.found,
        target=target,
        speed=speed,
        budget=budget,
        tolerance=tolerance,
        masking=masking,
        batch_size=batch_size,
        seed=seed,
    )
    _go(store, setup, mine.samples, banks=banks, retry=retry, progress=progress)
    return write_results(store, config, setup, chosen, remarks)


def _go(
    store: Store,
    setup: Setup,
    samples: Sequence[Sample],
    *,
    banks: bool,
    retry: bool,
    progress: OnProgress | None,
) -> None:
    """Do what is not done yet, photo by photo."""
    there = store.done([sample.id for sample in samples])
    began = time.perf_counter()
    fresh = failed = 0
    for done, sample in enumerate(samples, start=1):
        missing = [
            method
            for method in setup.methods
            if (method.name, sample.id) not in there
            or _again(store.read(method.name, sample.id), retry=retry)
        ]
        if missing:

            def keep(bank: ScoreBank, target: int, sample: Sample = sample) -> None:
                store.keep(sample.id, bank, target)

            records: list[Record] = []
            for result in work(sample, setup, missing, keep if banks else None):
                store.write(result.record, result.grid)
                records.append(result.record)
            fresh += 1
            failed += all("failure" in record for record in records)
        if progress is not None and missing:
            seconds = time.perf_counter() - began
            progress(Progress(done, len(samples), fresh, failed, seconds))


def _again(record: Record | None, *, retry: bool) -> bool:
    """Whether what is there has to be done again: damaged, or a failure that is to be retried."""
    return record is None or (retry and "failure" in record)


def _first_image(model: Model, dataset: Dataset) -> Image | None:
    """The first photo that can be read, as the model's input.

    Raises:
        PhotoError: the model's preprocessing is not known.
        DatasetError: there are no photos, or two of one name.
    """
    if model.preprocess is None:
        raise PhotoError(
            "How a photo becomes this model's input is not known, and nothing is guessed.",
            do='Say it: open_model(net, preprocess="imagenet"), a JSON file or a '
            "scorecam.Preprocess (--preprocess).",
        )
    if not dataset.samples:
        raise DatasetError(f"{dataset.root} holds no photos.", do="Give another data set.")
    if len({sample.id for sample in dataset.samples}) < len(dataset):
        raise DatasetError(
            f"Two photos of {dataset.root} have the same name.",
            do="Give each sample a name of its own: results are kept under it.",
        )
    for sample in dataset.samples:
        try:
            return model.preprocess(read_photo(sample.path)).to(model.device)
        except ScorecamError:
            continue
    return None


def _speed(recorded: Config | None, model: Model, image: Image | None, asked: Speed) -> Speed:
    """What runs the model for every photo: as it was recorded, or decided on the first one."""
    if recorded is not None and "runtime used" in recorded:
        return Speed(recorded["runtime used"], recorded["precision used"])
    if image is None or "auto" not in (asked.runtime, asked.precision):
        return asked
    engine = Scorer(model, image, speed=asked, passes=MANY).engine
    return Speed(engine.runtime, engine.precision)  # type: ignore[arg-type]


def _columns(model: Model, image: Image | None) -> int:
    if image is None:
        return len(model.names or ())
    return len(Scorer(model, image, speed=Speed("eager")).columns)


def _check_target(target: str) -> None:
    known = ("label", "predicted")
    if target not in known:
        raise SettingError(
            f"There is no target {target!r} for a run.",
            likely=did_you_mean(str(target), known),
            do="It is label or predicted.",
        )
