"""A data set measured in this process: resumable at any moment, alone or in shards."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import PIL.Image
from torch import nn

from scorecam.backends import opening
from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import quoted
from scorecam.budget.plan import BudgetSpec
from scorecam.cam import Masking
from scorecam.datasets.columns import columns_of
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Label, Sample
from scorecam.datasets.selection import select
from scorecam.errors import (
    DatasetError,
    MemoryShortage,
    ModelError,
    OutputError,
    PhotoError,
    ScorecamError,
    SettingError,
    did_you_mean,
)
from scorecam.images.photo import read_photo
from scorecam.io.arguments import flag, function, several
from scorecam.io.arguments import path as as_path
from scorecam.io.ranges import INTEGER, SEED
from scorecam.methods.method import Method
from scorecam.methods.names import methods_of
from scorecam.metrics.metric import Metric
from scorecam.metrics.names import parse_metrics
from scorecam.model.batches import BatchSize
from scorecam.model.engine import Speed
from scorecam.model.model import Model
from scorecam.model.runtimes import Precision, Runtime
from scorecam.model.scorer import Scorer
from scorecam.model.shortage import memory_errors_translated
from scorecam.runs.config import Config, describe
from scorecam.runs.gallery import entry
from scorecam.runs.store import Record, Store
from scorecam.runs.subject import Setup, Subject
from scorecam.runs.summary import Summary, check_extras, write_results
from scorecam.runs.work import work
from scorecam.settings import Settings
from scorecam.shapes import Image

MANY = 10**9
"""Passes that a run may take, for the choice of runtime: converting a network always pays."""

TRIES = 5
"""Photos that a model may fail on before it is taken to fail on all."""


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


@dataclass(frozen=True)
class Keeps:
    """What is kept of every photo beside its records.

    Args:
        banks: its answers.
        gallery: what a page shows of it.
    """

    banks: bool
    gallery: bool


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
    gallery: bool = True,
    retry: bool = False,
    fill: Literal["run", "black"] = "run",
    progress: OnProgress | None = None,
    tell: Callable[[str], None] | None = None,
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
        gallery: keep what `audit` shows of every photo: a thumbnail, and the maps of five classes.
        retry: do failures again.
        fill: what a muted pixel shows in the measures: "run": the same as in Score-CAM's masks, the
            training mean unless `masking` says otherwise; "black".
        progress: called after every photo.
        tell: called with every remark on the data set and the folder before the first photo.

    Returns:
        The summary of everything that is in the folder.

    Raises:
        RunError: the folder holds another run, or is damaged.
        DatasetError: the data set cannot be read, or is empty.
        SettingError: an option makes no sense.
        OutputError: a result cannot be written, or the folder was removed meanwhile; what was done
            before is kept, as it is for every other error.
        ModelError, LayerError, MissingExtra: as for `explain`.
    """
    folder = Path(as_path("out", out, OutputError))
    SEED.check("seed", seed)  # some methods give it to torch's generators as it is
    function("progress", progress, "a Progress")
    function("tell", tell, "a sentence")
    banks, gallery, retry = flag("banks", banks), flag("gallery", gallery), flag("retry", retry)
    opened = model if isinstance(model, Model) else opening.open_model(model)
    chosen = dataset if isinstance(dataset, Dataset) else open_dataset(as_path("dataset", dataset))
    asked = methods_of(methods)
    measures = (
        parse_metrics(metrics)
        if isinstance(metrics, str)
        else several("metrics", metrics, Metric, 'Give names, such as "paper", or measures.')
    )
    mine = chosen if shard is None else select(chosen, shard=_pair(shard))
    settings = Settings(
        budget=budget,
        tolerance=tolerance,
        precision=precision,
        runtime=runtime,
        masking=Masking() if masking is None else masking,
        batch_size=batch_size,
        seed=seed,
    )
    _check_choice("target", target, ("label", "predicted"))
    _check_choice("fill", fill, ("run", "black"))
    _check_names(asked, measures)
    check_extras()
    image, name = first_image(opened, chosen, layer)
    remarks = [*chosen.remarks]
    recorded = {
        "layer": name,
        "target": target,
        "budget": settings.budget_text,
        "precision": settings.precision,
        "runtime": settings.runtime,
        "seed": settings.seed,
        "fill": fill,
    }
    # Whatever makes no sense for this model is refused now, not photo by photo.
    scorer = Scorer(
        opened,
        image,
        fill=settings.masking.fill_like(image),
        speed=Speed("eager"),
        batch_size=settings.batch_size,
    )
    names = scorer.names if opened.names else None
    columns = columns_of(chosen.classes, names, len(scorer.columns))
    remarks += [*columns.remarks, *scorer.remarks]
    recorded["columns sha256"] = _digest(columns.found)
    if scorer.two_sided:  # earlier versions numbered the two sides the other way round
        recorded["sides"] = "negative, positive"
    config = describe(opened, chosen, asked, measures, settings=recorded, masking=settings.masking)
    store = Store(folder, [method.name for method in asked])
    speed = settled(store.recorded(), opened, image, settings.speed)
    config |= {"runtime used": speed.runtime, "precision used": speed.precision}
    config, said = store.begin(config)
    # Another shard may have been first.
    used = {"runtime": config["runtime used"], "precision": config["precision used"]}
    remarks += said
    if tell is not None:
        for remark in remarks:
            tell(remark)
    setup = Setup(
        model=opened,
        layer=name,
        methods=tuple(asked),
        metrics=tuple(measures),
        columns=columns.found,
        target=target,
        settings=replace(settings, **used),
        fill=fill,
    )
    keeps = Keeps(banks, gallery)
    news = _go(store, setup, mine.samples, keeps, retry=retry, progress=progress)
    return write_results(store, config, setup, chosen, (remarks, news))


