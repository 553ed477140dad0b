"""A tensor in an ONNX file holds exactly the bytes that its shape and type announce."""

from __future__ import annotations

import math
from typing import Any, Final

from scorecam.base.wording import quoted
from scorecam.errors import WeightsError

MOST_AXES: Final = 64

STRING: Final = 8

BITS: Final = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64,
    14: 64, 15: 128, 16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
"""Bits of an element, for each value of `TensorProto.DataType` but strings."""

FIELDS: Final = {
    1: ("float_data", 1), 14: ("float_data", 2), 11: ("double_data", 1), 15: ("double_data", 2),
    7: ("int64_data", 1), 12: ("uint64_data", 1), 13: ("uint64_data", 1),
}  # fmt: skip
"""The field of a tensor without raw bytes, and its numbers per element; else `int32_data`."""


def elements(tensor: Any) -> int:
    """The number of elements that a tensor announces.

    Raises:
        WeightsError: its shape is impossible.
    """
    shape = tensor.dims
    if len(shape) > MOST_AXES or any(size < 0 for size in shape):
        raise _wrong(tensor, f"has the impossible shape {quoted(list(shape))}")
    return math.prod(shape)


def bytes_of(tensor: Any) -> int:
    """The bytes that the elements of a tensor take.

    Raises:
        WeightsError: its shape or its type is impossible.
    """
    kind = tensor.data_type
    if kind not in BITS:
        raise _wrong(tensor, f"has elements of an unknown type, {kind}")
    return (elements(tensor) * BITS[kind] + 7) // 8


def check_stored(tensor: Any) -> None:
    """Compare the stored numbers of a tensor with its shape; not for external data.

    Raises:
        WeightsError: they differ.
    """
    if tensor.data_type == STRING:
        announced, stored, unit = elements(tensor), len(tensor.string_data), "texts"
    elif tensor.HasField("raw_data"):
        announced, stored, unit = bytes_of(tensor), len(tensor.raw_data), "bytes"
    else:
        announced, stored, unit = _numbers(tensor)
    if announced != stored:
        raise _wrong(
            tensor, f"should hold {announced:,} {unit} by its shape and type, but holds {stored:,}"
        )


def _numbers(tensor: Any) -> tuple[int, int, str]:
    bits = bytes_of(tensor) and BITS[tensor.data_type]
    name, each = FIELDS.get(tensor.data_type, ("int32_data", 1))
    announced = elements(tensor) * each
    if bits < 8:  # several of them are in one number
        announced = math.ceil(announced * bits / 8)
    return announced, len(getattr(tensor, name)), "numbers"


def _wrong(tensor: Any, what: str) -> WeightsError:
    return WeightsError(
        f"The tensor {quoted(tensor.name)} of the ONNX file {what}.",
        likely="The file is damaged, or designed to exhaust memory.",
        do="Export the network again, or download the file again.",
    )
