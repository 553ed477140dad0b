"""Check every file of one run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

from scorecam.bank.bank import ScoreBank
from scorecam.errors import BankError, ScorecamError
from scorecam.io import reading
from scorecam.runs.config import CONFIG, Config, method_names, not_a_run, read_config
from scorecam.runs.layout import Layout, method_folder
from scorecam.runs.record import ItemRecord, LikenessRecord, parse_item, parse_likeness
from scorecam.runs.store import Store
from scorecam.runs.verify.faults import Faults, FaultState
from scorecam.runs.verify.results import check_results

AnyStore: TypeAlias = Store[ItemRecord] | Store[LikenessRecord]

_RECORD_FAULTS: dict[str, tuple[FaultState, str]] = {
    "damaged": ("damaged", "This record is damaged. It is made again when the run is resumed."),
    "edited": (
        "edited",
        "This record was edited. It is left out, and made again when the run is resumed.",
    ),
}


def check_run(layout: Layout, faults: Faults) -> None:
    """Check every file of one run.

    Raises:
        RunError: it is not a run, or its run.json cannot be read.
    """
    config = read_config(layout.config)
    if config is None:
        raise not_a_run(layout.folder)
    faults.checked += 1
    if config.get("check") == "sanity":
        store = Store(layout.folder, _networks(layout), parse_likeness)
        _files(store, faults, stray=("damaged", "This record is damaged."))
        _sanity(store, faults)
    else:
        items = Store(layout.folder, method_names(config), parse_item)
        known = _files(items, faults, stray=("left over", "This record belongs to no method."))
        _unfinished(items, config, known, faults)
        _results(items, config, faults)


def _files(store: AnyStore, faults: Faults, stray: tuple[FaultState, str]) -> set[str]:
    """Check records, maps, gallery and banks; returns the photos that have a record.

    Args:
        stray: the state and the sentence of a record in a folder that belongs to no method.
    """
    if not store.has_checksums:
        faults.remarks.append(
            f"{store.folder} was started with an earlier version, which kept no checksums. Edited "
            "values may go unnoticed."
        )
    known = _records(store, faults)
    _gallery_and_banks(store, known, faults)
    _maps(store, known, faults)
    for file in store.layout.temporaries():
        faults.add(file, "left over", "A temporary file of a killed process.")
    own = {method_folder(method) for method in store.methods}
    for file in store.layout.all_items():
        if store.layout.folder_name(file) not in own:
            faults.checked += 1
            faults.add(file, *stray)
    return known


def _records(store: AnyStore, faults: Faults) -> set[str]:
    """Check every record and its map; returns the photos that have a record."""
    known: set[str] = set()
    for method in store.methods:
        for file in store.layout.all_items_of(method):
            faults.checked += 1
            known.add(file.stem)
            record, state = store.judge(method, file.stem)
            if file != store.layout.item(method, file.stem):
                faults.add(file, "left over", "It is not in the folder for its name.")
            elif fault := _RECORD_FAULTS.get(state):
                faults.add(file, *fault)
            if record is None:
                continue
            map_state = store.judge_map(record)
            if map_state != "whole":
                place = store.layout.map(method, file.stem)
                faults.add(place, map_state, f"The map of a record is {map_state}.")
    return known


def _maps(store: AnyStore, known: set[str], faults: Faults) -> None:
    """Check the maps that no record names: those of a sanity check, or leftovers."""
    layout = store.layout
    methods = {method_folder(method): method for method in store.methods}
    for file in layout.all_maps():
        faults.checked += 1
        method = methods.get(layout.folder_name(file))
        own = method is not None and file == layout.map(method, file.stem)
        if own and method is not None and os.path.lexists(layout.item(method, file.stem)):
            continue  # checked with its record
        if own or file.stem not in known:
            faults.add(file, "left over", "A map without a record.")
        else:
            faults.map(file)


def _gallery_and_banks(store: AnyStore, known: set[str], faults: Faults) -> None:
    layout = store.layout
    for file in layout.all_entries():
        faults.checked += 1
        state = store.judge_entry(file.stem)
        if file.stem not in known or file != layout.entry(file.stem):
            faults.add(file, "left over", "A gallery entry without a record.")
        elif state in ("damaged", "edited"):
            faults.add(file, state, f"This gallery entry is {state}.")
    for file in layout.all_banks():
        faults.checked += 1
        if file.stem not in known or file != layout.bank(file.stem):
            faults.add(file, "left over", "A bank without a record.")
        elif why := bank_error(file):
            faults.add(file, "damaged", why)


def bank_error(file: Path) -> str | None:
    """What is wrong with a bank; None if it is intact."""
    try:
        ScoreBank.load(file)
    except BankError as error:
        return error.what
    return None


# ── results ──────────────────────────────────────────────────────────────────────────────────


def _unfinished(store: Store[ItemRecord], config: Config, known: set[str], faults: Faults) -> None:
    dataset = config.get("dataset")
    photos = dataset.get("photos") if isinstance(dataset, dict) else None
    done = store.done(sorted(known))
    whole = sum(all((method, sample) in done for method in store.methods) for sample in known)
    if isinstance(photos, int) and whole < photos:
        faults.remarks.append(
            f"{store.folder} is not finished: {whole:,} of {photos:,} photos are done."
        )


def _results(store: Store[ItemRecord], config: Config, faults: Faults) -> None:
    """Check the results of a run against its records."""
    layout = store.layout
    summary = faults.document(layout.summary)
    if summary is None:
        faults.remarks.append(f"{store.folder} has no results that could be checked.")
        return
    if summary.get("config") != config:
        faults.add(layout.summary, "edited", "Its configuration is not the one in run.json.")
    faults.digests(store.folder, summary)
    faults.checked += 1
    results = check_results(store, summary)
    faults.remarks += [results.remark] if results.remark else []
    for file, sentence in results.wrong:
        faults.add(file, "out of date", sentence)


def _sanity(store: Store[LikenessRecord], faults: Faults) -> None:
    """Check the results of a sanity check."""
    for file in store.layout.all_originals():
        faults.checked += 1
        faults.map(file)
    document = faults.document(store.layout.sanity)
    if document is not None:
        faults.digests(store.folder, document)


def _networks(layout: Layout) -> list[str]:
    """The names of a sanity check's networks, read from its records."""
    names: set[str] = set()
    for files in layout.items_by_folder():
        for file in files:
            values = _json(file)
            if isinstance(values, dict) and isinstance(values.get("method"), str):
                names.add(values["method"])
                break
    return sorted(names)


def _json(file: Path) -> Any:
    try:
        return reading.read_json(file, CONFIG)
    except ScorecamError:
        return None
