"""A list of photos: CSV or Parquet with the columns path, label, x1, y1, x2, y2, mask.

Only `path` is needed. Paths start from the list's folder. Several rows of one path are several
objects of one photo; boxes are continuous, in pixels of the upright photo, counted from 0.
"""

from __future__ import annotations

import csv
import math
import os
import posixpath
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from scorecam.datasets.annotation import finite, placed
from scorecam.datasets.building import Tally, finish, listed
from scorecam.datasets.masks import read_masks
from scorecam.datasets.photos import shown
from scorecam.datasets.sample import Box, Dataset, Label, Sample, Thing
from scorecam.errors import DatasetError, MissingExtra, did_you_mean

COLUMNS: Final = ("path", "label", "x1", "y1", "x2", "y2", "mask")
_CORNERS: Final = ("x1", "y1", "x2", "y2")

Row = dict[str, Any]


def open_table(path: Path) -> Dataset:
    """The photos that a list names.

    Where no row of the list has a box, nothing is annotated; elsewhere a photo without a box has
    none. Rows that repeat another are counted and left out.

    Raises:
        DatasetError: the list cannot be read, has other columns, or gives a photo two classes.
        MissingExtra: a Parquet file without pyarrow.
    """
    tally = Tally()
    parquet = path.suffix.lower() in (".parquet", ".pq")
    rows = _read_parquet(path) if parquet else _read_csv(path)
    by_photo: dict[str, list[Row]] = defaultdict(list)
    for number, row in enumerate(rows, 1):
        name = row.get("path")
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(f"Row {number:,} of {shown(str(path))} names no photo.")
        same = by_photo[_name(name, path.parent)]
        if row in same:
            tally["Rows that repeat another and were left out"] += 1
        else:
            same.append(row)
    boxed = any(row.get(corner) is not None for row in rows for corner in _CORNERS)
    samples = [
        _sample(name, same, path, boxed=boxed, tally=tally) for name, same in by_photo.items()
    ]
    return finish(path, "list", samples, tally)


def _name(written: str, folder: Path) -> str:
    """The photo's path from the list's folder, however it is written."""
    slashes = written.replace("\\", "/") if os.name == "nt" else written
    here = folder.absolute().as_posix()
    if posixpath.isabs(slashes) and slashes.startswith(f"{here}/"):
        slashes = slashes[len(here) + 1 :]
    return posixpath.normpath(slashes)


def _sample(name: str, rows: list[Row], path: Path, *, boxed: bool, tally: Tally) -> Sample:
    photo = path.parent / name
    failure: DatasetError | None = None
    things: tuple[Thing, ...] | None = None
    label = _label(name, rows, path)
    try:
        boxes = [box for box in map(_box, rows) if box]
        if boxes and label is None:
            raise ValueError("it has a box, but no class")
        if boxed and label is not None:
            found = placed(boxes, None, photo, tally)
            things = tuple(Thing(label, box) for box in found if box)
    except ValueError as error:  # DatasetError is one
        failure = DatasetError(
            f"What {shown(str(path))} says of {shown(name)} cannot be used: {shown(str(error))}.",
            likely="A cell of the list is wrong.",
        )
    masks = tuple(
        path.parent / each for each in dict.fromkeys(row.get("mask") for row in rows) if each
    )
    mask = partial(read_masks, masks, photo) if masks else None
    return Sample(name, photo, label, things, mask, failure)


def _label(name: str, rows: list[Row], path: Path) -> Label | None:
    labels = list(dict.fromkeys(row.get("label") for row in rows))
    if len(labels) > 1:
        raise DatasetError(
            f"The list {shown(str(path))} gives {shown(name)!r} {len(labels)} classes: "
            f"{listed([shown(str(label)) for label in labels])}.",
            likely="Two lists were joined, or a photo shows objects of several classes.",
            do="Keep the rows of one class for each photo.",
        )
    label = labels[0]
    if label is not None and (isinstance(label, bool) or not isinstance(label, str | int)):
        raise DatasetError(
            f"The list {shown(str(path))} has {label!r} for a class.",
            do="Write names, WordNet ids or whole numbers.",
        )
    return label


def _box(row: Row) -> Box | None:
    cells = [row.get(corner) for corner in _CORNERS]
    if all(cell is None for cell in cells):
        return None
    if any(cell is None for cell in cells):
        raise ValueError("a box lacks one of x1, y1, x2, y2")
    x1, y1, x2, y2 = map(finite, cells)
    return x1, y1, x2, y2


def _check_columns(found: list[str], path: Path) -> None:
    name = shown(str(path))
    do = f"The columns are {', '.join(COLUMNS)}; only path is needed."
    unknown = [column for column in found if column not in COLUMNS]
    if unknown:
        hint = did_you_mean(unknown[0], COLUMNS)
        if len(found) == 1 and {";", "\t"} & set(found[0]):
            hint = "Its cells are not separated by commas."
        what = f"The list {name} has unknown columns: {listed([shown(each) for each in unknown])}."
        raise DatasetError(what, likely=hint, do=do)
    if "path" not in found:
        raise DatasetError(f"The list {name} has no column 'path'.", do=do)
    if len(set(found)) < len(found):
        raise DatasetError(f"The list {name} has a column twice.", do=do)
    corners = set(_CORNERS) & set(found)
    if corners and len(corners) < 4:
        lacking = listed(sorted(set(_CORNERS) - corners))
        raise DatasetError(f"The list {name} has boxes without {lacking}.", do=do)


def _read_csv(path: Path) -> list[Row]:
    try:
        # Names of files are bytes: those that are not UTF-8 come back as they were.
        text = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
        with text as file:
            lines = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(lines, [])]
            _check_columns(header, path)
            return [_cells(header, line, lines.line_num) for line in lines if line]
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(f"The list {shown(str(path))} cannot be read: {reason}.") from error
    except DatasetError:
        raise
    except (csv.Error, ValueError) as error:
        raise DatasetError(
            f"The list {shown(str(path))} is not a CSV file: {shown(str(error))}.",
            likely="It is damaged, or cells with commas or quotes in them are not quoted.",
        ) from error


def _cells(header: list[str], line: list[str], number: int) -> Row:
    if len(line) != len(header):
        raise ValueError(f"line {number} has {len(line)} cells for {len(header)} columns")
    cells = {
        key: cell if key in ("path", "mask") else cell.strip()
        for key, cell in zip(header, line, strict=True)
    }
    return {key: cell or None for key, cell in cells.items()}


def _read_parquet(path: Path) -> list[Row]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        what = "Parquet files are read with pyarrow."
        raise MissingExtra(what, do="pip install 'scorecam[eval]'") from error
    try:
        table: Any = parquet.ParquetFile(path)
        _check_columns(list(table.schema_arrow.names), path)
        rows: list[Row] = table.read().to_pylist()
    except DatasetError:
        raise
    except Exception as error:  # what pyarrow raises depends on what is damaged
        raise DatasetError(
            f"The list {shown(str(path))} is not a Parquet file: {shown(str(error))}.",
            likely="It is missing, damaged, or of another kind than its name says.",
        ) from error
    return [{key: _plain(cell) for key, cell in row.items()} for row in rows]


def _plain(cell: Any) -> Any:
    """NaN and empty text are nothing; 281.0, as pandas writes a column with gaps, is 281."""
    if cell == "" or (isinstance(cell, float) and math.isnan(cell)):
        return None
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell
