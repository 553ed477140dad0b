r"""The speed of int8, and how far its maps are from those in float32.

    python -m benchmarks.speed.int8 --photos PHOTOS

Time: processor time per image in batches of eight, in float32, bfloat16 and int8 of OpenVINO; the
three take turns. The time of the conversion itself is measured once for each.

Fidelity: exact maps of the predicted class, compared with those in float32. `own` is int8 with
ranges from masks of the same photo, `other` from masks of another photo. The limit of the probe is
lifted, so that all maps are compared. `distance` is what the probe measured: the remark of int8.

The file of results is written after every photo. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.accepting_probe import AcceptingProbe
from benchmarks.common.paths import PHOTOS, RESULTS
from benchmarks.speed.machine import installed, machine
from benchmarks.speed.rows import Json
from benchmarks.speed.subjects import natural, opened
from scorecam import Model, ScoreBank, ScoreCAM, scaled
from scorecam.backends.runtimes import agreement, conversions
from scorecam.images.photo import read_photo
from scorecam.model.engine import Engine, Speed
from tests.helpers import torchvision_ops

PRECISIONS = ("float32", "bfloat16", "int8")
VARIANTS = ("official", "centred")
BATCH = 8
ROUNDS = 15
CALIBRATION = (1, 4)
"""Batches of eight to find the ranges on."""


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


def times(network: str, image: Tensor) -> Json:
    """Milliseconds of processor time per image, and seconds per conversion."""
    images = image.expand(BATCH, *image.shape).contiguous()
    engines: dict[str, Engine] = {}
    converting: Json = {}
    for precision in PRECISIONS:
        model = opened(network, "cpu")
        began = time.process_time()
        engines[precision] = model.engine(Speed("openvino", precision), AcceptingProbe(image))
        converting[precision] = time.process_time() - began
        if engines[precision].precision != precision:
            raise SystemExit(f"No {precision} here: {' '.join(engines[precision].remarks)}")
    passes: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(ROUNDS):
        for precision, engine in engines.items():
            began = time.process_time()
            engine.scores(images)
            passes[precision].append((time.process_time() - began) / BATCH * 1000)
    return {
        "ms per image": {name: statistics.median(each) for name, each in passes.items()},
        "range": {name: [min(each), max(each)] for name, each in passes.items()},
        "conversion s": converting,
    }


# ── fidelity ─────────────────────────────────────────────────────────────────────────────────────


def fidelity(network: str, images: Sequence[Tensor]) -> list[Json]:
    """One record per photo; the first one sets the ranges of `other`, and is not in the list."""
    kept = opened(network, "cpu")
    _bank(kept, images[0], "int8")
    records: list[Json] = []
    for number, image in enumerate(images[1:]):
        truth = _bank(kept, image, "float32")
        record: Json = {"masks": len(truth.scores), "bfloat16": _compared(kept, image, truth)}
        record["other"] = _compared(kept, image, truth, "int8")
        for batches in CALIBRATION:
            conversions.CALIBRATION = batches
            model = opened(network, "cpu")
            record[f"own, {batches * BATCH}"] = _compared(model, image, truth, "int8")
        records.append(record)
        print(network, number, json.dumps(record), flush=True)
    return records


def _bank(model: Model, image: Tensor, precision: str) -> ScoreBank:
    bank = ScoreCAM(model, precision=precision, runtime="openvino").bank(image)
    if bank.provenance.precision != precision:
        raise SystemExit(" ".join(bank.provenance.remarks))
    return bank


def _compared(
    model: Model, image: Tensor, truth: ScoreBank, precision: str = "bfloat16"
) -> dict[str, Any]:
    """How close the maps are to those in float32."""
    bank = _bank(model, image, precision)
    target = int(truth.image_scores.argmax())
    stated = re.search(r"moved the map of a few masks by (\S+)", str(bank.provenance.remarks))
    result: dict[str, Any] = {"distance": float(stated[1])} if stated else {}
    for variant in VARIANTS:
        one, other = (scaled(each.heatmap(target, variant)) for each in (truth, bank))
        result[variant] = {
            "pearson": float(np.corrcoef(one.flatten(), other.flatten())[0, 1]),
            "iou": _overlap(one, other),
            "error": float((one - other).abs().max()),
        }
    return result


def _overlap(one: Tensor, other: Tensor) -> float:
    """The overlap of the pixels in the top 20 %."""
    count = round(0.2 * one.numel())
    tops = (set(each.flatten().topk(count).indices.tolist()) for each in (one, other))
    first, second = tops
    return len(first & second) / len(first | second)


def summary(records: Sequence[Json]) -> Json:
    """Medians and the worst values over photos."""
    result: Json = {}
    for kind in [name for name in records[0] if name != "masks"]:
        for variant in VARIANTS:
            maps: list[Any] = [record[kind][variant] for record in records]
            result[f"{kind}, {variant}"] = {
                "pearson": [
                    statistics.median(each["pearson"] for each in maps),
                    min(each["pearson"] for each in maps),
                ],
                "iou": [
                    statistics.median(each["iou"] for each in maps),
                    min(each["iou"] for each in maps),
                ],
                "error": [
                    statistics.median(each["error"] for each in maps),
                    max(each["error"] for each in maps),
                ],
            }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--networks", default="lite0,resnet50,vgg16")
    parser.add_argument("--count", type=int, default=12, help="photos that are compared")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "speed" / "int8.json")
    options = parser.parse_args()
    torchvision_ops.define()  # before torchvision is imported
    torch.set_num_threads(options.threads)
    agreement.ROUGH = math.inf
    paths = natural(options.photos, options.count + 1)
    found: Json = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine("cpu", options.threads),
        "versions": {name: installed(name) for name in ("openvino", "nncf", "torch")},
        "networks": {},
    }
    for network in options.networks.split(","):
        preprocess: Any = opened(network, "cpu").preprocess
        images = [preprocess(read_photo(path)) for path in paths]
        measured: dict[str, Any] = {"times": times(network, images[0])}
        found["networks"][network] = measured
        if options.count:
            measured["photos"] = fidelity(network, images)
            measured["summary"] = summary(measured["photos"])
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps({**measured, "photos": None}, indent=1), flush=True)


if __name__ == "__main__":
    main()
