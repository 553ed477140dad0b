"""Compare two or more models on the same photos: their maps, predictions, focus and accuracy.

The sides are models, checkpoints of one training, precisions, runtimes, or existing runs. Each
model has a run of its own, and the records of the runs are compared.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from scorecam.backends.opening import open_model
from scorecam.base.wording import excerpt
from scorecam.budget.plan import BudgetSpec
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset
from scorecam.errors import MissingExtra, OutputError, SettingError
from scorecam.io.arguments import function, instance, several
from scorecam.io.arguments import path as as_path
from scorecam.io.files import write_text
from scorecam.methods.names import parse_methods
from scorecam.metrics.statistics import Interval
from scorecam.model.engine import Speed
from scorecam.model.model import Model
from scorecam.model.offers import check_offered
from scorecam.page import write
from scorecam.runs import markdown
from scorecam.runs.compare.changes import compare_with_first, focus_and_accuracy
from scorecam.runs.compare.class_changes import FEW_PHOTOS
from scorecam.runs.compare.classes import Classes, check_classes, classes_of
from scorecam.runs.compare.comparison import Comparison
from scorecam.runs.compare.gates import check_gates, failed_gates
from scorecam.runs.compare.page import change_page
from scorecam.runs.compare.plots import draw_training
from scorecam.runs.compare.same_boxes import of_same_photos, same_boxes
from scorecam.runs.compare.sides import (
    Candidate,
    Side,
    check_side,
    naming,
    parse_side,
    read_side,
    setting_differences,
)
from scorecam.runs.compare.versus import ClassChange, Versus
from scorecam.runs.config import SCHEMA
from scorecam.runs.evaluate import evaluate
from scorecam.runs.layout import Layout
from scorecam.runs.progress import OnProgress
from scorecam.runs.seals import sealed
from scorecam.runs.store import as_json, check_exists
from scorecam.settings import Settings

_RUN_SETTINGS = ("layer", "precision", "runtime")
"""Settings of a side that belong to its run, not to its model."""


def compare(
    sides: Sequence[str],
    dataset: Dataset | str | os.PathLike[str] | None,
    *,
    out: str | os.PathLike[str],
    method: str = "scorecam",
    budget: BudgetSpec = "exact",
    fail_under: Mapping[str, float] | None = None,
    opener: Callable[..., Model] = open_model,
    progress: OnProgress | None = None,
) -> Comparison:
    """Compare models, or runs, on the same photos.

    Args:
        sides: at least two: a model's spec, with settings after commas
            (`lite0,precision=bfloat16`; `my.net:make,weights=epoch9.pt`); a model's file, with
            settings as well; or the folder of a run.
            The others are compared with the first.
        dataset: photos; None if all sides are runs.
        out: a folder. It holds the runs of the models; unfinished ones are resumed.
        method: the method to compare.
        budget: how many masks Score-CAM scores.
        fail_under: the least accepted value of every side after the first, by gate. Compared with
            the first side: similarity (the mean), worst (the least similarity of a photo) and
            agreement. Of the side alone: focus and accuracy.
        opener: opens a model by its spec and settings.
        progress: called after every photo of every side.

    Raises:
        SettingError: a side, setting or gate is invalid.
        ModelError: the sides have different classes, or the same classes in another order.
        LayerError: a model lacks its layer.
        RunError: the folder of a run is damaged, or lacks the method.
        MissingExtra, DatasetError, OutputError: as for `evaluate`.
    """
    layout = Layout(Path(as_path("out", out, OutputError)))
    function("progress", progress, "a RunProgress")
    function("opener", opener, "a model's spec and settings", optional=False)
    do = "Give a model's spec or a run's folder for each side."
    candidates = [parse_side(text) for text in several("sides", sides, str, do)]
    Settings(budget=budget)  # refuses a wrong budget before any model is opened
    method = _one_method(method)
    gates = {} if fail_under is None else fail_under
    _check_sides(candidates, dataset)
    check_gates(gates)
    photos = dataset
    if photos is not None and not isinstance(photos, Dataset):
        photos = open_dataset(as_path("dataset", photos))
    _check_models(candidates, photos, opener)
    layout.sweep_top()
    results: list[Side] = []
    for number, candidate in enumerate(candidates, start=1):
        if candidate.is_run:
            results.append(read_side(candidate, Path(candidate.source), method))
            continue
        model, run_settings = _opened(candidate, opener)
        folder = layout.side(number, candidate.text)
        own = cast("Dataset", photos)
        evaluate(
            model,
            same_boxes(own, results[0]) if results and model.task is not None else own,
            method,
            "localisation",
            out=folder,
            budget=budget,
            progress=progress,
            **run_settings,
        )
        results.append(of_same_photos(read_side(candidate, folder, method), results[:1]))
    comparison = _compared(layout, results, gates)
    _write(comparison, results)
    return comparison


def _compared(layout: Layout, sides: Sequence[Side], gates: Mapping[str, float]) -> Comparison:
    versus = tuple(compare_with_first(sides[0], other) for other in sides[1:])
    common = set.intersection(*(set(side.records) for side in sides))
    focus, accuracy = focus_and_accuracy(sides, common)
    remarks = _unknown(focus, accuracy) + _left_out(sides, versus, len(common))
    return Comparison(
        folder=layout.folder,
        names=tuple(side.candidate.text for side in sides),
        accuracy=accuracy,
        focus=focus,
        versus=versus,
        failed_gates=failed_gates(gates, versus, focus=focus[1:], accuracy=accuracy[1:]),
        remarks=tuple(remarks),
    )


# ── options ──────────────────────────────────────────────────────────────────────────────────


def _one_method(method: str) -> str:
    """The name of the method to compare."""
    named = parse_methods(instance("method", method, str, "Give a name, such as scorecam."))
    if len(named) != 1:
        raise SettingError(
            f"{method} names {len(named)} methods.", do="Compare one method, such as scorecam."
        )
    return named[0].name


def _check_sides(sides: Sequence[Candidate], dataset: object) -> None:
    if len(sides) < 2:
        raise SettingError("A comparison needs at least two sides.", do="Name two or more.")
    for side in sides:
        check_side(side)
    if dataset is None and not all(side.is_run for side in sides):
        raise SettingError(
            "There are models to compare, but no photos.", do="Give a data set after them."
        )


def _check_models(
    sides: Sequence[Candidate], photos: Dataset | None, opener: Callable[..., Model]
) -> None:
    """Check every model before the first run begins; only one is in memory at a time."""
    classes: list[Classes] = []
    for candidate in sides:
        if photos is not None and not candidate.is_run:
            with naming(candidate):
                model, run_settings = _opened(candidate, opener)
                classes.append(classes_of(model, photos, run_settings.get("layer")))
            check_classes(classes, candidate)


def _opened(candidate: Candidate, opener: Callable[..., Model]) -> tuple[Model, dict[str, Any]]:
    """The model, and the settings of its run."""
    settings = candidate.settings
    of_model = {key: value for key, value in settings.items() if key not in _RUN_SETTINGS}
    of_run = {key: value for key, value in settings.items() if key in _RUN_SETTINGS}
    model = opener(candidate.source, **of_model)
    model = instance("opener", model, Model, "It must return a scorecam.Model.")
    speed = {key: value for key, value in of_run.items() if key != "layer"}
    check_offered(model, Speed(**speed))
    return model, of_run


# ── remarks ──────────────────────────────────────────────────────────────────────────────────


def _unknown(focus: Sequence[Interval], accuracy: Sequence[Interval]) -> list[str]:
    """Remarks about numbers that are unknown on every side."""
    remarks: list[str] = []
    if not any(mean.n for mean in focus):
        remarks.append("No photo has a box or a mask, so focus is unknown.")
    if not any(mean.n for mean in accuracy):
        remarks.append("No photo has a label, so accuracy is unknown.")
    return remarks


def _left_out(sides: Sequence[Side], versus: Sequence[Versus], common: int) -> list[str]:
    """Remarks about what was left out, and about different settings of the sides."""
    remarks = [
        f"{side.candidate.text} failed on {side.failures} photos."
        for side in sides
        if side.failures
    ]
    remarks += [_not_found(sides[0], other) for other in sides[1:] if _gone(sides[0], other)]
    every = len({sample for side in sides for sample in side.records})
    if common < every:
        remarks.append(
            f"{common:,} of {every:,} photos have results on every side; the means are over those."
        )
    remarks += [
        f"{side.candidate.text}: {side.damaged:,} damaged records or maps were left out."
        for side in sides
        if side.damaged
    ]
    remarks += [
        f"{each.other}: {each.undefined:,} of {len(each.photos):,} photos have no similarity: "
        "the sides explain different classes or boxes, a map is missing or constant, or the object "
        "is not found."
        for each in versus
        if each.undefined
    ]
    differences = [setting_differences(sides[0], other) for other in sides[1:]]
    return remarks + [remark for each in differences for remark in each]


def _gone(first: Side, other: Side) -> list[str]:
    """The photos in which only the first side finds the object, by name."""
    return sorted(first.records[each].name for each in first.records.keys() & other.not_found)


def _not_found(first: Side, other: Side) -> str:
    names = _gone(first, other)
    shown = ", ".join(excerpt(name, 60) for name in names[:5])
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return (
        f"{other.candidate.text} does not find the object that {first.candidate.text} explains in "
        f"{len(names):,} of {len(first.records):,} photos: {shown}{more}."
    )


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def _write(comparison: Comparison, sides: Sequence[Side]) -> None:
    layout = Layout(comparison.folder)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "models": list(comparison.names),
        "accuracy": [mean.plain() for mean in comparison.accuracy],
        "focus": [mean.plain() for mean in comparison.focus],
        "items": [_item(versus) for versus in comparison.versus],
        "failed": list(comparison.failed),
        "gates": [asdict(gate) for gate in comparison.failed_gates],
        "remarks": list(comparison.remarks),
    }
    for side in sides:
        check_exists(side.layout)
    write_text(layout.comparison, as_json(sealed(document)))
    markdown.write(layout.comparison_table, comparison.table)
    # The page and the figure need libraries that the numbers do not need.
    with contextlib.suppress(MissingExtra):
        write(change_page(comparison, sides), layout.comparison_page)
    with contextlib.suppress(MissingExtra):
        draw_training(layout.focus, comparison.names, comparison.focus, comparison.accuracy)


def _item(versus: Versus) -> dict[str, Any]:
    return {
        "other": versus.other,
        "similarity": versus.similarity.plain(),
        "undefined": versus.undefined,
        "agreement": versus.agreement.plain(),
        "focus": versus.focus.plain(),
        "flips": {"photos": len(versus.flipped), **versus.flips.plain()},
        "worst": versus.by_similarity[0].similarity if versus.by_similarity else None,
        "classes": [_class_item(change) for change in versus.classes],
        "photos": [asdict(photo) for photo in versus.photos],
    }


def _class_item(change: ClassChange) -> dict[str, Any]:
    return {
        "name": change.name,
        "photos": change.photos,
        "flips": change.flips.plain(),
        "similarity": change.similarity.plain(),
        "accuracy": change.accuracy.plain(),
        "few": change.photos < FEW_PHOTOS,
    }
