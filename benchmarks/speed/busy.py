"""Whether a choice of runtime that was made on a busy machine sticks.

While other processes keep every core busy, `fast` explains ten photos. The others then stop, and
ten more photos give the choice time to be corrected. The photos after that are compared with the
best runtime and precision that a user could name, on the same photos in the same process.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Generator

from torch import Tensor

from benchmarks.speed.job import Job, now
from benchmarks.speed.rows import ROWS, Json
from scorecam import Model, explain

PHOTOS = 10
"""Photos explained while the machine is busy, and again as many after it."""

# Fewer than a user could name: the network itself in float32 is never the fastest here.
CANDIDATES = (
    ("openvino", "bfloat16"),
    ("openvino", "float32"),
    ("eager", "bfloat16"),
)


def measure(job: Job, model: Model, images: Tensor) -> Json:
    """Median seconds of the automatic choice, and of every choice that can be named."""
    keywords = ROWS[job.row].keywords

    def median(runtime: str, precision: str, some: Tensor) -> float:
        settings = keywords | {"runtime": runtime, "precision": precision}
        return statistics.median(seconds(job, model, image, settings) for image in some)

    photos = images.repeat(-(-PHOTOS // len(images)), *[1] * (images.ndim - 1))[:PHOTOS]
    with busy_cores():
        during = median("auto", "auto", photos)
    after = median("auto", "auto", photos)
    some = photos[: PHOTOS // 2]
    chosen = median("auto", "auto", some)  # first: naming a runtime converts the network for all
    settled = explain(model, images[0], **keywords).provenance
    medians: Json = {}
    for runtime, precision in CANDIDATES:
        if runtime in model.runtimes and precision in model.precisions:
            seconds(job, model, images[0], {**keywords, "runtime": runtime, "precision": precision})
            medians[f"{runtime}, {precision}"] = median(runtime, precision, some)
    return {
        "seconds": chosen,
        "during": during,
        "after": after,
        "best": min(medians, key=lambda name: medians[name]),
        "over_best": chosen / min(medians.values()),
        "candidates": medians,
        "runtime": settled.runtime,
        "precision": settled.precision,
        "batch_size": settled.batch_size,
    }


def seconds(job: Job, model: Model, image: Tensor, settings: Json) -> float:
    """The time of one map."""
    began = now(job.device)
    _ = explain(model, image, **settings).heatmap
    return now(job.device) - began


@contextlib.contextmanager
def busy_cores() -> Generator[None]:
    """In this context, one other process per core computes all the time."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]  # noqa: S603
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
