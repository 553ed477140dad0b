"""A disk that fails at the n-th call, as in SQLite's tests.

Every call that creates, writes, syncs, renames or removes a file below a folder goes through `os`
or `open`. The calls are counted, and one of them fails with an error of a real disk. `os.fsync`
only counts, so that thousands of runs are fast.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from pathlib import Path
from typing import Any, Self

import pytest

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES, errno.EROFS)


class FaultyDisk:
    """Counts the calls and lets one of them fail.

    Args:
        root: the folder on this disk.
        fails: the number of the call that fails, from 0; -1 for none.
    """

    def __init__(self, root: Path, fails: int = -1) -> None:
        self.root = os.path.realpath(root)
        self.fails = fails
        self.calls: list[str] = []
        self._open: set[int] = set()

    @property
    def error(self) -> int:
        return ERRORS[self.fails % len(ERRORS)]

    @property
    def failed(self) -> str | None:
        """The call that failed; None if it was not reached."""
        return self.calls[self.fails] if 0 <= self.fails < len(self.calls) else None

    def fault(self, call: str) -> None:
        self.calls.append(call)
        if len(self.calls) - 1 == self.fails:
            raise OSError(self.error, os.strerror(self.error))

    def inside(self, path: Any) -> bool:
        if not isinstance(path, str | os.PathLike):
            return False
        return os.path.realpath(os.fspath(path)).startswith(self.root)

    def install(self, patch: pytest.MonkeyPatch) -> FaultyDisk:
        """Replace the real disk by this one."""
        for name in ("mkdir", "unlink", "replace", "link", "rename", "rmdir"):
            patch.setattr(os, name, self._on_paths(name, getattr(os, name)))
        real_open, real_close, text_open = os.open, os.close, io.open

        def low_open(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            writes = flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) or Path(path).is_dir()
            if not (writes and self.inside(path)):
                return real_open(path, flags, *rest, **more)
            self.fault("open")
            handle = real_open(path, flags, *rest, **more)
            self._open.add(handle)
            return handle

        def low_close(handle: int) -> None:
            real_close(handle)
            if handle in self._open:
                self._open.discard(handle)
                self.fault("close")

        def high_open(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if not (set(mode) & set("wax+") and self.inside(file)):
                return text_open(file, mode, *rest, **more)
            self.fault("open for writing")
            return FaultyFile(text_open(file, mode, *rest, **more), self)

        patch.setattr(os, "open", low_open)
        patch.setattr(os, "close", low_close)
        patch.setattr(os, "fsync", lambda _handle: self.fault("fsync"))
        patch.setattr(io, "open", high_open)
        patch.setattr(builtins, "open", high_open)
        return self

    def _on_paths(self, name: str, real: Any) -> Any:
        def call(path: Any, *rest: Any, **more: Any) -> Any:
            if self.inside(path):
                self.fault(name)
            return real(path, *rest, **more)

        return call


class FaultyFile:
    """An open file on this disk; a write that fails writes half of the content."""

    def __init__(self, file: Any, disk: FaultyDisk) -> None:
        self._file = file
        self._disk = disk

    def write(self, content: Any) -> int:
        try:
            self._disk.fault("write")
        except OSError:
            self._file.write(content[: len(content) // 2])
            raise
        return self._file.write(content)

    def flush(self) -> None:
        self._disk.fault("flush")
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()
            self._disk.fault("close")

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")  # otherwise C code writes without this object

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
