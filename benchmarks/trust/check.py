"""How often `scorecam.check` refuses networks that know nothing, and accepts those that do.

    python benchmarks/trust.py --photos DIR --work WORK --part fit     # or judge, confident
    python benchmarks/trust_report.py WORK                             # what it says together

DIR holds `composites` and `natural`, as `benchmarks/paper/photos/make.py` builds them; garments
come from `benchmarks/fashion.py`. What is measured of each map lies in WORK, so that thresholds are
fitted without a model. They are fitted on composites and on garments of the first seeds, and judged
on natural photographs (`trained: last block` on other composites) and on other garments, with other
networks and seeds.

To be accepted: maps of trained networks' predictions where they are right. To be refused: maps of
the predictions of

    drawn      the last stage, or the last one or two blocks, drawn anew by their own initialisers,
    settled    the same, with the statistics of their batch norms gathered again on a few photos, so
               that activations have the size that they had,
    confident  drawn and settled ones whose scores were multiplied until every answer was confident:
               apart from the others, for what a check that only sees confidence would miss,
    memorised  confident networks that were trained on shuffled labels from the start: on the photos
               they were trained on (`seen`), and on others (`new`),
    further    Lite0 as it comes, trained further on a few photos, its last block and head or all of
               it: on shuffled labels, to be refused, and on right ones, to be accepted. Told apart
               from the others, and not fitted on: its features are sound either way.
"""

from __future__ import annotations

import argparse
import copy
import csv
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fashion
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import scorecam
from scorecam.images.photo import read_photo
from scorecam.model.model import WhiteBox
from scorecam.trust.evidence import MEASURES, measure
from scorecam.trust.subject import Subject

Record = dict[str, Any]
CODES = frozenset(code for group in MEASURES for code in group)

FIT, JUDGE, CONFIDENT = "fit", "judge", "confident"
SURE = 0.95
"""How probable a network that is trained on has to find every label."""

DRAWN = 60
"""Composites that are drawn for fitting; the last of the shuffled are for training."""

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


Shown = tuple[str, Tensor, int | None]
"""A photo's name, the photo as the model takes it, and its class where only the right count."""


@dataclass(frozen=True)
class Case:
    """A network and what it is shown.

    Args:
        family: "lite0", "lite1", "lite2" or "garments".
        kind: "trained", or which way it is spoilt.
        model: opened.
        images: preprocessed, `c h w`, by name, with the right class where only those count.
        runtime: what runs it.
        layer: None for the default.
    """

    family: str
    kind: str
    model: scorecam.Model
    images: Sequence[Shown]
    runtime: str
    layer: str | None = None


# ── measuring ────────────────────────────────────────────────────────────────────────────────


def measured(case: Case, name: str, image: Tensor, wanted: int | None) -> Record | None:
    """What `check` looks at, of one map; None where a trained network is wrong."""
    model, began = case.model, time.perf_counter()
    if wanted is not None and int(model.scores(image[None])[0].argmax()) != wanted:
        return None
    explained = scorecam.explain(
        model, image, layer=case.layer, budget="fast", runtime=case.runtime
    )
    notes = [note.code for note in explained.health]
    values: dict[str, Any] = {}
    if "flat" not in notes:
        values = measure(Subject(model, explained), CODES)
    return {
        "family": case.family,
        "kind": case.kind,
        "photo": name,
        "probability": explained.target.probability,
        "columns": len(explained.bank.image_scores),
        "notes": notes,
        "values": values,
        "seconds": round(time.perf_counter() - began, 2),
    }


def collect(cases: Iterator[Case], path: Path) -> None:
    """Measure every case into a JSON file of records."""
    records: list[Record] = []
    began = time.perf_counter()
    for case in cases:
        for name, image, wanted in case.images:
            record = measured(case, name, image, wanted)
            if record is not None:
                records.append(record)
        spent = time.perf_counter() - began
        print(f"{spent:6.0f} s  {len(records):4}  {case.family}: {case.kind}", flush=True)
        path.write_text(json.dumps(records, indent=1))


# ── networks ─────────────────────────────────────────────────────────────────────────────────


def spoilt(model: WhiteBox, parts: Sequence[str], image: Tensor, seed: int) -> WhiteBox:
    """A copy in which the stages under these names were drawn anew; `blocks.-1` is the last."""
    stages = model.stages(image[None])
    blocks = [stage for stage in stages if stage.startswith("blocks.")]
    names = [blocks[int(p[7:]) * -1 - 1] if p.startswith("blocks.-") else p for p in parts]
    chosen = [s for s in stages if any(s == name or s.startswith(f"{name}.") for name in names)]
    return model.randomised(chosen, image[None], seed)


def settle(model: Any, original: Any, images: Tensor) -> None:
    """Gather the statistics of the batch norms that were drawn anew on these images."""
    fresh = [
        module
        for name, module in model.module.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        and not torch.equal(module.running_mean, original.module.get_submodule(name).running_mean)
    ]
    for norm in fresh:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        model.module(images)
    model.module.eval()


