"""What a file that holds a network is, read from its list of entries: nothing in it runs."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """A kind of file that holds a program, and not only weights.

    Args:
        name: for errors, such as "TorchScript".
        opened: how it is opened in Python, if that is of use.
    """

    name: str
    opened: str = ""


TORCHSCRIPT = Program("TorchScript", "torch.jit.load({file})")
EXPORTED = Program("a program of torch.export", "torch.export.load({file})")
COMPILED = Program("a program that AOTInductor compiled, which has no layers that can be read")


def program_in(entries: Collection[str]) -> Program | None:
    """The kind of program in a zip file with these entries; None for weights or anything else."""
    names = {entry.partition("/")[2] or entry for entry in entries}
    if any(name.startswith("data/aotinductor/") for name in names):
        return COMPILED
    if "archive_format" in names or "serialized_exported_program.json" in names:
        return EXPORTED
    if "constants.pkl" in names:
        return TORCHSCRIPT
    return None


def program_at(path: str | os.PathLike[str]) -> Program | None:
    """The kind of program in a file; None if there is no such file, or it holds something else."""
    file = Path(path)
    try:
        if not file.is_file():
            return None
        with zipfile.ZipFile(file) as archive:
            return program_in(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


@dataclass(frozen=True)
class Foreign:
    """A format of networks that is not opened.

    Args:
        name: for errors.
        do: what the user can do.
    """

    name: str
    do: str


_BY_ONNX = "Export the network as ONNX, and open net.onnx"

FOREIGN = {
    ".pb": Foreign("a graph of TensorFlow", f"{_BY_ONNX} (python -m tf2onnx.convert)."),
    ".h5": Foreign("a model of Keras", f"{_BY_ONNX} (python -m tf2onnx.convert)."),
    ".keras": Foreign("a model of Keras", f"{_BY_ONNX} (model.export with format='onnx')."),
    ".engine": Foreign("an engine of TensorRT", "Open the ONNX file that it was built from."),
    ".plan": Foreign("an engine of TensorRT", "Open the ONNX file that it was built from."),
    ".mlpackage": Foreign("a model of Core ML", f"{_BY_ONNX}, from the network it was made from."),
    ".mlmodel": Foreign("a model of Core ML", f"{_BY_ONNX}, from the network it was made from."),
}
"""By suffix."""


def foreign_at(path: str | os.PathLike[str]) -> Foreign | None:
    """The foreign format of a file or folder; None if it is not there, or of another format."""
    file = Path(path)
    try:
        if (file / "saved_model.pb").is_file():
            return Foreign("a SavedModel of TensorFlow", FOREIGN[".pb"].do)
        return FOREIGN.get(file.suffix.lower()) if file.exists() else None
    except (OSError, ValueError):
        return None
