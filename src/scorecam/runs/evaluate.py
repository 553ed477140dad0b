"""Evaluate methods on a data set in this process, as a whole or in shards; always resumable."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from scorecam.backends import opening
from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import quoted
from scorecam.budget.plan import BudgetSpec
from scorecam.cam import Masking
from scorecam.datasets.columns import Columns, columns_of
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Label, Sample
from scorecam.datasets.selection import select
from scorecam.errors import OutputError, SettingError, did_you_mean
from scorecam.io.arguments import flag, function, several
from scorecam.io.arguments import path as as_path
from scorecam.io.ranges import INTEGER, SEED
from scorecam.methods.method import Method
from scorecam.methods.names import methods_of
from scorecam.methods.runnable import runnable
from scorecam.metrics.metric import Metric
from scorecam.metrics.names import parse_metrics
from scorecam.model.batches import BatchSize
from scorecam.model.model import Model
from scorecam.model.offers import check_offered, unconverted
from scorecam.model.scorer import Scorer
from scorecam.model.shortage import memory_errors_translated
from scorecam.model.task_columns import TaskColumns
from scorecam.runs.answer import for_photo
from scorecam.runs.config import Config, chosen_variants, describe
from scorecam.runs.gallery import entry
from scorecam.runs.missing import Keep, Todo, missing
from scorecam.runs.photo import PreparedPhoto
from scorecam.runs.progress import OnProgress, RunProgress
from scorecam.runs.record import FailureRecord, ItemRecord, MeasuredRecord, parse_item
from scorecam.runs.setup import Setup
from scorecam.runs.start import begin, first_image, with_variants
from scorecam.runs.store import Store
from scorecam.runs.summary import Summary, check_extras, write_results
from scorecam.runs.work import explain_photo
from scorecam.settings import Settings
from scorecam.shapes import Image

MOST_CLASSES = 10**6
"""Numbers of classes that a task without class names may have."""


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
    precision: str = "float32",
    runtime: str = "auto",
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

    Each result is saved at once. The same call resumes an unfinished run, with the same results.
    A photo that cannot be read is recorded as a failure.

    Args:
        model: from `open_model`, with its preprocessing; or a module whose preprocessing is known.
        dataset: a path (see `open_dataset`) or a `Dataset`.
        methods: names, such as "scorecam,gradcam"; the others are compared with the first. Those
            that need gradients are left out, with a remark, if the model has none.
        metrics: names of metrics or presets, such as "paper".
        out: the folder of the run.
        layer: by name; None for the default.
        target: "label": explain the labelled class, or the predicted one if that is unknown;
            "predicted".
        budget, tolerance, precision, masking, batch_size, seed: as for `explain`.
        runtime: as for `explain`; "auto" is decided once, when the run begins, and recorded.
        shard: (i, n): only every n-th photo, starting with the i-th, counted from 1. Shards may run
            at the same time in one folder; the last to finish writes the results of all.
        banks: save every photo's bank.
        gallery: save what `audit` shows of every photo: a thumbnail, and the maps of five classes.
        retry: compute failed explanations again.
        fill: what muted pixels show in the metrics: "run": the fill of Score-CAM's masks, which is
            the training mean unless `masking` changes it; "black".
        progress: called after every photo.
        tell: called before the first photo with every remark on the data set and the folder.

    Returns:
        The summary of all results in the folder.

    Raises:
        RunError: the folder holds another run, or is damaged.
        DatasetError: the data set cannot be read, or is empty.
        SettingError: an option is invalid.
        OutputError: a result cannot be written, or the folder was removed during the run. After
            any error, earlier results are kept.
        ModelError, LayerError, MissingExtra: as for `explain`.
    """
    folder = Path(as_path("out", out, OutputError))
    SEED.check("seed", seed)  # some methods pass it to torch's generators unchanged
    function("progress", progress, "a RunProgress")
    function("tell", tell, "a sentence")
    keep = Keep(banks=flag("banks", banks), gallery=flag("gallery", gallery))
    retry = flag("retry", retry)
    opened = opening.as_model(model)
    photos = dataset if isinstance(dataset, Dataset) else open_dataset(as_path("dataset", dataset))
    (named, without), measures = runnable(methods_of(methods), opened), _metrics_of(metrics)
    shard_photos = photos if shard is None else select(photos, shard=_pair(shard))
    settings = Settings(
        budget=budget,
        tolerance=tolerance,
        precision=precision,
        runtime=runtime,
        masking=Masking() if masking is None else masking,
        batch_size=batch_size,
        seed=seed,
    )
    check_offered(opened, settings.speed)
    _check_words(target, fill)
    _check_names(named, measures)
    check_extras()
    image, layer, form = first_image(opened, photos, layer)
    setup = Setup(
        model=opened.with_form(form),
        layer=layer,
        methods=tuple(named),
        metrics=tuple(measures),
        target=target,
        settings=settings,
        fill=fill,
    )
    store = Store(folder, [method.name for method in named], parse_item)
    config, setup, remarks = _begin(store, photos, setup, image, without=without)
    if tell is not None:
        for remark in remarks:
            tell(remark)
    news = _run_missing(store, setup, shard_photos.samples, keep, retry=retry, progress=progress)
    return write_results(store, config, setup, dataset=photos, remarks=remarks, news=news)


