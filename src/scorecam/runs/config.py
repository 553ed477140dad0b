"""The configuration of a run: everything that its numbers depend on, as JSON values in `run.json`.

A run is resumed only with the configuration that it was started with.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from scorecam.base.wording import excerpt
from scorecam.cam import VARIANTS, Masking
from scorecam.datasets.sample import Dataset
from scorecam.errors import RunError, did_you_mean
from scorecam.io.json_values import is_encodable, is_list, is_object, is_text
from scorecam.io.reading import Kind, parse_json, read_bytes
from scorecam.methods.method import Method
from scorecam.metrics.metric import Metric
from scorecam.model.model import Model, Task

SCHEMA = 1
MAY_DIFFER = frozenset({"versions", "runtime used", "precision used", "left out", "checksums"})
"""Keys that may differ when a run is resumed: choices made at the start, and library versions."""

CONFIG = Kind("a run's run.json", 2**24, RunError)

_MOST_METHODS = 10_000

Config = dict[str, Any]

# ── writing ──────────────────────────────────────────────────────────────────────────────────


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
        dataset: the whole data set, not one shard of it.
        settings: layer, target, budget and so on.
    """
    preprocess = model.preprocess
    return {
        "schema": SCHEMA,
        "model": model.spec,
        "weights sha256": model.fingerprint(),
        "head": model.head,
        **({} if model.task is None else {"task": _task(model.task)}),
        "preprocess": None if preprocess is None else preprocess.to_dict(),
        **({"reading": reading} if (reading := model.reading.to_dict()) else {}),
        **settings,
        "masking": _plain(dataclasses.asdict(masking)),
        "methods": [
            {"name": each.name, "settings": _plain(dict(each.settings)), "source": each.source}
            for each in methods
        ],
        "metrics": [_plain(_fields(each)) for each in metrics],
        "dataset": {"kind": dataset.kind, "photos": len(dataset), "sha256": digest(dataset)},
        "versions": {
            **_plain(dict(model.versions())),
            "scorecam": _installed("scorecam"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }


def digest(dataset: Dataset) -> str:
    """SHA-256 of the names and annotations of the photos, in order; the folder is left out."""
    sha256 = hashlib.sha256()
    for sample in dataset.samples:
        things = [(thing.label, *thing.box) for thing in sample.things or ()]
        truth = f"{sample.things is None} {things} {sample.mask is None}"
        line = f"{sample.id} {sample.label!r} {truth}\n"
        sha256.update(line.encode("utf-8", "backslashreplace"))
    return sha256.hexdigest()


def _fields(metric: Metric) -> dict[str, Any]:
    """The name, source and settings of a metric."""
    fields = getattr(metric, "__dataclass_fields__", ("name", "source"))
    return {name: getattr(metric, name) for name in fields if name != "outcomes"}


def _task(task: Task) -> dict[str, Any]:
    """A task with its options."""
    fields = dataclasses.fields(task)  # type: ignore[arg-type]
    options = {each.name: getattr(task, each.name) for each in fields}
    named = {
        name: getattr(value, "__qualname__", value) if callable(value) else value
        for name, value in options.items()
    }
    return {"name": task.name, **_plain(named)}


def _plain(value: Any) -> Any:
    """The value after a round trip through JSON."""
    return json.loads(json.dumps(value, default=str))


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


# ── resuming ─────────────────────────────────────────────────────────────────────────────────


def differences(recorded: Config, current: Config) -> list[str]:
    """The settings in which the recorded configuration differs from the current one."""
    sentences: list[str] = []
    for key in dict.fromkeys([*recorded, *current]):
        one, other = recorded.get(key), current.get(key)
        if key not in MAY_DIFFER and one != other:
            before, now = _short_values(one, other)
            sentences.append(f"{key}: {before} there, {now} now")
    return sentences


def _short_values(one: Any, other: Any) -> tuple[str, str]:
    """Two different values, shortened; lists by name where the names differ."""
    if isinstance(one, list) and isinstance(other, list):
        names = [", ".join(map(_name_of, values)) for values in (one, other)]
        pairs = [(a, b) for a, b in zip(one, other, strict=False) if a != b]
        if names[0] != names[1] or len(one) != len(other) or not pairs:
            return _short(names[0]), _short(names[1])
        return _short(pairs[0][0]), _short(pairs[0][1])
    return _short(one), _short(other)


def _name_of(value: Any) -> str:
    return str(value.get("name", value) if isinstance(value, dict) else value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def read_config(file: Path) -> Config | None:
    """The configuration in a file; None if there is no such file.

    Raises:
        RunError: the file is damaged, was edited, or has another schema.
    """
    try:
        config = parse_json(read_bytes(file, CONFIG))
        if not is_object(config) or "schema" not in config:
            raise ValueError("it has no schema")
    except (RunError, ValueError) as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise _damaged(file, error) from error
    if type(config["schema"]) is not int or config["schema"] != SCHEMA:
        raise RunError(
            f"{excerpt(file, 150)} has schema {excerpt(config['schema'], 40)}; "
            f"this version reads schema {SCHEMA}.",
            likely="Another version of scorecam wrote it.",
            do="Use that version, or another folder.",
        )
    if not method_names(config):
        raise RunError(
            f"{excerpt(file, 150)} names no methods.",
            likely="It was edited, or it does not belong to a run.",
            do="Pass the --out folder of `scorecam evaluate`.",
        )
    used = [config.get("runtime used"), config.get("precision used")]
    if used != [None, None] and not all(map(is_text, used)):
        raise _damaged(file, ValueError("it has no valid runtime and precision"))
    if not is_encodable(json.dumps(config, ensure_ascii=False)):
        raise _damaged(file, ValueError("it contains invalid characters"))
    return config


def _damaged(file: Path, error: Exception) -> RunError:
    why = error.what if isinstance(error, RunError) else f"{excerpt(error)}."
    return RunError(
        f"{excerpt(file, 150)} cannot be read: {why}",
        likely="It was edited, or it does not belong to a run.",
        do="Give another folder with --out.",
    )


def not_a_run(folder: Path) -> RunError:
    """The error for a folder without run.json."""
    return RunError(
        f"{excerpt(folder, 200)} isn't a run folder.",
        do="Pass the --out folder of `scorecam evaluate`.",
    )


def no_maps_of(method: str, folder: Path, names: Sequence[str]) -> RunError:
    """The error for a method that is not in a run."""
    return RunError(
        f"The run {excerpt(folder, 150)} has no maps of {excerpt(method)}.",
        likely=did_you_mean(method, names) or f"It has {excerpt(', '.join(names), 200)}.",
        do="Name one of its methods with --method.",
    )


def method_names(config: Config) -> list[str]:
    """The names of a run's methods; empty if one of them is not a valid folder name."""
    methods = config.get("methods")
    listed = methods if is_list(methods, _MOST_METHODS) else []
    names = [each.get("name") if is_object(each) else None for each in listed]
    valid = [name for name in names if is_text(name) and _can_be_a_folder(name)]
    return valid if len(valid) == len(names) == len(set(valid)) else []


def recorded_variants(config: Config) -> dict[str, str]:
    """The variant of each Score-CAM method of a run, by the method's name, if it is known."""
    variants: dict[str, str] = {}
    for name in method_names(config):
        [settings] = [each.get("settings") for each in config["methods"] if each["name"] == name]
        variant = settings.get("variant") if is_object(settings) else None
        if is_text(variant) and variant in VARIANTS:
            variants[name] = variant
    return variants


def chosen_variants(config: Config) -> list[str]:
    """A sentence for each Score-CAM method that does not have its variant in its name."""
    return [
        f"{name} is the variant {variant}."
        for name, variant in recorded_variants(config).items()
        if "variant=" not in name
    ]


def left_out(config: Config) -> list[str]:
    """The sentences of a run on methods that its model cannot run."""
    sentences = config.get("left out")
    return list(filter(is_text, sentences)) if is_list(sentences, _MOST_METHODS) else []


def _can_be_a_folder(name: str) -> bool:
    return is_encodable(name) and bool(name.strip(".")) and "\0" not in name
