"""The sides of a comparison: a model with its settings, or an existing run."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scorecam.base.wording import encodable, excerpt, quoted
from scorecam.errors import RunError, ScorecamError, SettingError, did_you_mean
from scorecam.runs.config import Config, method_names, no_maps_of, not_a_run, read_config
from scorecam.runs.layout import Layout
from scorecam.runs.maps import read_scaled
from scorecam.runs.record import FailureRecord, MeasuredRecord, Unreadable, parse_item
from scorecam.runs.store import Store

SETTINGS = (
    *("weights", "preprocess", "labels", "head", "output"),
    *("device", "layer", "precision", "runtime"),
)


@dataclass(frozen=True)
class Candidate:
    """One side of a comparison, as the user names it.

    Args:
        text: the user's text, safe to print.
        source: the spec of a model, or the folder of a run.
        settings: of the model: weights, precision and so on.
    """

    text: str
    source: str
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_run(self) -> bool:
        """Whether it is an existing run."""
        return _is_folder(self.source) and Layout(Path(self.source)).config.exists()


@contextlib.contextmanager
def naming(candidate: Candidate) -> Generator[None]:
    """Name the side in errors, as there are several."""
    try:
        yield
    except ScorecamError as error:
        what = f"{candidate.text}: {error.what}"
        raise type(error)(what, likely=error.likely, do=error.do) from error


@dataclass(frozen=True)
class Side:
    """The results of one side's run, by photo.

    Args:
        not_found: the photos in which the model's task does not find the object.
        failures: the number of photos that failed.
        reason: why one of them failed; empty if none did.
        config: of the run.
        damaged: the number of unreadable records and maps, which are left out.
    """

    candidate: Candidate
    layout: Layout
    records: Mapping[str, MeasuredRecord]
    maps: Mapping[str, Tensor]
    failures: int
    reason: str
    config: Config
    damaged: int
    not_found: frozenset[str] = frozenset()


def parse_side(text: str) -> Candidate:
    """A side as users write it: a folder, or a model's spec or file, and settings after commas.

    The longest beginning of the text that exists is a file or folder with its commas; without one,
    the model's name ends at the first comma.

    Raises:
        SettingError: there is no such setting.
    """
    source = _existing(text) or text.partition(",")[0]
    settings = text[len(source) :].split(",")[1:]
    values: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in SETTINGS:
            raise SettingError(
                f"A model has no setting {quoted(setting)}.",
                likely=did_you_mean(key, SETTINGS),
                do=f"The settings are {', '.join(SETTINGS)}: lite0,precision=bfloat16.",
            )
        if key in values:
            raise SettingError(f"{key} is given twice in {quoted(text)}.", do="Give it once.")
        values[key] = value
    candidate = Candidate(encodable(text), source, values)
    if values and candidate.is_run:
        raise SettingError(
            f"{quoted(source)} is the folder of a run, which takes no settings.",
            do="Leave them out, or name the model.",
        )
    return candidate


def check_side(candidate: Candidate) -> None:
    """Refuse a folder that is neither a run nor a model, such as a folder of photos.

    Raises:
        SettingError: it is such a folder.
    """
    if _is_folder(candidate.source) and not candidate.is_run:
        raise SettingError(
            f"{quoted(candidate.source)} is a folder, but not a run.",
            likely="It may hold photos, which come last, or a run that never started.",
            do="Compare models, files of models, or --out folders of `scorecam evaluate`.",
        )


def _existing(text: str) -> str:
    """The longest beginning of a side that is a file or folder and ends at a comma, or nowhere.

    The kind of file may stand in front, as in `KIND:FILE`.
    """
    parts = text.split(",")
    for count in range(len(parts), 0, -1):
        begin = ",".join(parts[:count])
        if any(_exists(path) for path in (begin, begin.partition(":")[2])):
            return begin
    return ""


def _exists(text: str) -> bool:
    """Whether a text is the path of a file or folder; False for texts that cannot be a path."""
    with contextlib.suppress(OSError, ValueError):
        return bool(text) and Path(text).exists()
    return False


def _is_folder(text: str) -> bool:
    """Whether a text is the path of a folder; False for texts that cannot be a path."""
    with contextlib.suppress(OSError, ValueError):
        return Path(text).is_dir()
    return False


def read_side(candidate: Candidate, folder: Path, method: str) -> Side:
    """The results of one method in the folder of a run.

    Raises:
        RunError: it is not a run, is damaged, or lacks the method.
    """
    config, names = _config(folder)
    if method not in names:
        raise no_maps_of(method, folder, names)
    store = Store(folder, names, parse_item)
    records: dict[str, MeasuredRecord] = {}
    maps: dict[str, Tensor] = {}
    failures, damaged, reason = 0, 0, ""
    not_found: set[str] = set()
    for sample in store.ids(method):
        record, _ = store.judge(method, sample)
        if record is None:
            damaged += 1
            continue
        if isinstance(record, FailureRecord) and record.not_found:
            not_found.add(sample)
            continue
        if isinstance(record, FailureRecord):
            failures, reason = failures + 1, reason or record.failure.message
            continue
        records[sample] = record
        try:
            scaled = read_scaled(store.layout.map(method, sample))
            maps[sample] = torch.from_numpy(scaled.astype(np.float32))
        except Unreadable:
            damaged += 1
    return Side(
        candidate=candidate,
        layout=store.layout,
        records=records,
        maps=maps,
        failures=failures,
        reason=reason,
        config=config,
        damaged=damaged,
        not_found=frozenset(not_found),
    )


def _config(folder: Path) -> tuple[Config, list[str]]:
    """The configuration of a run, and the names of its methods.

    Raises:
        RunError: it is not a run of `evaluate`.
    """
    config = read_config(Layout(folder).config)
    if config is None:
        raise not_a_run(folder)
    if config.get("check") == "sanity":
        raise RunError(
            f"{excerpt(folder, 200)} is the folder of a sanity check.",
            do="Pass the --out folder of `scorecam evaluate`.",
        )
    return config, method_names(config)


_SETTING_DIFFERENCES = {
    "target": "explain different classes",
    "budget": "score different numbers of masks",
    "fill": "fill muted pixels differently",
    "masking": "mask differently",
    "preprocess": "see different parts or sizes of a photo; maps are compared without alignment",
    "dataset": "ran on different photos or annotations",
}
"""Settings of a run that change its maps or numbers, in addition to the model."""


def setting_differences(first: Side, other: Side) -> list[str]:
    """How the settings of two runs differ, as sentences."""
    both = f"{first.candidate.text} and {other.candidate.text}"
    found = [
        f"{both} {what}."
        for key, what in _SETTING_DIFFERENCES.items()
        if first.config.get(key) != other.config.get(key)
    ]
    layers = [encodable(str(side.config.get("layer"))) for side in (first, other)]
    if layers[0] != layers[1]:
        names = " and ".join(quoted(layer) for layer in layers)
        found.append(
            f"{both} explain layers of different names, {names}. A file of another format names "
            "the same layer differently."
        )
    return found
