"""Reading untrusted files: only regular files of limited size, with helpful errors.

Files opened here cannot block (as a FIFO or a device would), cannot fill memory (the size is
checked before the first byte is read) and never raise a bare `OSError`. The reader of each format
checks the content.
"""

from __future__ import annotations

import codecs
import json
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from scorecam.base.wording import excerpt
from scorecam.errors import ScorecamError

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        name: used in errors, such as "a list of photos".
        largest: the largest size in bytes.
        error: raised if such a file cannot be read.
    """

    name: str
    largest: int
    error: type[ScorecamError]


@contextmanager
def open_file(path: PathLike, kind: Kind) -> Generator[BinaryIO]:
    """An open file, for libraries that read parts of it.

    Raises:
        ScorecamError: `kind.error`: as for `read_bytes`.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
        try:
            _check(path, os.fstat(handle), kind)
        except BaseException:
            os.close(handle)
            raise
    except (OSError, ValueError) as error:
        if isinstance(error, ScorecamError):
            raise
        refuse(path, error, kind)
    with os.fdopen(handle, "rb") as file:
        yield file


def read_bytes(path: PathLike, kind: Kind) -> bytes:
    """The content of a file.

    Raises:
        ScorecamError: `kind.error`: the file is missing, not a regular file, larger than
            `kind.largest`, or cannot be read.
    """
    content = read_start(path, kind, kind.largest + 1)  # a file may grow, or report a wrong size
    if len(content) > kind.largest:
        raise _too_large(path, kind)
    return content


def read_start(path: PathLike, kind: Kind, count: int) -> bytes:
    """The first `count` bytes of a file, or all of it if it is shorter.

    Raises:
        ScorecamError: `kind.error`: as for `read_bytes`.
    """
    _check_path(path, kind)
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
        try:
            status = os.fstat(handle)
            _check(path, status, kind)
            with os.fdopen(handle, "rb", closefd=False) as file:
                return _up_to(file, count, status.st_size)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        if isinstance(error, ScorecamError):
            raise
        refuse(path, error, kind)


def _up_to(file: BinaryIO, count: int, size: int) -> bytes:
    """At most `count` bytes; `read(count)` would allocate all of them at once."""
    parts: list[bytes] = []
    while count > 0 and (part := file.read(min(count, size + 1))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


_BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line ends


def read_text(path: PathLike, kind: Kind, errors: str = "strict") -> str:
    """The content of a text file; one with a UTF-16 byte order mark is read as UTF-16.

    Raises:
        ScorecamError: `kind.error`: as for `read_bytes`, or the text is in another encoding.
    """
    content = read_bytes(path, kind)
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if marked else "utf-8-sig"
    return _decoded(path, content, kind, encoding=encoding, errors=errors)


def _decoded(
    path: PathLike, content: bytes, kind: Kind, *, encoding: str, errors: str = "strict"
) -> str:
    try:
        return content.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise kind.error(
            f"{_printable(path)} is not text in {encoding.removesuffix('-sig').upper()}.",
            likely="It may be another kind of file, or saved in another encoding.",
            do=f"Give {kind.name}, saved as UTF-8.",
        ) from error


def read_json(path: PathLike, kind: Kind) -> Any:
    """The value in a JSON file.

    Raises:
        ScorecamError: `kind.error`: as for `read_text`, or the text is not JSON.
    """
    content = read_bytes(path, kind)
    text = _decoded(path, content, kind, encoding=json.detect_encoding(content))
    try:
        return parse_json(text)
    except ValueError as error:
        raise kind.error(
            f"{_printable(path)} is not valid JSON: {excerpt(error)}.",
            likely="It may be cut short, edited by hand, or another kind of file.",
            do=f"Give {kind.name}.",
        ) from error


def parse_json(
    text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """The value in a JSON text; overlong numbers and overly deep nesting are errors.

    Args:
        text: the JSON text.
        pairs: turns the entries of an object into a value; None for a dict.

    Raises:
        ValueError: the text is not JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_file(path: PathLike, kind: Kind) -> None:
    """Refuse a file that cannot be read, for libraries that open files themselves.

    Raises:
        ScorecamError: `kind.error`: the file is missing, not a regular file, or larger than
            `kind.largest`.
    """
    _check_path(path, kind)
    try:
        _check(path, os.stat(path), kind)  # noqa: PTH116  (Path() would hide the error)
    except (OSError, ValueError) as error:
        if isinstance(error, ScorecamError):
            raise
        refuse(path, error, kind)


def refuse(path: PathLike, error: Exception, kind: Kind) -> NoReturn:
    """Raise the error for a file that cannot be opened.

    Raises:
        ScorecamError: `kind.error`, always.
    """
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        raise kind.error(f"There is no file {_printable(path)}.", do="Check the path.") from error
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
    else:  # a NUL byte, or a character that file names cannot have
        reason = "this is not a valid file name"
    raise kind.error(
        f"{excerpt(repr(os.fspath(path)), 200)} cannot be read: {reason}.",
        do=f"Give {kind.name}.",
    ) from error


def _check_path(path: object, kind: Kind) -> None:
    if not isinstance(path, str | os.PathLike):
        raise kind.error(
            f"A path is a string or a pathlib.Path, not {type(path).__name__}.",
            likely="It may be an open file, or its content." if path is not None else "",
            do="Give the path of the file.",
        )


def _check(path: PathLike, status: os.stat_result, kind: Kind) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise kind.error(f"{_printable(path)} is a folder, not a file.", do=f"Give {kind.name}.")
    if not stat.S_ISREG(status.st_mode):
        raise kind.error(
            f"{_printable(path)} is not a regular file.",
            likely="It is a pipe, a device or a socket.",
            do="Save its content to a file first.",
        )
    if status.st_size > kind.largest:
        raise _too_large(path, kind)


def _too_large(path: PathLike, kind: Kind) -> ScorecamError:
    return kind.error(
        f"{_printable(path)} is larger than {kind.largest:,} bytes, the limit for {kind.name}.",
        likely="It may be another kind of file, or designed to exhaust memory.",
        do=f"Give {kind.name}.",
    )


def _printable(path: PathLike) -> str:
    return excerpt(os.fspath(path), 200)
