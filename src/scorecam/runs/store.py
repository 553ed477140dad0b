"""The files of one run: each is written completely or not at all, and checked when it is read.

`Layout` has the paths. A record is written after its map, so the map of every record exists.
Shards write into the same folder at the same time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Literal

import numpy as np
import numpy.typing as npt

from scorecam.bank.bank import ScoreBank
from scorecam.bank.file import complete
from scorecam.base.cached_property import cached_property
from scorecam.base.wording import excerpt
from scorecam.errors import OutputError, RunError
from scorecam.io.files import create_text, together, write_text
from scorecam.io.reading import Kind
from scorecam.runs.config import MAY_DIFFER, Config, differences, read_config
from scorecam.runs.layout import Layout
from scorecam.runs.maps import map_bytes, map_digest, read_map
from scorecam.runs.record import (
    AnyRecord,
    FailureRecord,
    LikenessRecord,
    MeasuredRecord,
    Unreadable,
    read_object,
    read_record,
    record_json,
)
from scorecam.runs.seals import EDITED, sealed, unbroken

ENTRY = Kind("an entry of a run's gallery", 2**26, RunError)

State = Literal["whole", "missing", "damaged", "edited"]
"""The state of a file. "edited": its values were changed after it was written."""

BANK_CLASSES = 20
"""The number of classes in a saved bank, in addition to the target."""


class Store(Generic[AnyRecord]):
    """The files of one run.

    Args:
        folder: created when the run begins.
        methods: the names of the methods, in order.
        parse: reads the records of this run: `parse_item`, or `parse_likeness` for a sanity check.
    """

    def __init__(
        self,
        folder: Path,
        methods: Sequence[str],
        parse: Callable[[dict[str, Any]], AnyRecord],
    ) -> None:
        self.layout = Layout(folder)
        self.methods = tuple(methods)
        self._parse = parse

    @property
    def folder(self) -> Path:
        return self.layout.folder

    # ── the folder ───────────────────────────────────────────────────────────────────────────

    def begin(self, config: Config) -> tuple[Config, list[str]]:
        """Write run.json, or resume the run in the folder.

        Returns:
            The recorded configuration, and remarks.

        Raises:
            RunError: the folder holds another run, or something else.
            OutputError: it cannot be written.
        """
        recorded = self.recorded()
        if recorded is None:
            self._check_empty()
            self.layout.sweep()
            config = config | {"checksums": True}
            # One process creates run.json; every other shard reads it.
            if create_text(self.layout.config, as_json(config)):
                return config, []
            recorded = self.recorded()
            if recorded is None:
                raise RunError(
                    f"{excerpt(self.layout.config, 200)} is a link to a missing file.",
                    do="Remove it, or give another folder with --out.",
                )
        if changes := differences(recorded, config):
            raise RunError(
                f"{excerpt(self.folder, 120)} holds another run "
                f"({excerpt('; '.join(changes), 300)}).",
                likely="The settings or the data set changed since the run was started.",
                do="Give another folder with --out, or use the settings of the existing run.",
            )
        remarks: list[str] = []
        if recorded.get("versions") != config.get("versions"):
            remarks.append(
                f"The run was started with other versions ({recorded.get('versions')}): its "
                "numbers may differ in the last digits."
            )
        self.layout.sweep()
        return config | {key: recorded[key] for key in MAY_DIFFER if key in recorded}, remarks

    def _check_empty(self) -> None:
        """Raises RunError unless a new run may begin here."""
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"{self.folder} is a file.", do="Give a folder with --out.")
        if self.layout.items.exists():
            raise RunError(
                f"{self.folder} holds records but no run.json, so their settings are unknown.",
                likely="run.json was deleted.",
                do="Restore it, or give another folder with --out.",
            )

    def recorded(self) -> Config | None:
        """The configuration in run.json; None if there is no such file.

        Raises:
            RunError: it is damaged, or has another schema.
        """
        return read_config(self.layout.config)

    @cached_property
    def has_checksums(self) -> bool:
        """Whether every record of this run was written with a checksum."""
        try:
            return (self.recorded() or {}).get("checksums") is True
        except RunError:
            return False

    def check_exists(self) -> None:
        """Raises OutputError if the folder was removed, emptied or renamed meanwhile."""
        check_exists(self.layout)

    def check_complete(self, methods: Iterable[str], samples: Sequence[str]) -> None:
        """Raises OutputError unless there is a record of each of these methods and photos."""
        self.check_exists()
        done = self.done(samples)
        if any((method, sample) not in done for method in methods for sample in samples):
            raise _results_gone(self.folder)

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def read(self, method: str, sample: str) -> AnyRecord:
        """The record of a photo, given by its id.

        Raises:
            FileNotFoundError, Unreadable: as for `read_record`.
        """
        file = self.layout.item(method, sample)
        return read_record(file, method, sample, self._parse, has_checksum=self.has_checksums)

    def judge(self, method: str, sample: str) -> tuple[AnyRecord | None, State]:
        """A record and the state of its file; None unless that is "whole"."""
        try:
            return self.read(method, sample), "whole"
        except FileNotFoundError:
            return None, "missing"
        except Unreadable as error:
            return None, "edited" if str(error) == EDITED else "damaged"

    def records(self, method: str, samples: Sequence[str]) -> Iterator[AnyRecord]:
        """The intact records of one method, in the order of `samples`."""
        for sample in samples:
            record, _ = self.judge(method, sample)
            if record is not None:
                yield record

    def judge_map(self, record: MeasuredRecord | FailureRecord | LikenessRecord) -> State:
        """The state of a record's map; "whole" for a record without a map."""
        if not isinstance(record, MeasuredRecord) or record.map is None:
            return "whole"
        try:
            array = read_map(self.layout.map(record.method, record.id))
        except FileNotFoundError:
            return "missing"
        except ValueError:
            return "damaged"
        if record.map.sha256 not in (None, map_digest(array)):
            return "edited"
        return "whole" if array.shape == record.map.grid else "damaged"

    def judge_entry(self, sample: str) -> State:
        """The state of a photo's gallery entry."""
        try:
            entry = read_object(self.layout.entry(sample), ENTRY, "damaged entry")
        except FileNotFoundError:
            return "missing"
        except Unreadable:
            return "damaged"
        if entry.get("id") != sample:
            return "damaged"
        return "whole" if unbroken(entry, always=self.has_checksums) else "edited"

    def judge_bank(self, sample: str) -> State:
        """The state of a photo's bank; only its size is checked."""
        file = self.layout.bank(sample)
        if not os.path.lexists(file):
            return "missing"
        return "whole" if complete(file) else "damaged"

    def ids(self, method: str) -> list[str]:
        """The photos with a record of a method, by file name, sorted."""
        return sorted(file.stem for file in self.layout.items_of(method))

    def done(self, samples: Sequence[str]) -> set[tuple[str, str]]:
        """The methods and photos with a record, by file name, among these photos."""
        ids = set(samples)
        return {
            (method, file.stem)
            for method in self.methods
            for file in self.layout.items_of(method)
            if file.stem in ids
        }

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def write(
        self,
        record: MeasuredRecord | FailureRecord | LikenessRecord,
        grid: npt.NDArray[np.float16] | None = None,
    ) -> None:
        """Write a record and its map: both, or neither.

        Raises:
            OutputError: they cannot be written; no partial file is left.
        """
        with together() as batch:
            if grid is not None:
                if isinstance(record, MeasuredRecord) and record.map and self.has_checksums:
                    own = replace(record.map, sha256=map_digest(grid))
                    record = replace(record, map=own)
                file = self.layout.map(record.method, record.id)
                with batch.replacing(file) as temporary:
                    temporary.write_bytes(map_bytes(grid))
            with batch.replacing(self.layout.item(record.method, record.id)) as temporary:
                temporary.write_text(as_json(self._sealed(record_json(record))), "utf-8")

    def write_bank(self, sample: str, bank: ScoreBank, target: int) -> None:
        """Save a photo's bank, with the largest classes and the target."""
        classes = min(BANK_CLASSES, len(bank.image_scores))
        largest = bank.image_scores.topk(classes).indices.tolist()
        bank.save(self.layout.bank(sample), classes=sorted({*largest, target}))

    def write_entry(self, entry: dict[str, Any]) -> None:
        """Write a gallery entry; an entry without maps never replaces an intact one."""
        if not entry["views"] and self.judge_entry(entry["id"]) == "whole":
            return
        write_text(self.layout.entry(entry["id"]), as_json(self._sealed(entry), indent=None))

    def _sealed(self, values: dict[str, Any]) -> dict[str, Any]:
        return sealed(values) if self.has_checksums else values


def check_exists(layout: Layout) -> None:
    """Raises OutputError if the folder of a run was removed, emptied or renamed meanwhile."""
    if not layout.config.is_file():
        raise _results_gone(layout.folder)


def _results_gone(folder: Path) -> OutputError:
    """The error for results that disappeared while a command ran."""
    return OutputError(
        f"Results that were in {excerpt(folder, 200)} are gone.",
        likely="The folder was removed, emptied or renamed while the command ran.",
        do="Restore it, or choose another folder with --out; then run the same command again.",
    )


def as_json(value: Any, indent: int | None = 1) -> str:
    """The text of a JSON file; strict JSON has no NaN."""
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False) + "\n"
