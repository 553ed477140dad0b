"""The files that OpenVINO reads here, as models. Every file is checked before OpenVINO reads it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from scorecam.backends.onnx.reading import read_onnx
from scorecam.backends.openvino.limits import check_model
from scorecam.backends.openvino.messages import why
from scorecam.backends.openvino.reading import read_ir, read_tflite
from scorecam.backends.runtimes.openvino import load
from scorecam.base.wording import excerpt, quoted
from scorecam.errors import MissingExtra, ModelError

OLDEST: Final = (2026, 4)
"""The oldest version with which files were tried. Version 2024.4 crashes on damaged ones."""


@dataclass(frozen=True, eq=False)
class File:
    """A file that was checked and read.

    Args:
        model: of OpenVINO.
        path: the file.
        identity: SHA-256 of the files.
        metadata: the texts in it.
        has_names: whether it names all operations.
    """

    model: Any
    path: Path
    identity: str
    metadata: Mapping[str, str]
    has_names: bool


def read(path: Path) -> File:
    """Read a file, by its suffix.

    Raises:
        ModelError: it is missing, damaged, malicious, of another format, or OpenVINO does not
            support it.
        WeightsError: its weights are missing or do not fit.
        MissingExtra: OpenVINO is not installed, or too old.
    """
    _check_version()
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ModelError(
            f"{quoted(path.name, 200)} is no file that is opened in OpenVINO here.",
            likely="Its suffix is another one.",
            do=f"Give a file with the suffix {', '.join(READERS)}.",
        )
    found = reader(path)
    check_model(found.model, path.name)
    return found


def _check_version() -> None:
    """Refuse an OpenVINO that was not tried.

    Raises:
        MissingExtra: it is older.
    """
    version = str(load().__version__)
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers < OLDEST:
        raise MissingExtra(
            f"OpenVINO {excerpt(version.partition('-')[0])} is too old to open files.",
            likely="Older versions crash on damaged files, or were not tried.",
            do=f"pip install 'openvino>={OLDEST[0]}.{OLDEST[1]}'",
        )


def _ir(path: Path) -> File:
    file = read_ir(path)
    openvino = load()
    core = openvino.Core()

    def parsed() -> Any:
        if file.weights is None:
            return core.read_model(file.xml)
        numbers = np.memmap(file.weights, np.uint8, "r")
        return core.read_model(file.xml.decode(), openvino.Tensor(numbers))  # a copy

    return File(_opened(path, parsed), path, file.identity, file.metadata, has_names=True)


def _tflite(path: Path) -> File:
    file = read_tflite(path)
    model = _opened(path, lambda: load().Core().read_model(str(path)))
    return File(model, path, file.identity, {}, has_names=False)


def _onnx(path: Path) -> File:
    file = read_onnx(path)
    core = load().Core()

    def parsed() -> Any:
        if file.external:  # OpenVINO looks for them in the folder of the file
            return core.read_model(str(path))
        return core.read_model(io.BytesIO(file.proto.SerializeToString()))

    model = _opened(path, parsed)
    return File(model, path, file.fingerprint(), file.metadata, has_names=False)


READERS: dict[str, Callable[[Path], File]] = {".xml": _ir, ".tflite": _tflite, ".onnx": _onnx}
"""By suffix."""


def _opened(path: Path, parsed: Callable[[], Any]) -> Any:
    """What OpenVINO reads.

    Raises:
        ModelError: it does not support the file.
    """
    try:
        return parsed()
    except Exception as error:
        raise ModelError(
            f"OpenVINO cannot read {quoted(path.name, 200)}: {why(error)}",
            likely="The file is damaged, or uses an operator that OpenVINO "
            f"{excerpt(load().__version__)} does not have. Custom operators are never loaded, as "
            "they can run code.",
            do="pip install --upgrade openvino, or export the network with other operators.",
        ) from error
