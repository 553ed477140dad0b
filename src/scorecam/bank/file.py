"""The file of a score bank: a safetensors file of tensors and a record, with a checksum of both.

Reading takes at most `MEMORY_FACTOR` times the file's size plus `MEMORY_BASE` bytes of memory.
Nothing is unpickled, and no memory is allocated before the header is compared with the file's size.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

from scorecam.bank.storage import Tensors
from scorecam.errors import BankError, OutputError
from scorecam.io.files import write_bytes
from scorecam.io.reading import Kind, parse_json, read_bytes, read_start

LARGEST_FILE = 4 * 2**30
"""The most bytes of a file that is read as a bank."""

LARGEST_HEADER = 2**20
"""The most bytes of its header, which has the record and the place of each tensor."""

MEMORY_FACTOR = 32
MEMORY_BASE = 64 * 2**20
"""The limit on the memory that reading takes; see the module's docstring."""

BANK: Final = Kind(
    "a score bank: a .safetensors file that `scorecam explain` or ScoreBank.save wrote",
    LARGEST_FILE,
    BankError,
)

CHECKSUM = "sha256"
"""The record's entry for the checksum. Files of earlier versions have none."""

PARTS: dict[str, tuple[str, ...]] = {
    "activations": ("F16", "F32"),
    "power": ("I64",),
    "scores": ("F16", "F32"),
    "scores_max": ("F32",),
    "live": ("U8",),
    "asked": ("U8",),
    "image_scores": ("F32",),
    "fill_scores": ("F32",),
    "names": ("U8",),
    "columns": ("I32",),
    "view": ("U8",),
    "boxes": ("F32",),
    "masks": ("U8",),
}
"""The tensors that a bank may have, and their types."""

_BYTES = {"U8": 1, "F16": 2, "F32": 4, "I32": 4, "I64": 8}


def write(path: str | os.PathLike[str], tensors: Tensors, record: Mapping[str, Any]) -> None:
    """Write the file atomically; an existing file is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise OutputError(
            f"A bank cannot be saved to {path!r:.80}.",
            do='Give the name of a file, such as "cat.safetensors".',
        )
    sealed_record = {**record, CHECKSUM: checksum(record, tensors)}
    write_bytes(path, safetensors.torch.save(tensors, {"scorecam": json.dumps(sealed_record)}))


def complete(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the size in its header; its tensors are not read."""
    try:
        _header(read_start(path, BANK, 8 + LARGEST_HEADER), os.stat(path).st_size)  # noqa: PTH116
    except (BankError, *_DAMAGE):
        return False
    return True


def sealed(path: str | os.PathLike[str]) -> bool:
    """Whether a bank's file has a checksum; files of earlier versions have none.

    Raises:
        BankError: the file is missing, or not a bank.
    """
    start = read_start(path, BANK, 8 + LARGEST_HEADER)
    try:
        return CHECKSUM in _record(_header(start, os.stat(path).st_size))  # noqa: PTH116
    except BankError:
        raise
    except _DAMAGE as error:
        raise unreadable(path, error) from error


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Tensors, bool]:
    """The record and the tensors of a file, and whether it has a checksum.

    Raises:
        BankError: the file is missing, not a bank, damaged, or was changed after it was saved.
    """
    start = read_start(path, BANK, 8 + LARGEST_HEADER)
    try:
        record = _record(_header(start, os.stat(path).st_size))  # noqa: PTH116
        tensors = safetensors.torch.load(read_bytes(path, BANK))
    except BankError:
        raise
    except _DAMAGE as error:
        raise unreadable(path, error) from error
    expected = record.pop(CHECKSUM, None)
    if expected is not None and expected != checksum(record, tensors):
        raise BankError(
            f"{path!s:.200} was changed or damaged after it was saved: its checksum is wrong.",
            likely="It may have been edited, or copied incompletely.",
            do="Copy it again, or explain the photo again.",
        )
    return record, tensors, expected is not None


_DAMAGE = (
    safetensors.SafetensorError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AssertionError,
    RuntimeError,
    OverflowError,
)
"""Errors that reading safetensors and JSON raises for damaged files."""


def unreadable(path: str | os.PathLike[str], error: Exception) -> BankError:
    """The error for a file that is not a bank, with the reason."""
    reason = str(error)
    reason = reason if len(reason) <= 160 else f"{reason[:157]}..."
    return BankError(
        f"{path!s:.200} is not a score bank that this version can read: {reason}.",
        likely="It may be cut short, hold a model's weights, or come from another version.",
        do=f"Give {BANK.name}.",
    )


def _header(start: bytes, size: int) -> dict[str, Any]:
    """The header of a safetensors file, after checking that it describes a file of this size.

    Raises:
        ValueError: it does not.
    """
    length = int.from_bytes(start[:8], "little")
    if len(start) < 8 or length > LARGEST_HEADER or len(start) < 8 + length:
        raise ValueError("it is cut short, or another kind of file")
    header = parse_json(start[8 : 8 + length], pairs=_without_duplicates)
    if not isinstance(header, dict):
        raise ValueError("its header is not one of a safetensors file")  # noqa: TRY004
    parts = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if unknown := parts.keys() - PARTS.keys():
        raise ValueError(f"it holds {min(unknown)[:60]!r}, which a bank does not have")
    content = sum(_size_of(name, entry) for name, entry in parts.items())
    if 8 + length + content != size:
        raise ValueError("its tensors have another size than the file")
    return header


def _size_of(name: str, entry: Any) -> int:
    """The size of one tensor in bytes."""
    if not isinstance(entry, dict) or entry.get("dtype") not in PARTS[name]:
        raise ValueError(f"its {name} are not of a type that a bank has")
    shape = entry.get("shape")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES:
        raise ValueError(f"its {name} have no shape")
    if not all(type(length) is int and 0 <= length < 2**40 for length in shape):
        raise ValueError(f"its {name} have no plausible shape")
    return math.prod(shape) * _BYTES[entry["dtype"]]


_MOST_AXES = 9  # those of the image, and the channels


def _record(header: dict[str, Any]) -> dict[str, Any]:
    """The record in a header."""
    metadata = header.get("__metadata__")
    text = metadata.get("scorecam") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ValueError("it has no record of a bank")  # noqa: TRY004
    record = parse_json(text, pairs=_without_duplicates)
    if not isinstance(record, dict):
        raise ValueError("its record is not one of a bank")  # noqa: TRY004
    return record


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without duplicate names."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("it has an entry twice")
    return entries


def checksum(record: Mapping[str, Any], tensors: Tensors) -> str:
    """SHA-256 of the record, and of every tensor's name, type, shape and numbers."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
