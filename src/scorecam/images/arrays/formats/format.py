"""What a format of files of numbers is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scorecam.images.arrays.array_file import ArrayFile

_NOWHERE: Final = logging.NullHandler()


def always(_: Path) -> bool:
    """For formats that no photo has."""
    return True


def single(_: Path) -> list[str]:
    """For formats whose arrays have no names."""
    return []


@dataclass(frozen=True)
class Format:
    """A format of files of numbers.

    Args:
        name: such as "NumPy array".
        suffixes: of such files, in lower case.
        begins: whether a file has the format, by its first bytes.
        read: the numbers in a file, and those with a key if there are several.
        only_here: whether a file of the format cannot be read as a photo without a loss.
        names: of the arrays in a file.
    """

    name: str
    suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool]
    read: Callable[[Path, str | None], ArrayFile]
    only_here: Callable[[Path], bool] = always
    names: Callable[[Path], list[str]] = single

    def has_suffix(self, name: str) -> bool:
        """Whether a file name ends as those of the format do."""
        return name.lower().endswith(self.suffixes)


def quiet(logger: str) -> None:
    """Keep a library from writing warnings to stderr in a program without logging.

    Programs that configure logging still get them.
    """
    logging.getLogger(logger).addHandler(_NOWHERE)  # a second time changes nothing
