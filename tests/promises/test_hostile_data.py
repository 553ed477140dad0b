"""Damaged or hostile data files and run folders are refused with an error or left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hostile_data
import watched_process
from hostile_data import MAX_CHARACTERS, MAX_SECONDS, READERS, check_short
from scorecam.datasets.opening import open_dataset
from scorecam.errors import ScorecamError

MUTATIONS = 150


def readers() -> list[object]:
    """Every reader of the table, marked with the extra it needs."""
    return [
        pytest.param(name, marks=[pytest.mark.needs(reader.needs)] if reader.needs else [])
        for name, reader in READERS.items()
    ]


@pytest.mark.parametrize("name", readers())
def test_no_mutation_of_a_file_ends_in_a_traceback(name: str, tmp_path: Path) -> None:
    report = hostile_data.try_all(name, MUTATIONS, tmp_path / "data")
    assert report.inputs == MUTATIONS


# ── pipes, devices and folders instead of files ──────────────────────────────────────────────


def _pipe(file: Path) -> None:
    os.mkfifo(file)


def _huge(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(2**33)


REPLACEMENTS = {
    "a pipe": _pipe,
    "a device": lambda file: file.symlink_to("/dev/zero"),
    "a folder": lambda file: file.mkdir(),
    "a link to itself": lambda file: file.symlink_to(file.name),
    "a link to nothing": lambda file: file.symlink_to("nowhere"),
    "eight gigabytes": _huge,
}


@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("name", readers())
def test_anything_but_a_regular_file_is_refused_at_once(
    name: str, replacement: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    file = READERS[name].make(folder)
    file.unlink()
    REPLACEMENTS[replacement](file)
    began = time.perf_counter()
    try:
        READERS[name].read(folder)
    except ScorecamError as error:
        check_short(error)
    assert time.perf_counter() - began < MAX_SECONDS


# ── names in data files ──────────────────────────────────────────────────────────────────────

NAMES = {
    "a\0.png": "is not a valid file name",
    "\ud800.png": "is not a valid file name",
    "/dev/zero": "outside the data set's folder",
    "../../../etc/passwd": "outside the data set's folder",
    "val/../../a.png": "outside the data set's folder",
    "x" * 300 + ".png": "too long",
    "x/" * 3_000 + "a.png": "too long",
    " ": "is not a valid file name",
}


@pytest.mark.needs("eval")
@pytest.mark.parametrize("name", NAMES)
def test_a_coco_name_outside_the_folder_fails_only_its_photo(name: str, tmp_path: Path) -> None:
    file = READERS["coco"].make(tmp_path)
    content = json.loads(file.read_text())
    content["images"][1]["file_name"] = name
    file.write_text(json.dumps(content))
    good, bad = sorted(open_dataset(tmp_path).samples, key=lambda sample: bool(sample.failure))
    assert good.failure is None
    assert NAMES[name] in str(bad.failure)
    assert bad.path.parent == tmp_path
    assert not bad.path.exists()


@pytest.mark.needs("eval")
@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "x" * 300])
def test_a_voc_name_outside_the_folder_fails_only_its_photo(name: str, tmp_path: Path) -> None:
    READERS["voc split"].make(tmp_path).write_text(f"a\n{name}\n")
    good, bad = sorted(
        open_dataset(tmp_path, split="val").samples, key=lambda sample: bool(sample.failure)
    )
    assert good.failure is None
    assert bad.path.parent == tmp_path


@pytest.mark.parametrize("column", ["path", "mask"])
@pytest.mark.parametrize("name", ["a\0.png", "x" * 300 + ".png"])
def test_an_impossible_name_in_a_table_fails_only_its_photo(
    name: str, column: str, tmp_path: Path
) -> None:
    file = READERS["table"].make(tmp_path)
    row = {"path": "b.png", "label": "cat", "mask": ""} | {column: name}
    file.write_text(f"path,label,mask\na.png,cat,\n{','.join(row.values())}\n")
    good, bad = sorted(open_dataset(file).samples, key=lambda sample: bool(sample.failure))
    assert good.failure is None
    assert "is not a valid file name" in str(bad.failure) or "too long" in str(bad.failure)


@pytest.mark.parametrize("name", ["x" * 5_000, "a\0b", "\ud800", "folder:" + "y/" * 3_000])
def test_a_data_set_with_an_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(ScorecamError) as caught:
        open_dataset(name)
    assert len(str(caught.value)) <= MAX_CHARACTERS


# ── unusual folders ──────────────────────────────────────────────────────────────────────────


def test_folders_deeper_than_the_recursion_limit_are_walked(tmp_path: Path) -> None:
    start = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1_500):
            os.mkdir("d")  # noqa: PTH102  one path for all of them would be too long
            os.chdir("d")
        Path("a.png").write_bytes(b"")
    finally:
        os.chdir(start)
    try:
        [sample] = open_dataset(tmp_path).samples
        assert sample.name == "d/" * 1_500 + "a.png"
    finally:  # pytest removes temporary folders recursively
        for _ in range(1_499):
            (tmp_path / "d/d").rename(tmp_path / "e")
            (tmp_path / "d").rmdir()
            (tmp_path / "e").rename(tmp_path / "d")


def test_circular_links_and_names_of_any_bytes_are_walked(tmp_path: Path) -> None:
    for name in (b"new\nline.png", b"\xff\xfe.png", "Käse.png".encode(), b"A.png", b"a.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    (tmp_path / "parent").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "self.png").symlink_to("self.png")
    samples = open_dataset(tmp_path).samples
    assert len(samples) == 6
    assert len({sample.id for sample in samples}) == 6


@pytest.mark.needs("eval")
def test_a_class_name_in_an_xml_file_is_not_used_as_a_path(tmp_path: Path) -> None:
    file = READERS["imagenet xml"].make(tmp_path)
    text = file.read_text().replace("cat", "a/../../b").replace("dog", "a/../../b")
    file.write_text(text)
    [sample] = [item for item in open_dataset(f"imagenet:{tmp_path}").samples if item.things]
    assert (sample.label, sample.mask) == ("a/../../b", None)


# ── small files that expand (bombs) ──────────────────────────────────────────────────────────

PARQUET_LONG_TEXT = """
import pyarrow as pa, pyarrow.parquet as pq
column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), ["x" * 2**20])
pq.write_table(pa.table({"path": column}), "list.parquet", compression="zstd")
"""

PARQUET_MANY_ROWS = """
import pyarrow as pa, pyarrow.parquet as pq
table = pa.table({"label": pa.nulls(10**7, pa.int8()), "path": pa.nulls(10**7, pa.string())})
with pq.ParquetWriter("list.parquet", table.schema) as writer:
    for _ in range(3):
        writer.write_table(table)
