"""Looking for the preprocessing and the class names of a deployed model.

The order is: the metadata of the file itself, then files in its folder, each kind of which is in a
module of this package. What is found is named in a remark. What cannot be understood is left out
and named too; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from scorecam.backends.deployed import files, model_info, paddle, ultralytics
from scorecam.backends.deployed.stated import NetworkInput, Stated
from scorecam.base.wording import excerpt, one_line
from scorecam.errors import ScorecamError
from scorecam.images.preprocess import Preprocess
from scorecam.model.labels import check_names

T = TypeVar("T")

Source = tuple[str, Callable[[], T | None]]
"""The name of a place for sentences, and a function that reads it; None if nothing is there."""


@dataclass(frozen=True)
class Found:
    """What was found.

    Args:
        preprocess: how photos become inputs; None if that was not found.
        names: the class names, of any number; None if they were not found.
        remarks: one sentence each: what was found and where, and what could not be used.
    """

    preprocess: Preprocess | None = None
    names: tuple[str, ...] | None = None
    remarks: tuple[str, ...] = ()


def find_settings(
    path: Path,
    metadata: Mapping[str, str],
    *,
    size: tuple[int, int] | None = None,
    colours: int | None = None,
    preprocess: bool = True,
    names: bool = True,
) -> Found:
    """The preprocessing and the class names in a model's file or its folder.

    Damaged files are named in a remark, and the search goes on.

    Args:
        path: the model's file.
        metadata: the texts in the file: an ONNX file's `metadata_props`, or the `model_info` of an
            OpenVINO IR, with or without the prefix "model_info " of its keys.
        size: (height, width) of the network's input, if it is fixed. It replaces another size.
        colours: the number of channels of the network's input, if it is fixed.
        preprocess: whether to look for the preprocessing; False if the user gave one.
        names: whether to look for the class names; False if the user gave them.
    """
    remarks: list[str] = []
    given = NetworkInput(size, colours)
    stated, found_names = None, None
    if preprocess:
        stated = _first("Preprocessing was", _preprocess_sources(path, metadata, given), remarks)
        remarks += stated.remarks if stated else ()
    if names:
        found_names = _first("Class names were", _names_sources(path, metadata), remarks)
    return Found(stated.preprocess if stated else None, found_names, tuple(remarks))


def _preprocess_sources(
    path: Path, metadata: Mapping[str, str], given: NetworkInput
) -> Iterator[Source[Stated]]:
    inside = f"the metadata of {excerpt(path.name)}"
    yield f"{inside} (model_info)", partial(model_info.preprocess_of, metadata, given)
    yield f"{inside} (ultralytics)", partial(ultralytics.preprocess_of, metadata, given)
    for name, read in files.preprocess_files(path, given).items():
        if files.is_there(file := path.with_name(name)):
            yield f"{excerpt(name)} in the folder of {excerpt(path.name)}", partial(read, file)


def _names_sources(path: Path, metadata: Mapping[str, str]) -> Iterator[Source[tuple[str, ...]]]:
    inside = f"the metadata of {excerpt(path.name)}"
    # ultralytics replaces the spaces of names in `labels`, so its `names` come first.
    yield f"{inside} (names)", partial(ultralytics.names_of, metadata)
    yield f"{inside} (labels)", partial(model_info.names_of, metadata)
    yield f"{inside} (character)", partial(paddle.names_of, metadata)
    for name, read in files.names_files(path).items():
        if files.is_there(file := path.with_name(name)):
            yield f"{excerpt(name)} in the folder of {excerpt(path.name)}", partial(read, file)


def _first(subject: str, sources: Iterator[Source[T]], remarks: list[str]) -> T | None:
    """What the first usable source has; remarks are added.

    Args:
        subject: the beginning of each remark, to be followed by "read from".
    """
    for place, read in sources:
        try:
            found = read()
            if isinstance(found, tuple):
                check_names(found)
        except (ScorecamError, ValueError, OSError, RuntimeError) as error:
            why = error.what if isinstance(error, ScorecamError) else str(error)
            remarks.append(f"{subject} not read from {place}: {one_line(why, 400).rstrip('.')}.")
            continue
        if found is not None:
            remarks.append(f"{subject} read from {place}.")
            return found
    return None
