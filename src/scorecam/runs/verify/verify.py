"""Whether every file of a run, or a bank, is as it was written. Nothing is changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scorecam.bank import file as bankfile
from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import constructor, excerpt, summary
from scorecam.errors import BankError, RunError, ScorecamError
from scorecam.io import reading
from scorecam.io.arguments import path as as_path
from scorecam.runs.config import Config
from scorecam.runs.record import CONFIG, method_names, read_map
from scorecam.runs.seals import unbroken
from scorecam.runs.store import Store
from scorecam.runs.verify.results import check_results

Found = Literal["damaged", "edited", "missing", "out of date", "left over"]


@dataclass(frozen=True)
class Fault:
    """A file that is not as it was written.

    Args:
        file: its path below the folder that was checked.
        state: what is wrong with it. "left over" is harmless.
        sentence: the same in words.
    """

    file: str
    state: Found
    sentence: str

    __repr__ = constructor


@dataclass(frozen=True)
class Verification:
    """What was checked, and what was found.

    Args:
        path: the folder, or the bank.
        checked: how many files.
        faults: in the order of their paths.
        remarks: what could not be checked, and what is not finished.
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

    Records and maps are held against their checksums (runs of earlier versions have none), results
    against the records that they are of. Nothing is written.

    Raises:
        RunError: it is neither a run's folder nor a file, or its run.json cannot be read.
    """
    place = Path(as_path("path", path, RunError))
    if os.path.isfile(place):  # noqa: PTH113  (of a name that is too long, pathlib's raises)
        return _one_bank(place)
    is_run = os.path.exists(place / "run.json")  # noqa: PTH110
    runs = [place] if is_run else sorted(_runs(place))
    if not runs and not os.path.exists(place / "compare.json"):  # noqa: PTH110
        there = "is neither a run nor a bank" if os.path.lexists(place) else "does not exist"
        raise RunError(
            f"{excerpt(place, 200)} {there}.",
            do="Give the folder of scorecam evaluate, sanity or compare, or a .safetensors file.",
        )
    check = _Check(place)
    for run in runs:
        check.run(run)
    if (place / "compare.json").exists():
        check.document(place / "compare.json")
    faults = sorted(check.faults, key=lambda fault: fault.file)
    return Verification(place, check.checked, tuple(faults), tuple(check.remarks))


def _runs(place: Path) -> Iterator[Path]:
    """The runs in a comparison's folder."""
    if (place / "compare.json").exists():
        yield from (file.parent for file in place.glob("*/run.json"))


def _one_bank(file: Path) -> Verification:
    if why := _bank(file):
        return Verification(file, 1, (Fault(file.name, "damaged", why),), ())
    remark = "It has no checksum, as in earlier versions. Edited values may go unnoticed."
    return Verification(file, 1, (), () if bankfile.sealed(file) else (remark,))


def _bank(file: Path) -> str | None:
    """What is wrong with a bank; None where nothing is."""
    try:
        ScoreBank.load(file)
    except BankError as error:
        return error.what
    return None


