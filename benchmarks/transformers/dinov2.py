"""Maps of a transformer with real weights, by layer and method.

    python -m benchmarks.transformers.probe --photos PHOTOS      # once
    python -m benchmarks.transformers.dinov2 --photos PHOTOS --work WORK

The network is DINOv2-S/14 with the linear probe of probe.py. The photos are composites that the
probe was not fitted on, explained for their labelled class. Every layer has one exact float32 bank
per photo, which all variants read. grad-cam's own Score-CAM takes 384 more passes per photo and
layer, and is measured on the first 20 photos only. Runs can be stopped and resumed. At the end, or
with `--parts ''`, the results of the runs in WORK are written to
benchmarks/results/transformers/dinov2.json, which `transformers_page.py` reads.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import scorecam
from benchmarks.common.paths import RESULTS
from benchmarks.paper.reproduced import Run, cut_outs, load
from benchmarks.transformers import probe
from benchmarks.transformers.rivals import OfGradCam, Rollout
from scorecam.datasets.sample import Dataset
from scorecam.datasets.selection import select
from scorecam.methods.method import Method
from scorecam.methods.names import parse_methods
from scorecam.metrics.faithfulness import Deletion, Insertion, Recognition
from scorecam.metrics.localisation import Energy
from scorecam.metrics.metric import Metric

LAYERS = {
    "blocks.10": "the last block's input",
    "blocks.11.norm1": "the last block's first norm",
    "blocks.11": "the last block's output",
    "blocks.8": "an earlier block's output",
}
FIRST = next(iter(LAYERS))
VARIANTS = tuple(f"scorecam:variant={name}" for name in ("centred", "official", "consensus"))
CENTRED = VARIANTS[0]
GRAD_CAM, SCORE_CAM = "grad-cam:GradCAM", "grad-cam:ScoreCAM"
WITHOUT_LAYER = ("rollout", "uniform", "centre")
OUTCOMES = ("energy_mask", "insertion", "deletion", "average_drop", "average_increase")
FEW, AT_ONCE, STEPS = 20, 4, 25
"""Photos of the first part, photos measured on one layer before the next layer, and steps of the
deletion and insertion curves."""

METRICS: tuple[Metric, ...] = (
    Recognition(),
    Deletion(steps=STEPS),
    Insertion(steps=STEPS),
    Energy(),
)


@dataclass(frozen=True)
class Part:
    """Runs that are measured one after the other.

    Args:
        photos: "first" or "rest".
        kind: "layers": the variants and grad-cam's Grad-CAM, layer by layer; "controls": the
            methods without a layer; "score-cam": grad-cam's Score-CAM, layer by layer.
    """

    photos: str
    kind: str


PARTS = {
    "first-layers": Part("first", "layers"),
    "first-controls": Part("first", "controls"),
    "first-score-cam": Part("first", "score-cam"),
    "rest-controls": Part("rest", "controls"),
    "rest-layers": Part("rest", "layers"),
}


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────


def photographs(folder: Path, part: str) -> Dataset:
    """The held-out photos: the first 20 in random order, or the others."""
    _, every = probe.split(folder)
    few = select(every, limit=FEW)
    if part == "first":
        return few
    known = {sample.id for sample in few.samples}
    return replace(every, samples=tuple(each for each in every.samples if each.id not in known))


def methods(kind: str, model: scorecam.Model) -> list[Method]:
    """The methods of a kind of runs."""
    network: Any = getattr(model, "module")  # noqa: B009
    if kind == "controls":
        return [Rollout(network), *parse_methods(",".join(WITHOUT_LAYER[1:]))]
    if kind == "score-cam":
        return [OfGradCam(network, "ScoreCAM")]
    return [*parse_methods(",".join(VARIANTS)), OfGradCam(network, "GradCAM")]


def measure(model: scorecam.Model, name: str, dataset: Dataset, work: Path) -> None:
    """Measure one part, or what is missing of it.

    A few photos are measured on every layer before the next few, so that an unfinished part has the
    same photos for all layers.
    """
    part, began = PARTS[name], time.perf_counter()
    shards = -(-len(dataset) // AT_ONCE)
    for shard in range(1, shards + 1):
        for layer in [FIRST] if part.kind == "controls" else LAYERS:
            summary = scorecam.evaluate(
                model,
                dataset,
                methods(part.kind, model),
                METRICS,
                out=work / f"{name}-{layer}",
                layer=layer,
                shard=(shard, shards),
                gallery=False,
            )
            minutes = (time.perf_counter() - began) / 60
            print(f"{name} {layer}: {summary.done} photos, {minutes:.1f} min", flush=True)


# ── results ──────────────────────────────────────────────────────────────────────────────────────


def results(work: Path, photos: Path) -> dict[str, Any]:
    """The means by layer and method, and the differences of `centred`, on the finished photos."""
    shows = cut_outs(photos)
    found: dict[str, Any] = {"curve steps": STEPS, "layers": {}, "controls": {}}
    loaded = {layer: _loaded(work, layer, shows) for layer in LAYERS}
    runs = {layer: run for layer, run in loaded.items() if CENTRED in run.values}
    for layer, run in runs.items():
        names = [name for name in (*VARIANTS, GRAD_CAM, SCORE_CAM) if name in run.values]
        found["layers"][layer] = {
            "about": list(run.about),
            "means": {name: _means(run, name) for name in names},
            "minus": _minus(run, [*names, *(name for name in WITHOUT_LAYER if name in run.values)]),
        }
    controls = next(iter(loaded.values()))
    found["controls"] = {
        name: _means(controls, name) for name in WITHOUT_LAYER if name in controls.values
    }
    found["between layers"] = _between(runs)
    return found


def _loaded(work: Path, layer: str, shows: dict[str, str]) -> Run:
    """The finished runs of one layer, and those of methods without a layer."""
    kinds = {
        name: "blocks.10" if part.kind == "controls" else layer for name, part in PARTS.items()
    }
    return load([work / f"{name}-{place}" for name, place in kinds.items()], shows)


def _means(run: Run, method: str) -> dict[str, Any]:
    return {
        outcome: run.mean(method, outcome).plain()
        | {"undefined": run.undefined.get((method, outcome), 0)}
        for outcome in OUTCOMES
    }


def _minus(run: Run, names: Sequence[str]) -> dict[str, Any]:
    """Each variant minus every other method, photo by photo."""
    return {
        one: {
            other: {outcome: run.against(one, other, outcome).plain() for outcome in OUTCOMES}
            for other in names
            if other != one
        }
        for one in VARIANTS
        if one in names
    }


def _between(runs: dict[str, Run]) -> dict[str, Any]:
    """Each variant at the last block's input minus itself at the other layers."""
    found: dict[str, Any] = {}
    for name in VARIANTS:
        here = runs[FIRST].values.get(name, {})
        found[name] = {}
        for layer in list(runs)[1:]:
            values = {"here": here, "there": runs[layer].values.get(name, {})}
            both = replace(runs[FIRST], values=values)
            found[name][layer] = {
                outcome: both.against("here", "there", outcome).plain() for outcome in OUTCOMES
            }
    return found


def main() -> None:
    """Run the parts, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("out/photos"))
    parser.add_argument("--work", type=Path, default=Path("out/transformers"))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--limit", type=int, help="fewer photos per part, to try the script")
    options = parser.parse_args()
    if names := list(filter(None, options.parts.split(","))):
        model = probe.model()
        for name in names:
            photos = photographs(options.photos, PARTS[name].photos)
            photos = replace(photos, samples=photos.samples[: options.limit])
            measure(model, name, photos, options.work)
    file = RESULTS / "transformers/dinov2.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(results(options.work, options.photos), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
