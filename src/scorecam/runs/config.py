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
from scorecam.datasets.sample import Dataset
from scorecam.methods.method import Method
from scorecam.metrics.metric import Metric
from scorecam.model.model import Model

SCHEMA = 1
MAY_DIFFER = frozenset({"versions", "runtime used", "precision used", "checksums"})
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
        "metrics": [_plain(_fields(each)) for each in metrics],
        "dataset": {"kind": dataset.kind, "photos": len(dataset), "sha256": digest(dataset)},
        "versions": {
            "scorecam": _installed("scorecam"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }


def digest(dataset: Dataset) -> str:
    """SHA-256 of what is said of the photos, in order: not of where they lie."""
    found = hashlib.sha256()
    for sample in dataset.samples:
        things = [(thing.label, *thing.box) for thing in sample.things or ()]
        truth = f"{sample.things is None} {things} {sample.mask is None}"
        line = f"{sample.id} {sample.label!r} {truth}\n"
        found.update(line.encode("utf-8", "backslashreplace"))
    return found.hexdigest()


def _fields(metric: Metric) -> dict[str, Any]:
    """A measure's name, source and settings."""
    fields = getattr(metric, "__dataclass_fields__", ("name", "source"))
    return {name: getattr(metric, name) for name in fields if name != "outcomes"}


def differences(there: Config, wanted: Config) -> list[str]:
    """In what another configuration differs from the one that is wanted, field by field."""
    said: list[str] = []
    for key in dict.fromkeys([*there, *wanted]):
        one, other = there.get(key), wanted.get(key)
        if key not in MAY_DIFFER and one != other:
            there_is, now = _said(one, other)
            said.append(f"{key}: {there_is} there, {now} now")
    return said


def _said(one: Any, other: Any) -> tuple[str, str]:
    """Two values that differ, short enough to be read; lists by name where the names differ."""
    if isinstance(one, list) and isinstance(other, list):
        names = [", ".join(map(_named, some)) for some in (one, other)]
        pairs = [(a, b) for a, b in zip(one, other, strict=False) if a != b]
        if names[0] != names[1] or len(one) != len(other) or not pairs:
            return _short(names[0]), _short(names[1])
        return _short(pairs[0][0]), _short(pairs[0][1])
    return _short(one), _short(other)


def _named(value: Any) -> str:
    return str(value.get("name", value) if isinstance(value, dict) else value)


def _short(value: Any) -> str:
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