"""

COCO = """
import json, hostile_data, pathlib
file = hostile_data.READERS["coco"].make(pathlib.Path("data"))
content = json.loads(file.read_text())
for image in content["images"]:
    image["width"], image["height"] = 12_000, 9_000
thing = content["annotations"][0]
thing["segmentation"] = SEGMENTS
content["annotations"] = [thing]
file.write_text(json.dumps(content))
from PIL import Image
Image.MAX_IMAGE_PIXELS = None
Image.new("1", (12_000, 9_000)).save("data/val/a.png", compress_level=1)
"""

LONG_OUTLINE = "[[-12_000, -9_000, 24_000, 18_000] * 50_000]"
MANY_OUTLINES = "[[-12_000, -9_000, 24_000, 18_000, 5, 5]] * 20_000"
LONG_RUNS = "{'size': [9_000, 12_000], 'counts': 'ooooooO' * 1_000}"
NEGATIVE_RUNS = "{'size': [9_000, 12_000], 'counts': '@' * 10_000}"

DEVELOPMENT_KIT = """
import zlib, struct, pathlib, hostile_data
file = hostile_data._development_kit(pathlib.Path("data"))
packed = zlib.compress(bytes(2**30), 1)
file.write_bytes(file.read_bytes() + struct.pack("<II", 15, len(packed)) + packed)
"""

CSV_MANY_BOXES = """
import random
draw = random.Random(0)
rows = [f"a.png,cat,{draw.random() * 9},{draw.random() * 9},{9 + draw.random() * 9},"
        f"{9 + draw.random() * 9}\\n" for _ in range(COUNT)]
