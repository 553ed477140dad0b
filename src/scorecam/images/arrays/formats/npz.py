"""NumPy arrays in a `.npz` file, which is a zip archive of `.npy` files."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Final

from scorecam.errors import PhotoError
from scorecam.images.arrays import checks
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.images.arrays.formats.npy import as_stored, read_array
from scorecam.images.arrays.keys import chosen
from scorecam.images.file_types import DAMAGED
from scorecam.images.limited_file import LimitedFile
from scorecam.io.reading import Kind, open_file

_KIND: Final = Kind("a NumPy archive", checks.LARGEST, PhotoError)
_SUFFIX: Final = ".npy"

_DIRECTORY: Final = 4 * 2**20
"""The most bytes of the table of contents: room for 50,000 arrays."""

_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The compressions that NumPy writes. Others cannot be unpacked in small steps."""


def begins(head: bytes) -> bool:
    """False: other files are zip archives too, so the suffix decides."""
    del head
    return False


def read(path: Path, key: str | None) -> ArrayFile:
    """The array in an archive, or the one with this name; its axes are as stored.

    Raises:
        PhotoError: it cannot be read, is damaged, does not hold real numbers, or holds several
            arrays and there is no key.
    """
    with _opened(path) as archive:
        return _read(archive, path.name, key)


def names(path: Path) -> list[str]:
    """The names of the arrays in an archive.

    Raises:
        PhotoError: it cannot be read, or is damaged.
    """
    with _opened(path) as archive:
        return list(_members(archive))


@contextlib.contextmanager
def _opened(path: Path) -> Generator[zipfile.ZipFile]:
    """The archive, with a limit on what is read; errors while it is open mean that it is damaged.

    Raises:
        PhotoError: it cannot be read, or is damaged.
    """
    name = path.name
    excess = PhotoError(
        f"{name} has a table of contents that is too large for arrays.",
        likely="It is damaged, or designed to exhaust memory.",
        do="Save the array alone with numpy.save.",
    )
    with open_file(path, _KIND) as file:
        limited = LimitedFile(file, excess, _DIRECTORY)
        try:
            with zipfile.ZipFile(limited) as archive:  # type: ignore[arg-type]
                limited.allow(checks.LARGEST)
                yield archive
        except PhotoError:
            raise
        except Exception as error:  # zipfile and zlib raise many kinds for damaged archives
            raise PhotoError(
                f"{name} is not a NumPy archive that can be read: {error}.",
                likely=DAMAGED[0],
                do="Copy it again, or save it again with numpy.savez.",
            ) from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {
        info.filename.removesuffix(_SUFFIX): info
        for info in archive.infolist()
        if info.filename.endswith(_SUFFIX)
    }


def _read(archive: zipfile.ZipFile, name: str, key: str | None) -> ArrayFile:
    members = _members(archive)
    array_name = chosen(list(members), key, name)
    info = members[array_name]
    label = name if len(members) == 1 else f"{name}:{array_name}"
    if info.compress_type not in _METHODS or info.flag_bits & 1:
        raise PhotoError(
            f"{label} is encrypted, or compressed in a way that NumPy does not use.",
            do="Save it again with numpy.savez_compressed.",
        )
    with archive.open(info) as member:
        array = read_array(member, info.file_size, label)  # type: ignore[arg-type]
    return as_stored(array, label)
