"""Checksums in the files of a run, so that later edits are noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scorecam.errors import OutputError

EDITED = "edited record"
"""The reason for leaving out a record with a wrong checksum."""

_NOT_COVERED = ("checksum", "timings")
"""Keys that no checksum covers: timings differ from run to run."""


def checksum(values: dict[str, Any]) -> str:
    """SHA-256 of the values of a JSON object, however its text is formatted."""
    covered = {key: value for key, value in values.items() if key not in _NOT_COVERED}
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with its checksum."""
    return values | {"checksum": checksum(values)}


def unbroken(values: dict[str, Any], *, always: bool = True) -> bool:
    """Whether a JSON object is unchanged since it was written.

    Args:
        always: whether an object without a checksum counts as changed; earlier versions wrote none.
    """
    if "checksum" not in values:
        return not always
    return values["checksum"] == checksum(values)


def digests(files: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of each file, by file name.

    Raises:
        OutputError: a file cannot be read.
    """
    by_name: dict[str, str] = {}
    for file in files:
        try:
            by_name[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise OutputError(
                f"{file} was written, but it cannot be read: {error.strerror}.",
                likely="The folder was removed or renamed meanwhile, or the disk is failing.",
                do="Run the same command again.",
            ) from error
    return by_name
