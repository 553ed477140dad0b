"""Preprocessing and class names from files in the folder of a model."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from scorecam.backends.deployed.stated import NetworkInput, Stated, fitted
from scorecam.backends.zoo import hf_config, hf_preprocess, timm
from scorecam.errors import ModelError
from scorecam.images.preprocess import Preprocess
from scorecam.io.reading import read_json
from scorecam.model.labels import check_names, read_labels

PROCESSOR = "preprocessor_config.json"
CONFIG = "config.json"


def preprocess_files(
    model: Path, given: NetworkInput
) -> dict[str, Callable[[Path], Stated | None]]:
    """The files that may state the preprocessing of a model, in order, and their readers."""

    def read_with(reader: Callable[[Path], Preprocess | None]) -> Callable[[Path], Stated | None]:
        def read(file: Path) -> Stated | None:
            preprocess = reader(file)
            return None if preprocess is None else fitted(preprocess, given)

        return read

    readers = {
        f"{model.stem}.preprocess.json": Preprocess.load,
        "preprocess.json": Preprocess.load,
        PROCESSOR: _from_processor,
        CONFIG: _from_timm,
    }
    return {name: read_with(reader) for name, reader in readers.items()}


def names_files(model: Path) -> dict[str, Callable[[Path], tuple[str, ...] | None]]:
    """The files that may hold the class names of a model, in order, and their readers."""
    return {
        f"{model.stem}.labels.txt": _from_lines,
        "labels.txt": _from_lines,
        CONFIG: _from_config,
    }


def is_there(file: Path) -> bool:
    """Whether there is such a file, which may be a link to nothing or unreadable."""
    return os.path.lexists(file)


def _from_processor(file: Path) -> Preprocess:
    values = _object(read_json(file, hf_preprocess.FILE))
    preprocess = hf_preprocess.stated(values)
    if preprocess is None:
        raise ValueError("it is not a plain resize, crop and normalisation with all its values")
    return preprocess


def _from_timm(file: Path) -> Preprocess | None:
    """From a config.json that timm wrote; None if another program wrote it."""
    config = _object(read_json(file, hf_config.CONFIG)).get("pretrained_cfg")
    if config is None:
        return None
    preprocess = timm.plain_preprocess(_object(config))
    if preprocess is None:
        raise ValueError("its pretrained_cfg is not a plain resize, crop and normalisation")
    return preprocess


def _from_config(file: Path) -> tuple[str, ...] | None:
    """From a config.json: transformers' `id2label`, or timm's `label_names`."""
    config = _object(read_json(file, hf_config.CONFIG))
    names = config.get("label_names")
    if "pretrained_cfg" in config and isinstance(names, list):
        given = tuple(cast("list[Any]", names))
        check_names(given)
        return given or None
    return hf_config.id2label(config)


def _from_lines(file: Path) -> tuple[str, ...]:
    """One name per line. Lines that are numbered 0, 1, 2, … lose their numbers.

    Raises:
        ValueError: the file is a link out of the folder. Its lines would appear in results.
    """
    if file.resolve().parent != file.parent.resolve():
        raise ValueError("it is a link to a file in another folder")
    names = read_labels(file)
    numbered = [re.fullmatch(r"(\d{1,9})[\s:]\s*(\S.*)", name) for name in names]
    if all(match and int(match[1]) == place for place, match in enumerate(numbered)):
        return tuple(match[2] for match in numbered if match)
    return names


def _object(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ModelError("It is not a JSON object.")
    return cast("dict[str, Any]", values)
