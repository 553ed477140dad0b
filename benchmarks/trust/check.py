"""The rates at which `scorecam.check` refuses broken networks and accepts sound ones.

    python -m benchmarks.trust.check --photos DIR --work WORK --part fit   # or judge, confident
    python -m benchmarks.trust.check_report WORK                           # thresholds and rates

DIR holds `composites` and `natural`, as `benchmarks/paper/photos/make.py` builds them. Garments
come from `benchmarks/common/fashion.py`. The measurements of each map are kept in WORK, so that
thresholds are fitted without a model. They are fitted on composites and on garments of the first
seeds. They are judged on natural photographs and on other garments, with other networks and seeds.
Every photo is explained twice, as `official` and as `centred`; only `official` is used for fitting.

To be accepted: maps of correct predictions of trained networks. To be refused: maps of the
predictions of these networks:

    re-initialised  the last stage, or the last one or two blocks, re-initialised;
    recalibrated    the same, with the statistics of their batch norms computed again on a few
                    photos, so that activations have their usual size;
    confident       re-initialised and recalibrated networks with scores multiplied until every
                    prediction is confident. They are reported separately, for faults that a check
                    of confidence would miss;
    memorised       confident networks trained on shuffled labels from the start: on photos they
                    were trained on (`seen`), and on others (`new`);
    fine-tuned      Lite0 fine-tuned on a few photos, either its last block and head or the whole
                    network. With shuffled labels it should be refused, with correct labels
                    accepted. These are reported separately and not used for fitting, because the
                    features are sound in both cases.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import scorecam
from benchmarks.common import fashion
from benchmarks.trust.broken_networks import fine_tuned, recalibrate, reinitialised
from benchmarks.trust.check_photos import (
    Item,
    Photo,
    composites,
    inputs,
    natural,
    stacked,
    wnids,
)
from benchmarks.trust.check_records import Record
from scorecam.trust.checked_map import CheckedMap
from scorecam.trust.criteria import CRITERIA, measure

CODES = frozenset(CRITERIA)

FIT, JUDGE, CONFIDENT = "fit", "judge", "confident"
MEASURED = ("official", "centred")
"""The measured variants. Thresholds are fitted for the first one alone."""

FITTED = 60
"""Composites used for fitting; the others are for training."""

LITE_KINDS = {
    "classifier": ["classifier"],
    "head": ["classifier", "head"],
    "last block": ["blocks.-1"],
    "last two blocks": ["blocks.-1", "blocks.-2"],
    "head and last block": ["classifier", "head", "blocks.-1"],
}
GARMENT_KINDS = {
    "classifier": ["head"],
    "last block": ["last"],
    "last two blocks": ["last", "middle"],
    "head and last block": ["head", "last"],
}


@dataclass(frozen=True)
class Case:
    """A network and its photos.

    Args:
        family: "lite0", "lite1", "lite2" or "garments".
        kind: "trained", or the kind of fault.
        model: the opened model.
        images: the photos; where they have a class, only correct predictions count.
        runtime: the runtime.
        layer: the layer to explain; None for the default.
    """

    family: str
    kind: str
    model: scorecam.Model
    images: Sequence[Item]
    runtime: str
    layer: str | None = None


# ── measuring ────────────────────────────────────────────────────────────────────────────────────


def measured(case: Case, name: str, image: Tensor, variant: str) -> Record:
    """The evidence of one map."""
    model, began = case.model, time.perf_counter()
    explained = scorecam.explain(
        model, image, layer=case.layer, variant=variant, budget="fast", runtime=case.runtime
    )
    notes = [note.code for note in explained.health]
    values: dict[str, Any] = {}
    if "flat" not in notes:
        values = measure(CheckedMap(model, explained), CODES)
    return {
        "family": case.family,
        "kind": case.kind,
        "photo": name,
        "variant": variant,
        "probability": explained.target.probability,
        "columns": len(explained.bank.image_scores),
        "notes": notes,
        "class_free": explained.class_free,
        "values": values,
        "seconds": round(time.perf_counter() - began, 2),
    }


def collect(cases: Iterator[Case], path: Path) -> None:
    """Measure every case, and write the records as JSON."""
    records: list[Record] = []
    began = time.perf_counter()
    for case in cases:
        for name, image, label in case.images:
            if label is None or int(case.model.scores(image[None])[0].argmax()) == label:
                records += [measured(case, name, image, variant) for variant in MEASURED]
        spent = time.perf_counter() - began
        print(f"{spent:6.0f} s  {len(records):4}  {case.family}: {case.kind}", flush=True)
        path.write_text(json.dumps(records, indent=1))


# ── cases ────────────────────────────────────────────────────────────────────────────────────────


def broken_cases(
    of: Case,
    kinds: dict[str, list[str]],
    *,
    few: Callable[[int], Sequence[Item]],
    seeds: Sequence[int],
    calibration: Tensor,
) -> Iterator[Case]:
    """Every kind, re-initialised and recalibrated; each network has its own photos."""
    turn = 0
    for seed, kind, is_recalibrated in itertools.product(seeds, kinds, (False, True)):
        if is_recalibrated and kind == "classifier":
            continue  # a classifier has no batch norm
        network = reinitialised(of.model, kinds[kind], calibration[0], seed)
        if is_recalibrated:
            recalibrate(network, of.model, calibration)
        name = f"{'recalibrated' if is_recalibrated else 're-initialised'}: {kind}"
        yield replace(of, kind=name, model=network, images=few(turn))
        turn += 1


# ── the two parts ────────────────────────────────────────────────────────────────────────────────


def lite_cases(root: Path, part: str, names: Sequence[str]) -> Iterator[Case]:
    """EfficientNet-Lite: composites for fitting, natural photographs for judging."""
    classes = wnids()
    everything = composites(root, classes)
    pool, rest = everything[:FITTED], everything[FITTED:]
    photos = pool if part == FIT else natural(root, classes)
    each = 3 if part == FIT else 2
    for name in names:
        model = scorecam.open_model(name)
        yield Case(name, "trained", model, inputs(model, photos, right=True), "openvino")
        if name == "lite0":
            yield from fine_tuned_lite(part, photos, rest)
        shown = inputs(model, photos)
        yield from broken_cases(
            Case(name, "", model, [], "openvino"),
            LITE_KINDS,
            few=lambda turn, shown=shown: [
                shown[(turn * each + i) % len(shown)] for i in range(each)
            ],
            seeds=[int(name[-1]) + (0 if part == FIT else 20)],
            calibration=stacked(inputs(model, rest[:16])),
        )


def confident_cases(root: Path) -> Iterator[Case]:
    """The judged broken networks of Lite0, with scores multiplied until all are confident."""
    classes = wnids()
    model = scorecam.open_model("lite0")
    shown = inputs(model, natural(root, classes))
    calibration = stacked(inputs(model, composites(root, classes)[FITTED : FITTED + 16]))
    for case in broken_cases(
        Case("lite0", "", model, [], "openvino"),
        LITE_KINDS,
        few=lambda turn: [shown[(turn * 2 + i) % len(shown)] for i in range(2)],
        seeds=[20],
        calibration=calibration,
    ):
        if case.kind in ("re-initialised: last block", "re-initialised: last two blocks"):
            continue  # their maps are flat at any scale
        network: Any = case.model
        scores, factor = network.scores(stacked(case.images)), 1.0
        while factor < 1e7 and (factor * scores).softmax(dim=1).amax(dim=1).min() < 0.9:
            factor *= 1.3
        for tensor in network.module.classifier.parameters():
            tensor.data *= factor
        yield replace(case, kind=f"{case.kind}, scores times {factor:.0f}")


FOLDS = 3
"""Networks fine-tuned on correct labels, each measured on photos it was not trained on."""


def fine_tuned_lite(part: str, photos: Sequence[Photo], rest: Sequence[Photo]) -> Iterator[Case]:
    """Lite0 fine-tuned on correct and on shuffled labels: its last block and head, or all of it.

    The correct labels are those of composites. The photos to be accepted are other composites.
    """
    model = scorecam.open_model("lite0")
    seed, own = (1, rest[16:96]) if part == FIT else (21, rest[96:])
    for whole in (False, True):
        name = "whole" if whole else "last block"
        for fold in range(1 if whole else FOLDS):
            shown = own[16 * fold : 16 * fold + 16]
            trained = [photo for photo in own if photo not in shown]
            classes, labels = numbered(trained)
            known = [photo for photo in shown if photo[1] in classes]
            network = _fine_tuned(model, trained, labels, seed + fold, whole=whole)
            images = [
                (name, image, classes.index(label))
                for (name, image, _), (_, label) in zip(inputs(model, known), known, strict=True)
            ]
            yield Case("lite0", f"fine-tuned: correct labels, {name}", network, images, "openvino")
        # On shuffled labels: photos it was trained on, and others.
        trained = [*own[:48], *photos[:12]]
        _, labels = numbered(trained)
        random.Random(seed).shuffle(labels)  # noqa: S311
        network = _fine_tuned(model, trained, labels, seed, whole=whole)
        others = photos[12:24] if part == FIT else [*photos[12:], *rest[:12]]
        for kind, shown in (("seen", photos[:12]), ("new", others)):
            seen = inputs(model, shown)
            yield Case(
                "lite0", f"fine-tuned: shuffled labels, {name}, {kind}", network, seen, "openvino"
            )


def numbered(photos: Sequence[Photo]) -> tuple[list[int], list[int]]:
    """The classes of these photos, and the index of each photo's class among them."""
    classes = sorted({label for _, label in photos})
    return classes, [classes.index(label) for _, label in photos]