def _begin(
    store: Store[ItemRecord],
    photos: Dataset,
    setup: Setup,
    image: Image,
    *,
    without: Sequence[str],
) -> tuple[Config, Setup, list[str]]:
    """Begin or resume the run.

    Args:
        image: the first image.
        without: sentences on methods that were left out.

    Returns:
        Its configuration; the setup with columns, variants, runtime and precision; remarks.
    """
    model, settings = setup.model, setup.settings
    first = for_photo(model, image)
    scorer = _first_scores(first, image, settings)
    names, columns = _columns(model, photos, scorer, first.task_columns)
    methods = with_variants(
        setup.methods,
        store.recorded(),
        first,
        image,
        layer=setup.layer,
        head=scorer.head,
    )
    setup = replace(setup, columns=columns.found, names=names, methods=tuple(methods))
    recorded = {"layer": setup.layer, "target": setup.target}
    recorded |= {"left out": [*without]} if without else {}
    recorded |= _recorded(settings, setup.fill, columns, scorer)
    config = describe(
        model, photos, setup.methods, setup.metrics, settings=recorded, masking=settings.masking
    )
    config, settings, resumed = begin(store, config, first, image, settings=settings)
    news = [each for each in chosen_variants(config) if "official" not in each]
    remarks = [*without, *photos.remarks, *columns.remarks, *scorer.remarks, *news, *resumed]
    return config, replace(setup, settings=settings), remarks


# ── photo by photo ───────────────────────────────────────────────────────────────────────────


@memory_errors_translated()
def _run_missing(
    store: Store[ItemRecord],
    setup: Setup,
    samples: Sequence[Sample],
    keep: Keep,
    *,
    retry: bool,
    progress: OnProgress | None,
) -> list[str]:
    """Explain the photos that lack a result; returns remarks."""
    todo, again = missing(store, setup, samples, keep, retry=retry)
    before = len(samples) - len(todo)
    began = time.perf_counter()
    failed = 0
    converted: list[str] = []
    for fresh, photo in enumerate(todo, start=1):
        records = _explain(store, setup, photo, keep)
        failed += all(isinstance(r, FailureRecord) and not r.not_found for r in records)
        converted += [
            record.remarks[0]
            for record in records
            if isinstance(record, MeasuredRecord) and record.remarks
        ][:1]
        if progress is not None:
            seconds = time.perf_counter() - began
            done = RunProgress(
                done=before + fresh,
                total=len(samples),
                fresh=fresh,
                failed=failed,
                seconds=seconds,
            )
            progress(done)
    store.check_complete(store.methods, [sample.id for sample in samples])
    news = [f"{what} and are made again: {count:,}." for what, count in sorted(again.items())]
    if converted:
        news.append(f"Photos converted when they were read: {len(converted):,}. {converted[0]}")
    return news


