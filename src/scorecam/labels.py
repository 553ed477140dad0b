"""Class names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, cast

from scorecam.errors import SettingError

Labels = str | os.PathLike[str] | Sequence[str] | Mapping[int, str]


def imagenet() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet-1k in the usual order."""
    text = resources.files("scorecam").joinpath("data/imagenet_classes.txt").read_text("utf-8")
    return tuple(text.splitlines())


def imagenet_wnids() -> tuple[str, ...]:
    """Their WordNet ids, in the same order, which is also the sorted one."""
    text = resources.files("scorecam").joinpath("data/imagenet_wnids.txt").read_text("ascii")
    return tuple(text.splitlines())


def read_labels(labels: Labels) -> tuple[str, ...]:
    """One name per column.

    Args:
        labels: the names, or a dict from index to name; or a file of them, one per line, or JSON:
            a list, or an object from index to name; or "imagenet".

    Raises:
        SettingError: the file cannot be read, or does not hold names.
    """
    if isinstance(labels, str) and labels == "imagenet":
        return imagenet()
    if not isinstance(labels, str | os.PathLike):
        return _from_values(labels)
    path = Path(labels)
    try:
        text = path.read_text("utf-8-sig")
        names = _from_json(json.loads(text)) if path.suffix == ".json" else _from_lines(text)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingError(
            f"The class names in {path} cannot be read: {reason}.",
            do='Give a UTF-8 text file with one name per line, a JSON list, or "imagenet".',
        ) from error
    if not names:
        raise SettingError(f"{path} holds no class names.", do="Put one name on each line.")
    return names


def _from_values(labels: Any) -> tuple[str, ...]:
    try:
        if isinstance(labels, Mapping):
            return _from_json(dict(cast("Mapping[Any, Any]", labels)))
        return tuple(str(name) for name in labels)
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"The class names cannot be read: {error}.",
            do="Give a list of names, or a dict from index to name.",
        ) from error


def _from_lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.rstrip().splitlines())


def _from_json(found: Any) -> tuple[str, ...]:
    if isinstance(found, dict):
        by_index = {int(index): name for index, name in found.items()}
        if sorted(by_index) != list(range(len(by_index))):
            raise ValueError("its keys are not the indices 0, 1, 2, …")
        found = [by_index[index] for index in range(len(by_index))]
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError("it is not a list of names")
    return tuple(found)
