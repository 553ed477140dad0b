"""The interface of all data set formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scorecam.datasets.sample import Dataset


@dataclass(frozen=True)
class Format:
    """A layout of data sets on disk.

    Its name and the options it takes are in `FORMATS`.

    Args:
        name: as users write it before a colon, and as run.json records it.
        help: the layout in a few words.
        source: the kind of path that it is opened from.
        recognises: whether a path has this layout, given the path of the annotations, if any.
        open: opens a data set from its path, annotations and split.
    """

    name: str
    help: str
    source: Literal["file", "folder", "file or folder"]
    recognises: Callable[[Path, str | None], bool]
    open: Callable[[Path, str | None, str | None], Dataset]