def _explain(
    store: Store[ItemRecord],
    setup: Setup,
    todo: Todo,
    keep: Keep,
) -> list[ItemRecord]:
    """Explain one photo by the methods without a result, and save each result at once."""

    def save(photo: PreparedPhoto, bank: ScoreBank | None) -> None:
        store.check_exists()
        if keep.banks and bank is not None:
            store.write_bank(photo.sample.id, bank, photo.target)
        if keep.gallery:
            store.write_entry(entry(photo, setup, bank))

    records: list[ItemRecord] = []
    for done in explain_photo(todo.sample, setup, todo.methods, save):
        store.check_exists()
        store.write(done.record, done.grid)
        records.append(done.record)
    return records


# ── options ──────────────────────────────────────────────────────────────────────────────────


def _metrics_of(metrics: str | Sequence[Metric]) -> Sequence[Metric]:
    if isinstance(metrics, str):
        return parse_metrics(metrics)
    return several("metrics", metrics, Metric, 'Give names, such as "paper", or metrics.')


def _first_scores(model: Model, image: Image, settings: Settings) -> Scorer:
    """Score the first image, so that a setting that does not fit the model is refused now."""
    return Scorer(
        model,
        image,
        fill=settings.masking.fill_like(image),
        speed=unconverted(model),
        batch_size=settings.batch_size,
    )


def _columns(
    model: Model, photos: Dataset, scorer: Scorer, found: TaskColumns | None
) -> tuple[Sequence[str] | None, Columns]:
    """The names of the columns, and the column of each class of the data set.

    With a task that explains classes, the columns of a photo are not all of them: the model's
    classes are used.
    """
    if found is None:
        names = scorer.names if model.names else None
        return names, columns_of(photos.classes, names, len(scorer.columns))
    names = model.names or (None if found.classes else found.names)
    count = MOST_CLASSES if names is None else len(names)
    columns = columns_of(_all_classes(photos), names, count)
    if found.classes is None and not columns.found:
        return names, Columns({}, columns.unknown)  # the labels are about something else
    return names, columns


def _all_classes(photos: Dataset) -> list[Label]:
    """The classes of the photos, then those of other annotated objects."""
    things = {thing.label for sample in photos.samples for thing in sample.things or ()}
    return [*photos.classes, *sorted(things - {*photos.classes}, key=str)]


def _recorded(settings: Settings, fill: str, columns: Columns, scorer: Scorer) -> dict[str, Any]:
    """The settings as they are stored in run.json."""
    recorded = {
        "budget": settings.budget_text,
        "precision": settings.precision,
        "runtime": settings.runtime,
        "seed": settings.seed,
        "fill": fill,
        "columns sha256": _digest(columns.found),
    }
    if scorer.two_sided:  # earlier versions had the two sides in the other order
        recorded["sides"] = "negative, positive"
    return recorded


def _digest(columns: Mapping[Label, int]) -> str:
    """SHA-256 of the columns of the classes."""
    text = repr(sorted((str(label), column) for label, column in columns.items()))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _pair(shard: Any) -> tuple[int, int]:
    """A shard as two whole numbers; `select` checks their range."""
    do = "Give (i, n): the i-th of n parts, counted from 1."
    pair = several("shard", shard, object, do)
    if len(pair) != 2:
        raise SettingError(f"shard={quoted(shard)} is not a pair.", do=do)
    return INTEGER.check("shard", pair[0]), INTEGER.check("shard", pair[1])


def _check_names(methods: Sequence[Method], metrics: Sequence[Metric]) -> None:
    for kind, named in (("method", methods), ("metric", metrics)):
        names = [each.name for each in named]
        if not names:
            raise SettingError(f"No {kind} was given.", do="Give at least one.")
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise SettingError(
                f"The {kind} {quoted(repeated[0])} is given twice.",
                do="Use each name once, because results are stored by name.",
            )


def _check_words(target: str, fill: str) -> None:
    _check_choice("target", target, ("label", "predicted"))
    _check_choice("fill", fill, ("run", "black"))


def _check_choice(what: str, value: str, known: tuple[str, str]) -> None:
    if not (isinstance(value, str) and value in known):
        raise SettingError(
            f"{what}={quoted(value)} is invalid.",
            likely=did_you_mean(value, known),
            do=f"Use {known[0]} or {known[1]}.",
        )
