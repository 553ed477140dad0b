"""Make the forms of EfficientNet-Lite0 that are deployed, all from the same weights.

    python -m benchmarks.deployed.forms --photos PHOTOS --work WORK

The folder WORK then holds, as far as their packages are installed:

* `lite0.onnx`: float32, from torch.onnx.export, for any number of photos at once.
* `lite0.fp16.onnx`: float16, from onnxruntime.transformers.float16; the input and output stay
  float32.
* `lite0.int8.onnx`, `lite0.int8.qop.onnx`: int8, from onnxruntime.quantization.quantize_static, as
  QDQ (a float graph with pairs of QuantizeLinear and DequantizeLinear) and as QOperator (integer
  operators).
* `lite0.xml`: float32 in OpenVINO's format, from openvino.convert_model.
* `lite0.int8.xml`: int8, from nncf.quantize.
* `lite0.json`, `labels.txt`: the preprocessing and the class names.

The int8 forms are calibrated on 64 photographs that `measure.py` does not measure. Existing files
stay as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import logging
import os
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import scorecam
from scorecam.backends.runtimes.openvino import load
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset
from scorecam.datasets.selection import select
from scorecam.images.photo import read_photo

INPUT, OUTPUT = "image", "scores"
MEASURED, CALIBRATION = 128, 64
"""Photos that are measured, and further photos that the int8 forms are calibrated on."""

Batches = Sequence[np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Form:
    """A form of the network.

    Args:
        file: its name in the folder.
        make: writes it: the work folder and the calibration photos, one per batch.
        needs: modules that must be installed.
    """

    file: str
    make: Callable[[Path, Batches], None]
    needs: tuple[str, ...]


# ── photos ───────────────────────────────────────────────────────────────────────────────────────


def measured(folder: Path) -> Dataset:
    """The photos that the forms are compared on."""
    return select(open_dataset(str(folder)), limit=MEASURED)


def calibration(folder: Path) -> Dataset:
    """Photos for calibration: none of the measured ones."""
    every = open_dataset(str(folder))
    known = {sample.id for sample in measured(folder).samples}
    others = tuple(sample for sample in every.samples if sample.id not in known)
    return select(replace(every, samples=others), limit=CALIBRATION)


def _batches(model: scorecam.Model, photos: Dataset) -> Batches:
    preprocess: Any = model.preprocess
    return [preprocess(read_photo(str(sample.path)))[None].numpy() for sample in photos.samples]


# ── forms ────────────────────────────────────────────────────────────────────────────────────────


def _onnx(work: Path, _: Batches) -> None:
    model: Any = scorecam.open_model("lite0")
    torch.onnx.export(
        model.module.eval(),
        (torch.zeros(2, 3, 224, 224),),
        str(work / "lite0.onnx"),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _onnx_half(work: Path, _: Batches) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(onnx.load(str(work / "lite0.onnx")), keep_io_types=True)
    onnx.save(half, str(work / "lite0.fp16.onnx"))


def _onnx_int8(work: Path, batches: Batches) -> None:
    _quantize(work, batches, file="lite0.int8.onnx", kind="QDQ")


def _onnx_int8_operators(work: Path, batches: Batches) -> None:
    _quantize(work, batches, file="lite0.int8.qop.onnx", kind="QOperator")


def _quantize(work: Path, batches: Batches, *, file: str, kind: str) -> None:
    """Write an int8 form. ONNX Runtime's temporary files stay in the work folder."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Photos(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> Any:
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch}

    # x86 has fast kernels for integer operators only with unsigned activations.
    activations = quantization.QuantType.QInt8 if kind == "QDQ" else quantization.QuantType.QUInt8
    with _temporary(work) as folder:
        inferred = str(folder / "inferred.onnx")
        quant_pre_process(str(work / "lite0.onnx"), inferred)
        quantization.quantize_static(
            inferred,
            str(work / file),
            Photos(),
            quant_format=quantization.QuantFormat[kind],
            per_channel=True,
            activation_type=activations,
            weight_type=quantization.QuantType.QInt8,
        )


def _openvino(work: Path, _: Batches) -> None:
    openvino = load()
    model = openvino.convert_model(str(work / "lite0.onnx"))
    openvino.save_model(model, str(work / "lite0.xml"), compress_to_fp16=False)


def _openvino_int8(work: Path, batches: Batches) -> None:
    openvino = load()
    os.environ["NNCF_CI"] = "1"  # turns NNCF's telemetry off
    nncf: Any = importlib.import_module("nncf")
    nncf.set_log_level(logging.ERROR)
    model = openvino.Core().read_model(str(work / "lite0.xml"))
    quantized = nncf.quantize(
        model, nncf.Dataset(list(batches)), subset_size=len(batches), fast_bias_correction=True
    )
    openvino.save_model(quantized, str(work / "lite0.int8.xml"), compress_to_fp16=False)


@contextlib.contextmanager
def _temporary(work: Path) -> Generator[Path]:
    """A temporary folder in the work folder, and the place of all temporary files meanwhile."""
    previous = tempfile.tempdir
    with tempfile.TemporaryDirectory(dir=work) as folder, contextlib.chdir(folder):
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = previous


FORMS = {
    "onnx": Form("lite0.onnx", _onnx, ("onnx", "onnxscript")),
    "onnx float16": Form("lite0.fp16.onnx", _onnx_half, ("onnx", "onnxruntime")),
    "onnx int8 QDQ": Form("lite0.int8.onnx", _onnx_int8, ("onnx", "onnxruntime")),
    "onnx int8 QOperator": Form(
        "lite0.int8.qop.onnx", _onnx_int8_operators, ("onnx", "onnxruntime")
    ),
    "openvino": Form("lite0.xml", _openvino, ("openvino",)),
    "openvino int8": Form("lite0.int8.xml", _openvino_int8, ("openvino", "nncf")),
}
"""By name; each is made from the ones before it."""


def make(folder: Path, work: Path) -> list[str]:
    """Write the missing forms, and return what was written or left out, one line each."""
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    model: Any = scorecam.open_model("lite0")
    (work / "lite0.json").write_text(json.dumps(model.preprocess.to_dict()) + "\n", "utf-8")
    (work / "labels.txt").write_text("\n".join(model.names) + "\n", "utf-8")
    batches: Batches = ()
    lines: list[str] = []
    for name, form in FORMS.items():
        if (work / form.file).exists():
            continue
        missing = [module for module in form.needs if importlib.util.find_spec(module) is None]
        if missing:
            lines.append(f"{name}: not made, {missing[0]} is not installed")
            continue
        if "int8" in name and not batches:
            batches = _batches(model, calibration(folder))
        form.make(work, batches)
        lines.append(f"{name}: {form.file}, {(work / form.file).stat().st_size:,} bytes")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Make the forms."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("out/photos/composites"))
    parser.add_argument("--work", type=Path, default=Path("out/deployed"))
    options = parser.parse_args()
    make(options.photos, options.work)


if __name__ == "__main__":
    main()
