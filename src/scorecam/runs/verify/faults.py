"""The faults that a check finds, and the checks of single files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scorecam.base.wording import constructor
from scorecam.errors import RunError
from scorecam.io import reading
from scorecam.runs.config import CONFIG
from scorecam.runs.maps import read_map
from scorecam.runs.seals import unbroken

FaultState = Literal["damaged", "edited", "missing", "out of date", "left over"]

RESULT = reading.Kind("a result of a run", 1 << 32, RunError)


@dataclass(frozen=True)
class Fault:
    """A file that is damaged, changed, missing or superfluous.

    Args:
        file: its path below the folder that was checked.
        state: "left over" is harmless; every other state is not.
        sentence: the fault in words.
    """

    file: str
    state: FaultState
    sentence: str

    __repr__ = constructor


class Faults:
    """Collects the faults of one check.

    Args:
        place: the folder that is checked.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.checked = 0
        self.faults: list[Fault] = []
        self.remarks: list[str] = []

    def add(self, file: Path, state: FaultState, sentence: str) -> None:
        self.faults.append(Fault(str(file.relative_to(self.place)), state, sentence))

    def map(self, file: Path) -> None:
        """Check that a map can be read."""
        try:
            read_map(file)
        except (OSError, ValueError):
            self.add(file, "damaged", "This map cannot be read.")

    def document(self, file: Path) -> dict[str, Any] | None:
        """Check a JSON document; returns its values, or None if it is missing or damaged."""
        if not os.path.lexists(file):
            return None
        self.checked += 1
        try:
            values = reading.read_json(file, CONFIG)
        except RunError:
            values = None
        if not isinstance(values, dict):
            self.add(file, "damaged", "It is not the JSON document that was written.")
            return None
        if "checksum" in values and not unbroken(values):
            self.add(file, "edited", "A value in it was changed after it was written.")
        return values

    def digests(self, folder: Path, document: dict[str, Any]) -> None:
        """Check tables and figures against the checksums in a document of results."""
        files = document.get("files")
        for name, digest in (files if isinstance(files, dict) else {}).items():
            self._digest(folder / Path(name).name, digest)

    def _digest(self, file: Path, digest: Any) -> None:
        self.checked += 1
        try:
            content = reading.read_bytes(file, RESULT)
        except RunError:
            state: FaultState = "missing" if not os.path.lexists(file) else "damaged"
            self.add(file, state, f"This result is {state}.")
            return
        if hashlib.sha256(content).hexdigest() != digest:
            self.add(file, "edited", "It is not the file that was written.")