@memory_errors_translated()
def _go(
    store: Store,
    setup: Setup,
    samples: Sequence[Sample],
    keeps: Keeps,
    *,
    retry: bool,
    progress: OnProgress | None,
) -> list[str]:
    """Do what is not done yet, photo by photo; remarks."""
    todo, again = _missing(store, setup, samples, keeps, retry=retry)
    before = len(samples) - len(todo)
    began = time.perf_counter()
    failed = 0
    odd: list[str] = []
    for fresh, (sample, methods) in enumerate(todo, start=1):

        def keep(subject: Subject, bank: ScoreBank | None) -> None:
            store.check_there()
            if keeps.banks and bank is not None:
                store.keep(subject.sample.id, bank, subject.target)
            if keeps.gallery:
                store.show(entry(subject, setup, bank))

        records: list[Record] = []
        for result in work(sample, setup, methods, keep):
            store.check_there()
            store.write(result.record, result.grid)
            records.append(result.record)
        failed += all("failure" in record for record in records)
        odd += [record["remarks"][0] for record in records if "remarks" in record][:1]
        if progress is not None:
            seconds = time.perf_counter() - began
            progress(Progress(before + fresh, len(samples), fresh, failed, seconds))
    store.check_kept([method.name for method in setup.methods], [each.id for each in samples])
    news = [f"{what} and are made again: {count:,}." for what, count in sorted(again.items())]
    if odd:
        news.append(f"Photos that were not read as they are stored: {len(odd):,}. {odd[0]}")
    return news


def _missing(
    store: Store, setup: Setup, samples: Sequence[Sample], keeps: Keeps, *, retry: bool
) -> tuple[list[tuple[Sample, list[Method]]], Counter[str]]:
    """What each photo still lacks, for those that lack something; and why it is made again."""
    there = store.done([sample.id for sample in samples])
    again: Counter[str] = Counter()
    todo: list[tuple[Sample, list[Method]]] = []
    for sample in samples:
        lacking: list[Method] = []
        for method in setup.methods:
            if (method.name, sample.id) not in there:
                lacking.append(method)
                continue
            record, why = _found(store, method.name, sample.id)
            if why:
                again[why] += 1
            if record is None or why or (retry and "failure" in record):
                lacking.append(method)
        if len(lacking) < len(setup.methods) and (why := _damaged(store, sample.id, keeps)):
            again[why] += 1
            asking = setup.asking or setup.methods[-1]
            lacking += [asking] if asking not in lacking else []
        if lacking:
            todo.append((sample, lacking))
    return todo, again