def spoilt_cases(
    of: Case,
    kinds: dict[str, list[str]],
    *,
    few: Callable[[int], Sequence[Shown]],
    seeds: Sequence[int],
    settling: Tensor,
) -> Iterator[Case]:
    """Every kind, drawn and settled; each network is shown its own few photos."""
    turn = 0
    for seed, kind, settled in itertools.product(seeds, kinds, (False, True)):
        if settled and kind == "classifier":
            continue  # it has no batch norm
        drawn = spoilt(of.model, kinds[kind], settling[0], seed)
        if settled:
            settle(drawn, of.model, settling)
        name = f"{'settled' if settled else 'drawn'}: {kind}"
        yield replace(of, kind=name, model=drawn, images=few(turn))
        turn += 1


def retrained(
    model: Any, images: Tensor, labels: Sequence[int], seed: int, *, whole: bool = False
) -> nn.Module:
    """The network, trained on these labels until it is sure of every photo.

    Batch norms keep their statistics, so what is sure in training is sure afterwards.

    Args:
        whole: all of it; else its last block and head alone.
    """
    torch.manual_seed(seed)
    network = copy.deepcopy(model.module).eval().requires_grad_(requires_grad=True)
    network.classifier = nn.Linear(network.classifier.in_features, max(labels) + 1)
    front = nn.Sequential(network.stem, *network.blocks[:-1])
    tail = nn.Sequential(
        network.blocks[-1], network.head, network.pool, network.flatten, network.classifier
    )
    body = nn.Sequential(front, tail) if whole else tail
    if not whole:
        with torch.no_grad():
            images = torch.cat([front(part) for part in images.split(8)])
    wanted = torch.tensor(labels)
    descent = torch.optim.Adam(body.parameters(), 3e-4 if whole else 1e-3)
    epochs, sure = 0, 0.0
    while sure < SURE and epochs < 60:
        epochs, sure = epochs + 1, 1.0
        for batch in torch.randperm(len(labels)).split(16):
            descent.zero_grad()
            said = body(images[batch])
            functional.cross_entropy(said, wanted[batch]).backward()
            descent.step()
            own = said.detach().softmax(dim=1).gather(1, wanted[batch, None])
            sure = min(sure, float(own.min()))
    print(f"          trained on {len(labels)} for {epochs} epochs, least sure {sure:.2f}")
    return network.requires_grad_(requires_grad=False)


# ── photos ───────────────────────────────────────────────────────────────────────────────────

Photo = tuple[Path, int]


