"""Checksums of what a run writes: a value that was changed afterwards is noticed."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scorecam.errors import OutputError

Record = dict[str, Any]

EDITED = "edited record"
"""What is said of a record whose checksum is wrong."""

FREE = ("checksum", "timings")
"""What a checksum does not cover: timings differ from run to run."""


def checksum(record: Record) -> str:
    """SHA-256 of a record's values, however its text is laid out."""
    values = {key: value for key, value in record.items() if key not in FREE}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sealed(record: Record) -> Record:
    """A record with its checksum."""
    return record | {"checksum": checksum(record)}


def unbroken(record: Record, *, always: bool = True) -> bool:
    """Whether a record is as it was written.

    Args:
        always: one without a checksum is not; runs of earlier versions have none.
    """
    if "checksum" not in record:
        return not always
    return record["checksum"] == checksum(record)


def map_bytes(grid: npt.NDArray[Any]) -> bytes:
    """A map as its file's content."""
    stream = io.BytesIO()
    np.save(stream, grid)
    return stream.getvalue()


def map_digest(grid: npt.NDArray[Any]) -> str:
    """SHA-256 of a map's file."""
    return hashlib.sha256(map_bytes(grid)).hexdigest()


def digests(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files by their names.

    Raises:
        OutputError: one of them cannot be read.
    """
    found: dict[str, str] = {}
    for file in files:
        try:
            found[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise OutputError(
                f"{file} was written and cannot be read: {error.strerror}.",
                likely="The folder was removed or renamed meanwhile, or the disk fails.",
                do="Give the same command again.",
            ) from error
    return found