open("list.csv", "w").write("path,label,x1,y1,x2,y2\\n" + "".join(rows))
from PIL import Image
Image.new("RGB", (40, 30)).save("a.png")
"""

TABLE = "hostile_data._opened('list.csv')"
PHOTOS = "hostile_data._opened('data')"

BOMBS = {
    "a text in every row": (PARQUET_LONG_TEXT, "hostile_data._opened('list.parquet')"),
    "thirty million rows": (PARQUET_MANY_ROWS, "hostile_data._opened('list.parquet')"),
    "a long outline": (COCO.replace("SEGMENTS", LONG_OUTLINE), PHOTOS),
    "many outlines": (COCO.replace("SEGMENTS", MANY_OUTLINES), PHOTOS),
    "run lengths beyond the photo": (COCO.replace("SEGMENTS", LONG_RUNS), PHOTOS),
    "negative run lengths": (COCO.replace("SEGMENTS", NEGATIVE_RUNS), PHOTOS),
    "a gigabyte of zeros": (
        DEVELOPMENT_KIT,
        "hostile_data._read_imagenet(pathlib.Path('data'))",
    ),
    "many boxes": (CSV_MANY_BOXES.replace("COUNT", "5_000"), TABLE),
    "too many boxes": (CSV_MANY_BOXES.replace("COUNT", "100_000"), TABLE),
    "one long line": ("open('list.csv', 'w').write('path,' + 'x' * 2**27)", TABLE),
    "a long row": ("open('list.csv', 'w').write('path\\n' + ',' * 2**24)", TABLE),
}

CHILD = """
import os, pathlib, resource, sys, time
import hostile_data
from scorecam.errors import ScorecamError
for name in ("pycocotools.mask", "scipy.io", "pyarrow.parquet"):
    __import__(name)
pathlib.Path("data").mkdir()
{make}
before = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (before + {limit}, before + {limit}))
began = time.perf_counter()
try:
    {read}
except ScorecamError as error:
    assert len(str(error)) <= 600, error
print("seconds", time.perf_counter() - began)
"""


@pytest.mark.needs("eval")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little_memory_and_time(name: str, tmp_path: Path) -> None:
    make, read = BOMBS[name]
    code = CHILD.format(make=make, limit=hostile_data.MAX_MEMORY, read=read)
    assert float(_python(code, tmp_path).split()[-1]) < MAX_SECONDS


def _python(code: str, folder: Path) -> str:
    paths = os.pathsep.join([str(Path(hostile_data.__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


# ── side effects ─────────────────────────────────────────────────────────────────────────────

EVERY_READER = """
import pathlib, hostile_data
for name, reader in hostile_data.READERS.items():
    hostile_data.try_all(name, 20, pathlib.Path(name.replace(" ", "-")))
"""


@pytest.mark.needs("eval")
def test_reading_data_starts_nothing_and_writes_only_inside(tmp_path: Path) -> None:
    watched = watched_process.watch(EVERY_READER, tmp_path)
    assert watched.code == 0, watched.out[-2_000:]
    assert watched.connections() == []
    assert watched.processes() == []
    assert watched.writes_outside(tmp_path / "work") == []
    assert watched.strays == frozenset()


def test_the_csv_modules_field_limit_is_left_alone(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    file = tmp_path / "list.csv"
    file.write_text("path\n" + "x" * 2 * before)
    with pytest.raises(ScorecamError, match="not a CSV file"):
        open_dataset(file)
    assert csv.field_size_limit() == before
