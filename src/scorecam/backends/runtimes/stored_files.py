"""The folder with converted networks, which later processes load.

Only files that this user owns, and that nobody else can write, are used. A file is complete under
a temporary name before it gets its own, so a reader never sees a part of one. Processes that read
a file keep it, even if another process replaces or removes it meanwhile.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from scorecam.base import cache

ENDING = ".conversion"

_WRITING = "writing-"
"""The start of the names of temporary folders."""

_STALE = 3600.0
"""Age in seconds from which a temporary folder is a leftover."""


@dataclass(frozen=True)
class StoredFile:
    """A stored conversion.

    Args:
        path: of the file.
        size: in bytes.
        used: when it was last used, in seconds since 1970.
    """

    path: Path
    size: int
    used: float


def folder() -> Path:
    """The folder; it may not exist.

    Raises:
        RuntimeError: the user has no home folder.
    """
    return cache.cache_folder() / "conversions"


def why_unused() -> str:
    """Why no conversions are kept; empty if they are."""
    try:
        if cache.size_limit() == 0:
            return f"{cache.SIZE} is 0"
        place = folder()
        return _why_not_writable(place)
    except (ValueError, RuntimeError) as error:
        return str(error)
    except OSError as error:
        return f"the folder cannot be read ({error.strerror})"


def _why_not_writable(place: Path) -> str:
    existing = next((parent for parent in (place, *place.parents) if parent.exists()), place)
    if not existing.is_dir():
        return f"{existing} is not a folder"
    if existing == place and not private(place.stat()):
        return f"{place} belongs to another user, or other users can write to it"
    return "" if os.access(existing, os.W_OK) else f"{existing} cannot be written"


def private(status: os.stat_result) -> bool:
    """Whether this user owns a file, and nobody else can write it."""
    if os.name == "nt":  # its permissions are not in these numbers
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def usable(name: str) -> bool:
    """Whether there is a file of this name that may be read."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        if cache.size_limit() and private(folder().stat()):
            status = (folder() / name).lstat()
            return stat.S_ISREG(status.st_mode) and private(status)
    return False


def read(name: str) -> mmap.mmap:
    """A file's content, as memory that is loaded when it is used. Changes do not reach the file.

    Raises:
        OSError, ValueError: it cannot be read, or may not be used.
    """
    if not usable(name):
        raise ValueError("there is no such file, or other users can write it")
    handle = os.open(folder() / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        status = os.fstat(handle)
        if not (stat.S_ISREG(status.st_mode) and private(status)):
            raise ValueError("another user owns the file or can write it")
        return mmap.mmap(handle, 0, access=mmap.ACCESS_COPY)
    finally:
        os.close(handle)


def note_use(name: str) -> None:
    """Record that a file was used now."""
    with contextlib.suppress(OSError):
        os.utime(folder() / name)


@contextlib.contextmanager
def writing(name: str, expected: int) -> Generator[Path | None]:
    """A path at which to write a file, which gets its name if the block ends without an error.

    Args:
        name: of the file.
        expected: about how large it will be, in bytes.

    Yields:
        The path, in a temporary folder of its own; None if the file should not be kept.

    Raises:
        OSError: it cannot be written.
    """
    if why_unused() or expected > cache.size_limit():
        yield None
        return
    place = folder()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    _sweep(place)
    if shutil.disk_usage(place).free < 2 * expected:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix=_WRITING, dir=place) as temporary:
        file = Path(temporary) / "file"
        yield file
        file.chmod(0o600)
        file.replace(place / name)
    _make_room(keep=name)


def _make_room(keep: str) -> None:
    """Remove the files that were not used for the longest time, down to the limit."""
    files = sorted(listed(), key=lambda file: file.used, reverse=True)
    files.sort(key=lambda file: file.path.name != keep)
    total = 0
    for file in files:
        if total + file.size <= cache.size_limit():
            total += file.size
            continue
        with contextlib.suppress(OSError):
            file.path.unlink()


def listed() -> Iterator[StoredFile]:
    """The stored conversions, of this user or not."""
    with contextlib.suppress(OSError, RuntimeError):
        for path in folder().glob(f"*{ENDING}"):
            with contextlib.suppress(OSError):  # another process may have removed it
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield StoredFile(path, status.st_size, status.st_mtime)


def clear() -> tuple[int, int]:
    """Remove all stored conversions.

    Returns:
        How many files were removed, and their size in bytes.
    """
    removed = size = 0
    for file in list(listed()):
        with contextlib.suppress(OSError):
            file.path.unlink()
            removed, size = removed + 1, size + file.size
    with contextlib.suppress(OSError, RuntimeError):
        _sweep(folder())
    return removed, size


def _sweep(place: Path) -> None:
    """Remove temporary folders that killed processes left behind."""
    for old in place.glob(f"{_WRITING}*"):
        with contextlib.suppress(OSError):
            if time.time() - old.lstat().st_mtime > _STALE:
                shutil.rmtree(old, ignore_errors=True)