def composites(root: Path, wnids: Sequence[str]) -> list[Photo]:
    """All composites in a fixed random order, with their classes."""
    places = {path.stem: path for path in (root / "composites/images").rglob("*.*")}
    with (root / "composites/manifest.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["name"] in places]
    random.Random(0).shuffle(rows)  # noqa: S311
    return [(places[row["name"]], wnids.index(row["wnid"])) for row in rows]


def natural(root: Path, wnids: Sequence[str]) -> list[Photo]:
    """The natural photographs, with their classes."""
    return [
        (path, wnids.index(path.parent.name))
        for path in sorted((root / "natural/images").rglob("*.*"))
    ]


def known_wnids() -> list[str]:
    """ImageNet's classes by WordNet number, in the order of columns."""
    return (Path(scorecam.__file__).parent / "data/imagenet_wnids.txt").read_text().split()


def seen_by(model: scorecam.Model, photos: Sequence[Photo], *, right: bool = False) -> list[Shown]:
    """Photos as the model takes them: name, image, and the class where only the right count."""
    assert model.preprocess is not None
    return [
        (path.stem, model.preprocess(read_photo(path)), wanted if right else None)
        for path, wanted in photos
    ]


def stacked(seen: Sequence[Shown]) -> Tensor:
    return torch.stack([image for _, image, _ in seen])


# ── the two parts ────────────────────────────────────────────────────────────────────────────


def lite_cases(root: Path, part: str, names: Sequence[str]) -> Iterator[Case]:
    """EfficientNet-Lite: composites for fitting, natural photographs for judging."""
    wnids = known_wnids()
    everything = composites(root, wnids)
    pool, rest = everything[:DRAWN], everything[DRAWN:]
    photos = pool if part == FIT else natural(root, wnids)
    each = 3 if part == FIT else 2
    for name in names:
        model = scorecam.open_model(name)
        yield Case(name, "trained", model, seen_by(model, photos, right=True), "openvino")
        if name == "lite0":
            yield from retrained_lite(part, photos, rest)
        shown = seen_by(model, photos)
        yield from spoilt_cases(
            Case(name, "", model, [], "openvino"),
            LITE_KINDS,
            few=lambda turn, shown=shown: [
                shown[(turn * each + i) % len(shown)] for i in range(each)
            ],
            seeds=[int(name[-1]) + (0 if part == FIT else 20)],
            settling=stacked(seen_by(model, rest[:16])),
        )


def confident_cases(root: Path) -> Iterator[Case]:
    """Lite0's spoilt networks of the judged set, their scores multiplied until all are sure."""
    wnids = known_wnids()
    model = scorecam.open_model("lite0")
    shown = seen_by(model, natural(root, wnids))
    settling = stacked(seen_by(model, composites(root, wnids)[DRAWN : DRAWN + 16]))
    for case in spoilt_cases(
        Case("lite0", "", model, [], "openvino"),
        LITE_KINDS,
        few=lambda turn: [shown[(turn * 2 + i) % len(shown)] for i in range(2)],
        seeds=[20],
        settling=settling,
    ):
        if case.kind in ("drawn: last block", "drawn: last two blocks"):
            continue  # their maps are flat, whatever the scale
        network: Any = case.model
        scores, factor = network.scores(stacked(case.images)), 1.0
        while factor < 1e7 and (factor * scores).softmax(dim=1).amax(dim=1).min() < 0.9:
            factor *= 1.3
        for tensor in network.module.classifier.parameters():
            tensor.data *= factor
        yield replace(case, kind=f"{case.kind}, scores times {factor:.0f}")


FOLDS = 3
"""Networks trained further on right labels, each shown photos that it was not trained on."""


def retrained_lite(part: str, photos: Sequence[Photo], rest: Sequence[Photo]) -> Iterator[Case]:
    """Lite0 trained further, on right labels and on shuffled ones: its last block and head, or all.

    The right labels are those of composites alone, and the photos to be accepted are others.
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
            network = _retrained(model, trained, labels, seed + fold, whole=whole)
            images = [
                (name, image, classes.index(wanted))
                for (name, image, _), (_, wanted) in zip(seen_by(model, known), known, strict=True)
            ]
            yield Case("lite0", f"further: right, {name}", network, images, "openvino")
        # On shuffled labels: the photos it was trained on, and others.
        trained = [*own[:48], *photos[:12]]
        _, labels = numbered(trained)
        random.Random(seed).shuffle(labels)  # noqa: S311
        network = _retrained(model, trained, labels, seed, whole=whole)
        others = photos[12:24] if part == FIT else [*photos[12:], *rest[:12]]
        for kind, shown in (("seen", photos[:12]), ("new", others)):
            seen = seen_by(model, shown)
            yield Case("lite0", f"further: shuffled, {name}, {kind}", network, seen, "openvino")


def numbered(photos: Sequence[Photo]) -> tuple[list[int], list[int]]:
    """The classes that are there, and the place among them of each photo's."""
    classes = sorted({wanted for _, wanted in photos})
    return classes, [classes.index(wanted) for _, wanted in photos]


def _retrained(
    model: Any, photos: Sequence[Photo], labels: Sequence[int], seed: int, *, whole: bool
) -> scorecam.Model:
    images = stacked(seen_by(model, photos))
    network = retrained(model, images, labels, seed, whole=whole)
    return scorecam.open_model(network, preprocess=model.preprocess)


def garment_cases(part: str) -> Iterator[Case]:
    """Small networks on garments: other seeds and other canvases for judging."""
    seed, count = (0, 40) if part == FIT else (200, 80)
    good = fashion.canvases("train", 12000, seed)
    network = fashion.train(good.pixels, good.labels, epochs=5, seed=seed)
    opened = scorecam.open_model(network, preprocess=fashion.PREPROCESS)
    test = fashion.canvases("t10k", 4 * count, seed + 1)

    def shown(start: int, end: int, *, right: bool = False) -> list[Shown]:
        images, labels = fashion.inputs(test.pixels[start:end]), test.labels[start:end]
        return [
            (f"{start + i}", image, int(label) if right else None)
            for i, (image, label) in enumerate(zip(images, labels, strict=True))
        ]

    yield Case("garments", "trained", opened, shown(0, count, right=True), "eager", fashion.LAYER)
    settling = fashion.inputs(good.pixels[:64])
    yield from spoilt_cases(
        Case("garments", "", opened, [], "eager", fashion.LAYER),
        GARMENT_KINDS,
        few=lambda turn: shown(count + 5 * turn, count + 5 * turn + 5),
        seeds=[seed] if part == FIT else [seed, seed + 1],
        settling=settling,
    )
    small = fashion.canvases("train", 600, seed + 3)
    labels = np.random.default_rng(seed).permutation(small.labels)
    spoiled = fashion.train(small.pixels, labels, epochs=120, seed=seed + 1)
    fits = fashion.predictions(spoiled, small.pixels) == labels
    print(f"          garments memorised: {fits.mean():.1%} of 600")
    opened = scorecam.open_model(spoiled, preprocess=fashion.PREPROCESS)
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
    """Measure what is asked for, then fit and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
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
