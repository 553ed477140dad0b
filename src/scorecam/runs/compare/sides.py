"""The sides of a comparison: a model with its settings, or an existing run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scorecam.base.wording import encodable, excerpt, quoted
from scorecam.errors import RunError, SettingError, did_you_mean
from scorecam.runs.config import Config, method_names, no_maps_of, not_a_run, read_config
from scorecam.runs.layout import Layout
from scorecam.runs.maps import read_scaled
from scorecam.runs.record import FailureRecord, MeasuredRecord, Unreadable, parse_item
from scorecam.runs.store import Store

SETTINGS = ("weights", "preprocess", "labels", "head", "device", "layer", "precision", "runtime")


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


@dataclass(frozen=True)
class Side:
    """The results of one side's run, by photo.

    Args:
        failures: the number of photos that failed.
        config: of the run.
        damaged: the number of unreadable records and maps, which are left out.
    """

    candidate: Candidate
    layout: Layout
    records: Mapping[str, MeasuredRecord]
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
        return Candidate(encodable(text), text)
    source, *settings = text.split(",")
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
    return Candidate(encodable(text), source, values)


def _is_folder(text: str) -> bool:
    """Whether a text is the path of a folder; False for texts that cannot be a path."""
    with contextlib.suppress(OSError):
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
    failures = damaged = 0
    for sample in store.ids(method):
        record, _ = store.judge(method, sample)
        if record is None:
            damaged += 1
            continue
        if isinstance(record, FailureRecord):
            failures += 1
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
        config=config,
        damaged=damaged,
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
    "layer": "explain different layers",
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
    return [
        f"{first.candidate.text} and {other.candidate.text} {what}."
        for key, what in _SETTING_DIFFERENCES.items()
        if first.config.get(key) != other.config.get(key)
    ]
