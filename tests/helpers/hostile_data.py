"""Every reader of foreign data, and mutations of sound files for them.

`READERS` is the one table: a reader that is not in it is not tested. Each makes a sound folder,
names the file that is attacked, and reads everything that rests on it. `attack` gives numbered
mutations of the file's bytes: structured ones first (each field replaced by each hostile value),
then cuts, then seeded changes of bytes.

    python tests/helpers/hostile_data.py 2000 coco table   # 2000 files for each reader named
"""

from __future__ import annotations

import copy
import io
import itertools
import json
import math
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import audit_runs
from scorecam.audit.reading import read as read_run
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset
from scorecam.datasets.selection import select
from scorecam.errors import ScorecamError
from scorecam.images.preprocess import Preprocess
from scorecam.model.labels import read_labels

SLOWEST = 10.0
"""Seconds that one file may take."""

MEMORY = 1 << 30
"""Bytes by which the largest resident set of all of them may grow."""

LONGEST = 600
"""Characters of an error."""

HUGE = 10**400

VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 2**31, 2**63, HUGE, -HUGE, 1e308, -0.0, math.nan, math.inf,
    "", "x", "7", "nan", "1e999", "\ud800", "a\0b", "../../../etc/passwd", "/dev/zero",
    "\x1b]0;title\x07\n", "x" * 20_000, [], [[]], [None] * 3, [HUGE, math.nan], {}, {"id": 1},
    {"name": "\udfff"},
)  # fmt: skip

WORDS: tuple[bytes, ...] = (
    b"", b"0", b"-1", b"1e999", b"nan", b"inf", b"1" * 5000, b"9" * 30, b"\0", b"\xff\xfe",
    b"\xed\xa0\x80", b"../../../etc/passwd", b"/dev/zero", b"x" * 5000, b"\n", b'"', b"<", b"&x;",
    b"]]>", b"\r\n\r\n", b"\xe2\x80\xa8", b"\x1b[31m", b"True", b"n00000000",
)  # fmt: skip


KINDS = ("f2", "f4", "f8", "i4", "c8", "?", "S3", "U2", "O", "V4", "m8", ">f2")


