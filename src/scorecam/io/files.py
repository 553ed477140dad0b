"""Writing files so that they are never incomplete, and survive a power failure once written.

A file is written under a temporary name in the same folder, synced to disk, and renamed; then the
folder is synced. After a power failure, the file is either complete or not there.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import secrets
import stat
import time
from collections.abc import Generator, Iterable
from pathlib import Path

from scorecam.errors import OutputError

PathLike = str | os.PathLike[str]

STALE = 3600.0
"""Age in seconds from which a temporary file of an unknown process is a leftover."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
LASTING = FULL | {errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESTALE}
"""Errors that the next file in the same folder would cause too."""

_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_LINKS = _NO_SYNC | {errno.EPERM, errno.EMLINK}
_LIKELY = {
    **dict.fromkeys(FULL, "The disk is full, or a quota or a limit on file sizes is reached."),
    errno.EACCES: "You do not have permission to write there.",
    errno.EPERM: "You do not have permission to write there.",
    errno.EROFS: "The disk is mounted read-only.",
    errno.EIO: "The disk or the network drive is failing.",
    errno.ENOENT: "The folder was removed or renamed in the meantime.",
    errno.EEXIST: "A part of this path is a file, not a folder, or a broken link.",
    errno.ENOTDIR: "A part of this path is a file, not a folder.",
    errno.ENAMETOOLONG: "The name is too long for this disk.",
}
_DO = {
    **dict.fromkeys(FULL, "Free some space, or choose another folder with --out (another path)."),
    errno.ENAMETOOLONG: "Give the photo or the output a shorter name.",
}


class Batch:
    """Files that are published together; see `together`."""

    def __init__(self) -> None:
        self._staged: list[tuple[Path, Path]] = []
        self._folders: dict[Path, None] = {}

    @contextlib.contextmanager
    def replacing(self, path: PathLike) -> Generator[Path]:
        """A temporary path in the folder of `path`, to write in the block.

        Raises:
            OutputError: the folder or the file cannot be written.
        """
        final = Path(path)
        with _as_output_error(final):
            _refuse_special(final)
            _make_folder(final.parent, self._folders)
            yield self._temporary(final)

    def _temporary(self, final: Path) -> Path:
        """Create an empty temporary file. It is recorded first, so that it is always removed."""
        while True:
            unique = f"{_host()}.{os.getpid()}.{secrets.token_hex(4)}"
            path = final.with_name(f".{final.stem[:40]}-{unique}.tmp")
            self._staged.append((path, final))
            # open() applies the umask, which cannot be read without changing it.
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            except FileExistsError:
                self._staged.pop()
            else:
                return path

    def publish(self) -> None:
        """Rename every file, once all of them are on disk."""
        for temporary, final in self._staged:
            with _as_output_error(final):
                _sync(temporary)
        placed: list[Path] = []
        try:
            for temporary, final in self._staged:
                with _as_output_error(final):
                    if not os.path.lexists(final):
                        placed.append(final)
                    temporary.replace(final)
                self._folders[final.parent] = None
            for folder in self._folders:
                with _as_output_error(folder):
                    _sync_folder(folder)
        except BaseException:
            _remove(placed)  # new files would make the next try fail
            raise
        self._staged.clear()

    def discard(self) -> None:
        """Remove temporary files that were not renamed."""
        _remove(temporary for temporary, _ in self._staged)


@contextlib.contextmanager
def together() -> Generator[Batch]:
    """Several files: if the block ends without an error, all of them appear, otherwise none.

    Raises:
        OutputError: a folder or a file cannot be written.
    """
    batch = Batch()
    try:
        yield batch
        batch.publish()
    finally:
        batch.discard()


