"""External data: tensors of an ONNX file that are in other files of its folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scorecam.backends.onnx.tensors import BITS, bytes_of
from scorecam.base.wording import excerpt, quoted
from scorecam.errors import WeightsError
from scorecam.io.reading import Kind, check_file

DATA: Final = Kind("a file with the weights of an ONNX file", 2**43, WeightsError)

MEMORY: Final = "_ORT_MEM_ADDR_"
"""In a location, this makes ONNX Runtime read its own memory."""


@dataclass(frozen=True)
class Part:
    """The bytes of a tensor in a file of external data."""

    file: Path
    offset: int
    length: int


def is_external(tensor: Any) -> bool:
    """Whether the numbers of a tensor are in another file."""
    return tensor.data_location == 1 or len(tensor.external_data) > 0


def part_of(tensor: Any, model: Path) -> Part:
    """Where the numbers of a tensor are, checked against the file that holds them.

    Raises:
        WeightsError: the file is missing or outside the model's folder, or too short.
    """
    if tensor.data_location != 1:
        raise _refused(tensor, "has external data, but is not marked so")
    if tensor.data_type not in BITS:
        raise _refused(tensor, "has external data, but no numbers")
    entries = {entry.key: entry.value for entry in tensor.external_data}
    file = inside(entries.get("location", ""), model)
    check_file(file, DATA)
    needed = bytes_of(tensor)
    offset = _number(tensor, entries, "offset", 0)
    length = _number(tensor, entries, "length", needed)
    if length != needed:
        raise _refused(
            tensor, f"needs {needed:,} bytes by its shape and type, but {length:,} are announced"
        )
    size = file.stat().st_size
    if offset + length > size:
        raise WeightsError(
            f"{excerpt(file, 200)} is too short: the tensor {quoted(tensor.name)} needs its bytes "
            f"{offset:,} to {offset + length:,}, but it has {size:,}.",
            likely="The file is truncated, or belongs to another ONNX file.",
            do="Copy or download both files again.",
        )
    return Part(file, offset, length)


def inside(location: str, model: Path) -> Path:
    """The real path of a file of external data.

    Only files in the model's folder, or below it, are allowed. If the model is a link, as in the
    cache of Hugging Face, the folder of the real file is allowed too.

    Raises:
        WeightsError: it is elsewhere.
    """
    parts = re.split(r"[/\\]", location)
    special = MEMORY in location or "\0" in location or re.match(r"[A-Za-z]:", location)
    if not location or not parts[0] or ".." in parts or special:
        raise _escapes(location)
    file = Path(os.path.realpath(model.parent / location))
    if not any(file.is_relative_to(folder) for folder in folders(model)):
        raise _escapes(location)
    if not os.path.lexists(file):
        raise WeightsError(
            f"There is no file {quoted(location, 200)} in the folder of "
            f"{excerpt(model.name)}, which keeps its weights there.",
            likely="Only one of the files was copied or downloaded.",
            do="Put it there, and do not rename it.",
        )
    return file


def folders(model: Path) -> tuple[Path, Path]:
    """The folders that may contain external data: the file's own, and that of the linked file."""
    return Path(os.path.realpath(model.parent)), Path(os.path.realpath(model)).parent


def place_in(folder: Path, tensor: Any, part: Part) -> None:
    """Write the real place of a tensor's numbers into it, relative to a folder.

    Runtimes refuse files outside the folder that they get, and follow links before they compare.
    """
    entries = {
        "location": part.file.relative_to(folder).as_posix(),
        "offset": str(part.offset),
        "length": str(part.length),
    }
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def _number(tensor: Any, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise _refused(tensor, f"has the {key} {quoted(text)}, which is not a whole number")
    return int(text)


def _refused(tensor: Any, what: str) -> WeightsError:
    return WeightsError(
        f"The tensor {quoted(tensor.name)} of the ONNX file {what}.",
        likely="The file is damaged, or designed to read other files.",
        do="Export the network again, or download the file again.",
    )


def _escapes(location: str) -> WeightsError:
    return WeightsError(
        f"The ONNX file keeps weights in {quoted(location, 200)}, which is not in its own folder.",
        likely="The file may be designed to read other files of this computer.",
        do="If you trust it, save it again with its weights in its own folder "
        "(onnx.save_model with a relative location).",
    )
