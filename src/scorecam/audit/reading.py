"""Reads the items in a run's folder; damaged or edited files are counted and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from scorecam.audit.geometry import Map
from scorecam.audit.item import GalleryEntry, Item
from scorecam.audit.parsing import entry_of, item_of, map_of
from scorecam.base.wording import excerpt
from scorecam.errors import RunError
from scorecam.io.json_values import is_count
from scorecam.runs.config import (
    Config,
    left_out,
    method_names,
    no_maps_of,
    not_a_run,
    read_config,
)
from scorecam.runs.layout import Layout
from scorecam.runs.maps import NOT_FLAT
from scorecam.runs.record import (
    FailureRecord,
    ItemRecord,
    MeasuredRecord,
    Unreadable,
    parse_item,
    read_object,
)
from scorecam.runs.store import ENTRY, Store


@dataclass(frozen=True)
class MethodResults:
    """A run's results for one method.

    Args:
        folder: the run's folder.
        config: the content of `run.json`.
        method: the method.
        items: the photos with a map, sorted by name.
        photos: the number of photos in the finished run.
        failures: the number of failed photos by kind of failure.
        remarks: what is missing, damaged or left out.
    """

    folder: Path
    config: Config
    method: str
    items: tuple[Item, ...]
    photos: int
    failures: Mapping[str, int] = field(default_factory=dict[str, int])
    remarks: tuple[str, ...] = ()

    @property
    def variants(self) -> dict[str, str | None]:
        """The variant of each method; None for methods other than Score-CAM."""
        return {each["name"]: _view(self.config, each["name"]) for each in self.config["methods"]}


def read(folder: str | Path, method: str | None = None) -> MethodResults:
    """Read the records, maps and gallery of one method.

    Args:
        folder: of `scorecam evaluate`; it may be unfinished, or lack its gallery.
        method: None for the run's first.

    Raises:
        RunError: the folder isn't a run, has another schema or is damaged; or the run lacks the
            method or its maps.
    """
    run = Path(folder)
    config = _config(run)
    names = method_names(config)
    chosen = _chosen(run, names, method)
    store = Store(run, names, parse_item)
    reader = _Reader(store, config, chosen)
    ids = store.ids(chosen)
    items = [item for sample in ids if (item := reader.item(sample)) is not None]
    if not items:
        raise _nothing(run, chosen, reader, len(ids))
    items.sort(key=lambda item: item.name)
    photos = _photos(config, len(ids))
    return MethodResults(
        folder=run,
        config=config,
        method=chosen,
        items=tuple(items),
        photos=photos,
        failures=dict(sorted(reader.failures.items())),
        remarks=tuple(_remarks(reader, items, len(ids), photos)),
    )


def _config(folder: Path) -> Config:
    config = read_config(Layout(folder).config)
    if config is None:
        raise not_a_run(folder)
    return config


def _chosen(folder: Path, names: list[str], method: str | None) -> str:
    if method is None:
        return names[0]
    if method not in names:
        raise no_maps_of(method, folder, names)
    return method


def _photos(config: Config, recorded: int) -> int:
    """The number of photos in the finished run, if it is recorded."""
    dataset = config.get("dataset")
    photos = dataset.get("photos") if isinstance(dataset, dict) else None
    return photos if is_count(photos) and photos >= recorded else recorded


def _nothing(folder: Path, method: str, reader: _Reader, recorded: int) -> RunError:
    if not recorded:
        return RunError(
            f"The run {excerpt(folder, 150)} has no records of {excerpt(method)} yet.",
            likely="It was stopped before the first photo.",
            do="Let scorecam evaluate finish.",
        )
    why = "; ".join(f"{count} × {reason}" for reason, count in reader.lost.items())
    failed = sum(reader.failures.values())
    if NOT_FLAT in reader.lost:
        return RunError(
            f"The maps of the run {excerpt(folder, 150)} have no rows and columns.",
            likely="Its inputs are signals or volumes; an audit is about pictures.",
            do="Read results.parquet and table.md of the run instead.",
        )
    return RunError(
        f"The run {excerpt(folder, 150)} has {recorded} records of {excerpt(method)} but no "
        f"readable map ({excerpt(why, 200) or f'{failed} failures'}).",
        likely="Its folder maps/ was removed, or every photo failed.",
        do="Run scorecam evaluate again into another folder.",
    )


# ── one photo ────────────────────────────────────────────────────────────────────────────────


class _Reader:
    """Reads one photo at a time, and counts what it leaves out."""

    def __init__(self, store: Store[ItemRecord], config: Config, method: str) -> None:
        self.store = store
        self.method = method
        self.left_out = left_out(config)
        self.failures: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.galleries: Counter[str] = Counter()
        self.not_found = 0
        self._explains_label = config.get("target") == "label"
        self._view = _view(config, method)
        self._others = [name for name in store.methods if name != method]

    def item(self, sample: str) -> Item | None:
        """One photo; None if it failed or cannot be used."""
        try:
            record = self.store.read(self.method, sample)
        except (FileNotFoundError, Unreadable) as error:
            self.lost[str(error) or "missing record"] += 1
            return None
        if isinstance(record, FailureRecord):
            if record.not_found:
                self.not_found += 1
            else:
                self.failures[excerpt(record.failure.kind)] += 1
            return None
        entry = self._entry(sample)
        try:
            item = item_of(record, explains_label=self._explains_label)
            grid = _grid(record)
            heat = self._map(self.method, sample, grid)
        except Unreadable as error:
            self.lost[str(error)] += 1
            return None
        if entry is not None and self._contradicts(item, entry, grid):
            self.galleries["damaged"] += 1
            entry = None
        others: dict[str, Map] = {}
        for name in self._others:
            try:
                others[name] = self._map(name, sample, None)
            except Unreadable:
                continue  # the other method's audit reports it
        return replace(item, map=heat, entry=entry, others=others)

    def _map(self, method: str, sample: str, grid: tuple[int, int] | None) -> Map:
        heat = map_of(self.store.layout.map(method, sample))
        if grid is not None and heat.shape != grid:
            raise Unreadable("map with another grid than its record")
        return heat

    def _entry(self, sample: str) -> GalleryEntry | None:
        try:
            values = read_object(self.store.layout.entry(sample), ENTRY, "malformed gallery entry")
            return entry_of(values, sample, self._view)
        except FileNotFoundError:
            self.galleries["missing"] += 1
        except (ValueError, Unreadable):
            self.galleries["damaged"] += 1
        return None

    def _contradicts(self, item: Item, entry: GalleryEntry, grid: tuple[int, int]) -> bool:
        """Whether a gallery entry belongs to a different explanation than the record."""
        target, predicted = entry.by_role("target"), entry.by_role("predicted")
        if target is None or target.model_class.index != item.target.index:
            return True
        if predicted is None or predicted.model_class.index != item.predicted.index:
            return True
        maps = [heat for each in entry.class_maps for heat in each.maps.values()]
        maps += [] if entry.contrast is None else [entry.contrast]
        return any(heat.shape != grid for heat in maps)


def _view(config: Config, method: str) -> str | None:
    """The variant of a Score-CAM method; None for other methods."""
    for each in config["methods"]:
        if each.get("name") == method and isinstance(each.get("settings"), dict):
            variant = each["settings"].get("variant")
            return variant if isinstance(variant, str) else None
    return None


def _grid(record: MeasuredRecord) -> tuple[int, int]:
    grid = None if record.map is None else record.map.grid
    if grid is None:
        raise Unreadable("record without a map's grid")
    if len(grid) != 2:
        raise Unreadable(NOT_FLAT)
    return grid[0], grid[1]


# ── remarks ──────────────────────────────────────────────────────────────────────────────────


def _remarks(reader: _Reader, items: list[Item], recorded: int, photos: int) -> list[str]:
    remarks = reader.left_out
    if recorded < photos:
        remarks.append(f"The run is unfinished: {recorded:,} of {photos:,} photos are done.")
    if reader.not_found:
        remarks.append(
            f"Photos in which the model did not find the object, left out: {reader.not_found:,}."
        )
    for kind, count in sorted(reader.failures.items()):
        remarks.append(f"Failed photos, left out: {count:,} × {kind}.")
    for reason, count in sorted(reader.lost.items()):
        remarks.append(f"Damaged or edited, left out: {count:,} × {reason}.")
    for state, count in sorted(reader.galleries.items()):
        remarks.append(
            f"Photos with a {state} entry in gallery/: {count:,}. Their other objects, variants "
            "and classes are unknown."
        )
    if flat := sum(item.flat for item in items):
        remarks.append(f"Maps that are zero everywhere, left out of comparisons: {flat:,}.")
    return remarks