class _Check:
    """Collects what is found, run by run."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.checked = 0
        self.faults: list[Fault] = []
        self.remarks: list[str] = []

    def add(self, file: Path, state: Found, sentence: str) -> None:
        self.faults.append(Fault(str(file.relative_to(self.place)), state, sentence))

    def run(self, folder: Path) -> None:
        """Every file of one run."""
        config = Store(folder, ()).recorded()
        if config is None:
            raise RunError(f"{folder} is no run.", do="Give the folder of scorecam evaluate.")
        self.checked += 1
        sanity = config.get("check") == "sanity"
        names = _networks(folder) if sanity else method_names(config)
        store = Store(folder, names, likeness=sanity)
        if not store.has_checksums:
            self.remarks.append(
                f"{folder} was begun with an earlier version, which kept no checksums. Edited "
                "values may go unnoticed."
            )
        known = self._records(store)
        self._beside(store, known)
        self._maps(store, known)
        for file in store.temporaries():
            self.add(file, "left over", "A temporary file of a process that was killed.")
        self._strays(store, config)
        if config.get("check") == "sanity":
            self._sanity(store)
        else:
            self._unfinished(store, config, known)
            self._results(store, config)

    # ── records, and what belongs to them ────────────────────────────────────────────────────

    def _records(self, store: Store) -> set[str]:
        """Every record and its map; returns the photos that have a record."""
        known: set[str] = set()
        for method in store.methods:
            folder = store.folder / "items" / store.slug(method)
            for file in sorted(folder.glob("*/*.json")):
                self.checked += 1
                known.add(file.stem)
                record, state = store.judge(method, file.stem)
                if file != store.path(method, file.stem):
                    self.add(file, "left over", "It is not in the folder that its name belongs to.")
                elif said := _SAID.get(state):
                    self.add(file, *said)
                if record is None:
                    continue
                map_state = store.judge_map(record)
                if map_state != "whole":
                    place = store.map_path(method, file.stem)
                    self.add(place, map_state, f"The map of a record is {map_state}.")
        return known

    def _strays(self, store: Store, config: Config) -> None:
        """Records in folders of no method; of a sanity check such a folder has no whole record."""
        own = {store.slug(method) for method in store.methods}
        sanity = config.get("check") == "sanity"
        for file in sorted((store.folder / "items").glob("*/*/*.json")):
            if file.relative_to(store.folder / "items").parts[0] not in own:
                self.checked += 1
                state, said = ("damaged", "damaged") if sanity else ("left over", "of no method")
                self.add(file, state, f"This record is {said}.")

    def _maps(self, store: Store, known: set[str]) -> None:
        """Maps that no record names: a sanity check's, or leftovers."""
        slugs = {store.slug(method): method for method in store.methods}
        for file in sorted((store.folder / "maps").rglob("*.npy")):
            self.checked += 1
            method = slugs.get(file.relative_to(store.folder / "maps").parts[0])
            own = method is not None and file == store.map_path(method, file.stem)
            if own and method is not None and os.path.lexists(store.path(method, file.stem)):
                continue  # it was judged with its record
            if own or file.stem not in known:
                self.add(file, "left over", "A map without a record.")
            else:
                self._map(file)

    def _map(self, file: Path) -> None:
        try:
            read_map(file)
        except (OSError, ValueError):
            self.add(file, "damaged", "This map cannot be read.")

    def _beside(self, store: Store, known: set[str]) -> None:
        """The gallery and the banks."""
        for file in sorted((store.folder / "gallery").rglob("*.json")):
            self.checked += 1
            state = store.judge_entry(file.stem)
            if file.stem not in known or file != store.entry_path(file.stem):
                self.add(file, "left over", "An entry of the gallery without a record.")
            elif state in ("damaged", "edited"):
                self.add(file, state, f"This entry of the gallery is {state}.")
        for file in sorted((store.folder / "banks").rglob("*.safetensors")):
            self.checked += 1
            if file.stem not in known or file != store.bank_path(file.stem):
                self.add(file, "left over", "A bank without a record.")
            elif why := _bank(file):
                self.add(file, "damaged", why)

    def _unfinished(self, store: Store, config: Config, known: set[str]) -> None:
        dataset = config.get("dataset")
        photos = dataset.get("photos") if isinstance(dataset, dict) else None
        there = store.done(sorted(known))
        whole = sum(all((m, sample) in there for m in store.methods) for sample in known)
        if isinstance(photos, int) and whole < photos:
            self.remarks.append(
                f"{store.folder} is not finished: {whole:,} of {photos:,} photos are done."
            )

    # ── what the records say together ────────────────────────────────────────────────────────

    def _results(self, store: Store, config: Config) -> None:
        summary = self.document(store.folder / "summary.json")
        if summary is None:
            self.remarks.append(f"{store.folder} has no results that could be checked.")
            return
        if summary.get("config") != config:
            file = store.folder / "summary.json"
            self.add(file, "edited", "Its configuration is not the one in run.json.")
        self._files(store, summary)
        self.checked += 1
        found = check_results(store, summary)
        self.remarks += [found.remark] if found.remark else []
        for name, sentence in found.wrong:
            self.add(store.folder / name, "out of date", sentence)

    def _files(self, store: Store, document: dict[str, Any]) -> None:
        """Tables and pictures, by the checksums that a document of results holds."""
        files = document.get("files")
        for name, digest in (files if isinstance(files, dict) else {}).items():
            self._file(store.folder / Path(name).name, digest)

    def _file(self, file: Path, digest: Any) -> None:
        """A table or a picture, by the checksum that summary.json holds."""
        self.checked += 1
        try:
            content = reading.read_bytes(file, RESULT)
        except RunError:
            state: Found = "missing" if not os.path.lexists(file) else "damaged"
            self.add(file, state, f"This result is {state}.")
            return
        if hashlib.sha256(content).hexdigest() != digest:
            self.add(file, "edited", "It is not the file that was written.")

    def _sanity(self, store: Store) -> None:
        for file in sorted((store.folder / "originals").rglob("*.npy")):
            self.checked += 1
            self._map(file)
        found = self.document(store.folder / "sanity.json")
        if found is not None:
            self._files(store, found)

    def document(self, file: Path) -> dict[str, Any] | None:
        """The object in a JSON file; None where it is missing or damaged, which is noted."""
        if not os.path.lexists(file):
            return None
        self.checked += 1
        try:
            found = reading.read_json(file, CONFIG)
        except RunError:
            found = None
        if not isinstance(found, dict):
            self.add(file, "damaged", "It is not the JSON document that was written.")
            return None
        if "checksum" in found and not unbroken(found):
            self.add(file, "edited", "A value in it was changed after it was written.")
        return found


RESULT = reading.Kind("a result of a run", 1 << 32, RunError)
_SAID: dict[str, tuple[Found, str]] = {
    "damaged": ("damaged", "This record is damaged. It is made again when the run is resumed."),
    "edited": (
        "edited",
        "This record was edited. It is left out, and made again when the run is resumed.",
    ),
}


def _networks(folder: Path) -> list[str]:
    """The names of a sanity check's networks, which its records hold."""
    names: set[str] = set()
    for slug in (folder / "items").glob("*"):
        for file in slug.glob("??/*.json"):
            try:
                found = reading.read_json(file, CONFIG)
            except ScorecamError:
                continue
            if isinstance(found, dict) and isinstance(found.get("method"), str):
                names.add(found["method"])
                break
    return sorted(names)
