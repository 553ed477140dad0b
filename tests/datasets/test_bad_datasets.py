"""Data sets that cannot be used are refused in one paragraph; a bad annotation is a result."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scorecam.datasets.columns import columns_of
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.selection import select
from scorecam.errors import DatasetError, MissingExtra, SettingError
from small_datasets import TENCH, boxed, coco, flat, instances, made, only, photo, table, xml

ENTITIES = "".join(
    f"<!ENTITY {new} '{f'&{old};' * 30}'>"
    for old, new in zip("zabcdefgh", "abcdefghi", strict=True)
)
BOMB = f"<!DOCTYPE a [<!ENTITY z 'ha'>{ENTITIES}]><annotation>&i;</annotation>"


def around(corner: str) -> str:
    """An annotation with a box that begins at `corner`."""
    box = f"<xmin>{corner}</xmin><ymin>1</ymin><xmax>2</xmax><ymax>3</ymax>"
    return f"<a><object><name>{TENCH}</name><bndbox>{box}</bndbox></object></a>"


def refused(source: str | Path, *phrases: str, **how: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        open_dataset(source, **how)
    message = str(caught.value)
    assert "\n" not in message
    for phrase in phrases:
        assert phrase in message
    return message


# ── errors ───────────────────────────────────────────────────────────────────────────────────


def test_a_missing_data_set_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "photos/a.png")
    refused(tmp_path / "photo", "no data set", "Did you mean 'photos'?")
    refused(f"foldr:{tmp_path}", "Did you mean 'folder'?")
    refused(tmp_path / "photos/a.png", "single photo")


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "no photo")
    (tmp_path / "notes.txt").write_text("nothing")
    refused(tmp_path, "no photo")
    refused(f"imagenet:{tmp_path}", "no photo")
    refused(f"voc:{tmp_path}", "JPEGImages")
    refused(f"coco:{tmp_path}", "annotations=")
    refused(f"list:{tmp_path}", "is a folder")


def test_an_archive_is_refused_with_advice_to_unpack(tmp_path: Path) -> None:
    (tmp_path / "val.tar").write_bytes(b"")
    refused(tmp_path / "val.tar", "unpack")


def test_unused_options_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    with pytest.raises(SettingError, match="annotations"):
        open_dataset(f"folder:{tmp_path}", annotations=tmp_path)
    with pytest.raises(SettingError, match="split"):
        open_dataset(tmp_path, split="val")


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "cat/a.png")
    (tmp_path / "cat").chmod(0)
    refused(tmp_path, "cannot be read")
    (tmp_path / "cat").chmod(0o700)


def test_a_missing_split_is_refused(voc: Path) -> None:
    refused(voc, "'vla'", "Did you mean 'val'", split="vla")


@pytest.mark.parametrize(
    ("lines", "phrase"),
    [
        ("{0} 65\n{1} 1\n{2} 3\n", "No index in it is 0"),
        ("490\n361\n171\n", "ILSVRC ids"),
        ("{0} 0\n{1} 1000\n", "class 1000"),
        ("{0} tench\n", "'tench'"),
        (f"{TENCH}\n{TENCH}\n", "2 lines for 3 photos"),
        (f"{{0}} {TENCH}\n{TENCH}\n", "Entry 2"),
        (f"{{0}} {TENCH}\n{{0}} n01443537\n", "two classes"),
        (f"other.JPEG {TENCH}\n", "none of the photos"),
        ("\n", "is empty"),
    ],
)
def test_ambiguous_class_lists_are_refused(tmp_path: Path, lines: str, phrase: str) -> None:
    names = flat(tmp_path)
    (tmp_path / "val.txt").write_text(lines.format(*names))
    refused(tmp_path / "val", phrase, annotations=tmp_path / "val.txt")


def test_the_organisers_list_is_never_read_in_the_usual_order(tmp_path: Path) -> None:
    flat(tmp_path)
    (tmp_path / "truth.txt").write_text("490\n361\n171\n")
    refused(tmp_path / "val", "ILSVRC ids", "meta.mat", annotations=tmp_path / "truth.txt")


def test_class_numbers_are_read_from_csv_but_not_from_a_list(tmp_path: Path) -> None:
    (name,) = flat(tmp_path, 1)
    (tmp_path / "val.txt").write_text(f"{name} 1\n")
    refused(tmp_path / "val", "CSV", "path and label", annotations=tmp_path / "val.txt")
    (tmp_path / "val.csv").write_text(f"path,label\nval/{name},1\n")
    label = only(open_dataset(tmp_path / "val.csv")).label
    assert columns_of([label], None, 1000).found == {label: 1}


def test_missing_annotations_are_refused(tmp_path: Path) -> None:
    flat(tmp_path, 1)
    refused(tmp_path / "val", "no file or folder", annotations=tmp_path / "gone")


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        ("{", "cannot be used"),
        ("[" * 100_000, "cannot be used"),
        ("[]", "no list 'images'"),
        ({"images": []}, "no list 'annotations'"),
        (instances(images=[{"id": 7}]), "no usable 'file_name'"),
        (instances(images=[*instances()["images"] * 2]), "image ids more than once: '7'"),
        (instances(annotations=[*instances()["annotations"] * 2]), "annotation ids more than once"),
        (instances(categories=[*instances()["categories"] * 2]), "category ids more than once"),
        (instances(images=[{"id": 1, "file_name": "gone.jpg"}]), "gone.jpg"),
        (instances(images=[]), "lists no photo"),
    ],
)
def test_invalid_json_is_refused(tmp_path: Path, content: Any, phrase: str) -> None:
    coco(tmp_path, content)
    refused(tmp_path, phrase)


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("", ["no column 'path'"]),
        ("path,lable\na.png,cat\n", ["'lable'", "Did you mean 'label'?"]),
        ("path;label\na.png;cat\n", ["not separated by commas"]),
        ("label\ncat\n", ["no column 'path'"]),
        ("path,path\na.png,a.png\n", ["twice"]),
        ("path,x1,y1\na.png,1,2\n", ["'x2', 'y2'"]),
        ("path,label\na.png\n", ["line 2 has 1 cells for 2 columns"]),
        ("path,label\na.png,cat\n./a.png,dog\n", ["'a.png' 2 classes", "'cat', 'dog'"]),
        ("path,label\n,cat\n", ["Row 1", "no photo"]),
        ('path\n"a.png\n', ["not a CSV file"]),
        ("path\n", ["There is no photo"]),
    ],
)
def test_invalid_lists_are_refused(tmp_path: Path, text: str, phrases: list[str]) -> None:
    (tmp_path / "list.csv").write_text(text)
    refused(tmp_path / "list.csv", *phrases)


@pytest.mark.needs("eval")
def test_an_invalid_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"PAR1 and no more")
    refused(tmp_path / "list.parquet", "not a Parquet file")


# ── failures of single photos ────────────────────────────────────────────────────────────────


@pytest.mark.needs("eval")
@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        ("<annotation>", "cannot be used"),
        ("", "cannot be used"),
        ("\0\1\2", "cannot be used"),
        ("<?xml version='1.0' encoding='no-such'?><a/>", "cannot be used"),
        ("<a><object><bndbox/></object></a>", "no <name>"),
        ("<a><object><name>x</name></object></a>", "no <bndbox>"),
        (around("nan"), "not a finite number"),
        (around("two"), "two"),
        ("<!DOCTYPE a><a/>", "document type"),
        ("<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/hostname'>]><a>&e;</a>", "document type"),
    ],
)
def test_invalid_xml_fails_only_its_photo(tmp_path: Path, content: str, phrase: str) -> None:
    boxed(tmp_path, (TENCH, 1, 1, 2, 2))
    photo(tmp_path / TENCH / "b.png")
    (tmp_path / "Annotations" / TENCH / "b.xml").write_text(content)
    dataset = open_dataset(tmp_path)
    good, bad = dataset.samples
    assert (good.failure, good.boxes(TENCH)) == (None, [(0, 0, 2, 2)])
    assert isinstance(bad.failure, DatasetError)
    assert phrase in str(bad.failure)
    assert (bad.label, bad.things) == (TENCH, None)
    assert dataset.remarks == ("Photos whose annotation cannot be used: 1.",)


@pytest.mark.needs("eval")
def test_a_billion_laughs_attack_is_refused_at_once(tmp_path: Path) -> None:
    boxed(tmp_path)
    (tmp_path / "Annotations" / TENCH / "a.xml").write_text(BOMB)
    started = time.perf_counter()
    sample = only(open_dataset(tmp_path))
    assert time.perf_counter() - started < 2
    assert "entities" in str(sample.failure)


@pytest.mark.needs("eval")
@pytest.mark.parametrize(
    "change",
    [
        {"category_id": 9},
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, 3, float("nan")]},
        {"bbox": "everywhere"},
        {"category_id": [1]},
    ],
)
def test_an_invalid_object_in_json_fails_its_photo(tmp_path: Path, change: dict[str, Any]) -> None:
    objects = instances()["annotations"]
    coco(tmp_path, instances(annotations=[objects[0] | change]))
    sample = only(open_dataset(tmp_path))
    assert isinstance(sample.failure, DatasetError)
    assert sample.things is None


@pytest.mark.needs("eval")
@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3]],
        [["a"] * 6],
        {"size": [30, 40], "counts": [5, 10**9]},
        {"size": [10**6, 10**6], "counts": [1]},
        {"size": [30, 40], "counts": "zzz"},
        {"size": [30, 40], "counts": "PPP"},
        {"size": [30, 40], "counts": "0OOOO"},
        "mask",
    ],
)
def test_invalid_segmentations_are_refused_when_read(tmp_path: Path, segmentation: Any) -> None:
    objects = instances()["annotations"]
    coco(tmp_path, instances(annotations=[objects[0] | {"segmentation": segmentation}]))
    sample = only(open_dataset(tmp_path))
    assert sample.mask is not None
    with pytest.raises(DatasetError, match="segmentation"):
        sample.mask()


@pytest.mark.parametrize(
    ("row", "phrase"),
    [
        ({"label": "cat", "x1": "one", "y1": 1, "x2": 2, "y2": 2}, "one"),
        ({"label": "cat", "x1": "", "y1": 1, "x2": 2, "y2": 2}, "lacks one of"),
        ({"label": "cat", "x1": "inf", "y1": 1, "x2": 2, "y2": 2}, "finite"),
        ({"label": "", "x1": 1, "y1": 1, "x2": 2, "y2": 2}, "no class"),
    ],
)
def test_an_invalid_row_fails_its_photo(tmp_path: Path, row: dict[str, Any], phrase: str) -> None:
    photo(tmp_path / "a.png")
    sample = only(open_dataset(table(tmp_path / "list.csv", {"path": "a.png"} | row)))
    assert phrase in str(sample.failure)


def test_missing_photos_of_a_list_stay_in_it(tmp_path: Path) -> None:
    box = {"x1": 1, "y1": 1, "x2": 2, "y2": 2}
    listed = table(tmp_path / "l.csv", {"path": "../../gone.png", "label": "cat"} | box)
    sample = only(open_dataset(listed))
    assert sample.failure is None  # detected when it is read
    assert "gone.png" in str(only(select(open_dataset(listed), at_most=0.5)).failure)


def test_unreadable_or_wrongly_sized_masks_are_failures(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "small.png", 8, 8)
    for mask, phrase in (("gone.png", "cannot be read"), ("small.png", "8 × 8")):
        sample = only(open_dataset(table(tmp_path / "l.csv", {"path": "a.png", "mask": mask})))
        assert sample.mask is not None
        with pytest.raises(DatasetError, match=phrase):
            sample.mask()


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("defusedxml", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    photo(tmp_path / TENCH / "a.png")
    xml(tmp_path / "Annotations/a.xml")
    with pytest.raises(MissingExtra, match=r"scorecam\[eval\]"):
        open_dataset(tmp_path)
    (tmp_path / "l.parquet").write_bytes(b"")
    with pytest.raises(MissingExtra, match=r"scorecam\[eval\]"):
        open_dataset(tmp_path / "l.parquet")


# ── selections ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "how",
    [{"limit": 0}, {"at_most": 0}, {"at_most": 50}, {"shard": (0, 2)}, {"shard": (3, 2)}],
)
def test_invalid_selections_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        select(made(3), **how)


def test_filters_that_leave_no_photo_explain_why() -> None:
    with pytest.raises(DatasetError, match="3 of 3 photos left out: no annotation"):
        select(made(3), single=True)
