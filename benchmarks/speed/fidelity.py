"""How near few masks come to all of them: budgets and tolerances against exact maps.

    python benchmarks/fidelity.py --out benchmarks/results/fidelity.json

Every photo is explained with every mask once, in float32 on a runtime that agrees with the plain
network to 1e-4, and those answers are kept (`--cache`). Then, for the predicted class, the second
and one at random of the top 20:

* `fast`: the real thing, `budget="fast", precision="auto"`, against the exact float32 map;
* `masks`: what so many masks give, answered from the exact bank (float32);
* `tolerance`: the same for `tolerance=`. Constants were chosen while looking at every fourth photo:
  those with even numbers where `--limit 128` takes every other one. Those with odd numbers are new.

Maps are compared as users see them: scaled, in the input's pixels. Pearson is lenient (all weights
equal already reach about 0.95); the overlap of the top 20 % is the stricter figure.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

import networks
from scorecam import Masking, Model, ScoreBank, ScoreCAM, cam, open_model, scaled
from scorecam.bank.bank import Provenance
from scorecam.budget.gaussian_process import Surrogate
from scorecam.budget.plan import BudgetedSearch, Plan, plan
from scorecam.cam import find_variant
from scorecam.images.photo import read_photo

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data"
PHOTOS = {".jpg", ".jpeg", ".png"}
COUNTS = (32, 64)  # for `official`, as tolerances are
TOLERANCE = 0.02
SPLIT = 128
"""Of so many photos, those with odd numbers took no part in choosing any constant."""

TOP = 20

Json = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A network, the layer that is explained, and how many images there are of it.

    Args:
        open: the model.
        images: `b c *i`, preprocessed, `b` at most so many.
        layer: None for the default.
    """

    open: Callable[[], Model]
    images: Callable[[Model, argparse.Namespace], Iterator[tuple[str, Tensor]]]
    layer: str | None = None


