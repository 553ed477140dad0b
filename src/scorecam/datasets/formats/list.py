"""A list of photos: CSV or Parquet with the columns path, label, x1, y1, x2, y2, mask.

Only `path` is required. Paths are relative to the list's folder, or absolute; they may be outside
it. Rows with the same path are objects of the same photo. Boxes are continuous, in pixels of
the upright photo, counted from 0.
"""

from __future__ import annotations

import csv
import io
import os
import posixpath
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from scorecam.base.wording import encodable, excerpt
from scorecam.datasets.formats.annotation import finite, placed
from scorecam.datasets.formats.building import Tally, finish, listed
from scorecam.datasets.formats.format import Format
from scorecam.datasets.formats.masks import read_masks
from scorecam.datasets.formats.parquet import read_parquet
from scorecam.datasets.photos import check_name, nowhere
from scorecam.datasets.sample import Box, Dataset, Label, Sample, Thing
from scorecam.errors import DatasetError, did_you_mean
from scorecam.io.json_values import is_id
from scorecam.io.reading import Kind, read_text

CSV: Final = Kind("a CSV list of photos", 2**30, DatasetError)
COLUMNS: Final = ("path", "label", "x1", "y1", "x2", "y2", "mask")
_CORNERS: Final = ("x1", "y1", "x2", "y2")

Cells = dict[str, Any]
"""One row of a list, by column."""


def open_table(path: Path) -> Dataset:
    """The photos that a list names.

    If no row of the list has a box, objects count as not annotated; otherwise a photo without a box
    has no object. Repeated rows are counted and left out.

    Raises:
        DatasetError: the list cannot be read, has other columns, or gives a photo two classes.
        MissingExtra: a Parquet file without pyarrow.
    """
    tally = Tally()
    parquet = path.suffix.lower() in (".parquet", ".pq")
    rows = read_parquet(path, _check_columns) if parquet else _read_csv(path)
    by_photo: dict[str, dict[tuple[Any, ...], Cells]] = defaultdict(dict)
    here = path.parent.absolute().as_posix()
    for number, row in enumerate(rows, 1):
        name = row.get("path")
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(f"Row {number:,} of {excerpt(path, 200)} names no photo.")
        same = by_photo[_name(name, here)]
        cells = tuple(row.values())
        if cells in same:
            tally["Repeated rows that were left out"] += 1
        else:
            same[cells] = row
    boxed = any(row.get(corner) is not None for row in rows for corner in _CORNERS)
    samples = [
        _sample(name, [*same.values()], path, boxed=boxed, tally=tally)
        for name, same in by_photo.items()
    ]
    return finish(path, "list", samples, tally)


def _name(written: str, here: str) -> str:
    """The photo's path relative to the list's folder, in its normal form.

    Args:
        here: the list's folder, absolute.
    """
    slashes = written.replace("\\", "/") if os.name == "nt" else written
    if posixpath.isabs(slashes) and slashes.startswith(f"{here}/"):
        slashes = slashes[len(here) + 1 :]
    return posixpath.normpath(slashes)


def _sample(name: str, rows: list[Cells], path: Path, *, boxed: bool, tally: Tally) -> Sample:
    label = _label(name, rows, path)
    masks = [each for each in dict.fromkeys(row.get("mask") for row in rows) if each]
    try:
        for each in (name, *masks):
            check_name(each, anywhere=True)
    except ValueError as error:
        failure = DatasetError(
            f"The list {excerpt(path, 100)} names {excerpt(repr(name))}: {error}."
        )
        return Sample(encodable(name), nowhere(path.parent, name), label, failure=failure)
    folder = path.parent
    photo = folder / name
    failure: DatasetError | None = None
    things: tuple[Thing, ...] | None = None
    try:
        boxes = [box for box in map(_box, rows) if box] if boxed else []
        if boxes and label is None:
            raise ValueError("it has a box but no class")
        if boxed and label is not None:
            clipped = placed(boxes, None, photo, tally)
            things = tuple(Thing(label, box) for box in clipped if box)
    except ValueError as error:  # DatasetError is one
        failure = DatasetError(
            f"The entry of {excerpt(name)} in {excerpt(path, 100)} is invalid: {excerpt(error)}.",
            likely="A cell of the list is wrong.",
        )
    files = [folder / each for each in masks]
    mask = partial(read_masks, files, photo) if files else None
    return Sample(name, photo, label, things=things, mask=mask, failure=failure)