def _found(store: Store, method: str, sample: str) -> tuple[Record | None, str]:
    """A record that is there, and why it has to be made again; "" where it has not."""
    record, state = store.judge(method, sample)
    if record is None:
        return None, f"Records that were {state}"
    state = store.judge_map(record)
    if state != "whole":
        return record, f"Maps that were {state}"
    if record.get("failure", {}).get("kind") == MemoryShortage.__name__:
        return record, "Explanations that failed for lack of memory"
    return record, ""


def _damaged(store: Store, sample: str, keeps: Keeps) -> str:
    """What that is kept beside the records of a photo is damaged; what is missing stays away."""
    if keeps.gallery and (state := store.judge_entry(sample)) in ("damaged", "edited"):
        return f"Entries of the gallery that were {state}"
    if keeps.banks and store.judge_bank(sample) == "damaged":
        return "Banks that were damaged"
    return ""


def first_image(model: Model, dataset: Dataset, layer: str | None) -> tuple[Image, str]:
    """The first photo that the model takes, as its input; and the name of the layer.

    Where no photo can be read: a black one, so that the layer is what it will be once they can.

    Raises:
        PhotoError: the model's preprocessing is not known.
        DatasetError: there are no photos, or two of one name.
        LayerError: the layer is not there.
        ModelError: the model takes none of the first photos.
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
    refused: list[ModelError] = []
    for sample in dataset.samples:
        try:
            image = model.preprocess(read_photo(sample.path)).to(model.device)
        except ScorecamError:
            continue
        try:
            return image, model.find_layer(layer, image[None])
        except ModelError as error:
            refused.append(error)
            if len(refused) == TRIES:
                break
    if refused:
        raise refused[0]
    image = model.preprocess(PIL.Image.new("RGB", (64, 64))).to(model.device)
    return image, model.find_layer(layer, image[None])


def settled(recorded: Config | None, model: Model, image: Image, asked: Speed) -> Speed:
    """What runs the model for every photo: as it was recorded, or decided on the first one."""
    if recorded is not None and "runtime used" in recorded:
        return Speed(recorded["runtime used"], recorded["precision used"])
    if "auto" not in (asked.runtime, asked.precision):
        return asked
    engine = Scorer(model, image, speed=asked, passes=MANY).engine
    return Speed(engine.runtime, engine.precision)  # type: ignore[arg-type]


def _digest(columns: Mapping[Label, int]) -> str:
    """SHA-256 of which column each class is."""
    text = repr(sorted((str(label), column) for label, column in columns.items()))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _pair(shard: Any) -> tuple[int, int]:
    """A shard as two whole numbers; whether there is such a shard is not looked at."""
    do = "Give (i, n): the i-th of n parts, counted from 1."
    pair = several("shard", shard, object, do)
    if len(pair) != 2:
        raise SettingError(f"shard={quoted(shard)} is not a pair.", do=do)
    return INTEGER.check("shard", pair[0]), INTEGER.check("shard", pair[1])


def _check_names(methods: Sequence[Method], metrics: Sequence[Metric]) -> None:
    for kind, named in (("method", methods), ("measure", metrics)):
        names = [each.name for each in named]
        if not names:
            raise SettingError(f"No {kind} was given.", do="Give at least one.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SettingError(
                f"The {kind} {quoted(twice[0])} is there twice.",
                do="Records are kept by name: give each its own.",
            )


def _check_choice(what: str, value: str, known: tuple[str, str]) -> None:
    if not (isinstance(value, str) and value in known):
        raise SettingError(
            f"There is no {what} {quoted(value)} for a run.",
            likely=did_you_mean(value, known),
            do=f"It is {known[0]} or {known[1]}.",
        )