def photos(model: Model, options: argparse.Namespace) -> Iterator[tuple[str, Tensor]]:
    """Every so many-th photo under the folders, the way the model takes it."""
    found = sorted(
        path
        for name in options.folders.split(",")
        for path in (options.photos / name / "images").rglob("*")
        if path.suffix.lower() in PHOTOS
    )
    if not found or model.preprocess is None:
        sys.exit(f"There are no photos under {options.photos}.")
    count = min(options.limit, len(found))
    for number in range(count):
        path = found[number * len(found) // count]
        yield path.stem, model.preprocess(read_photo(path))


def canvases(trained: Callable[[], networks.Trained]) -> Subject:
    """A small network of benchmarks/networks.py, on images it was not trained on."""

    def images(_: Model, options: argparse.Namespace) -> Iterator[tuple[str, Tensor]]:
        found, _labels = networks.held_out(min(options.limit, 100), trained().side)
        for number, image in enumerate(found):
            yield f"canvas{number}", image

    return Subject(lambda: open_model(trained().module), images)


SUBJECTS = {
    "lite0": Subject(lambda: open_model("lite0"), photos),
    "lite1": Subject(lambda: open_model("lite1"), photos),
    "lite2": Subject(lambda: open_model("lite2"), photos),
    "lite0-14x14": Subject(lambda: open_model("lite0"), photos, "blocks.10"),
    "densenet": canvases(networks.densenet),
    "small": canvases(networks.small),
}


# ── exact banks ──────────────────────────────────────────────────────────────────────────────

TENSORS = ("activations", "live", "scores", "image_scores", "fill_scores")


def exact(name: str, model: Model, key: str, image: Tensor, cache: Path) -> ScoreBank:
    """Every mask's answer in float32, from the cache where it is there."""
    subject = SUBJECTS[name]
    digest = hashlib.sha256(image.numpy().tobytes())
    for weight in model.module.parameters():  # type: ignore[attr-defined]
        digest.update(weight.detach()[..., :1].numpy().tobytes())
    for text in (name, str(subject.layer), torch.__version__):
        digest.update(text.encode())
    file = cache / name / f"{key}-{digest.hexdigest()[:12]}.safetensors"
    if not file.exists():
        bank = ScoreCAM(model, subject.layer, precision="float32").bank(image)
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = {part: getattr(bank, part).contiguous() for part in TENSORS}
        part = file.with_suffix(".part")
        safetensors.torch.save_file(kept, part)
        part.replace(file)
    held = safetensors.torch.load_file(file)
    return ScoreBank(
        **held,
        asked=held["live"],
        size=tuple(image.shape[1:]),
        masking=Masking(),
        head="logits",
        names=None,
        layer=subject.layer or "",
        provenance=Provenance("", "cpu", "float32", 0, 0, 0.0),
    )


def classes(bank: ScoreBank, number: int) -> list[int]:
    """The predicted class, the second, and one at random of the rest of the top 20."""
    order = bank.image_scores.argsort(descending=True)[:TOP].tolist()
    drawn = np.random.default_rng(number).integers(2, len(order))
    return [order[0], order[1], order[int(drawn)]]


# ── answers from a bank ──────────────────────────────────────────────────────────────────────


def replayed(bank: ScoreBank, column: int, variant: str, wanted: Plan) -> ScoreBank:
    """The bank as it would be had only the masks been asked that this plan asks."""
    maps = bank.activations[bank.live]
    first, inverse = cam.distinct(maps, bank.masking)
    surrogate = Surrogate(maps, first, inverse)
    search = BudgetedSearch(surrogate, bank.image_scores, (column, find_variant(variant)), wanted)
    begun = 1  # the fill is asked with the first masks
    while len(masks := search.select(spare=begun)):
        begun = 0
        search.update(bank.scores[first[masks]], bank.fill_scores, bank.head)
    chosen = torch.isin(inverse, torch.tensor(search.asked))
    return ScoreBank(
        **{
            **{part.name: getattr(bank, part.name) for part in bank.__dataclass_fields__.values()},
            "asked": bank.live[chosen],
            "scores": bank.scores[chosen],
        }
    )


# ── figures ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Found:
    """How one map of few masks compares with that of all of them.

    Args:
        photo: its number.
        rank: 0 for the predicted class, 1 for the second, 2 for one at random of the top 20.
        masks: that were asked about ...
        live: ... of so many that there are.
        choosing: seconds that choosing them and predicting the others took, without any pass.
        estimate: the stated error.
        error: the true one, the largest of the scaled map.
    """

    photo: int
    rank: int
    masks: int
    live: int
    pearson: float
    iou: float
    estimate: float
    error: float
    choosing: float | None = None


def compare(few: ScoreBank, all_: ScoreBank, column: int, variant: str, **where: Any) -> Found:
    """One map of few masks against that of all."""
    one, other = (scaled(bank.heatmap(column, variant)).numpy() for bank in (few, all_))
    share = round(0.2 * one.size)
    tops = [set(np.argpartition(-m.ravel(), share)[:share].tolist()) for m in (one, other)]
    pearson = np.corrcoef(one.ravel(), other.ravel())[0, 1] if one.std() and other.std() else 0.0
    return Found(
        **where,
        masks=len(few.asked),
        live=len(all_.live),
        pearson=float(pearson if other.std() else float(not one.std())),
        iou=len(tops[0] & tops[1]) / len(tops[0] | tops[1]),
        estimate=few.error(column, variant),
        error=float(np.abs(one - other).max()),
    )


def fraction(values: Sequence[float], at: float) -> float:
    """A quantile."""
    return float(np.quantile(np.asarray(values), at))


def summary(found: Sequence[Found]) -> Json:
    """Median, a tail and the worst of everything."""
    if not found:
        return {}
    pearson = [each.pearson for each in found]
    iou = [each.iou for each in found]
    return {
        "maps": len(found),
        "pearson": [statistics.median(pearson), fraction(pearson, 0.05), min(pearson)],
        "iou": [statistics.median(iou), fraction(iou, 0.05), min(iou)],
        "error": [
            statistics.median(each.error for each in found),
            fraction([each.error for each in found], 0.9),
            max(each.error for each in found),
        ],
        "estimate": statistics.median(each.estimate for each in found),
        "honest": statistics.mean(each.error <= each.estimate for each in found),
        "masks": [
            statistics.median(each.masks for each in found),
            max(each.masks for each in found),
        ],
        "share": statistics.median(each.masks / each.live for each in found),
        "choosing": statistics.median(each.choosing or 0.0 for each in found),
        "within": statistics.mean(each.error <= TOLERANCE for each in found),
    }


# ── the runs ─────────────────────────────────────────────────────────────────────────────────


def measure(name: str, options: argparse.Namespace) -> Json:
    """Everything about one network."""
    subject = SUBJECTS[name]
    model = subject.open()
    kinds = options.kinds.split(",")
    found: dict[str, list[Found]] = {}
    for number, (key, image) in enumerate(subject.images(model, options)):
        bank = exact(name, model, key, image, options.cache)
        print(f"\r{name}: {number + 1}", end="", file=sys.stderr, flush=True)
        for rank, column in enumerate(classes(bank, number)):
            where: Json = {"photo": number, "rank": rank}
            for variant in options.variants.split(","):
                if "fast" in kinds:
                    method = ScoreCAM(
                        model, subject.layer, variant, budget="fast", precision="auto"
                    )
                    few = method.bank(image, column)
                    found.setdefault(f"fast {variant}", []).append(
                        compare(few, bank, column, variant, **where)
                    )
            plans = {}
            if "masks" in kinds:
                plans |= {f"{count} masks official": plan(count, None) for count in COUNTS}
            if "tolerance" in kinds:
                plans["tolerance official"] = plan("exact", TOLERANCE)
            for kind, wanted in plans.items():
                began = time.perf_counter()
                few = replayed(bank, column, "official", wanted)
                _ = few.completed
                where["choosing"] = time.perf_counter() - began
                found.setdefault(kind, []).append(compare(few, bank, column, "official", **where))
    print(file=sys.stderr)
    return {kind: [asdict(each) for each in rows] for kind, rows in found.items()}


def table(report: Json) -> Iterator[str]:
    """The report in Markdown."""
    for name, kinds in report["networks"].items():
        yield f"\n**{name}**\n"
        yield (
            "| | maps | masks (largest) | share of all | Pearson: median, 5th percentile, worst | "
            "top-20 % IoU | largest error: median, 90th percentile, worst | stated error | "
            "error ≤ stated | choosing, ms |"
        )
        yield "|---" * 10 + "|"
        for kind, rows in kinds.items():
            found = [Found(**row) for row in rows]
            parts = {"": found}
            if report.get("limit") == SPLIT:
                parts = {
                    ", photos looked at while tuning": [
                        each for each in found if each.photo % 2 == 0
                    ],
                    ", the others": [each for each in found if each.photo % 2],
                }
            for part, some in parts.items():
                yield row_of(kind + part, summary(some))


def row_of(label: str, said: Json) -> str:
    """One line of a table."""
    if not said:
        return f"| {label} | 0 |"
    masks, most = said["masks"]
    numbers = [" / ".join(f"{value:.4f}" for value in said["pearson"])]
    numbers.append(" / ".join(f"{value:.3f}" for value in said["iou"]))
    numbers.append(" / ".join(f"{value:.3f}" for value in said["error"]))
    if label.startswith("tolerance"):
        numbers[-1] += f"; at most {TOLERANCE:g} in {said['within']:.0%}"
    return (
        f"| {label} | {said['maps']} | {masks:.0f} ({most}) | {said['share']:.0%} | "
        f"{' | '.join(numbers)} | {said['estimate']:.3f} | {said['honest']:.0%} | "
        + (f"{said['choosing'] * 1000:.0f} |" if said["choosing"] else " |")
    )


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--photos", type=Path, default=DATA)
    add("--folders", default="composites,natural")
    add("--networks", default=",".join(SUBJECTS))
    add("--kinds", default="fast,masks,tolerance", help="of fast, masks, tolerance; or none")
    add("--variants", default="official,algorithm1", help="of fast")
    add("--limit", type=int, default=SPLIT, help="photos per network")
    add("--cache", type=Path, default=HERE / ".cache" / "exact")
    add("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(2)
    report: Json = {
        "schema": 1,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "versions": {"torch": torch.__version__},
        "limit": options.limit,
        "networks": {},
    }
    for name in options.networks.split(","):
        report["networks"][name] = measure(name, options)
        if options.out is not None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(report) + "\n")
    for line in table(report):
        print(line)


if __name__ == "__main__":
    main()
