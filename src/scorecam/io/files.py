"""Writing files so that none is ever half-written, and none that was written is lost.

A file is written under a temporary name beside its own, synced to the disk, and renamed; then the
folder is synced too. After a power cut the file is either there and whole, or not there.
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
"""Seconds after which a temporary file of an unknown process is taken for a leftover."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
LASTING = FULL | {errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESTALE}
"""Errors that the next file in the same place would meet too."""

_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_LINKS = _NO_SYNC | {errno.EPERM, errno.EMLINK}
_LIKELY = {
    **dict.fromkeys(FULL, "The disk is full, or a quota or a limit on file sizes is reached."),
    errno.EACCES: "You may not write there.",
    errno.EPERM: "You may not write there.",
    errno.EROFS: "The disk is mounted read-only.",
    errno.EIO: "The disk or the network drive fails.",
    errno.ENOENT: "The folder was removed or renamed meanwhile.",
    errno.EEXIST: "A part of this path is a file, not a folder, or a link that leads nowhere.",
    errno.ENOTDIR: "A part of this path is a file, not a folder.",
    errno.ENAMETOOLONG: "The name is longer than this disk allows.",
}
_DO = {
    **dict.fromkeys(FULL, "Free some space, or choose another folder with --out (another path)."),
    errno.ENAMETOOLONG: "Give the photo or the output a shorter name.",
}


class Batch:
    """Files that appear together: see `together`."""

    def __init__(self) -> None:
        self._staged: list[tuple[Path, Path]] = []
        self._folders: dict[Path, None] = {}

    @contextlib.contextmanager
    def replacing(self, path: PathLike) -> Generator[Path]:
        """A temporary path beside `path`, to be written in the block.

        Raises:
            OutputError: the folder or the file cannot be written.
        """
        final = Path(path)
        with _in_words(final):
            _refuse_special(final)
            _make_folder(final.parent, self._folders)
            yield self._temporary(final)

    def _temporary(self, final: Path) -> Path:
        """A new, empty file beside another; known before it is there, so that it never stays."""
        while True:
            unique = f"{_host()}.{os.getpid()}.{secrets.token_hex(4)}"
            path = final.with_name(f".{final.stem[:40]}-{unique}.tmp")
            self._staged.append((path, final))
            # The umask applies to what open() makes; to read it, one has to change it for a moment.
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            except FileExistsError:
                self._staged.pop()
            else:
                return path

    def publish(self) -> None:
        """Give every file its own name, once all of them are on the disk."""
        for temporary, final in self._staged:
            with _in_words(final):
                _sync(temporary)
        placed: list[Path] = []
        try:
            for temporary, final in self._staged:
                with _in_words(final):
                    if not os.path.lexists(final):
                        placed.append(final)
                    temporary.replace(final)
                self._folders[final.parent] = None
            for folder in self._folders:
                with _in_words(folder):
                    _sync_folder(folder)
        except BaseException:
            _remove(placed)  # what was not there before blocks no next try
            raise
        self._staged.clear()

    def discard(self) -> None:
        """Remove what did not get its own name."""
        _remove(temporary for temporary, _ in self._staged)


@contextlib.contextmanager
def together() -> Generator[Batch]:
    """Several files that appear together if the block ends without an error, or not at all.

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
    """A temporary path beside `path`, which takes its place if the block ends without an error.

    Raises:
        OutputError: the folder or the file cannot be written.
    """
    with together() as batch, batch.replacing(path) as temporary:
        yield temporary


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write a file; one of that name is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: PathLike, text: str) -> None:
    """Write a text file in UTF-8; one of that name is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")


def create_text(path: PathLike, text: str) -> bool:
    """Write a text file unless one of that name is there; of several processes one succeeds.

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
    """Make a folder where there is none, and write to it.

    Raises:
        OutputError: it cannot be made, or nothing can be written there.
    """
    batch = Batch()
    try:
        with batch.replacing(Path(folder) / "writable") as temporary:
            temporary.write_bytes(b"scorecam")
    finally:
        batch.discard()


def ends_all(error: OutputError) -> bool:
    """Whether the next file would meet the same error: a full disk, for example."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in LASTING


# ── temporary files ──────────────────────────────────────────────────────────────────────────

_NAMED = re.compile(r"\..*-(?P<host>[0-9a-f]{8})\.(?P<pid>\d{1,10})\.[0-9a-f]{8}\.tmp", re.DOTALL)
_OLDER = re.compile(r"\..*-[a-z0-9_]{8}", re.DOTALL)
"""What temporary files are called, and what earlier versions called them."""


def leftover(file: Path, *, older: bool = False) -> bool:
    """Whether a file is a temporary one of a process that has ended, or of an unknown one long ago.

    A process on this machine is known by its number. Files of other machines, which may share the
    folder, and of earlier versions are judged by their age.

    Args:
        older: also count files as earlier versions of this package called them. Other programs may
            use such names: not for folders that are not ours alone.
    """
    named = _NAMED.fullmatch(file.name)
    if named is None and not (older and _OLDER.fullmatch(file.name)):
        return False
    try:
        found = file.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    if named is not None and named["host"] == _host():
        return not _alive(int(named["pid"]))
    return time.time() - found.st_mtime > STALE


def sweep(files: Iterable[Path], *, older: bool = False) -> None:
    """Remove the temporary files among these that killed processes have left; see `leftover`."""
    with contextlib.suppress(OSError):  # of listing a folder: it may be gone
        _remove(file for file in files if leftover(file, older=older))


@functools.cache
def _host() -> str:
    """This machine, since it was started, and this container: where process numbers are unique."""
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
    except OSError:  # it is another user's
        return True
    return True


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        with contextlib.suppress(OSError):
            file.unlink()


# ── folders and disks ────────────────────────────────────────────────────────────────────────


def _refuse_special(final: Path) -> None:
    """Refuse to put a file in the place of a folder, a device or a pipe."""
    try:
        found = final.stat()
    except FileNotFoundError:
        return
    if stat.S_ISREG(found.st_mode):
        return
    kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a device or a socket"
    raise OutputError(
        f"Could not write {final}: it is {kind}.", do="Choose another name, or --out."
    )


def _make_folder(folder: Path, changed: dict[Path, None]) -> None:
    """Make a folder and those above it; `changed` is given every folder that gains one."""
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
    """Have the disk keep a file's content, or with `O_RDONLY` a folder's list of files."""
    handle = os.open(path, flags)
    try:
        _fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    if os.name != "nt":  # folders cannot be opened there
        _sync(folder, os.O_RDONLY)


def _fsync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:  # a file system that cannot sync has nothing to wait for
            raise


@contextlib.contextmanager
def _in_words(final: Path) -> Generator[None]:
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
            f"Could not write {str(final)!r}: a file cannot have such a name.",
            do="Choose another name, or --out.",
        ) from error


def _unusable(path: Path) -> bool:
    """Whether a path has a character that no file name can have."""
    try:
        return b"\0" in os.fsencode(path)
    except UnicodeEncodeError:
        return True
