"""Class names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np

from scorecam.base.wording import excerpt
from scorecam.errors import SettingError
from scorecam.io.json_values import is_encodable, is_text
from scorecam.io.reading import Kind, parse_json, read_text

Labels = str | os.PathLike[str] | Sequence[str] | Mapping[int, str] | Mapping[str, int]


LIST = Kind("a list of class names", 2**24, SettingError)


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
        labels: the names in the order of the columns; or a dict from index to name, or from name to
            index (`class_to_idx`); or a file of them, one per line, or JSON: a list, or an object
            like those dicts; or "imagenet".

    Raises:
        SettingError: the file cannot be read, or does not hold names.
    """
    if isinstance(labels, str) and labels == "imagenet":
        return imagenet()
    if not isinstance(labels, str | os.PathLike):
        return _from_values(labels)
    path = Path(labels)
    do = 'Give a UTF-8 text file with one name per line, a JSON list, or "imagenet".'
    try:
        text = read_text(path, LIST)
        names = _from_json(parse_json(text)) if path.suffix == ".json" else _from_lines(text)
        check_names(names)
    except SettingError as error:
        what = f"The class names cannot be read: {error.what}"
        raise SettingError(what, likely=error.likely, do=do) from error
    except ValueError as error:
        what = f"The class names in {excerpt(path, 200)} cannot be read: {excerpt(error)}."
        raise SettingError(what, do=do) from error
    if not names:
        raise SettingError(
            f"{excerpt(path, 200)} holds no class names.", do="Put one name on each line."
        )
    return names


def check_names(names: Sequence[str]) -> None:
    """Refuse names that cannot be printed or written.

    Raises:
        ValueError: there is such a name.
    """
    for index, name in enumerate(names):
        if not is_text(name) or not is_encodable(name) or "\0" in name:
            raise ValueError(f"name {index} is too long, or contains invalid characters")


def _from_values(labels: Any) -> tuple[str, ...]:
    if isinstance(labels, set | frozenset):
        raise SettingError(
            "The class names are a set, which has no order.",
            likely="Columns are numbered, so the names must come in the order of the columns.",
            do="Give a list; sorted(names) is the order of torchvision's ImageFolder.",
        )
    try:
        if isinstance(labels, Mapping):
            return _from_json(dict(cast("Mapping[Any, Any]", labels)))
        if isinstance(labels, bytes | bytearray):
            raise TypeError("they are bytes")
        return tuple(str(name) for name in labels)
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"The class names cannot be read: {error}.",
            do="Give a list of names, a dict from index to name, or one from name to index.",
        ) from error


def _from_lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.rstrip().splitlines())


def _from_json(values: Any) -> tuple[str, ...]:
    if isinstance(values, dict):
        return _from_dict(cast("dict[Any, Any]", values))
    if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
        raise ValueError("it is not a list of names")
    return tuple(values)


def _from_dict(values: dict[Any, Any]) -> tuple[str, ...]:
    """The names of a dict from index to name, or from name to index, such as `class_to_idx`."""
    if values and all(_is_index(value) for value in values.values()):
        if not all(isinstance(name, str) for name in values):
            raise ValueError("it is not a list of names, nor a dict of names and indices")
        pairs = [(int(index), str(name)) for name, index in values.items()]
    elif all(isinstance(name, str) for name in values.values()):
        pairs = [(_index(key), str(name)) for key, name in values.items()]
    else:
        raise ValueError("it is not a list of names, nor a dict of names and indices")
    by_index = dict(pairs)
    if len(by_index) < len(pairs):
        [(repeated, _)] = Counter(index for index, _ in pairs).most_common(1)
        raise ValueError(f"the index {repeated} has several names")
    for expected, index in enumerate(sorted(by_index)):
        if index != expected:
            raise ValueError(
                f"its indices are not 0, 1, 2, … to {len(by_index) - 1}: {expected} is missing"
            )
    return tuple(by_index[index] for index in range(len(by_index)))


def _index(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, int | str | np.integer):
        raise TypeError(f"{str(key)[:40]!r} is not an index")
    if isinstance(key, str) and not (key.strip().isdecimal() and len(key) < 10):
        raise ValueError(f"{key[:40]!r} is not an index")
    return int(key)


def _is_index(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