def _label(name: str, rows: list[Cells], path: Path) -> Label | None:
    labels = list(dict.fromkeys(row.get("label") for row in rows))
    if len(labels) > 1:
        raise DatasetError(
            f"The list {excerpt(path, 100)} gives {excerpt(repr(name))} {len(labels)} classes: "
            f"{listed([str(label) for label in labels])}.",
            likely="Two lists were merged, or a photo shows objects of several classes.",
            do="Keep the rows of one class for each photo.",
        )
    label = labels[0]
    if label is not None and not is_id(label):
        raise DatasetError(
            f"The list {excerpt(path, 100)} has the invalid class {excerpt(repr(label), 60)}.",
            do="Write names, WordNet ids or whole numbers.",
        )
    return label


def _box(row: Cells) -> Box | None:
    cells = [row.get(corner) for corner in _CORNERS]
    if all(cell is None for cell in cells):
        return None
    if any(cell is None for cell in cells):
        raise ValueError("a box lacks one of x1, y1, x2, y2")
    x1, y1, x2, y2 = map(finite, cells)
    return x1, y1, x2, y2


def _check_columns(names: list[str], path: Path) -> None:
    name = excerpt(path, 100)
    do = f"The columns are {', '.join(COLUMNS)}; only path is required."
    unknown = [column for column in names if column not in COLUMNS]
    if unknown:
        hint = did_you_mean(unknown[0][:200], COLUMNS)
        if len(names) == 1 and {";", "\t"} & set(names[0]):
            hint = "Its cells are not separated by commas."
        what = f"The list {name} has unknown columns: {listed(unknown)}."
        raise DatasetError(what, likely=hint, do=do)
    if "path" not in names:
        raise DatasetError(f"The list {name} has no column 'path'.", do=do)
    if len(set(names)) < len(names):
        raise DatasetError(f"The list {name} has a column twice.", do=do)
    corners = set(_CORNERS) & set(names)
    if corners and len(corners) < 4:
        lacking = listed(sorted(set(_CORNERS) - corners))
        raise DatasetError(f"The list {name} has boxes without {lacking}.", do=do)


def _read_csv(path: Path) -> list[Cells]:
    # File names are bytes: names that are not UTF-8 are kept unchanged.
    text = read_text(path, CSV, errors="surrogateescape")
    try:
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [cell.strip() for cell in next(lines, [])]
        _check_columns(header, path)
        return [_cells(header, line, lines.line_num) for line in lines if line]
    except DatasetError:
        raise
    except (csv.Error, ValueError) as error:
        raise DatasetError(
            f"The list {excerpt(path, 100)} is not a CSV file: {excerpt(error)}.",
            likely="It is damaged, or cells that contain commas or quotes are not quoted.",
        ) from error


def _cells(header: list[str], line: list[str], number: int) -> Cells:
    if len(line) != len(header):
        raise ValueError(f"line {number} has {len(line)} cells for {len(header)} columns")
    cells = {
        key: cell if key in ("path", "mask") else cell.strip()
        for key, cell in zip(header, line, strict=True)
    }
    return {key: cell or None for key, cell in cells.items()}


_SUFFIXES: Final = (".csv", ".parquet", ".pq")

FORMAT: Final = Format(
    "list",
    "a CSV or Parquet file that lists photos",
    "file",
    recognises=lambda path, _: path.is_file() and path.suffix.lower() in _SUFFIXES,
    open=lambda path, _, __: open_table(path),
)
