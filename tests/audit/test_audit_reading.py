"""Unfinished, damaged, edited and tiny runs are reported without a traceback."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit_runs import Photo, id_of, mixed, on_box, right, spot, write
from scorecam import RunError
from scorecam.audit.auditing import audit
from scorecam.audit.parsing import Unreadable, map_of
from scorecam.audit.reading import read

pytestmark = pytest.mark.needs("audit")

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Ten photos of two classes without problems."""
    return write(tmp_path / "run", right(0, on_box(), 5) + right(1, on_box(), 5))


def file_of(run: Path, number: int, kind: str = "items/scorecam", ending: str = ".json") -> Path:
    sample = id_of(number)
    return run / kind / sample[:2] / f"{sample}{ending}"


def edit(file: Path, change: Change) -> None:
    """Edit a JSON file; NaN and infinity are written in Python's way."""
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")


# ── refused ──────────────────────────────────────────────────────────────────────────────────


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(RunError, match="isn't a run folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(RunError, match="isn't a run folder"):
        read(run / "run.json")
    with pytest.raises(RunError, match=r"no maps of gradcam.*scorecam"):
        read(run, "gradcam")
    with pytest.raises(RunError, match="Did you mean 'scorecam'"):
        read(run, "scorcam")


def test_a_run_on_volumes_is_refused_with_what_to_read_instead(run: Path) -> None:
    def deepen(record: dict[str, Any]) -> None:
        record["map"]["grid"] = [2, 2, 2]

    for number in range(10):
        edit(file_of(run, number), deepen)

    with pytest.raises(RunError, match=r"signals or volumes.*table\.md"):
        read(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 2}', "has schema 2"),
        ("{", "cannot be read"),
        ("[]", "has no schema"),
        ('{"schema": 1}', "names no methods"),
        ('{"schema": 1, "methods": 3}', "names no methods"),
        ('{"schema": 1, "methods": [{"name": 3}]}', "names no methods"),
        ('{"schema": 1, "methods": [{"name": "scorecam"}, "random"]}', "names no methods"),
        ('{"schema": 1, "methods": [{"name": ""}]}', "names no methods"),
        ('{"schema": 1, "methods": [{"name": "\\ud800"}]}', "names no methods"),
        ("[" * 100_000, "cannot be read: it is nested too deeply"),
    ],
)
def test_another_schema_and_a_damaged_run_json_are_refused(
    run: Path, text: str, message: str
) -> None:
    (run / "run.json").write_text(text, "utf-8")
    with pytest.raises(RunError, match=message):
        audit(run)


def test_a_run_without_records_or_without_maps_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(RunError, match="no records of scorecam yet"):
        audit(write(tmp_path / "empty", []))
    for file in (run / "maps").rglob("*.npy"):
        file.unlink()
    with pytest.raises(RunError, match=r"10 records .* no readable map .*10 × missing map"):
        audit(run)


def test_a_run_with_only_failures_is_refused(run: Path) -> None:
    failure = {"kind": "PhotoError", "message": "no photo"}
    for number in range(10):
        edit(file_of(run, number), lambda record: record.update(failure=failure))
    with pytest.raises(RunError, match="10 failures"):
        audit(run)


# ── left out and reported ────────────────────────────────────────────────────────────────────


def test_an_unfinished_run_states_its_progress(tmp_path: Path) -> None:
    found = audit(write(tmp_path / "run", right(0, on_box(), 5), total=1_200))
    assert "The run is unfinished: 5 of 1,200 photos are done." in found.remarks


def test_failures_are_counted_by_kind(run: Path) -> None:
    failure = {"kind": "PhotoError", "message": "no photo"}
    edit(file_of(run, 0), lambda record: record.update(failure=failure))
    found = audit(run)
    assert len(found.items) == 9
    assert "Failed photos, left out: 1 × PhotoError." in found.remarks


EDITS: dict[str, Change] = {
    "record with a number out of range": lambda r: r["values"].update(energy_box=1.5),
    "record without its classes": lambda r: r.pop("target"),
    "record with an invalid class": lambda r: r["target"].update(index="3"),
    "record that contradicts itself": lambda r: r.update(right=False),
    "record without a map's grid": lambda r: r.pop("map"),
    "map with another grid than its record": lambda r: r["map"].update(grid=[7, 7]),
    "map that is not 2-D": lambda r: r["map"].update(grid=[8]),
    "record with an invalid name or label": lambda r: r.update(label=[1]),
}


