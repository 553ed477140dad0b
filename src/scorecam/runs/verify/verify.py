"""Check that every file of a run, or a bank, is unchanged since it was written. Only reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scorecam.bank import file as bankfile
from scorecam.base.wording import excerpt, summary
from scorecam.errors import RunError
from scorecam.io.arguments import path as as_path
from scorecam.runs.layout import Layout
from scorecam.runs.verify.faults import Fault, Faults
from scorecam.runs.verify.run import bank_error, check_run


@dataclass(frozen=True)
class Verification:
    """The result of a check.

    Args:
        path: the folder, or the bank.
        checked: the number of files.
        faults: in the order of their paths.
        remarks: what could not be checked, or is not finished.
    """

    path: Path
    checked: int
    faults: tuple[Fault, ...]
    remarks: tuple[str, ...]

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.path, 200)
        yield "sound" if self.sound else "not sound"
        yield f"files checked: {self.checked}, faults: {len(self.faults)}"

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged, edited, missing or out of date."""
        return all(fault.state == "left over" for fault in self.faults)


def verify(path: str | os.PathLike[str]) -> Verification:
    """Check every file of a run's folder (of `evaluate`, `sanity` or `compare`), or one bank.

    Records and maps are compared with their checksums (runs of earlier versions have none), results
    with the records. Nothing is written.

    Raises:
        RunError: it is neither a run's folder nor a file, or its run.json cannot be read.
    """
    place = Path(as_path("path", path, RunError))
    if os.path.isfile(place):  # noqa: PTH113  (pathlib raises for a name that is too long)
        return _one_bank(place)
    layout = Layout(place)
    compared = os.path.exists(layout.comparison)  # noqa: PTH110
    if os.path.exists(layout.config):  # noqa: PTH110
        runs = [layout]
    else:
        runs = [Layout(folder) for folder in layout.sides()] if compared else []
    if not runs and not compared:
        what = "is neither a run nor a bank" if os.path.lexists(place) else "does not exist"
        raise RunError(
            f"{excerpt(place, 200)} {what}.",
            do="Give the folder of scorecam evaluate, sanity or compare, or a .safetensors file.",
        )
    faults = Faults(place)
    for run in runs:
        check_run(run, faults)
    if compared:
        faults.document(layout.comparison)
    by_path = sorted(faults.faults, key=lambda fault: fault.file)
    return Verification(place, faults.checked, tuple(by_path), tuple(faults.remarks))


def _one_bank(file: Path) -> Verification:
    if why := bank_error(file):
        return Verification(file, 1, (Fault(file.name, "damaged", why),), ())
    remark = "It has no checksum, as in earlier versions. Edited values may go unnoticed."
    return Verification(file, 1, (), () if bankfile.sealed(file) else (remark,))
