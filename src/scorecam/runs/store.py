"""A run's folder: what is done, one small file for each, and nothing half-written.

    run.json                            what was run
    items/<method>/<2 hex>/<id>.json    one record for each photo and method, failures too
    maps/<method>/<2 hex>/<id>.npy      the heatmap on the layer's grid, float16, its maximum 1
    gallery/<2 hex>/<id>.json           what a page shows of a photo (see gallery.py)
    banks/<2 hex>/<id>.safetensors      the answers, with `banks`

A record is written last, so what it names is there. Shards write into the same folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from scorecam.bank.bank import ScoreBank
from scorecam.bank.file import complete
from scorecam.base.once import cached_property
from scorecam.base.wording import excerpt
from scorecam.errors import OutputError, RunError
from scorecam.io.files import create_text, leftover, sweep, together, write_text
from scorecam.runs.config import MAY_DIFFER, Config, differences
from scorecam.runs.record import (
    ENTRY,
    Record,
    Unreadable,
    read_config,
    read_map,
    read_object,
    read_record,
)
from scorecam.runs.seals import EDITED, map_bytes, map_digest, sealed, unbroken

State = Literal["whole", "missing", "damaged", "edited"]
"""What has become of a file: "edited" where its values are not those that were written."""

INNER = ("items", "maps", "gallery", "banks", "originals")

OWN = ("run", "results", "summary", "table", "curves", "drop-increase", "differences")
"""What the files directly in the folder are called, without their suffixes."""

KEPT = 20
"""Classes that a kept bank holds."""


class Store:
    """The folder of one run.

    Args:
        folder: made where it is not there.
        methods: the names of the methods, in order.
        likeness: whether its records are of a sanity check.
    """

    def __init__(self, folder: Path, methods: Sequence[str], *, likeness: bool = False) -> None:
        self.folder = folder
        self._likeness = likeness
        self.methods = tuple(methods)
        self._slugs = {name: _slug(name) for name in methods}

    def begin(self, config: Config) -> tuple[Config, list[str]]:
        """The configuration as it is recorded, written where there is none yet; and remarks.

        Raises:
            RunError: the folder holds another run, or something else.
            OutputError: it cannot be written.
        """
        there = self.recorded()
        if there is None:
            if self.folder.exists() and not self.folder.is_dir():
                raise RunError(f"{self.folder} is a file.", do="Give a folder with --out.")
            if (self.folder / "items").exists():
                raise RunError(
                    f"{self.folder} holds records, and no run.json that says of what.",
                    likely="It was deleted.",
                    do="Put it back, or give another folder with --out.",
                )
            self._sweep()
            config = config | {"checksums": True}
            if self._claimed(config):
                return config, []
            there = self.recorded()  # another shard was first
            if there is None:
                raise RunError(
                    f"{excerpt(self.folder / 'run.json', 200)} is a link that leads nowhere.",
                    do="Remove it, or give another folder with --out.",
                )
        if found := differences(there, config):
            raise RunError(
                f"{excerpt(self.folder, 120)} holds another run "
                f"({excerpt('; '.join(found), 300)}).",
                likely="Its numbers and these would not belong together.",
                do="Give another folder with --out, or the settings of the run that is there.",
            )
        remarks: list[str] = []
        if there.get("versions") != config.get("versions"):
            remarks.append(
                f"The run was begun with other versions ({there.get('versions')}): its numbers may "
                "differ in the last digits."
            )
        self._sweep()
        return config | {key: there[key] for key in MAY_DIFFER if key in there}, remarks

    def _claimed(self, config: Config) -> bool:
        """Whether run.json was written: by the first process that comes, and by no other."""
        return create_text(self.folder / "run.json", as_json(config))

    def recorded(self) -> Config | None:
        """What `run.json` says; None where there is none.

        Raises:
            RunError: it is damaged, or of another schema.
        """
        return read_config(self.folder / "run.json")

    def check_there(self) -> None:
        """Raises OutputError if the folder was removed, emptied or renamed meanwhile."""
        if not (self.folder / "run.json").is_file():
            raise gone(self.folder)

    def check_kept(self, methods: Iterable[str], samples: Sequence[str]) -> None:
        """Raises OutputError unless there is a record of each of these methods and photos."""
        self.check_there()
        there = self.done(samples)
        lost = [(m, sample) for m in methods for sample in samples if (m, sample) not in there]
        if lost:
            raise gone(self.folder)

    # ── records ──────────────────────────────────────────────────────────────────────────────

    def slug(self, method: str) -> str:
        """A method's name as a folder's."""
        return self._slugs.get(method) or _slug(method)

    def path(self, method: str, sample: str) -> Path:
        """Where the record of a photo (by id) and a method lies."""
        return self.folder / "items" / self._slugs[method] / sample[:2] / f"{sample}.json"

    def map_path(self, method: str, sample: str) -> Path:
        """Where the map of a photo and a method lies."""
        return self.folder / "maps" / self._slugs[method] / sample[:2] / f"{sample}.npy"

    def entry_path(self, sample: str) -> Path:
        """Where a photo's entry in the gallery lies."""
        return self.folder / "gallery" / sample[:2] / f"{sample}.json"

    def bank_path(self, sample: str) -> Path:
        """Where a photo's bank lies."""
        return self.folder / "banks" / sample[:2] / f"{sample}.safetensors"

    def read(self, method: str, sample: str) -> Record | None:
        """A record; None where it is missing, damaged or edited: then it is made again."""
        return self.judge(method, sample)[0]

    def checked(self, method: str, sample: str) -> Record:
        """The same.

        Raises:
            FileNotFoundError, Unreadable: as for `read_record`.
        """
        file, sealed = self.path(method, sample), self.has_checksums
        return read_record(file, method, sample, likeness=self._likeness, sealed=sealed)

    def judge(self, method: str, sample: str) -> tuple[Record | None, State]:
        """A record and the state of its file; None unless that is "whole"."""
        try:
            return self.checked(method, sample), "whole"
        except FileNotFoundError:
            return None, "missing"
        except Unreadable as error:
            return None, "edited" if str(error) == EDITED else "damaged"

    def judge_map(self, record: Record) -> State:
        """The state of the map that a record is of; "whole" where it is of none."""
        told = record.get("map")
        if "failure" in record or not isinstance(told, dict):
            return "whole"
        try:
            found = read_map(self.map_path(record["method"], record["id"]))
        except FileNotFoundError:
            return "missing"
        except ValueError:
            return "damaged"
        if told.get("sha256", digest := map_digest(found)) != digest:
            return "edited"
        return "whole" if list(found.shape) == told.get("grid") else "damaged"

    def judge_entry(self, sample: str) -> State:
        """The state of a photo's entry in the gallery."""
        try:
            found = read_object(self.entry_path(sample), ENTRY, "damaged entry")
        except FileNotFoundError:
            return "missing"
        except Unreadable:
            return "damaged"
        if found.get("id") != sample:
            return "damaged"
        return "whole" if unbroken(found, always=self.has_checksums) else "edited"

    def judge_bank(self, sample: str) -> State:
        """The state of a photo's bank, as far as its size tells: it is not read."""
        file = self.bank_path(sample)
        if not os.path.lexists(file):
            return "missing"
        return "whole" if complete(file) else "damaged"

    def _sealed(self, record: Record) -> Record:
        return sealed(record) if self.has_checksums else record

    @cached_property
    def has_checksums(self) -> bool:
        """Whether every record of this run was written with a checksum."""
        try:
            return (self.recorded() or {}).get("checksums") is True
        except RunError:
            return False

    def ids(self, method: str) -> list[str]:
        """The photos of which there is a record by its file's name, sorted."""
        place = self.folder / "items" / self.slug(method)
        return sorted(path.stem for path in place.glob("??/*.json"))

    def done(self, samples: Sequence[str]) -> set[tuple[str, str]]:
        """What of these photos is there by its file's name: (method, id)."""
        wanted = set(samples)
        found: set[tuple[str, str]] = set()
        for method, slug in self._slugs.items():
            for file in (self.folder / "items" / slug).glob("??/*.json"):
                if file.stem in wanted:
                    found.add((method, file.stem))
        return found

    def write(self, record: Record, grid: npt.NDArray[np.float16] | None = None) -> None:
        """A record, and the map it belongs to: both, or none.

        Raises:
            OutputError: they cannot be written; nothing of them is left.
        """
        method, sample = record["method"], record["id"]
        with together() as batch:
            if grid is not None:
                if self.has_checksums:
                    record = record | {"map": {**record["map"], "sha256": map_digest(grid)}}
                with batch.replacing(self.map_path(method, sample)) as temporary:
                    temporary.write_bytes(map_bytes(grid))
            with batch.replacing(self.path(method, sample)) as temporary:
                temporary.write_text(as_json(self._sealed(record)), "utf-8")

    def keep(self, sample: str, bank: ScoreBank, target: int) -> None:
        """A photo's bank, with the largest classes and the target."""
        largest = bank.image_scores.topk(min(KEPT, len(bank.image_scores))).indices.tolist()
        bank.save(self.bank_path(sample), classes=sorted({*largest, target}))

    def show(self, entry: Record) -> None:
        """What a page shows of a photo; maps that are there already are not given up for none."""
        file = self.entry_path(entry["id"])
        if not entry["views"] and self.judge_entry(entry["id"]) == "whole":
            return
        write_text(file, as_json(self._sealed(entry), indent=None))

    def records(self, method: str, samples: Sequence[str]) -> Iterator[Record]:
        """The records of one method that are there, in the order of `samples`."""
        for sample in samples:
            record = self.read(method, sample)
            if record is not None:
                yield record

    def _sweep(self) -> None:
        """Remove what processes that were killed have left behind."""
        for inner in INNER:
            sweep((self.folder / inner).rglob(".*-*"), older=True)
        for name in OWN:
            sweep(self.folder.glob(f".{name}-*"), older=True)
        sweep(self.folder.glob(".*.tmp"))

    def temporaries(self) -> Iterator[Path]:
        """Temporary files that killed processes have left, and no other hidden files."""
        for inner in INNER:
            yield from (f for f in (self.folder / inner).rglob(".*-*") if leftover(f, older=True))
        yield from (file for file in self.folder.glob(".*.tmp") if leftover(file))


def gone(folder: Path) -> OutputError:
    """What is said where results have disappeared while more were made."""
    return OutputError(
        f"Results that were in {excerpt(folder, 200)} are gone.",
        likely="The folder was removed, emptied or renamed while the command ran.",
        do="Put it back, or choose another folder with --out; then give the same command again.",
    )


def as_json(value: Any, indent: int | None = 1) -> str:
    """A file's text: strict JSON, which has no NaN."""
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False) + "\n"


def _slug(method: str) -> str:
    """A method's name as a folder's; unlike for unlike names, on any file system."""
    plain = re.sub(r"[^\w.=+-]+", "_", method.lower())[:60]
    if plain == method:
        return plain
    return f"{plain}-{hashlib.sha256(method.encode()).hexdigest()[:6]}"
