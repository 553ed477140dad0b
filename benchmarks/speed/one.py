"""One measurement in a process of its own; measure.py starts this script for each figure.

    python -m benchmarks.speed.one lite0:fast16

The row `reference` makes the exact map of a photo. It also finds the layer and the class for the
other packages.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common.paths import PHOTOS
from benchmarks.speed import busy, peers, plain_passes, warm
from benchmarks.speed.job import MIB, Job, Peak, now, save
from benchmarks.speed.rows import ROWS, THREADS, Json
from benchmarks.speed.subjects import natural, opened
from scorecam import Model, ScoreCAM, explain
from scorecam.images.photo import read_photo
from tests.helpers import torchvision_ops


def measure(job: Job) -> Json:
    """Do one job, and return its figures."""
    torch.set_num_threads(THREADS)
    model = opened(job.network, job.device)
    preprocess = model.preprocess
    if preprocess is None:
        sys.exit(f"{job.network} has no preprocessing for photos.")
    images = torch.stack([preprocess(read_photo(path)) for path in job.photos]).to(job.device)
    if job.row == "reference":
        return reference(job, model, images)
    kind = ROWS[job.row].kind
    if kind == "ours":
        return (ours_many if ROWS[job.row].many else ours_one)(job, model, images)
    modules = {"warm": warm, "busy": busy, "peer": peers, "cheap": peers}
    return modules.get(kind, plain_passes).measure(job, model, images)


def ours_one(job: Job, model: Model, images: Tensor) -> Json:
    """One photo, then four more classes of it."""
    row = ROWS[job.row]
    image, device = images[job.at], job.device
    with Peak(device) as peak:
        began = now(device)
        explanation = explain(model, image, **row.keywords)
        heatmap = explanation.heatmap
        seconds = now(device) - began
    top = explanation.top(5)
    began = now(device)
    others = [other.heatmap for other in top[1:]]
    five = now(device) - began
    save(job, [heatmap])
    provenance = explanation.provenance
    figures: Json = {
        "seconds": seconds,
        "peak_mib": peak.bytes / MIB,
        "five": {
            "classes": 1 + len(others),
            "ratio": (seconds + five) / seconds,
            "same_passes": all(
                other.provenance.forward_passes == provenance.forward_passes for other in top
            ),
        },
        "runtime": provenance.runtime,
        "precision": provenance.precision,
        "forward_passes": provenance.forward_passes,
        "batch_size": provenance.batch_size,
        "remarks": list(provenance.remarks),
        "error_estimated": explanation.error,
    }
    if row.again:
        began = now(device)
        _ = explain(model, image, **row.keywords).heatmap
        figures["seconds_again"] = now(device) - began
    return figures


def ours_many(job: Job, model: Model, images: Tensor) -> Json:
    """All photos in one call."""
    row, device = ROWS[job.row], job.device
    with Peak(device) as peak:
        began = now(device)
        method = ScoreCAM(model, **row.keywords)
        heatmaps = method(images)
        seconds = now(device) - began
    save(job, list(heatmaps))
    provenance = method.bank(images[0]).provenance  # heatmaps carry no provenance
    return {
        "seconds": seconds / len(images),
        "photos": len(images),
        "peak_mib": peak.bytes / MIB,
        "runtime": provenance.runtime,
        "precision": provenance.precision,
        "batch_size": provenance.batch_size,
        "remarks": list(provenance.remarks),
    }


def reference(job: Job, model: Model, images: Tensor) -> Json:
    """The exact map, with the layer and the target that it explains."""
    began = now(job.device)
    explanation = explain(model, images[job.at], runtime=job.runtime, precision="float32")
    save(job, [explanation.heatmap])
    return {
        "seconds": now(job.device) - began,
        "layer": explanation.layer,
        "target": explanation.target.index,
        "probability": explanation.target.probability,
        "channels": len(explanation.bank.activations),
        "live": len(explanation.bank.live),
        "runtime": explanation.provenance.runtime,
        "forward_passes": explanation.provenance.forward_passes,
    }


def floor_option(text: str) -> tuple[str, str, int, int]:
    """RUNTIME,PRECISION,PASSES,BATCH from the command line."""
    runtime, precision, count, size = text.split(",")
    return runtime, precision, int(count), int(size)


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("what", metavar="NETWORK:ROW")
    add("--device", default="cpu")
    add("--photos", type=Path, default=PHOTOS)
    add("--many", type=int, default=16, help="photos for rows that explain many at once")
    add("--at", type=int, default=0, help="the photo's number, for the other rows")
    add("--layer", help="for torchcam and grad-cam; default: scorecam's")
    add("--target", type=int, help="for torchcam and grad-cam; default: the predicted class")
    add("--floor", type=floor_option, metavar="RUNTIME,PRECISION,PASSES,BATCH")
    add("--runtime", default="eager", help="of a reference")
    add("--maps", type=Path, help="write the scaled maps to this .npy file")
    options = parser.parse_args()
    network, _, row = options.what.partition(":")
    if row not in (*ROWS, "reference"):
        sys.exit(f"There is no row {row!r}. Use one of {', '.join(ROWS)}, reference.")
    if not 0 <= options.at < options.many:
        parser.error(f"--at {options.at} is not one of {options.many} photos")
    torchvision_ops.define()
    job = Job(
        network,
        row,
        options.device,
        natural(options.photos, options.many),
        at=options.at,
        layer=options.layer,
        target=options.target,
        floor=options.floor,
        runtime=options.runtime,
        maps=options.maps,
    )
    print(json.dumps(measure(job)))


if __name__ == "__main__":
    main()
