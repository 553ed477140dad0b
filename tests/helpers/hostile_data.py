"""Every reader of foreign data, and mutations of valid files for them.

Only the readers in `READERS` are tested. Each makes a valid folder, names the file that is
changed, and reads everything that depends on it. `mutations` yields changed contents of the file:
first structured ones (each field replaced by each hostile value) mixed with shortened ones, then
seeded random changes of bytes.

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

MAX_SECONDS = 10.0
"""The longest time that reading one file may take."""

MAX_MEMORY = 1 << 30
"""The most bytes by which the peak resident set may grow."""

MAX_CHARACTERS = 600
"""The longest error."""

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
        make: makes a valid folder, and returns the file that will be changed.
        read: reads the folder; raises ScorecamError, or checks the result.
        kind: how the file is changed: "json", "words", "bytes" or "array".
        needs: the extra that it requires.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], None]
    kind: str
    needs: str = ""


# ── mutations ────────────────────────────────────────────────────────────────────────────────


def mutations(valid: bytes, kind: str, seed: str) -> Iterator[bytes]:
    """Endless mutations of a valid file, the same for the same seed."""
    yield from (b"", b"\xef\xbb\xbf" + valid, valid.replace(b"\n", b"\r\n"), b"[" * 100_000)
    if kind in ("json", "words"):
        yield valid.decode("utf-8").encode("utf-16")
    make = {"json": _fields, "words": _words, "array": _headers, "bytes": _nothing}[kind]
    draw = random.Random(seed)
    structured = list(make(valid, draw))
    draw.shuffle(structured)
    places = [len(valid) * i // 40 for i in range(40)]
    yield from itertools.chain.from_iterable(
        itertools.zip_longest(structured, [valid[:place] for place in places], fillvalue=valid)
    )
    while True:
        yield _changed(valid, draw)


def _nothing(_valid: bytes, _draw: random.Random) -> Iterator[bytes]:
    yield from ()


def _fields(valid: bytes, _draw: random.Random) -> Iterator[bytes]:
    """A JSON text with each field replaced, left out or repeated."""
    document = json.loads(valid)
    for path in _paths(document):
        for value in VALUES:
            changed = copy.deepcopy(document)
            changed = _put(changed, path, value)
            yield json.dumps(changed).encode()
        if path:
            changed = copy.deepcopy(document)
            container: Any = changed
            for step in path[:-1]:
                container = container[step]
            del container[path[-1]]
            yield json.dumps(changed).encode()
            if isinstance(container, list):
                container += copy.deepcopy(document if not path[:-1] else _at(document, path[:-1]))
                yield json.dumps(changed).encode()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(
        value, list) else ()  # fmt: skip
    for key, entry in inner:
        yield from _paths(entry, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    _at(document, path[:-1])[path[-1]] = value
    return document


def _words(valid: bytes, _draw: random.Random) -> Iterator[bytes]:
    """A text with each word replaced, and each line left out or repeated."""
    for match in list(re.finditer(rb"[^\s<>,\"/]+", valid))[:60]:
        for word in WORDS:
            yield valid[: match.start()] + word + valid[match.end() :]
    lines = valid.splitlines(keepends=True)
    for place in range(min(len(lines), 20)):
        yield b"".join(lines[:place] + lines[place + 1 :])
        yield b"".join([*lines[: place + 1], *lines[place:]])


def _headers(_valid: bytes, _draw: random.Random) -> Iterator[bytes]:
    """Arrays of other types and shapes, and headers that promise more data than follow."""
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


def _changed(valid: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, or a part left out, doubled or replaced by noise."""
    content = bytearray(valid)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        place = draw.randrange(len(content) + 1)
        length = draw.choice((1, 2, 4, 8, 64))
        action = draw.randrange(5)
        if action == 0 and place < len(content):
            content[place] ^= 1 << draw.randrange(8)
        elif action == 1 and place < len(content):
            content[place] = draw.choice(b'\x00\x01\x7f\x80\xff0919-,:"[]{}<>/\n eN')
        elif action == 2:
            del content[place : place + length]
        elif action == 3:
            content[place:place] = content[place : place + length]
        else:
            content[place : place + length] = draw.randbytes(length)
    return bytes(content)