@pytest.mark.parametrize("reason", EDITS)
def test_an_edited_record_is_left_out(run: Path, reason: str) -> None:
    edit(file_of(run, 3), EDITS[reason])
    found = audit(run)
    assert id_of(3) not in {item.id for item in found.items}
    assert len(found.items) == 9
    assert f"Damaged or edited, left out: 1 × {reason}." in found.remarks


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "0.5", None, True])
def test_values_that_are_not_finite_are_left_out(run: Path, value: Any) -> None:
    edit(file_of(run, 0), lambda record: record["values"].update(average_drop=value))
    assert len(audit(run).items) == 9


def test_a_prediction_edited_to_be_right_is_left_out(run: Path) -> None:
    edit(file_of(run, 0), lambda record: record["predicted"].update(index=2))
    assert "1 × record that contradicts itself" in " ".join(audit(run).remarks)


def test_a_file_that_is_not_a_record_is_left_out(run: Path) -> None:
    file_of(run, 0).write_text("{", "utf-8")
    file_of(run, 1).write_bytes(b"\xff\xfe")
    file_of(run, 2).write_text("[" * 100_000, "utf-8")
    assert "Damaged or edited, left out: 3 × damaged record." in audit(run).remarks


def test_names_without_utf8_are_escaped(run: Path) -> None:
    def odd(record: dict[str, Any]) -> None:
        record.update(name="a\ud800.jpg", label="b\udfff")
        record["target"].update(name="c\udcff")

    edit(file_of(run, 0), odd)
    [item] = [item for item in audit(run).items if item.id == id_of(0)]
    assert item.name == r"a\ud800.jpg"
    assert item.label == r"b\udfff"
    assert item.target.name == r"c\udcff"


def saved(array: np.ndarray) -> Callable[[Path], None]:
    return lambda file: np.save(file, array)


def promising(shape: str) -> Callable[[Path], None]:
    """A file with a valid header that promises more than it holds."""
    header = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    return lambda file: file.write_bytes(start + bytes(128)) and None


MAPS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "cut": ("damaged map", lambda file: file.write_bytes(file.read_bytes()[:90])),
    "empty": ("damaged map", lambda file: file.write_bytes(b"")),
    "text": ("damaged map", lambda file: file.write_text("a map")),
    "zip": ("damaged map", lambda file: file.write_bytes(b"PK\x03\x04 and so on")),
    "endless": ("damaged map", promising("(1_000_000, 10_000_000)")),
    "long": ("damaged map", promising(f"(64, 1, {10**30})")),
    "negative": ("damaged map", promising("(-8, -8)")),
    "nested": ("damaged map", promising("-" * 9_000 + "1")),
    "cut long": ("damaged map", lambda file: file.write_bytes(file.read_bytes() + b"0")),
    "gone": ("missing map", lambda file: file.unlink()),
    "nan": ("map with values out of range", saved(np.full((8, 8), np.nan, np.float16))),
    "large": ("map with values out of range", saved(np.full((8, 8), 3, np.float16))),
    "words": ("damaged map", saved(np.full((8, 8), "a"))),
    "line": ("map that is not 2-D", saved(np.ones(8, np.float16))),
    "grid": ("map with another grid than its record", saved(np.ones((7, 8), np.float16))),
    "objects": ("damaged map", saved(np.array([{}], dtype=object))),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_damaged_map_is_left_out(run: Path, name: str) -> None:
    reason, damage = MAPS[name]
    damage(file_of(run, 2, "maps/scorecam", ".npy"))
    found = audit(run)
    assert len(found.items) == 9
    assert f"Damaged or edited, left out: 1 × {reason}." in found.remarks


def test_a_header_with_a_huge_shape_costs_no_memory(run: Path) -> None:
    file = file_of(run, 2, "maps/scorecam", ".npy")
    promising("(100_000, 1_000)")(file)  # 200 MB
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="damaged map"):
            map_of(file)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


GALLERIES: dict[str, Change] = {
    "schema": lambda e: e.update(schema=2),
    "photo": lambda e: e.update(id="another"),
    "views": lambda e: e.pop("views"),
    "map": lambda e: e["classes"][0].update(maps=["AAAA"] * 4),
    "code": lambda e: e["classes"][0].update(maps=["?"] * 4),
    "fewer maps": lambda e: e["classes"][0]["maps"].pop(),
    "box": lambda e: e["things"][0].update(box=[0.5, 0.5, 0.2, 0.9]),
    "box of words": lambda e: e["things"][0].update(box="0 0 1 1"),
    "thing": lambda e: e.update(things=["dog"]),
    "error": lambda e: e.update(error=float("nan")),
    "jpeg": lambda e: e.update(jpeg=7),
    "contrast": lambda e: e.update(contrast=[1]),
    "health": lambda e: e.update(health=[{"code": "flat"}]),
    "other target": lambda e: e["classes"][0].update(index=2),
    "grid": lambda e: e.update(grid=[16, 4]),
    "grid of truth": lambda e: e.update(grid=[True, 64]),
    "huge error": lambda e: e.update(error=10**400),
    "contrast of no cells": lambda e: e.update(
        grid=[0, 8],
        views=[],
        classes=[{**each, "maps": []} for each in e["classes"]],
        contrast={"map": ""},
    ),
    "contrast of another grid": lambda e: e.update(
        grid=[1, 3],
        views=[],
        classes=[{**each, "maps": []} for each in e["classes"]],
        contrast={"map": "AAAA"},
    ),
}


