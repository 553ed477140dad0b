"""A run's folder: what is done, one small file for each, and nothing half-written.

    run.json                            what was run
    items/<method>/<2 hex>/<id>.json    one record for each photo and method, failures too
    maps/<method>/<2 hex>/<id>.npy      the heatmap on the layer's grid, float16, its maximum 1
    gallery/<2 hex>/<id>.json           what a page shows of a photo (see gallery.py)
    banks/<2 hex>/<id>.safetensors      the answers, with `banks`

A record is written last, so what it names is there. Shards write into the same folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scorecam.bank import ScoreBank
from scorecam.errors import RunError, excerpt
from scorecam.files import replacing
from scorecam.runs.config import MAY_DIFFER, Config, differences
from scorecam.runs.records import Record, Unreadable, read_config, read_record

STALE = 3600.0
"""Seconds after which a temporary file belongs to a process that was killed."""

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
            if self._claimed(config):
                return config, []
            there = self.recorded() or config  # another shard was first
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
        file, claim = self.folder / "run.json", self.folder / f"run.json.{os.getpid()}"
        with replacing(claim) as temporary:
            temporary.write_text(as_json(config), "utf-8")
        try:
            os.link(claim, file)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            shutil.copyfile(claim, file)
        finally:
            claim.unlink(missing_ok=True)
        return True

    def recorded(self) -> Config | None:
        """What `run.json` says; None where there is none.

        Raises:
            RunError: it is damaged, or of another schema.
        """
        return read_config(self.folder / "run.json")

    # ── records ──────────────────────────────────────────────────────────────────────────────

    def slug(self, method: str) -> str:
        """A method's name as a folder's."""
        return self._slugs.get(method) or _slug(method)

    def path(self, method: str, sample: str) -> Path:
        """Where the record of a photo (by id) and a method lies."""
        return self.folder / "items" / self._slugs[method] / sample[:2] / f"{sample}.json"

    def read(self, method: str, sample: str) -> Record | None:
        """A record; None where it is missing, damaged or edited: then it is made again."""
        with contextlib.suppress(FileNotFoundError, Unreadable):
            return self.checked(method, sample)
        return None

    def checked(self, method: str, sample: str) -> Record:
        """The same.

        Raises:
            FileNotFoundError, Unreadable: as for `read_record`.
        """
        file = self.path(method, sample)
        return read_record(file, method, sample, likeness=self._likeness)

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
        """A record, after the map it belongs to.

        Raises:
            OutputError: it cannot be written; nothing of it is left.
        """
        method, sample = record["method"], record["id"]
        if grid is not None:
            file = self.folder / "maps" / self._slugs[method] / sample[:2] / f"{sample}.npy"
            with replacing(file) as temporary, temporary.open("wb") as stream:
                np.save(stream, grid)
        with replacing(self.path(method, sample)) as temporary:
            temporary.write_text(as_json(record), "utf-8")

    def keep(self, sample: str, bank: ScoreBank, target: int) -> None:
        """A photo's bank, with the largest classes and the target."""
        largest = bank.image_scores.topk(min(KEPT, len(bank.image_scores))).indices.tolist()
        file = self.folder / "banks" / sample[:2] / f"{sample}.safetensors"
        bank.save(file, classes=sorted({*largest, target}))

    def show(self, entry: Record) -> None:
        """What a page shows of a photo; maps that are there already are not given up for none."""
        sample = entry["id"]
        file = self.folder / "gallery" / sample[:2] / f"{sample}.json"
        if not entry["views"] and file.exists():
            return
        with replacing(file) as temporary:
            temporary.write_text(as_json(entry, indent=None), "utf-8")

    def records(self, method: str, samples: Sequence[str]) -> Iterator[Record]:
        """The records of one method that are there, in the order of `samples`."""
        for sample in samples:
            record = self.read(method, sample)
            if record is not None:
                yield record

    def _sweep(self) -> None:
        """Remove what processes that were killed have left behind."""
        for file in self._temporary():
            with contextlib.suppress(OSError):
                if file.is_file() and time.time() - file.stat().st_mtime > STALE:
                    file.unlink()

    def _temporary(self) -> Iterator[Path]:
        """Temporary files where records and results are written: no other hidden files."""
        for inner in ("items", "maps", "gallery", "banks"):
            yield from (self.folder / inner).rglob(".*-*")
        for name in OWN:
            yield from self.folder.glob(f".{name}-*")


def as_json(value: Any, indent: int | None = 1) -> str:
    """A file's text: strict JSON, which has no NaN."""
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False) + "\n"


def _slug(method: str) -> str:
    """A method's name as a folder's; unlike for unlike names, on any file system."""
    plain = re.sub(r"[^\w.=+-]+", "_", method.lower())[:60]
    if plain == method:
        return plain
    return f"{plain}-{hashlib.sha256(method.encode()).hexdigest()[:6]}"