@dataclass(frozen=True)
class Reader:
    """A reader of foreign data.

    Args:
        make: makes a sound folder, and returns the file that is attacked.
        read: reads it, given the folder; raises ScorecamError, or checks what it got.
        kind: how the file is changed: "json", "words", "bytes", or "array".
        needs: the extra that it takes.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], None]
    kind: str
    needs: str = ""


# ── mutations ────────────────────────────────────────────────────────────────────────────────


def attack(sound: bytes, kind: str, seed: str) -> Iterator[bytes]:
    """Mutations of a sound file, without end; the same for the same seed."""
    yield from (b"", b"\xef\xbb\xbf" + sound, sound.replace(b"\n", b"\r\n"), b"[" * 100_000)
    if kind in ("json", "words"):
        yield sound.decode("utf-8").encode("utf-16")
    structured = {"json": _fields, "words": _words, "array": _headers, "bytes": _nothing}[kind]
    draw = random.Random(seed)
    every = list(structured(sound, draw))
    draw.shuffle(every)
    places = [len(sound) * i // 40 for i in range(40)]
    yield from itertools.chain.from_iterable(
        itertools.zip_longest(every, [sound[:place] for place in places], fillvalue=sound)
    )
    while True:
        yield _changed(sound, draw)


def _nothing(_sound: bytes, _draw: random.Random) -> Iterator[bytes]:
    yield from ()


def _fields(sound: bytes, _draw: random.Random) -> Iterator[bytes]:
    """A JSON text with each field replaced, left out, or there twice."""
    whole = json.loads(sound)
    for path in _paths(whole):
        for value in VALUES:
            changed = copy.deepcopy(whole)
            changed = _put(changed, path, value)
            yield json.dumps(changed).encode()
        if path:
            changed = copy.deepcopy(whole)
            holder: Any = changed
            for step in path[:-1]:
                holder = holder[step]
            del holder[path[-1]]
            yield json.dumps(changed).encode()
            if isinstance(holder, list):
                holder += copy.deepcopy(whole if not path[:-1] else _at(whole, path[:-1]))
                yield json.dumps(changed).encode()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(
        value, list) else ()  # fmt: skip
    for key, each in inner:
        yield from _paths(each, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _put(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    _at(whole, path[:-1])[path[-1]] = value
    return whole


def _words(sound: bytes, _draw: random.Random) -> Iterator[bytes]:
    """A text with each word replaced, each line left out or there twice."""
    for found in list(re.finditer(rb"[^\s<>,\"/]+", sound))[:60]:
        for word in WORDS:
            yield sound[: found.start()] + word + sound[found.end() :]
    lines = sound.splitlines(keepends=True)
    for place in range(min(len(lines), 20)):
        yield b"".join(lines[:place] + lines[place + 1 :])
        yield b"".join([*lines[: place + 1], *lines[place:]])


def _headers(_sound: bytes, _draw: random.Random) -> Iterator[bytes]:
    """Arrays of other kinds and shapes, and headers that promise what is not there."""
    shapes = [(), (0,), (0, 8), (8,), (8, 8), (7, 8), (2, 2, 2), (1,) * 20]
    for shape, kind in itertools.product(shapes, KINDS):
        file = io.BytesIO()
        values = np.zeros(shape, np.dtype(kind))
        np.save(file, values, allow_pickle=True)
        yield file.getvalue()
    for value in (np.nan, np.inf, -np.inf, 3, -3, 1e-7):
        file = io.BytesIO()
        np.save(file, np.full((8, 8), value, np.float16))
        yield file.getvalue()
    for shape in ("(9_999_999, 9_999_999)", "(-8, -8)", f"({10**30},)", "-" * 900 + "1", "(8, 8"):
        header = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        yield b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(128)


def _changed(sound: bytes, draw: random.Random) -> bytes:
    """Some bytes flipped, or a piece left out, doubled, or swapped for noise."""
    content = bytearray(sound)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        place = draw.randrange(len(content) + 1)
        length = draw.choice((1, 2, 4, 8, 64))
        what = draw.randrange(5)
        if what == 0 and place < len(content):
            content[place] ^= 1 << draw.randrange(8)
        elif what == 1 and place < len(content):
            content[place] = draw.choice(b'\x00\x01\x7f\x80\xff0919-,:"[]{}<>/\n eN')
        elif what == 2:
            del content[place : place + length]
        elif what == 3:
            content[place:place] = content[place : place + length]
        else:
            content[place : place + length] = draw.randbytes(length)
    return bytes(content)


# ── data sets ────────────────────────────────────────────────────────────────────────────────


def _photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (90, 120, 150)).save(path)


def _opened(source: str | Path, **how: Any) -> None:
    """Open a data set and use all of it."""
    found = open_dataset(source, **how)
    _check(found)
    try:
        _check(select(found, at_most=0.5))
        _check(select(found, limit=2))
    except ScorecamError as error:
        is_short(error)


def _check(found: Dataset) -> None:
    for sample in found.samples:
        assert sample.id
        is_short(sample.failure)
        for thing in sample.things or ():
            x1, y1, x2, y2 = thing.box
            assert all(map(math.isfinite, thing.box))
            assert x1 < x2
            assert y1 < y2
        if sample.mask is not None:
            try:
                assert sample.mask().shape == (30, 40)
            except ScorecamError as error:
                is_short(error)
        outside = [part for part in (sample.path,) if ".." in part.parts]
        assert found.kind == "list" or not outside
    assert all(len(remark) < 1_000 for remark in found.remarks)


def is_short(error: ScorecamError | None) -> None:
    """That an error is one paragraph that can be read."""
    assert error is None or len(str(error)) <= LONGEST


def _coco(folder: Path) -> Path:
    for name in ("a.png", "b.png"):
        _photo(folder / "val" / name)
    square = [1.0, 1.0, 9.0, 1.0, 9.0, 9.0, 1.0, 9.0]
    things = [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 10.5, 8], "area": 60.0,
         "iscrowd": 0, "segmentation": [square]},
        {"id": 2, "image_id": 2, "category_id": 4, "bbox": [0, 0, 4, 4], "area": 9.0, "iscrowd": 0,
         "segmentation": {"size": [30, 40], "counts": [100, 20, 1080]}},
        {"id": 3, "image_id": 2, "category_id": 3, "bbox": [0, 0, 4, 4], "area": 90.0,
         "iscrowd": 0, "segmentation": {"size": [30, 40], "counts": _packed()}},
    ]  # fmt: skip
    content = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 2, "file_name": "b.png", "width": 40, "height": 30},
        ],
        "annotations": things,
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
    }
    file = folder / "annotations/instances_val.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    return file


def _packed() -> str:
    from pycocotools import mask

    plane = np.zeros((30, 40), np.uint8, order="F")
    plane[3:9, 4:20] = 1
    return mask.encode(plane)["counts"].decode()


def _voc(folder: Path) -> Path:
    for name in ("a.jpg", "b.jpg"):
        _photo(folder / "JPEGImages" / name)
    file = folder / "Annotations/a.xml"
    file.parent.mkdir()
    file.write_text(
        "<annotation><size><width>40</width><height>30</height></size>\n"
        "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin>"
        "<xmax>20</xmax><ymax>21</ymax></bndbox></object>\n<object><name>dog</name><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>\n"
    )
    return file


def _imagenet_xml(folder: Path) -> Path:
    made = _voc(folder)
    (folder / "JPEGImages").rename(folder / "images")
    (folder / "masks").mkdir()
    return made


def _split(folder: Path) -> Path:
    _voc(folder)
    file = folder / "ImageSets/Main/val.txt"
    file.parent.mkdir(parents=True)
    file.write_text("a 1\nb -1\n")
    return file


TABLE = (
    "path,label,x1,y1,x2,y2,mask\na.png,cat,1,2,30.5,20,m.png\na.png,cat,3,4,9,9,\nb.png,7,,,,,\n"
)


def _table(folder: Path) -> Path:
    for name in ("a.png", "b.png", "m.png"):
        _photo(folder / name)
    file = folder / "list.csv"
    file.write_text(TABLE)
    return file


def _parquet(folder: Path) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    _table(folder)
    columns = {"path": ["a.png", "a.png", "b.png"], "label": ["cat", "cat", "dog"]}
    columns |= {side: [1.0 + n, 2.0, None] for n, side in enumerate(("x1", "y1", "x2", "y2"))}  # type: ignore[dict-item]
    parquet.write_table(pa.table(columns), folder / "list.parquet", compression="zstd")
    return folder / "list.parquet"


def _flat(folder: Path, text: str) -> Path:
    for number in range(3):
        _photo(folder / "val" / f"ILSVRC2012_val_0000000{number}.JPEG")
    file = folder / "val.txt"
    file.write_text(text)
    return file


def _meta(folder: Path) -> Path:
    from scipy.io import savemat

    _flat(folder, "490\n361\n171\n")
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O")]
    wnids = ((490, "n01751748"), (361, "n09193705"), (171, "n02105855"))
    savemat(
        folder / "meta.mat", {"synsets": np.array(list(wnids), dtype=kinds)}, do_compression=True
    )
    return folder / "meta.mat"


def _read_flat(folder: Path) -> None:
    _opened(folder / "val", annotations=folder / "val.txt")


NAMED = "".join(f"ILSVRC2012_val_0000000{number}.JPEG n0144076{number}\n" for number in range(3))


# ── names and preprocessing ──────────────────────────────────────────────────────────────────


def _written(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def _read_labels(folder: Path) -> None:
    [file] = folder.iterdir()
    names = read_labels(file)
    assert names
    "".join(names).encode()


def _read_preprocess(folder: Path) -> None:
    found = Preprocess.load(folder / "preprocess.json")
    assert found(Image.new("RGB", (40, 30))).isfinite().all() if found.size == (16, 16) else found


# ── runs ─────────────────────────────────────────────────────────────────────────────────────


def _run(folder: Path) -> Path:
    photos = audit_runs.right(0, audit_runs.on_box(), 2) + audit_runs.right(
        1, audit_runs.on_box(), 1
    )
    audit_runs.write(folder / "run", photos)
    for file in (folder / "run/items").rglob("*.json"):
        record = json.loads(file.read_text())
        record |= {
            "head": "logits", "share": 0.25, "group": "small",
            "values": {"average_drop": 0.25, "energy_box": 0.5, "chance_box": 0.25},
            "undefined": {"energy_mask": "No mask."},
            "curves": {"deletion": [0.9, 0.5, 0.1]}, "timings": {"seconds": 1.0},
        }  # fmt: skip
        file.write_text(json.dumps(record))
    return folder / "run"


def _first(pattern: str) -> Callable[[Path], Path]:
    return lambda folder: min(_run(folder).glob(pattern))


def _read_run(folder: Path) -> None:
    """Everything that reads a run: the audit, a comparison's side, and its results."""
    from scorecam.metrics.names import parse_metrics
    from scorecam.runs import summary
    from scorecam.runs.compare.compare import _versus
    from scorecam.runs.compare.page import _thumbnail
    from scorecam.runs.compare.sides import Candidate, read_side
    from scorecam.runs.store import Store

    run = folder / "run"
    refused = None
    try:
        for item in read_run(run).items:
            assert all(map(math.isfinite, item.values.values()))
            assert np.isfinite(item.map).all()
    except ScorecamError as error:
        is_short(error)
        refused = error
    sides = [read_side(Candidate("run", str(run)), run, "scorecam") for _ in range(2)]
    if sides[0].records:
        assert math.isfinite(_versus(sides[0], sides[1]).agreement.mean)
    for sample in sides[0].records:
        _thumbnail(sample, sides)
    outcomes = [outcome for metric in parse_metrics("paper") for outcome in metric.outcomes]
    tallies: dict[str, summary.Tally] = {}
    ids = [audit_runs.id_of(number) for number in range(3)]
    store = Store(run, ["scorecam"])
    summary._write_parquet(folder / "results.parquet", store, ids, outcomes, tallies)
    for row in summary._rows(tallies, outcomes):
        assert not row.found.n or math.isfinite(row.found.mean)
    for curve in tallies["scorecam"].curves.values():
        assert np.isfinite(curve.band()[0]).all()
    if refused is not None:
        raise refused


