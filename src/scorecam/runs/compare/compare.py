"""Two or more models on the same photos: how alike their maps are, and what else changed.

Models, checkpoints of one training, precisions, runtimes, or runs that are there already. Every
model is measured by a run of its own; what is compared is what those runs recorded.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from scorecam.backends.opening import open_model
from scorecam.base.interpolation import upsample
from scorecam.base.wording import quoted
from scorecam.budget.plan import BudgetSpec
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset
from scorecam.errors import MissingExtra, OutputError, RunError, SettingError, did_you_mean
from scorecam.io.arguments import function, instance, several
from scorecam.io.arguments import path as as_path
from scorecam.io.files import sweep, write_text
from scorecam.io.ranges import NUMBER
from scorecam.methods.names import parse_methods
from scorecam.metrics.faithfulness import pearson
from scorecam.metrics.statistics import interval, paired
from scorecam.model.model import Model
from scorecam.page import write
from scorecam.runs import markdown
from scorecam.runs.compare.comparison import Comparison, Moved, Versus
from scorecam.runs.compare.page import moved_page
from scorecam.runs.compare.sides import (
    Candidate,
    Classes,
    Side,
    apart,
    check_classes,
    check_records,
    classes_of,
    parse_side,
    read_side,
    slug,
)
from scorecam.runs.config import SCHEMA
from scorecam.runs.evaluate import OnProgress, evaluate
from scorecam.runs.plots import draw_training
from scorecam.runs.seals import sealed
from scorecam.runs.store import Record, Store, as_json
from scorecam.settings import Settings

SIDE = 56
"""Cells that maps of different grids are compared on, along each axis."""

GATES = ("similarity", "focus", "accuracy", "agreement")
"""What a release may be held to: the last one's, against the first where it takes two."""


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
            (`lite0,precision=bfloat16`; `my.net:make,weights=epoch9.pt`), or the folder of a run.
            The first is what the others are compared with.
        dataset: photos; None where all sides are runs.
        out: a folder; the models' runs are in it, and go on where they were.
        method: whose maps.
        budget: which masks Score-CAM asks about.
        fail_under: the least that is accepted of the last side: similarity, agreement (with the
            first), focus, accuracy.
        opener: opens a model by its spec and settings.
        progress: called after every photo of every side.

    Raises:
        SettingError: a side, setting or gate makes no sense.
        ModelError: the sides have other classes, or the same in another order.
        LayerError: a model lacks its layer.
        RunError: a run's folder is damaged, or lacks the method.
        MissingExtra, DatasetError, OutputError: as for `evaluate`.
    """
    folder = Path(as_path("out", out, OutputError))
    function("progress", progress, "a Progress")
    function("opener", opener, "a model's spec and settings", optional=False)
    do = "Give a model's spec or a run's folder for each side."
    chosen = [parse_side(text) for text in several("sides", sides, str, do)]
    Settings(budget=budget)  # refuses a wrong budget before any model is opened
    method = _one(method)
    fail_under = {} if fail_under is None else fail_under
    _check(chosen, dataset, fail_under)
    photos = dataset
    if photos is not None and not isinstance(photos, Dataset):
        photos = open_dataset(as_path("dataset", photos))
    _check_models(chosen, photos, opener)
    sweep(folder.glob(".*.tmp"))
    found: list[Side] = []
    for number, candidate in enumerate(chosen):
        if candidate.is_run:
            found.append(read_side(candidate, Path(candidate.source), method))
            continue
        model, run = _opened(candidate, opener)
        place = folder / f"{number + 1}-{slug(candidate.text)}"
        evaluate(
            model,
            cast("Dataset", photos),
            method,
            "localisation",
            out=place,
            budget=budget,
            progress=progress,
            **run,
        )
        found.append(read_side(candidate, place, method))
    return _compared(found, folder, fail_under)


def _one(method: str) -> str:
    """The name of the one method that is meant."""
    named = parse_methods(instance("method", method, str, "Give a name, such as scorecam."))
    if len(named) != 1:
        raise SettingError(
            f"{method} names {len(named)} methods.", do="Compare the maps of one: scorecam."
        )
    return named[0].name


def _check(sides: Sequence[Candidate], dataset: object, fail_under: Mapping[str, float]) -> None:
    if len(sides) < 2:
        raise SettingError("One side alone cannot be compared.", do="Name at least two.")
    if dataset is None and not all(side.is_run for side in sides):
        raise SettingError(
            "There are models to compare and no photos.", do="Give a data set after them."
        )
    do = "Give a dict from a gate to the least that is accepted."
    for gate, least in instance("fail_under", fail_under, Mapping, do).items():
        NUMBER.check(f"fail_under[{quoted(gate)}]", least)
        if gate not in GATES:
            raise SettingError(
                f"There is no gate {quoted(gate)}.",
                likely=did_you_mean(gate, GATES),
                do=f"There are {', '.join(GATES)}.",
            )


def _check_models(
    sides: Sequence[Candidate], photos: Dataset | None, opener: Callable[..., Model]
) -> None:
    """What makes no sense of any model is said before the first is run; one is kept at a time."""
    classes: list[Classes] = []
    for candidate in sides:
        if photos is not None and not candidate.is_run:
            model, run = _opened(candidate, opener)
            classes.append(classes_of(model, photos, run.get("layer"), candidate))
            check_classes(classes, candidate)


def _opened(candidate: Candidate, opener: Callable[..., Model]) -> tuple[Model, dict[str, Any]]:
    """The model, and what of its settings belongs to the run."""
    of_run = ("layer", "precision", "runtime")
    own = {key: value for key, value in candidate.settings.items() if key not in of_run}
    run = {key: value for key, value in candidate.settings.items() if key in of_run}
    model = opener(candidate.source, **own)
    return instance("opener", model, Model, "It must return a scorecam.Model."), run


def _focus(record: Record) -> float | None:
    """The energy in the object: in its mask where there is one, else in its boxes."""
    values = record["values"]
    return values.get("energy_mask", values.get("energy_box"))


def alike(one: Tensor, other: Tensor) -> float | None:
    """The correlation of two maps, brought to one grid; None where one is flat."""
    if one.shape != other.shape:
        size = (SIDE,) * one.ndim
        one, other = upsample(one[None], size)[0], upsample(other[None], size)[0]
    found = pearson(one, other)
    return None if math.isnan(found) else found


def _flat(map_: Tensor) -> bool:
    low, high = map_.aminmax()
    return not bool(high > low)


def _moved(first: Side, other: Side) -> list[Moved]:
    photos: list[Moved] = []
    for sample, record in first.records.items():
        twin = other.records.get(sample)
        if twin is None:
            continue
        similarity = None
        same = record["target"]["index"] == twin["target"]["index"]
        if same and sample in first.maps and sample in other.maps:
            one, two = first.maps[sample], other.maps[sample]
            similarity = alike(one, two)
            if similarity is None and _flat(one) != _flat(two):
                similarity = 0.0  # a map and none are not alike at all
        flipped = record["predicted"]["index"] != twin["predicted"]["index"]
        focus = _focus(record), _focus(twin)
        photos.append(Moved(sample, record["name"], similarity, flipped, focus))
    # The most changed first: another class, then the least alike.
    photos.sort(key=lambda m: (not m.flipped, 2.0 if m.similarity is None else m.similarity))
    return photos


def _versus(first: Side, other: Side) -> Versus:
    check_records(first, other)
    photos = _moved(first, other)
    if not photos:
        raise RunError(
            f"{first.candidate.text} and {other.candidate.text} have no photo in common.",
            likely="They were run on other data sets, or failed on every photo.",
            do="Run both on the same photos.",
        )
    known = [each.similarity for each in photos if each.similarity is not None]
    both = [each.focus for each in photos if None not in each.focus]
    return Versus(
        other.candidate.text,
        interval(known),
        len(photos) - len(known),
        interval([float(not each.flipped) for each in photos]),
        paired([float(b or 0) for _, b in both], [float(a or 0) for a, _ in both]),
        tuple(photos),
    )


def _compared(sides: Sequence[Side], folder: Path, fail_under: Mapping[str, float]) -> Comparison:
    versus = tuple(_versus(sides[0], other) for other in sides[1:])
    common = set.intersection(*(set(side.records) for side in sides))
    focus, accuracy = [], []
    for side in sides:
        own = [record for sample, record in side.records.items() if sample in common]
        focus.append(interval([value for r in own if (value := _focus(r)) is not None]))
        accuracy.append(interval([float(v) for r in own if (v := r.get("right")) is not None]))
    remarks: list[str] = []
    if not any(each.n for each in focus):
        remarks.append("No photo has a box or a mask: focus cannot be told.")
    if not any(each.n for each in accuracy):
        remarks.append("No photo has a label: accuracy cannot be told.")
    remarks += [
        f"{side.candidate.text} failed on {side.failures} photos."
        for side in sides
        if side.failures
    ]
    remarks += _remarks(sides, versus, len(common))
    held = {
        "similarity": versus[-1].similarity,
        "agreement": versus[-1].agreement,
        "focus": focus[-1],
        "accuracy": accuracy[-1],
    }
    failed = tuple(
        f"{gate} is {held[gate].mean:.4g}, under {least:g}"
        if held[gate].n
        else f"{gate} cannot be told, and at least {least:g} was asked for"
        for gate, least in fail_under.items()
        if not held[gate].mean >= least
    )
    names = tuple(side.candidate.text for side in sides)
    found = Comparison(folder, names, tuple(accuracy), tuple(focus), versus, failed, tuple(remarks))
    _write(found, sides)
    return found


def _remarks(sides: Sequence[Side], versus: Sequence[Versus], common: int) -> list[str]:
    """What was left out, and what differs beside the models."""
    remarks: list[str] = []
    every = len({sample for side in sides for sample in side.records})
    if common < every:
        remarks.append(f"{common:,} of {every:,} photos are on every side; the means are of those.")
    for side in sides:
        if side.damaged:
            what = f"{side.damaged:,} damaged records or maps"
            remarks.append(f"{side.candidate.text}: {what} were left out.")
    remarks += [
        f"{each.other}: {each.undefined:,} of {len(each.photos):,} photos have no similarity: "
        "another class is explained, or there are no maps."
        for each in versus
        if each.undefined
    ]
    return remarks + [remark for other in sides[1:] for remark in apart(sides[0], other)]


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def _write(found: Comparison, sides: Sequence[Side]) -> None:
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "models": list(found.names),
        "accuracy": [each.plain() for each in found.accuracy],
        "focus": [each.plain() for each in found.focus],
        "items": [
            {
                "other": each.other,
                "similarity": each.similarity.plain(),
                "undefined": each.undefined,
                "agreement": each.agreement.plain(),
                "focus": each.focus.plain(),
                "photos": [asdict(photo) for photo in each.photos],
            }
            for each in found.versus
        ],
        "failed": list(found.failed),
        "remarks": list(found.remarks),
    }
    for side in sides:
        Store(side.folder, ()).check_there()
    write_text(found.folder / "compare.json", as_json(sealed(document)))
    markdown.write(found.folder / "compare.md", found.table)
    # Pictures and the page need libraries that the numbers do not.
    with contextlib.suppress(MissingExtra):
        write(moved_page(found, sides), found.folder / "compare.html")
    with contextlib.suppress(MissingExtra):
        draw_training(found.folder / "focus.png", found.names, found.focus, found.accuracy)
