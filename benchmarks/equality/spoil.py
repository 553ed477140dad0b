"""The self-test: one number is changed in one file of each kind, and must be noticed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from contents import entries_of
from PIL import Image
from pyarrow import parquet


def spoiled(folder: Path, noticed: Callable[[Path], str]) -> list[tuple[Path, str]]:
    """Each spoiled file, and the difference that `noticed` reports; empty where it reports none.

    A kind of which there is no file counts as one that was not noticed.
    """
    found: list[tuple[Path, str]] = []
    for pattern, change in CHANGES.items():
        file = next((file for file in sorted(folder.rglob(pattern)) if entries_of(file)), None)
        if file is None:
            found.append((folder / pattern, ""))
            continue
        before = file.read_bytes()
        change(file)
        found.append((file, noticed(file) if file.read_bytes() != before else ""))
        file.write_bytes(before)
    return found


def _last_bit(path: Path) -> None:
    """The lowest bit of the last byte: part of the last tensor's last number."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def _json(path: Path) -> None:
    """The last bit of the first mean."""
    changed = re.sub(r'(?<="mean": )-?\d+\.\d+', _next, path.read_text("utf-8"), count=1)
    path.write_text(changed, "utf-8")


def _next(found: re.Match[str]) -> str:
    return repr(float(np.nextafter(float(found.group()), np.inf)))


def _png(path: Path) -> None:
    with Image.open(path) as picture:
        pixels = np.array(picture)
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)


def _parquet(path: Path) -> None:
    table = parquet.read_table(path)
    place = next(i for i, field in enumerate(table.schema) if pa.types.is_floating(field.type))
    values = table.column(place).to_pylist()
    row = next(row for row, value in enumerate(values) if value is not None)
    values[row] = float(np.nextafter(values[row], np.inf))
    field = table.schema.field(place)
    changed = table.set_column(place, field, pa.array(values, field.type))
    parquet.write_table(changed, path)


def _html(path: Path) -> None:
    page = path.read_text("utf-8")
    path.write_text(page.replace('"jpeg":"/9j/', '"jpeg":"/9k/', 1), "utf-8")


CHANGES: dict[str, Callable[[Path], None]] = {
    "found.safetensors": _last_bit,
    "bank.safetensors": _last_bit,
    "*.npy": _last_bit,
    "summary.json": _json,
    "overlay.png": _png,
    "*.parquet": _parquet,
    "*.html": _html,
}
