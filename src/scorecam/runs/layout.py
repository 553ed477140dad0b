"""Every path in the folder of a run, a sanity check or a comparison.

    run.json                            the configuration of the run
    items/<method>/<2 hex>/<id>.json    one record per photo and method, failures included
    maps/<method>/<2 hex>/<id>.npy      the heatmap on the layer's grid, float16, maximum 1
    gallery/<2 hex>/<id>.json           what a page shows of a photo (see gallery.py)
    banks/<2 hex>/<id>.safetensors      the scores, if the run keeps them
    results.parquet, summary.json, table.md, curves.png, drop-increase.png, differences.png

A sanity check stores its records by network instead of by method, and adds:

    originals/<method>/<id>.npy         the heatmaps of the trained network, float32
    maps/<network>/<method>/<id>.npy    the heatmaps of the other networks, first photos only
    sanity.json, cascade-<number>.png

The folder of a comparison holds one run per model, and compare.json, compare.md, compare.html and
focus.png.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scorecam.io.files import leftover, sweep

_INNER = ("items", "maps", "gallery", "banks", "originals")

_RESULTS = ("run", "results", "summary", "table", "curves", "drop-increase", "differences")
"""The files directly in the folder, without their suffixes."""


@dataclass(frozen=True)
class Layout:
    """The paths in one folder.

    Args:
        folder: of a run, a sanity check or a comparison; it need not exist.
    """

    folder: Path

    # ── a run ────────────────────────────────────────────────────────────────────────────────

    @property
    def config(self) -> Path:
        return self.folder / "run.json"

    @property
    def items(self) -> Path:
        """The folder of all records."""
        return self.folder / "items"

    def item(self, method: str, sample: str) -> Path:
        """The record of one method and one photo, given by its id."""
        return self.items / method_folder(method) / sample[:2] / f"{sample}.json"

    def map(self, method: str, sample: str) -> Path:
        return self.folder / "maps" / method_folder(method) / sample[:2] / f"{sample}.npy"

    def entry(self, sample: str) -> Path:
        """The gallery entry of a photo."""
        return self.folder / "gallery" / sample[:2] / f"{sample}.json"

    def bank(self, sample: str) -> Path:
        return self.folder / "banks" / sample[:2] / f"{sample}.safetensors"

    @property
    def results(self) -> Path:
        return self.folder / "results.parquet"

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def table(self) -> Path:
        return self.folder / "table.md"

    @property
    def curves(self) -> Path:
        return self.folder / "curves.png"

    @property
    def drop_increase(self) -> Path:
        return self.folder / "drop-increase.png"

    @property
    def differences(self) -> Path:
        return self.folder / "differences.png"

    # ── a sanity check ───────────────────────────────────────────────────────────────────────

    @property
    def sanity(self) -> Path:
        return self.folder / "sanity.json"

    def original(self, method: str, sample: str) -> Path:
        """The trained network's heatmap."""
        return self.folder / "originals" / method_folder(method) / f"{sample}.npy"

    def network_map(self, network: str, method: str, sample: str) -> Path:
        """Another network's heatmap."""
        inner = self.folder / "maps" / method_folder(network)
        return inner / method_folder(method) / f"{sample}.npy"

    def cascade(self, number: int) -> Path:
        """The picture of one photo's heatmaps, network by network."""
        return self.folder / f"cascade-{number}.png"

    # ── a comparison ─────────────────────────────────────────────────────────────────────────

    @property
    def comparison(self) -> Path:
        return self.folder / "compare.json"

    @property
    def comparison_table(self) -> Path:
        return self.folder / "compare.md"

    @property
    def comparison_page(self) -> Path:
        return self.folder / "compare.html"

    @property
    def focus(self) -> Path:
        return self.folder / "focus.png"

    def side(self, number: int, name: str) -> Path:
        """The folder of one model's run, counted from 1."""
        plain = re.sub(r"[^\w.=+-]+", "_", name)[-60:]
        return self.folder / f"{number}-{plain}"

    # ── what exists ──────────────────────────────────────────────────────────────────────────

    def sides(self) -> list[Path]:
        """The runs in the folder of a comparison."""
        return sorted(file.parent for file in self.folder.glob("*/run.json"))

    def plots(self) -> list[Path]:
        return sorted(self.folder.glob("*.png"))

    def items_by_folder(self) -> Iterator[Iterable[Path]]:
        """The records of each method or network, folder by folder."""
        return (folder.glob("??/*.json") for folder in self.items.glob("*"))

    def items_of(self, method: str) -> Iterator[Path]:
        """The records of a method."""
        return (self.items / method_folder(method)).glob("??/*.json")

    def all_items(self) -> list[Path]:
        """The records of every method, misplaced ones included."""
        return sorted(self.items.glob("*/*/*.json"))

    def all_items_of(self, method: str) -> list[Path]:
        """The records of a method, misplaced ones included."""
        return sorted((self.items / method_folder(method)).glob("*/*.json"))

    def all_maps(self) -> list[Path]:
        return sorted((self.folder / "maps").rglob("*.npy"))

    def all_entries(self) -> list[Path]:
        return sorted((self.folder / "gallery").rglob("*.json"))

    def all_banks(self) -> list[Path]:
        return sorted((self.folder / "banks").rglob("*.safetensors"))

    def all_originals(self) -> list[Path]:
        return sorted((self.folder / "originals").rglob("*.npy"))

    def folder_name(self, file: Path) -> str:
        """The name of the method's folder that a record or a map is in."""
        return file.relative_to(self.folder).parts[1]

    # ── temporary files ──────────────────────────────────────────────────────────────────────

    def temporaries(self) -> Iterator[Path]:
        """The temporary files of killed processes, but no other hidden files."""
        for inner in _INNER:
            yield from (f for f in (self.folder / inner).rglob(".*-*") if leftover(f, older=True))
        yield from (file for file in self.folder.glob(".*.tmp") if leftover(file))

    def sweep(self) -> None:
        """Remove the temporary files of killed processes."""
        for inner in _INNER:
            sweep((self.folder / inner).rglob(".*-*"), older=True)
        for name in _RESULTS:
            sweep(self.folder.glob(f".{name}-*"), older=True)
        self.sweep_top()

    def sweep_top(self) -> None:
        """Remove the temporary files directly in the folder."""
        sweep(self.folder.glob(".*.tmp"))


@cache
def method_folder(method: str) -> str:
    """The folder name of a method; names differ on every file system if the methods differ."""
    plain = re.sub(r"[^\w.=+-]+", "_", method.lower())[:60]
    if plain == method:
        return plain
    return f"{plain}-{hashlib.sha256(method.encode()).hexdigest()[:6]}"
