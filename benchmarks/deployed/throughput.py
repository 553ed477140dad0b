"""Compare the masked passes of each deployed form with the runtime's own plain passes.

    python -m benchmarks.deployed.forms --photos PHOTOS --work WORK        # once
    python -m benchmarks.deployed.throughput --photos PHOTOS --work WORK

Each round explains a photo with all masks, and runs the same file directly in its runtime on as
many images of noise, in batches of the size that was fastest, with the same number of threads.
Rounds of all forms alternate. The ratio is masks per second over plain images per second. The
results are in benchmarks/results/deployed/throughput.json, which `deployed_page.py` reads.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import scorecam
from benchmarks.common.paths import RESULTS
from benchmarks.deployed.forms import measured
from benchmarks.deployed.measure import SUBJECTS, opened
from scorecam.backends.onnx import library
from scorecam.backends.runtimes import openvino
from scorecam.errors import MissingExtra, ModelError

BATCHES = (1, 2, 4, 8, 16, 32)
TRIED = 64
"""Images with which each size of batch is tried."""

Array = npt.NDArray[np.float32]
Plain = Callable[[Array], Any]
"""Runs a batch."""


@dataclass
class Form:
    """A form under measurement.

    Attributes:
        model: opened by scorecam.
        plain: runs a batch directly in the runtime.
        batch: the size at which it is fastest.
        ratios: of each round.
        fast: seconds of a map with the fast budget, of each round.
        exact: seconds of a map with all masks, of each round.
    """

    model: scorecam.Model
    precision: str
    plain: Plain
    batch: int = 1
    ratios: list[float] = field(default_factory=list[float])
    fast: list[float] = field(default_factory=list[float])
    exact: list[float] = field(default_factory=list[float])


def plain_onnx(path: Path) -> Plain:
    """The file in ONNX Runtime."""
    runtime = library.onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})


def plain_openvino(path: Path, precision: str) -> Plain:
    """The file in OpenVINO, compiled once for every size of batch."""
    core = openvino.load().Core()
    hint = "bf16" if precision == "bfloat16" else "f32"
    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
    }
    compiled: dict[int, Any] = {}

    def run(batch: Array) -> Any:
        if len(batch) not in compiled:
            model = core.read_model(path)
            model.reshape(list(batch.shape))
            compiled[len(batch)] = core.compile_model(model, "CPU", settings).create_infer_request()
        return compiled[len(batch)].infer({0: batch})

    return run


def forms(work: Path) -> dict[str, Form]:
    """The forms whose files and libraries are there."""
    found: dict[str, Form] = {}
    for name, subject in SUBJECTS.items():
        path = work / subject.source
        if not path.is_file():
            continue
        try:
            model = opened(subject, work)
        except (ModelError, MissingExtra) as error:
            print(f"{name}: left out. {error}", flush=True)
            continue
        plain = (
            plain_onnx(path) if path.suffix == ".onnx" else plain_openvino(path, subject.precision)
        )
        form = Form(model, subject.precision, plain)
        form.batch = min(BATCHES, key=lambda size, form=form: _seconds(form.plain, size, TRIED))
        found[name] = form
    return found


def _seconds(plain: Plain, size: int, images: int) -> float:
    """The seconds for some images in batches of one size, after one that does not count."""
    batch = np.random.default_rng(0).random((size, 3, 224, 224), np.float32)
    plain(batch)
    began = time.perf_counter()
    for _ in range(-(-images // size)):
        plain(batch)
    return (time.perf_counter() - began) * images / (-(-images // size) * size)


def measure(form: Form, photo: Path) -> None:
    """One round of one form."""
    seconds: dict[str, float] = {}
    passes = 0
    for budget in ("exact", "fast"):
        began = time.perf_counter()
        explanation = scorecam.explain(
            form.model, str(photo), budget=budget, precision=form.precision
        )
        seconds[budget] = time.perf_counter() - began
        if budget == "exact":
            passes = explanation.provenance.forward_passes
    plain = _seconds(form.plain, form.batch, passes)
    form.ratios.append(plain / seconds["exact"])
    form.exact.append(seconds["exact"])
    form.fast.append(seconds["fast"])


def summary(numbers: Sequence[float]) -> dict[str, float]:
    """The median with the smallest and the largest."""
    return {
        "median": float(np.median(numbers)),
        "least": min(numbers),
        "most": max(numbers),
        "rounds": len(numbers),
    }


def main() -> None:
    """Measure all forms in rounds, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("out/photos/composites"))
    parser.add_argument("--work", type=Path, default=Path("out/deployed"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    samples = measured(options.photos).samples[: options.rounds + 1]
    under = forms(options.work)
    for number, sample in enumerate(samples):
        for name, form in under.items():
            measure(form, sample.path)
            if number == 0:  # converts and compiles
                for numbers in (form.ratios, form.exact, form.fast):
                    numbers.clear()
            else:
                print(f"{name}: {form.ratios[-1]:.3f}, fast {form.fast[-1]:.2f} s", flush=True)
    found = {
        name: {
            "batch": form.batch,
            "ratio": summary(form.ratios),
            "fast": summary(form.fast),
            "exact": summary(form.exact),
        }
        for name, form in under.items()
    }
    file = RESULTS / "deployed/throughput.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    values = {"threads": torch.get_num_threads(), "forms": found}
    file.write_text(json.dumps(values, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
