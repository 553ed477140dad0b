"""The kinds of foreign files that are fuzzed: valid examples, and the functions that read them.

To add a kind: a function that makes valid files, a function that reads one, and a line in `KINDS`.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch import nn

import mutate
import number_files
import scorecam
from bank_files import with_places
from scorecam.images.photo import read_photo
from scorecam.runs import figures

SIDE = 16
CLASSES = ("tabby", "tiger cat", "lynx")


def network() -> nn.Module:
    """A small network with the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, len(CLASSES)),
        ).eval()  # fmt: skip


def model() -> scorecam.Model:
    """The network with preprocessing and class names."""
    half = (0.5, 0.5, 0.5)
    preprocess = scorecam.Preprocess(size=(SIDE, SIDE), fit="squash", mean=half, std=half)
    return scorecam.open_model(network(), preprocess=preprocess, labels=list(CLASSES))


def picture(seed: int = 0, mode: str = "RGB") -> Image.Image:
    """A photo of smooth colours."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((40, 32)).convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a file's content."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


# ── photos, masks, maps ──────────────────────────────────────────────────────────────────────


def photos() -> list[bytes]:
    frames = [picture(seed) for seed in range(3)]
    return [
        encoded(picture(), "JPEG", quality=80),
        encoded(picture(), "JPEG", progressive=True),
        encoded(picture(mode="RGBA"), "PNG"),
        encoded(picture(mode="P"), "PNG"),
        encoded(Image.fromarray(np.arange(1280, dtype=np.uint16).reshape(32, 40)), "PNG"),
        encoded(picture(), "WEBP"),
        encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        encoded(picture(), "TIFF", compression="tiff_lzw"),
        encoded(picture(mode="CMYK"), "TIFF"),
        encoded(picture(mode="F"), "TIFF"),
        encoded(picture(), "BMP"),
        encoded(picture(), "PPM"),
        encoded(picture(), "EPS"),
        encoded(picture(), "ICO"),
    ]


def read_as_photo(file: Path) -> None:
    assert read_photo(file).mode == "RGB"


def arrays() -> list[bytes]:
    files: list[bytes] = []
    for array in (np.random.default_rng(0).random((7, 7)), np.ones((7, 7), np.float16)):
        stream = io.BytesIO()
        np.save(stream, array)
        files.append(stream.getvalue())
    return files


def read_as_map(file: Path) -> None:
    """A map of another program, read by `evaluate`."""
    data, maps = file.parent / "one", file.parent / "maps"
    for folder in (data, maps):
        folder.mkdir(exist_ok=True)
    if not (data / "a.png").exists():
        picture().save(data / "a.png")
    for old in maps.iterdir():
        old.unlink()
    shutil.copy(file, maps / f"a{file.suffix}")
    out = file.parent / "run"
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(out)
    with no_plots():
        scorecam.evaluate(model(), data, f"maps:dir={maps}", metrics="quick", out=out)


# ── banks, checkpoints ───────────────────────────────────────────────────────────────────────


def banks() -> list[bytes]:
    opened = model()
    exact = scorecam.explain(opened, picture(), runtime="eager").bank
    few = scorecam.explain(opened, picture(1), budget=2, runtime="eager").bank
    kept = saved(lambda path: exact.save(path, classes=2))
    return [saved(exact.save), saved(few.save), kept, saved(with_places(few).save)]


def saved(save: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(path := Path(folder) / "saved")
        return path.read_bytes()


def read_as_bank(file: Path) -> None:
    bank = scorecam.ScoreBank.load(file)
    target = bank.target(None)
    for variant in scorecam.VARIANTS:
        bank.heatmap(target.index, variant)
    bank.picture()
    bank.save(file.parent / "again.safetensors")


def checkpoints() -> list[bytes]:
    state = network().state_dict()
    nested = {"state_dict": {f"model.{k}": v for k, v in state.items()}, "epoch": 3}
    return [saved(lambda path: torch.save(state, path)), saved(lambda p: torch.save(nested, p))]


def safe_checkpoints() -> list[bytes]:
    return [safetensors.torch.save(network().state_dict())]


def read_as_weights(file: Path) -> None:
    scorecam.open_model(network(), weights=file).scores(torch.rand(1, 3, SIDE, SIDE))


# ── small text files ─────────────────────────────────────────────────────────────────────────


def labels() -> list[bytes]:
    return [json.dumps(list(CLASSES)).encode(), json.dumps(dict(enumerate(CLASSES))).encode()]


def label_lines() -> list[bytes]:
    return ["\n".join(CLASSES).encode(), "\r\n".join(CLASSES).encode("utf-8-sig")]


def read_as_labels(file: Path) -> None:
    scorecam.open_model(network(), labels=file)


def preprocessing() -> list[bytes]:
    settings = {"size": [SIDE, SIDE], "fit": "squash", "mean": [0.5] * 3, "std": [0.5] * 3}
    return [
        json.dumps(settings | {"interpolation": "nearest"}).encode(),
        json.dumps(settings).encode(),
    ]


def read_as_preprocessing(file: Path) -> None:
    scorecam.Preprocess.load(file)(picture())


def specs() -> list[bytes]:
    return [
        b"scorecam:variant=algorithm1,gradcam,rise:masks=9,random\nquick",
        b"mask:steps=3,smoothgrad:samples=2,occlusion\npaper",
        b"uniform,fakecam\ninsertion,deletion",
    ]


def read_as_specs(file: Path) -> None:
    from scorecam.methods.names import parse_methods
    from scorecam.metrics.names import parse_metrics

    methods, _, metrics = file.read_text("utf-8", "surrogateescape").partition("\n")
    parse_methods(methods)
    parse_metrics(metrics)


# ── models ───────────────────────────────────────────────────────────────────────────────────


def onnx_models() -> list[bytes]:
    import onnx_files

    return onnx_files.valid()


def read_as_onnx(file: Path) -> None:
    from scorecam.backends.onnx.reading import read_onnx

    read_onnx(file).fingerprint()


@functools.cache
def openvino_model() -> tuple[bytes, bytes]:
    """The two files of a small network: its graph and its weights."""
    import openvino_networks

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.xml"
        openvino_networks.converted(network, torch.rand(1, 3, 8, 8), path)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def openvino_models() -> list[bytes]:
    return [openvino_model()[0]]


def read_as_openvino(file: Path) -> None:
    from scorecam.backends.openvino.reading import read_ir

    file.with_suffix(".bin").write_bytes(openvino_model()[1])
    read_ir(file)


# ── data sets ────────────────────────────────────────────────────────────────────────────────


def coco() -> list[bytes]:
    box = {"bbox": [4, 4, 20, 16], "iscrowd": 0, "area": 320}
    outline = {"segmentation": [[4, 4, 24, 4, 24, 20, 4, 20]]}
    crowd = {"segmentation": {"size": [32, 40], "counts": [100, 200, 980]}, "iscrowd": 1}
    packed = {"segmentation": {"size": [32, 40], "counts": "Q13e0"}}
    return [
        json.dumps({
            "images": [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 32}
                       for i in range(2)],
            "categories": [{"id": 1, "name": "tabby"}, {"id": 7, "name": "lynx"}],
            "annotations": [
                {"id": 1, "image_id": 0, "category_id": 1, **box, **outline},
                {"id": 2, "image_id": 1, "category_id": 7, **box, **crowd},
                {"id": 3, "image_id": 1, "category_id": 1, **box, **packed},
            ],
        }).encode()
    ]  # fmt: skip


def voc() -> list[bytes]:
    return [
        b"""<annotation>
            <filename>0.png</filename>
            <size><width>40</width><height>32</height><depth>3</depth></size>
            <object><name>lynx</name><difficult>0</difficult>
            <bndbox><xmin>4</xmin><ymin>4</ymin><xmax>24</xmax><ymax>20</ymax></bndbox></object>
            </annotation>"""
    ]


def lists() -> list[bytes]:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerows([["path", "label", "x1", "y1", "x2", "y2"], ["0.png", "lynx", 4, 4, 24, 20]])
    rows.writerow(["1.png", "tabby", "", "", "", ""])
    return [text.getvalue().encode(), b"path,label\r\n0.png,0\r\n1.png,2\r\n"]


def parquet() -> list[bytes]:
    import pyarrow as pa
    from pyarrow import parquet as pq

    table = pa.table({"path": ["0.png", "1.png"], "label": ["lynx", "tabby"]})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return [stream.getvalue()]


def read_as_data_set(file: Path, place: str = "", source: str = "") -> None:
    """Read the samples of a data set with two photos that contains the file."""
    root = file.parent / "set"
    images = root / "JPEGImages" if place.startswith("Annotations") else root
    images.mkdir(parents=True, exist_ok=True)
    for seed in range(2):
        if not (images / f"{seed}.png").exists():
            picture(seed).save(images / f"{seed}.png")
    target = root / (place or file.name)
    target.parent.mkdir(exist_ok=True)
    shutil.copy(file, target)
    from scorecam.datasets.opening import open_dataset

    for sample in open_dataset(root / source if source else root).samples:
        if sample.mask is not None:
            with contextlib.suppress(scorecam.DatasetError):
                sample.mask()


# ── runs ─────────────────────────────────────────────────────────────────────────────────────


def evaluate(data: Path, out: Path) -> Path:
    """Make or resume a run; without plots, which would take longer than everything else."""
    with no_plots():
        scorecam.evaluate(model(), data, "scorecam,random", metrics="quick", out=out)
    return out


def no_plots() -> contextlib.AbstractContextManager[Any]:
    """Behave as if matplotlib were not installed."""
    absent = scorecam.MissingExtra("there are no plots here")
    return mock.patch.object(figures, "_figure_class", side_effect=absent)


def run_in(folder: Path) -> Path:
    """A small finished run."""
    data = folder / "photos"
    data.mkdir()
    for seed in range(3):
        picture(seed).save(data / f"{seed}.png")
    return evaluate(data, folder / "run")


def files_of_run(pattern: str) -> Callable[[], list[bytes]]:
    """The valid contents of the files of a run that match a pattern."""

    def contents() -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            return [file.read_bytes() for file in sorted(run_in(Path(folder)).glob(pattern))[:2]]

    return contents


def read_in_run(pattern: str) -> Callable[[Path], None]:
    """Read a run in which one file was replaced: audit it, and resume it."""

    def read(file: Path) -> None:
        from scorecam.audit.auditing import audit
        from scorecam.audit.report import write

        original, run = file.parent / "original", file.parent / "damaged"
        if not original.exists():
            (file.parent / "making").mkdir()
            shutil.copytree(run_in(file.parent / "making"), original)
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(original, run)
        shutil.copy(file, min(run.glob(pattern)))
        with contextlib.suppress(scorecam.ScorecamError):
            write(audit(run), file.parent / "report.html", force=True)
        evaluate(file.parent / "making" / "photos", run)

    return read


# ── the table ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Kind:
    """A kind of foreign file.

    Args:
        valid: makes the contents of valid files.
        suffix: of such a file's name.
        read: reads one the way users do; raises a ScorecamError to refuse it.
        damage: valid contents → a strategy for damaged ones.
        weight: its share of the time, relative to others.
    """

    valid: Callable[[], list[bytes]]
    suffix: str
    read: Callable[[Path], None]
    damage: mutate.Damage = mutate.damaged_bytes
    weight: float = 1.0

    def accepts(self, file: Path) -> None:
        """Read a valid file; only drawings and icons may be refused."""
        try:
            self.read(file)
        except scorecam.PhotoError:
            assert file.read_bytes().startswith(NOT_PHOTOS)


NOT_PHOTOS = (b"%!PS", b"\0\0\1\0")  # drawings and icons


def _data_set(place: str = "", source: str = "") -> Callable[[Path], None]:
    return lambda file: read_as_data_set(file, place, source)


KINDS: Mapping[str, Kind] = {
    "photo": Kind(photos, ".img", read_as_photo, weight=3.0),
    "map": Kind(arrays, ".npy", read_as_map),
    "bank": Kind(banks, ".safetensors", read_as_bank, mutate.damaged_safetensors, weight=3.0),
    "checkpoint": Kind(checkpoints, ".pt", read_as_weights, weight=2.0),
    "safe-checkpoint": Kind(
        safe_checkpoints, ".safetensors", read_as_weights, mutate.damaged_safetensors
    ),
    "models.onnx": Kind(onnx_models, ".onnx", read_as_onnx, weight=2.0),
    "models.xml": Kind(openvino_models, ".xml", read_as_openvino, weight=0.5),
    "labels": Kind(labels, ".json", read_as_labels, mutate.damaged_json),
    "label-lines": Kind(label_lines, ".txt", read_as_labels),
    "preprocess": Kind(preprocessing, ".json", read_as_preprocessing, mutate.damaged_json),
    "specs": Kind(specs, ".txt", read_as_specs),
    "coco": Kind(
        coco, ".json", _data_set("annotations/instances_val.json"), mutate.damaged_json, weight=2.0
    ),
    "voc": Kind(voc, ".xml", _data_set("Annotations/0.xml")),
    "list": Kind(lists, ".csv", _data_set("list.csv", "list.csv")),
    "parquet": Kind(parquet, ".parquet", _data_set("list.parquet", "list.parquet")),
    "run": Kind(files_of_run("run.json"), ".json", read_in_run("run.json"), mutate.damaged_json),
    "record": Kind(
        files_of_run("items/scorecam/*/*.json"), ".json", read_in_run("items/scorecam/*/*.json"),
        mutate.damaged_json,
    ),
    "run-map": Kind(files_of_run("maps/scorecam/**/*.npy"), ".npy",
                    read_in_run("maps/scorecam/**/*.npy")),
    **{
        f"numbers{suffix}": Kind(valid, suffix, number_files.read, weight=0.5)
        for suffix, valid in number_files.FORMATS.items()
    },
    "gallery": Kind(
        files_of_run("gallery/**/*.json"), ".json", read_in_run("gallery/**/*.json"),
        mutate.damaged_json,
    ),
}  # fmt: skip