# ── data sets ────────────────────────────────────────────────────────────────────────────────


def _photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (90, 120, 150)).save(path)


def _opened(source: str | Path, **options: Any) -> None:
    """Open a data set and use all of it."""
    dataset = open_dataset(source, **options)
    _check(dataset)
    try:
        _check(select(dataset, at_most=0.5))
        _check(select(dataset, limit=2))
    except ScorecamError as error:
        check_short(error)


def _check(dataset: Dataset) -> None:
    for sample in dataset.samples:
        assert sample.id
        check_short(sample.failure)
        for thing in sample.things or ():
            x1, y1, x2, y2 = thing.box
            assert all(map(math.isfinite, thing.box))
            assert x1 < x2
            assert y1 < y2
        if sample.mask is not None:
            try:
                assert sample.mask().shape == (30, 40)
            except ScorecamError as error:
                check_short(error)
        outside = [part for part in (sample.path,) if ".." in part.parts]
        assert dataset.kind == "list" or not outside
    assert all(len(remark) < 1_000 for remark in dataset.remarks)


def check_short(error: ScorecamError | None) -> None:
    """Check the length of an error."""
    assert error is None or len(str(error)) <= MAX_CHARACTERS


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
    file = _voc(folder)
    (folder / "JPEGImages").rename(folder / "images")
    (folder / "masks").mkdir()
    return file


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


def _imagenet(folder: Path, text: str) -> Path:
    for number in range(3):
        _photo(folder / "val" / f"ILSVRC2012_val_0000000{number}.JPEG")
    file = folder / "val.txt"
    file.write_text(text)
    return file


def _development_kit(folder: Path) -> Path:
    from scipy.io import savemat

    _imagenet(folder, "490\n361\n171\n")
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O")]
    wnids = ((490, "n01751748"), (361, "n09193705"), (171, "n02105855"))
    savemat(
        folder / "meta.mat", {"synsets": np.array(list(wnids), dtype=kinds)}, do_compression=True
    )
    return folder / "meta.mat"


def _read_imagenet(folder: Path) -> None:
    _opened(folder / "val", annotations=folder / "val.txt")


CLASSES_BY_NAME = "".join(
    f"ILSVRC2012_val_0000000{number}.JPEG n0144076{number}\n" for number in range(3)
)


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
    preprocess = Preprocess.load(folder / "preprocess.json")
    assert (
        preprocess(Image.new("RGB", (40, 30))).isfinite().all()
        if preprocess.size == (16, 16)
        else preprocess
    )


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
    """Everything that reads a run: the audit, a side of a comparison, and the results."""
    from scorecam.metrics.names import parse_metrics
    from scorecam.runs.compare.changes import compare_with_first
    from scorecam.runs.compare.sides import Candidate, read_side
    from scorecam.runs.gallery import read_thumbnail
    from scorecam.runs.parquet import write_parquet
    from scorecam.runs.record import parse_item
    from scorecam.runs.store import Store
    from scorecam.runs.tally import rows_of

    run = folder / "run"
    refusal = None
    try:
        for item in read_run(run).items:
            assert all(map(math.isfinite, item.values.values()))
            assert np.isfinite(item.map).all()
    except ScorecamError as error:
        check_short(error)
        refusal = error
    sides = [read_side(Candidate("run", str(run)), run, "scorecam") for _ in range(2)]
    if sides[0].records:
        assert math.isfinite(compare_with_first(sides[0], sides[1]).agreement.mean)
    for sample in sides[0].records:
        read_thumbnail([side.layout for side in sides], sample)
    outcomes = [outcome for metric in parse_metrics("paper") for outcome in metric.outcomes]
    ids = [audit_runs.id_of(number) for number in range(3)]
    store = Store(run, ["scorecam"], parse_item)
    tallies, _ = write_parquet(folder / "results.parquet", store, ids, outcomes)
    for row in rows_of(tallies, outcomes):
        assert not row.found.n or math.isfinite(row.found.mean)
    for curve in tallies["scorecam"].curves.values():
        assert np.isfinite(curve.band()[0]).all()
    if refusal is not None:
        raise refusal