@pytest.mark.parametrize("name", GALLERIES)
def test_a_damaged_gallery_entry_loses_only_the_entry(run: Path, name: str) -> None:
    edit(file_of(run, 4, "gallery"), GALLERIES[name])
    found = audit(run)
    assert len(found.items) == 10
    [item] = [item for item in found.items if item.id == id_of(4)]
    assert item.entry is None
    assert any(remark.startswith("Photos with a damaged entry in gallery/: 1.") for remark in
               found.remarks)  # fmt: skip


def test_an_endlessly_nested_entry_is_damaged(run: Path) -> None:
    file_of(run, 4, "gallery").write_text("[" * 100_000, "utf-8")
    remarks = audit(run).remarks
    assert any(each.startswith("Photos with a damaged entry in gallery/: 1.") for each in remarks)


def test_a_run_without_a_gallery_is_audited(tmp_path: Path) -> None:
    run = write(tmp_path / "run", right(0, on_box(), 6) + right(1, on_box(), 6), gallery=False)
    found = audit(run)
    text = " ".join(found.remarks)
    assert "Photos with a missing entry in gallery/: 12." in text
    assert "fragile maps were not looked for" in text
    assert "too few to test with boxes or masks" in text


def test_the_runs_measurements_replace_missing_boxes(tmp_path: Path) -> None:
    photos = right(0, on_box(), 12, boxes=False) + right(1, on_box(), 12, boxes=False)
    run = write(tmp_path / "run", photos, gallery=False)
    for number in range(24):
        energy = 0.05 if number < 12 else 0.9
        values = {"energy_mask": energy, "chance_mask": 0.25}
        edit(file_of(run, number), lambda record, v=values: record["values"].update(v))
    [finding] = audit(run).findings
    assert (finding.rule, finding.level, finding.label) == ("wrong-reason", "problem", "ant")


def test_flat_maps_are_left_out_of_comparisons(tmp_path: Path) -> None:
    flat = right(0, np.zeros((8, 8)), 3)
    found = audit(write(tmp_path / "run", flat + right(1, on_box(), 6)))
    assert "Maps that are zero everywhere, left out of comparisons: 3." in found.remarks
    assert [each.title for each in found.classes.all] == ["bee"]


# ── few photos ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("label", [0, None])
def test_one_photo_is_too_few_to_test(tmp_path: Path, label: int | None) -> None:
    found = audit(write(tmp_path / "run", [Photo(label, spot((0, 0)), taken=0)]))
    assert found.findings == ()
    assert any("places of maps were not tested" in remark for remark in found.remarks)


def test_classes_with_one_photo_are_named(tmp_path: Path) -> None:
    photos = right(0, on_box(), 6) + right(1, spot((0, 0))) + right(2, on_box(), 6)
    found = audit(write(tmp_path / "run", photos))
    assert [each for each in found.findings if each.label == "bee"] == []
    assert any(remark.endswith("one by one: bee.") for remark in found.remarks)


def test_a_run_with_only_wrong_photos_has_no_classes_to_test(tmp_path: Path) -> None:
    photos = [Photo(0, on_box(), taken=1) for _ in range(8)]
    found = audit(write(tmp_path / "run", photos))
    assert found.classes.all == ()
    assert len(found.wrong) == 8


def test_unlabelled_photos_are_grouped_by_prediction(tmp_path: Path) -> None:
    corner = mixed((0.8, spot((0, 0))), (0.2, on_box()))
    photos = [Photo(None, corner, taken=0) for _ in range(10)]
    photos += [Photo(None, on_box(), taken=label) for label in (1, 2) for _ in range(10)]
    found = audit(write(tmp_path / "run", photos, target="predicted"))
    assert (found.findings[0].rule, found.findings[0].level) == ("corner", "warning")
    assert "unlabelled photos of 'ant'" in found.findings[0].sentence
    assert "No photo has a label: photos are grouped by their predicted class." in found.remarks