@contextlib.contextmanager
def replacing(path: PathLike) -> Generator[Path]:
    """A temporary path that is renamed to `path` if the block ends without an error.

    Raises:
        OutputError: the folder or the file cannot be written.
    """
    with together() as batch, batch.replacing(path) as temporary:
        yield temporary


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write a file, or replace it.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: PathLike, text: str) -> None:
    """Write a text file in UTF-8, or replace it.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")


def create_text(path: PathLike, text: str) -> bool:
    """Write a text file unless it exists. If several processes try, one succeeds.

    Returns:
        Whether this call wrote it.

    Raises:
        OutputError: it cannot be written.
    """
    final = Path(path)
    batch = Batch()
    try:
        with batch.replacing(final) as temporary:
            temporary.write_text(text, "utf-8", newline="\n")
            _sync(temporary)
            try:
                os.link(temporary, final)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if final.exists():
                    return False
                temporary.replace(final)  # a file system without links
            _sync_folder(final.parent)
    finally:
        batch.discard()
    return True


def check_writable(folder: PathLike) -> None:
    """Create a folder if needed, and check that it is writable.

    Raises:
        OutputError: it cannot be created, or is not writable.
    """
    batch = Batch()
    try:
        with batch.replacing(Path(folder) / "writable") as temporary:
            temporary.write_bytes(b"scorecam")
    finally:
        batch.discard()


def affects_next_files(error: OutputError) -> bool:
    """Whether the next file would fail too, for example because the disk is full."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in LASTING


# ── temporary files ──────────────────────────────────────────────────────────────────────────

_TEMPORARY_NAME = re.compile(
    r"\..*-(?P<host>[0-9a-f]{8})\.(?P<pid>\d{1,10})\.[0-9a-f]{8}\.tmp", re.DOTALL
)
_OLDER_NAME = re.compile(r"\..*-[a-z0-9_]{8}", re.DOTALL)
"""Names of temporary files, now and in earlier versions."""


def leftover(file: Path, *, older: bool = False) -> bool:
    """Whether a temporary file was left behind: its process has ended, or it is old.

    A process on this machine is known by its number. Files of other machines, which may share the
    folder, and of earlier versions are judged by their age.

    Args:
        file: any file.
        older: also count names that earlier versions of this package used. Other programs may use
            such names, so set it only for folders that are ours.
    """
    named = _TEMPORARY_NAME.fullmatch(file.name)
    if named is None and not (older and _OLDER_NAME.fullmatch(file.name)):
        return False
    try:
        status = file.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode):
        return False
    if named is not None and named["host"] == _host():
        return not _alive(int(named["pid"]))
    return time.time() - status.st_mtime > STALE


def sweep(files: Iterable[Path], *, older: bool = False) -> None:
    """Remove temporary files that killed processes left behind; see `leftover`."""
    with contextlib.suppress(OSError):  # the folder may have been removed
        _remove(file for file in files if leftover(file, older=older))


@functools.cache
def _host() -> str:
    """An id for this boot of this machine and this container. Process ids are unique within it."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii"))
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:8]


def _alive(pid: int) -> bool:
    if os.name == "nt":  # os.kill would end the process
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        with contextlib.suppress(OSError):
            file.unlink()


# ── folders and disks ────────────────────────────────────────────────────────────────────────


def _refuse_special(final: Path) -> None:
    """Refuse to replace a folder, a device or a pipe."""
    try:
        status = final.stat()
    except FileNotFoundError:
        return
    if stat.S_ISREG(status.st_mode):
        return
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a device or a socket"
    raise OutputError(
        f"Could not write {final}: it is {kind}.",
        do="Choose another name, or another folder with --out.",
    )


def _make_folder(folder: Path, changed: dict[Path, None]) -> None:
    """Create a folder and its parents; adds to `changed` each folder that gets a new entry."""
    missing: list[Path] = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        changed[new.parent] = None


def _sync(path: Path, flags: int = os.O_RDWR) -> None:
    """Write a file's content to disk; with `O_RDONLY`, the entries of a folder."""
    handle = os.open(path, flags)
    try:
        _fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    if os.name != "nt":  # folders cannot be opened on Windows
        _sync(folder, os.O_RDONLY)


def _fsync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:  # file systems without sync are fine
            raise


@contextlib.contextmanager
def _as_output_error(final: Path) -> Generator[None]:
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise OutputError(
            f"Could not write {final}: {reason}.",
            likely=_LIKELY.get(
                error.errno or 0, "The folder may be read-only, full, or not a folder."
            ),
            do=_DO.get(error.errno or 0, "Choose another folder with --out (or another path)."),
        ) from error
    except ValueError as error:
        if not _unusable(final):
            raise
        raise OutputError(
            f"Could not write {str(final)!r}: this is not a valid file name.",
            do="Choose another name, or another folder with --out.",
        ) from error


def _unusable(path: Path) -> bool:
    """Whether a path has a character that file names cannot have."""
    try:
        return b"\0" in os.fsencode(path)
    except UnicodeEncodeError:
        return True
