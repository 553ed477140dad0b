"""The sides of a comparison: models with settings, or runs that are there already."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scorecam.base.wording import excerpt, quoted, shown
from scorecam.datasets.sample import Dataset
from scorecam.errors import LayerError, ModelError, RunError, SettingError, did_you_mean
from scorecam.model.model import Model
from scorecam.runs.config import Config
from scorecam.runs.evaluate import first_image
from scorecam.runs.record import Record, Unreadable, method_names, read_scaled
from scorecam.runs.store import Store

SETTINGS = ("weights", "preprocess", "labels", "head", "device", "layer", "precision", "runtime")


Classes = tuple[str | None, ...]
"""A model's classes by name; None for one that has no name."""


@dataclass(frozen=True)
class Candidate:
    """One side of a comparison.

    Args:
        text: as it was named, fit to be printed.
        source: a model's spec, or the folder of a run.
        settings: what belongs to it: weights, precision and so on.
    """

    text: str
    source: str
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_run(self) -> bool:
        """Whether it is a run that is there already."""
        return _is_folder(self.source) and (Path(self.source) / "run.json").exists()


@dataclass(frozen=True)
class Side:
    """What one side's run recorded of each photo, by its id.

    Args:
        config: the run's.
        failures: photos that failed.
        damaged: records and maps that cannot be read, and are left out.
    """

    candidate: Candidate
    folder: Path
    records: Mapping[str, Record]
    maps: Mapping[str, Tensor]
    failures: int
    config: Config
    damaged: int


def parse_side(text: str) -> Candidate:
    """A side as users write it: `SPEC,setting=value,…`, or a folder.

    Raises:
        SettingError: there is no such setting.
    """
    if _is_folder(text):
        return Candidate(shown(text), text)
    source, *settings = text.split(",")
    values: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in SETTINGS:
            raise SettingError(
                f"A model has no setting {quoted(setting)}.",
                likely=did_you_mean(key, SETTINGS),
                do=f"There are {', '.join(SETTINGS)}: lite0,precision=bfloat16.",
            )
        if key in values:
            raise SettingError(f"{key} is there twice in {quoted(text)}.", do="Give it once.")
        values[key] = value
    return Candidate(shown(text), source, values)


def _is_folder(text: str) -> bool:
    """Whether a text is the path of a folder; one that no path can have is not."""
    with contextlib.suppress(OSError):
        return Path(text).is_dir()
    return False


def slug(text: str) -> str:
    """A side's name as a folder's."""
    return re.sub(r"[^\w.=+-]+", "_", text)[-60:]


def read_side(candidate: Candidate, folder: Path, method: str) -> Side:
    """What a run's folder holds of one method.

    Raises:
        RunError: it is no run, is damaged, or lacks the method.
    """
    config = Store(folder, ()).recorded()
    if config is None:
        raise RunError(
            f"{excerpt(folder, 200)} is no run.", do="Give the folder of scorecam evaluate."
        )
    names = _methods(config, folder)
    if method not in names:
        raise RunError(
            f"The run {excerpt(folder, 150)} has no maps of {excerpt(method)}.",
            likely=f"It has {excerpt(', '.join(names), 200)}.",
            do="Name one of those with --method.",
        )
    store = Store(folder, names)
    ids = store.ids(method)
    records: dict[str, Record] = {}
    maps: dict[str, Tensor] = {}
    failures = damaged = 0
    for sample in ids:
        record = store.read(method, sample)
        if record is None:
            damaged += 1
            continue
        if "failure" in record:
            failures += 1
            continue
        records[sample] = record
        try:
            file = folder / "maps" / store.slug(method) / sample[:2] / f"{sample}.npy"
            maps[sample] = torch.from_numpy(read_scaled(file).astype(np.float32))
        except Unreadable:
            damaged += 1
    return Side(candidate, folder, records, maps, failures, config, damaged)


def _methods(config: Config, folder: Path) -> list[str]:
    """The names of a run's methods.

    Raises:
        RunError: it is a sanity check's folder.
    """
    if config.get("check") == "sanity":
        raise RunError(
            f"{excerpt(folder, 200)} is the folder of a sanity check.",
            do="Give one of scorecam evaluate.",
        )
    return method_names(config)


# ── what else differs ────────────────────────────────────────────────────────────────────────

APART = {
    "layer": "explain other layers",
    "target": "explain other classes",
    "budget": "ask about another number of masks",
    "fill": "mute pixels otherwise",
    "masking": "mask otherwise",
    "preprocess": "see other parts or sizes of a photo, on which maps are laid as they are",
    "dataset": "were run on other photos or annotations",
}
"""What in a run's configuration changes its maps or figures, and is not the model itself."""


def apart(first: Side, other: Side) -> list[str]:
    """In what two runs differ beside their models, as sentences."""
    return [
        f"{first.candidate.text} and {other.candidate.text} {what}."
        for key, what in APART.items()
        if first.config.get(key) != other.config.get(key)
    ]


# ── the same classes ─────────────────────────────────────────────────────────────────────────


def classes_of(model: Model, photos: Dataset, layer: str | None, candidate: Candidate) -> Classes:
    """A model's classes: it is shown a photo, by which they are counted where they have no names.

    Raises:
        PhotoError, DatasetError, LayerError, ModelError: as for `first_image`.
    """
    try:
        image, _ = first_image(model, photos, layer)
    except LayerError as error:
        what = f"{candidate.text}: {error.what}"
        raise LayerError(what, likely=error.likely, do=error.do) from error
    if model.names is not None:
        return model.names
    return (None,) * len(model.scores(image[None])[0])


def check_classes(classes: Sequence[Classes], candidate: Candidate) -> None:
    """That the last one's classes are the first one's, in their order, as far as names are known.

    Raises:
        ModelError: they are not.
    """
    first, last = classes[0], classes[-1]
    if len(first) != len(last):
        raise _other_classes(candidate, f"{len(first)} and {len(last)} classes")
    for place, (one, other) in enumerate(zip(first, last, strict=True)):
        if None not in (one, other) and one != other:
            raise _other_classes(candidate, _other_name(place, one, other))


def check_records(first: Side, other: Side) -> None:
    """The same of two runs, whose models are not there: of the classes that their records name.

    Raises:
        ModelError: one column has two names.
    """
    known = dict(_named(first))
    odd = [(place, name) for place, name in _named(other) if known.get(place, name) != name]
    if odd:
        place, name = min(odd)
        raise _other_classes(other.candidate, _other_name(place, known[place], name))


def _named(side: Side) -> Iterator[tuple[int, str]]:
    for record in side.records.values():
        for role in (record["target"], record["predicted"]):
            if role["name"] is not None:
                yield role["index"], role["name"]


def _other_name(place: int, one: str | None, other: str | None) -> str:
    return f"other names in place {place}: {excerpt(repr(one), 60)} and {excerpt(repr(other), 60)}"


def _other_classes(candidate: Candidate, what: str) -> ModelError:
    return ModelError(
        f"{candidate.text} and the first model do not know the same classes ({what}).",
        likely="Their class lists may be ordered otherwise.",
        do="Give both the same labels= (--labels) in their own order, or compare other models.",
    )
