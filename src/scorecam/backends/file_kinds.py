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