JOB = "cascading body 0"


def _likeness(folder: Path) -> Path:
    from scorecam.runs.store import Store

    record = {
        "schema": 1, "id": "00ff00ff00ff00ff", "name": "a.png", "method": JOB,
        "values": {"scorecam": {"spearman": 0.5, "ssim": None, "hog": 0.25}},
    }  # fmt: skip
    store = Store(folder, [JOB])
    store.write(record)
    return store.path(JOB, record["id"])


def _read_likeness(folder: Path) -> None:
    from scorecam.runs.sanity.networks import Job
    from scorecam.runs.sanity.sanity import _Told
    from scorecam.runs.store import Store

    told = _Told()
    for record in Store(folder, [JOB], likeness=True).records(JOB, ["00ff00ff00ff00ff"]):
        told.add(Job("cascading", "body", 0, ("body",)), record)
    point = told.point("scorecam", "cascading", "body", "spearman")
    assert not point.found.n or math.isfinite(point.found.mean)


def _begin(folder: Path) -> None:
    """What a run that goes on, and another one, make of a run.json."""
    from scorecam.model.engine import Speed
    from scorecam.runs.store import Store

    config = json.loads(CONFIG) | {"methods": [{"name": "scorecam", "settings": {}}]}
    found, _ = Store(folder / "run", ["scorecam"]).begin(config)
    if "runtime used" in found:
        Speed(found["runtime used"], found["precision used"])


