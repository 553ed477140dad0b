"""What a run is: everything that its numbers depend on, as plain values in `run.json`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from scorecam.cam import Masking
from scorecam.datasets.photos import shown
from scorecam.datasets.sample import Dataset
from scorecam.method import Method
from scorecam.metrics import Metric
from scorecam.model import Model

SCHEMA = 1
MAY_DIFFER = frozenset({"versions", "runtime used", "precision used"})
"""What does not make another run: recorded choices, and what is only worth a remark."""

Config = dict[str, Any]


def describe(
    model: Model,
    dataset: Dataset,
    methods: Sequence[Method],
    metrics: Sequence[Metric],
    *,
    settings: Mapping[str, Any],
    masking: Masking,
) -> Config:
    """The configuration of a run, without the choices that are made when it starts.

    Args:
        dataset: all of it, before it is divided into shards.
        settings: layer, target rule, budget and so on.
    """
    preprocess = model.preprocess
    return {
        "schema": SCHEMA,
        "model": model.spec,
        "weights sha256": model.fingerprint(),
        "head": model.head,
        "preprocess": None if preprocess is None else preprocess.to_dict(),
        **settings,
        "masking": _plain(dataclasses.asdict(masking)),
        "methods": [
            {"name": each.name, "settings": _plain(dict(each.settings)), "source": each.source}
            for each in methods
        ],
        "metrics": [{"name": each.name, "source": each.source} for each in metrics],
        "dataset": {"kind": dataset.kind, "photos": len(dataset), "sha256": digest(dataset)},
        "versions": {
            "scorecam": _installed("scorecam"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }


def digest(dataset: Dataset) -> str:
    """SHA-256 of the photos' names and classes, in order: not of where they lie."""
    found = hashlib.sha256()
    for sample in dataset.samples:
        found.update(f"{shown(sample.name)}\0{sample.id}\0{sample.label!r}\n".encode())
    return found.hexdigest()


def differences(there: Config, wanted: Config) -> list[str]:
    """In what another configuration differs from the one that is wanted, field by field."""
    said: list[str] = []
    for key in dict.fromkeys([*there, *wanted]):
        one, other = there.get(key), wanted.get(key)
        if key not in MAY_DIFFER and one != other:
            said.append(f"{key}: {_short(one)} there, {_short(other)} now")
    return said


def _short(value: Any) -> str:
    if isinstance(value, list):
        names = [each["name"] if isinstance(each, dict) else str(each) for each in value]
        value = ", ".join(names)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value, default=str))


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