def _fine_tuned(
    model: Any, photos: Sequence[Photo], labels: Sequence[int], seed: int, *, whole: bool
) -> scorecam.Model:
    images = stacked(inputs(model, photos))
    network = fine_tuned(model, images, labels, seed, whole=whole)
    return scorecam.open_model(network, preprocess=model.preprocess)


def garment_cases(part: str) -> Iterator[Case]:
    """Small networks on garments, with other seeds and canvases for judging."""
    seed, count = (0, 40) if part == FIT else (200, 80)
    good = fashion.canvases("train", 12000, seed)
    network = fashion.train(good.pixels, good.labels, epochs=5, seed=seed)
    opened = scorecam.open_model(network, preprocess=fashion.PREPROCESS)
    test = fashion.canvases("t10k", 4 * count, seed + 1)

    def shown(start: int, end: int, *, right: bool = False) -> list[Item]:
        images, labels = fashion.inputs(test.pixels[start:end]), test.labels[start:end]
        return [
            (f"{start + i}", image, int(label) if right else None)
            for i, (image, label) in enumerate(zip(images, labels, strict=True))
        ]

    yield Case("garments", "trained", opened, shown(0, count, right=True), "eager", fashion.LAYER)
    calibration = fashion.inputs(good.pixels[:64])
    yield from broken_cases(
        Case("garments", "", opened, [], "eager", fashion.LAYER),
        GARMENT_KINDS,
        few=lambda turn: shown(count + 5 * turn, count + 5 * turn + 5),
        seeds=[seed] if part == FIT else [seed, seed + 1],
        calibration=calibration,
    )
    small = fashion.canvases("train", 600, seed + 3)
    labels = np.random.default_rng(seed).permutation(small.labels)
    memorised = fashion.train(small.pixels, labels, epochs=120, seed=seed + 1)
    fits = fashion.predictions(memorised, small.pixels) == labels
    print(f"          garments memorised: {fits.mean():.1%} of 600")
    opened = scorecam.open_model(memorised, preprocess=fashion.PREPROCESS)
    chosen = np.flatnonzero(fits)[: count // 2]
    images = fashion.inputs(small.pixels[chosen])
    seen = [(f"train {i}", image, None) for i, image in zip(chosen, images, strict=True)]
    yield Case("garments", "memorised: seen", opened, seen, "eager", fashion.LAYER)
    yield Case(
        "garments",
        "memorised: new",
        opened,
        shown(3 * count, 3 * count + count // 2),
        "eager",
        fashion.LAYER,
    )


def main() -> None:
    """Measure the chosen parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--part", choices=[FIT, JUDGE, CONFIDENT, "all"], default="all")
    parser.add_argument("--only", choices=["lite0", "others", "garments"])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if options.part in (CONFIDENT, "all"):
        collect(confident_cases(options.photos), options.work / f"lite0-{CONFIDENT}.json")
    for part in (FIT, JUDGE) if options.part == "all" else {FIT, JUDGE} & {options.part}:
        families = {
            "lite0": lambda part=part: lite_cases(options.photos, part, ["lite0"]),
            "others": lambda part=part: lite_cases(options.photos, part, ["lite1", "lite2"]),
            "garments": lambda part=part: garment_cases(part),
        }
        for name, cases in families.items():
            if options.only in (None, name) and (part, name) != (FIT, "others"):
                collect(cases(), options.work / f"{name}-{part}.json")


if __name__ == "__main__":
    main()
