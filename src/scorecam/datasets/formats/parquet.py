"""A list of photos as Parquet; its size is checked before anything is decoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from scorecam.base.wording import excerpt
from scorecam.datasets.formats.building import listed
from scorecam.errors import DatasetError
from scorecam.io.extras import require
from scorecam.io.reading import Kind, check_file

PARQUET: Final = Kind("a Parquet list of photos", 2**30, DatasetError)
MOST_ROWS: Final = 20_000_000
LARGEST: Final = 2**31
"""The most bytes of all columns, decoded."""

_BATCH: Final = 16_384
_THRIFT_LIMITS: Final[dict[str, Any]] = {
    "thrift_string_size_limit": 2**24,
    "thrift_container_size_limit": 2**20,
}
"""Limits for the metadata: a few bytes can declare billions of entries."""


def read_parquet(path: Path, check_columns: Callable[[list[str], Path], None]) -> list[Any]:
    """The rows, as plain values.

    Args:
        check_columns: raises DatasetError if the columns are not those of a list.

    Raises:
        DatasetError: it is not a valid list, or is larger than a list of photos can be.
        MissingExtra: pyarrow is not installed.
    """
    parquet = require("pyarrow.parquet", "eval", "read Parquet files")
    check_file(path, PARQUET)
    try:
        with parquet.ParquetFile(path, **_THRIFT_LIMITS) as file:
            metadata, schema = file.metadata, file.schema_arrow
        check_columns(list(schema.names), path)
        _check_kinds(schema)
        _check_size(metadata)
        columns = [metadata.schema.column(place) for place in range(metadata.num_columns)]
        texts = [column.name for column in columns if column.physical_type == "BYTE_ARRAY"]
        # Frequent texts are stored once, not in every row.
        with parquet.ParquetFile(
            path, metadata=metadata, read_dictionary=texts, **_THRIFT_LIMITS
        ) as file:
            return list(_rows(file))
    except DatasetError:
        raise
    except Exception as error:  # pyarrow raises many kinds of errors for damaged files
        raise DatasetError(
            f"The list {excerpt(path, 150)} is not a Parquet file: {excerpt(error)}.",
            likely="It is missing or damaged, or its name is wrong.",
        ) from error


def _rows(file: Any) -> Iterator[dict[str, Any]]:
    count = 0
    names = file.schema_arrow.names
    for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
        count += batch.num_rows
        if count > MOST_ROWS:
            raise ValueError(f"it has more than {MOST_ROWS:,} rows")
        columns = [_cells(column) for column in batch.columns]
        for row in zip(*columns, strict=True):
            yield dict(zip(names, row, strict=True))


def _cells(column: Any) -> list[Any]:
    """A column's cells; rows with the same text share one string."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        return [_plain(cell) for cell in column.to_pylist()]
    known = [_plain(cell) for cell in column.dictionary.to_pylist()]
    return [None if index is None else known[index] for index in column.indices.to_pylist()]


def _plain(cell: Any) -> Any:
    """NaN and empty text become None; 281.0, as pandas writes a column with gaps, becomes 281."""
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, float) and math.isnan(cell):
        return None
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


def _check_kinds(schema: Any) -> None:
    """Check that every column holds texts or numbers, not lists, structures, times or bytes."""
    from pyarrow import types

    odd: list[str] = []
    for field in schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        text = types.is_string(kind) or types.is_large_string(kind)
        number = types.is_integer(kind) or types.is_floating(kind)
        fits = text if field.name in ("path", "mask") else text or number
        if not (fits or types.is_null(kind)):
            odd.append(f"{field.name} ({excerpt(kind, 30)})")
    if odd:
        raise ValueError(f"it has columns that are neither texts nor numbers: {listed(odd)}")


def _check_size(metadata: Any) -> None:
    if metadata.num_rows > MOST_ROWS:
        raise ValueError(f"it has more than {MOST_ROWS:,} rows")
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    if sum(max(group.total_byte_size, 0) for group in groups) > LARGEST:
        raise ValueError(f"its columns take more than {LARGEST:,} bytes")
