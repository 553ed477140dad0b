"""Writing so that nothing is ever half-written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

from scorecam.errors import OutputError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Generator[Path]:
    """A temporary path beside `path`, which takes its place if the block ends without an error.

    Raises:
        OutputError: the folder or the file cannot be written.
    """
    final = Path(path)
    temporary: Path | None = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{final.stem[:40]}-", dir=final.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(final)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"Could not write {final}: {error.strerror or error}.",
            likely="The folder may be read-only, full, or not a folder.",
            do="Choose another folder with --out (or another path).",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The permissions that new files go without; it can only be read by setting it."""
    current = os.umask(0)
    os.umask(current)
    return current