CONFIG = json.dumps(
    {
        "schema": 1, "model": "toy", "layer": "maps", "target": "label", "budget": "exact",
        "methods": [{"name": "scorecam", "settings": {}}],
        "metrics": [{"name": "energy", "source": "x"}],
        "dataset": {"kind": "list", "photos": 3, "sha256": "0"},
        "runtime used": "eager", "precision used": "float32", "versions": {"torch": "2"},
    }
)  # fmt: skip


def _recorded(folder: Path) -> Path:
    (folder / "run").mkdir()
    (folder / "run/run.json").write_text(CONFIG)
    return folder / "run/run.json"


READERS: dict[str, Reader] = {
    "coco": Reader(_coco, _opened, "json", "eval"),
    "voc": Reader(_voc, _opened, "words", "eval"),
    "imagenet xml": Reader(_imagenet_xml, lambda f: _opened(f"imagenet:{f}"), "words", "eval"),
    "voc split": Reader(_split, lambda folder: _opened(folder, split="val"), "words", "eval"),
    "table": Reader(_table, lambda folder: _opened(folder / "list.csv"), "words"),
    "parquet": Reader(_parquet, lambda f: _opened(f / "list.parquet"), "bytes", "eval"),
    "classes by name": Reader(lambda folder: _flat(folder, NAMED), _read_flat, "words"),
    "classes in order": Reader(
        lambda folder: _flat(folder, "n01440764\nn01443537\nn01440764\n"), _read_flat, "words"
    ),
    "indices": Reader(
        lambda folder: _flat(folder, NAMED.replace("n0144076", "")), _read_flat, "words"
    ),
    "development kit": Reader(_meta, _read_flat, "bytes", "eval"),
    "labels": Reader(_written("names.txt", "cat\ndog\nfox\n"), _read_labels, "words"),
    "labels as a list": Reader(
        _written("names.json", '["cat", "dog", "fox"]'), _read_labels, "json"
    ),
    "labels by index": Reader(
        _written("names.json", '{"0": "cat", "1": "dog"}'), _read_labels, "json"
    ),
    "preprocess": Reader(
        _written(
            "preprocess.json",
            '{"size": [16, 16], "fit": "squash", "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1],'
            ' "fraction": 1, "interpolation": "bilinear"}',
        ),
        _read_preprocess,
        "json",
    ),
    "run.json": Reader(_first("run.json"), _read_run, "json", "eval"),
    "run.json of a run that goes on": Reader(_recorded, _begin, "json"),
    "record": Reader(_first("items/*/*/*.json"), _read_run, "json", "eval"),
    "gallery": Reader(_first("gallery/*/*.json"), _read_run, "json", "eval"),
    "map": Reader(_first("maps/*/*/*.npy"), _read_run, "array", "eval"),
    "likeness": Reader(_likeness, _read_likeness, "json", "eval"),
}