JOB = "cascading body 0"


def _likeness(folder: Path) -> Path:
    from scorecam.runs.record import LikenessRecord, parse_likeness
    from scorecam.runs.store import Store

    values = {"scorecam": {"spearman": 0.5, "ssim": None, "hog": 0.25}}
    record = LikenessRecord("00ff00ff00ff00ff", "a.png", JOB, values)
    store = Store(folder, [JOB], parse_likeness)
    store.write(record)
    return store.layout.item(JOB, record.id)


def _read_likeness(folder: Path) -> None:
    from scorecam.runs.record import parse_likeness
    from scorecam.runs.sanity.networks import Job
    from scorecam.runs.sanity.results import Similarities
    from scorecam.runs.store import Store

    told = Similarities()
    for record in Store(folder, [JOB], parse_likeness).records(JOB, ["00ff00ff00ff00ff"]):
        told.add(Job("cascading", "body", 0, ("body",)), record)
    point = told.point("scorecam", "cascading", "body", "spearman")
    assert not point.found.n or math.isfinite(point.found.mean)


def _resume(folder: Path) -> None:
    """Resume a run, or refuse to, given its run.json."""
    from scorecam.model.engine import Speed
    from scorecam.runs.record import parse_item
    from scorecam.runs.store import Store

    config = json.loads(CONFIG) | {"methods": [{"name": "scorecam", "settings": {}}]}
    found, _ = Store(folder / "run", ["scorecam"], parse_item).begin(config)
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
    "classes by name": Reader(
        lambda folder: _imagenet(folder, CLASSES_BY_NAME), _read_imagenet, "words"
    ),
    "classes in order": Reader(
        lambda folder: _imagenet(folder, "n01440764\nn01443537\nn01440764\n"),
        _read_imagenet,
        "words",
    ),
    "indices": Reader(
        lambda folder: _imagenet(folder, CLASSES_BY_NAME.replace("n0144076", "")),
        _read_imagenet,
        "words",
    ),
    "development kit": Reader(_development_kit, _read_imagenet, "bytes", "eval"),
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
    "run.json of a resumed run": Reader(_recorded, _resume, "json"),
    "record": Reader(_first("items/*/*/*.json"), _read_run, "json", "eval"),
    "gallery": Reader(_first("gallery/*/*.json"), _read_run, "json", "eval"),
    "map": Reader(_first("maps/*/*/*.npy"), _read_run, "array", "eval"),
    "likeness": Reader(_likeness, _read_likeness, "json", "eval"),
}


# ── testing one reader ───────────────────────────────────────────────────────────────────────


@dataclass
class Report:
    """Results of many mutations."""

    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0


def try_all(name: str, count: int, folder: Path) -> Report:
    """Read `count` mutations; an assertion fails on any other result than data or an error."""
    reader = READERS[name]
    folder.mkdir(parents=True)
    file = reader.make(folder)
    valid = file.read_bytes()
    reader.read(folder)  # the valid file must be accepted
    report = Report()
    for number, content in enumerate(itertools.islice(mutations(valid, reader.kind, name), count)):
        file.write_bytes(content)
        start = time.perf_counter()
        try:
            reader.read(folder)
        except ScorecamError as error:
            report.refused += 1
            check_short(error)
        except BaseException as error:
            raise AssertionError(f"{name} {number}: {error!r} of {content[:300]!r}") from error
        seconds = time.perf_counter() - start
        report.inputs += 1
        report.slowest = max(report.slowest, seconds)
        assert seconds < MAX_SECONDS, f"{name} {number}: {seconds:.1f} s"
    return report


def main(count: int, names: list[str]) -> None:
    """The long mode: print the results of each reader."""
    total = 0
    for name in names or READERS:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with tempfile.TemporaryDirectory() as folder:
            report = try_all(name, count, Path(folder) / "data")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        total += report.inputs
        line = f"{name}: {report.inputs} inputs, {report.refused} refused, slowest "
        sys.stdout.write(f"{line}{report.slowest:.2f} s, resident set +{grown} MiB\n")
        sys.stdout.flush()
    sys.stdout.write(f"{total} inputs\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