# ── one reader under attack ──────────────────────────────────────────────────────────────────


@dataclass
class Report:
    """What became of many mutations."""

    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0


def try_all(name: str, count: int, folder: Path) -> Report:
    """Read so many mutations; an assertion fails where one ends otherwise than it may."""
    reader = READERS[name]
    folder.mkdir(parents=True)
    file = reader.make(folder)
    sound = file.read_bytes()
    reader.read(folder)  # what is sound is read
    report = Report()
    for number, content in enumerate(itertools.islice(attack(sound, reader.kind, name), count)):
        file.write_bytes(content)
        began = time.perf_counter()
        try:
            reader.read(folder)
        except ScorecamError as error:
            report.refused += 1
            is_short(error)
        except BaseException as error:
            raise AssertionError(f"{name} {number}: {error!r} of {content[:300]!r}") from error
        took = time.perf_counter() - began
        report.inputs += 1
        report.slowest = max(report.slowest, took)
        assert took < SLOWEST, f"{name} {number}: {took:.1f} s"
    return report


def main(count: int, names: list[str]) -> None:
    """The long mode: says what was found."""
    total = 0
    for name in names or READERS:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with tempfile.TemporaryDirectory() as folder:
            found = try_all(name, count, Path(folder) / "data")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        total += found.inputs
        line = f"{name}: {found.inputs} inputs, {found.refused} refused, slowest "
        sys.stdout.write(f"{line}{found.slowest:.2f} s, resident set +{grown} MiB\n")
        sys.stdout.flush()
    sys.stdout.write(f"{total} inputs\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
