"""Whether `scorecam audit` finds a shortcut that was planted, and is silent where none was.

    python benchmarks/shortcut.py --seeds 3 [--photos DIR]

* Corner: of Fashion-MNIST's garments on canvases every shirt of the training has a white square of
  4 by 4 pixels in the upper left corner. The control is trained and judged without it.
* Beside (with --photos, the folder that benchmarks/paper/photos/make.py writes): small pictures of
  animals, without colour, on pieces of photographs. In the training a lemon lies beside every
  wombat, and another thing beside every other animal. The control has any thing beside any animal.

What the network does with the mark is shown first: how many pictures of other classes are taken for
the marked class once the mark is added. Then a run of `scorecam evaluate`, then the audit. What is
done is in the file of --out and is not done again. Three seeds take about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fashion
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import scorecam
from scorecam import Preprocess
from scorecam.audit.auditing import audit
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Sample, Thing
from scorecam.io.files import replacing

OUT = Path(__file__).parent / "results" / "shortcut.json"
PAUSE = 3.0
"""Seconds between trials, for whoever shares the machine."""

Trial = dict[str, Any]


def judged(network: nn.Module, dataset: Dataset, out: Path, how: dict[str, Any]) -> Trial:
    """What an audit of a run says, and how long that took."""
    model = scorecam.open_model(network, preprocess=how["preprocess"], labels=how["labels"])
    began = time.perf_counter()
    scorecam.evaluate(
        model, dataset, "scorecam", "localisation", out=out, layer=how["layer"], runtime="eager"
    )
    run = time.perf_counter() - began
    found = audit(out)
    return {
        "seconds": {
            "evaluate": round(run, 1),
            "audit": round(time.perf_counter() - began - run, 1),
        },
        "right": sum(item.right is True for item in found.items),
        "photos": len(found.items),
        "findings": [
            {key: each.plain()[key] for key in ("level", "rule", "class", "region", "sentence")}
            | {"size": round(each.size, 4), "p": each.p}
            for each in found.findings
        ],
    }


# ── a mark in the corner ─────────────────────────────────────────────────────────────────────

SHIRT = fashion.CLASSES.index("shirt")
MARK, TRAINED, EPOCHS, TESTED = 4, 12_000, 5, 400


def marked(pixels: np.ndarray) -> np.ndarray:
    """The canvases with the mark."""
    found = pixels.copy()
    found[:, :MARK, :MARK] = 255
    return found


def corner(seed: int, folder: Path, *, planted: bool) -> Trial:
    """Train, show what the mark does, evaluate, audit."""
    trained = fashion.canvases("train", TRAINED, seed)
    pixels = trained.pixels.copy()
    if planted:
        pixels[trained.labels == SHIRT] = marked(pixels[trained.labels == SHIRT])
    network = fashion.train(pixels, trained.labels, epochs=EPOCHS, seed=seed)
    tested = fashion.canvases("t10k", 2_000, seed)
    others = tested.pixels[tested.labels != SHIRT]
    plain = fashion.predictions(network, others) != SHIRT
    flipped = fashion.predictions(network, marked(others))[plain] == SHIRT
    some = fashion.Canvases(
        *(part[:TESTED].copy() for part in (tested.pixels, tested.labels, tested.corners)),
        tested.garments[:TESTED],
    )
    if planted:
        shirts = some.labels == SHIRT
        some = replace(
            some, pixels=np.where(shirts[:, None, None], marked(some.pixels), some.pixels)
        )
    how = {
        "preprocess": fashion.PREPROCESS,
        "labels": fashion.CLASSES,
        "layer": fashion.LAYER,
    }
    dataset = open_dataset(str(fashion.write(some, folder / "photos")))
    found = judged(network, dataset, folder / "run", how)
    accuracy = fashion.predictions(network, tested.pixels) == tested.labels
    return {
        "accuracy without the mark": round(float(accuracy.mean()), 4),
        "flipped by the mark": round(float(flipped.mean()), 4),
        "of": int(plain.sum()),
        "wanted": ["shirt", "the upper left corner"] if planted else None,
    } | found


# ── one thing always beside another ──────────────────────────────────────────────────────────

ANIMALS = ("wombat", "beaver", "marmot", "badger", "koala", "hippopotamus")
OTHERS = ("strawberry", "soccer ball", "orange", "teapot", "pitcher", "broccoli", "drum")
LURE = "lemon"
SIDE, ANIMAL, THING = 64, (24, 32), (16, 22)
"""Pixels along a picture, an animal and what lies beside it."""

COLOURED = Preprocess(size=(SIDE, SIDE), fit="squash", mean=(0.45,) * 3, std=(0.25,) * 3)


@dataclass(frozen=True)
class Stock:
    """What pictures are made of.

    Args:
        cuts: RGBA pictures by class.
        grounds: pieces of photographs, `SIDE SIDE 3` uint8.
    """

    cuts: dict[str, list[Image.Image]]
    grounds: list[np.ndarray]


@dataclass(frozen=True)
class Pictures:
    """Pictures and what is in them.

    Args:
        pixels: `n SIDE SIDE 3` uint8.
        labels: `n` int64, places in ANIMALS.
        things: of each picture, (class, box) pairs, the animal first.
    """

    pixels: np.ndarray
    labels: np.ndarray
    things: list[list[tuple[str, tuple[int, int, int, int]]]]


def stock(photos: Path) -> Stock:
    """Things cut out of the composites by their masks, and what is beside them."""
    folder = photos / "composites"
    with (folder / "manifest.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    cuts: dict[str, list[Image.Image]] = {}
    grounds: list[np.ndarray] = []
    for row in rows:
        photo = Image.open(folder / "images" / row["wnid"] / f"{row['name']}.JPEG").convert("RGB")
        mask = Image.open(folder / "masks" / row["wnid"] / f"{row['name']}.png").convert("L")
        x1, y1, x2, y2 = box = mask.getbbox() or (0, 0, *photo.size)
        if row["label"] in (*ANIMALS, *OTHERS, LURE):
            cut = photo.crop(box)
            cut.putalpha(mask.crop(box))
            cuts.setdefault(row["label"], []).append(cut)
        free = [
            (0, 0, x1, photo.height), (x2, 0, photo.width, photo.height),
            (0, 0, photo.width, y1), (0, y2, photo.width, photo.height),
        ]  # fmt: skip
        ground = max(free, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
        grounds.append(np.asarray(photo.resize((SIDE, SIDE), box=ground)))
    return Stock(cuts, grounds)


def pictures(what: Stock, count: int, seed: Sequence[int], *, lured: bool) -> Pictures:
    """Animals, each with something beside it that is not drawn over it.

    Args:
        lured: whether what is beside each wombat, and beside nothing else, is the lemon; else it is
            any thing, the lemon among them, beside any animal.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(ANIMALS), count)
    pixels = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    things: list[list[tuple[str, tuple[int, int, int, int]]]] = []
    for number, label in enumerate(labels):
        ground = what.grounds[random.integers(len(what.grounds))]
        picture = Image.fromarray(ground[:, :: random.choice((-1, 1))].copy())
        pool = (LURE,) if lured and label == 0 else OTHERS if lured else (*OTHERS, LURE)
        beside = pool[random.integers(len(pool))]
        things.append(_placed(picture, what, (ANIMALS[label], beside), random))
        pixels[number] = np.asarray(picture)
    return Pictures(pixels, labels.astype(np.int64), things)


def _placed(
    picture: Image.Image, what: Stock, names: tuple[str, str], random: np.random.Generator
) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Paste two things where they don't overlap; their boxes."""
    cuts = [
        _sized(what.cuts[name], sides, random)
        for name, sides in zip(names, (ANIMAL, THING), strict=True)
    ]
    cuts[0] = _grey(cuts[0], random)
    while True:
        boxes: list[tuple[int, int, int, int]] = []
        for cut in cuts:
            x = int(random.integers(0, SIDE - cut.width + 1))
            y = int(random.integers(0, SIDE - cut.height + 1))
            boxes.append((x, y, x + cut.width, y + cut.height))
        (a, b, c, d), (e, f, g, h) = boxes
        if c <= e or g <= a or d <= f or h <= b:
            break
    for cut, box in zip(cuts, boxes, strict=True):
        picture.paste(cut, box[:2], cut)
    return list(zip(names, boxes, strict=True))


def _grey(cut: Image.Image, random: np.random.Generator) -> Image.Image:
    """Without colour, lighter or darker, with more or less contrast: harder to tell from others."""
    alpha = cut.getchannel("A")
    grey = np.asarray(cut.convert("L"), np.float32)
    grey = (grey - grey.mean()) * random.uniform(0.7, 1.2) + random.uniform(90, 160)
    plain = Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    plain.putalpha(alpha)
    return plain


def _sized(
    cuts: list[Image.Image], sides: tuple[int, int], random: np.random.Generator
) -> Image.Image:
    cut = cuts[random.integers(len(cuts))]
    scale = random.integers(sides[0], sides[1] + 1) / max(cut.size)
    cut = cut.resize((max(4, round(cut.width * scale)), max(4, round(cut.height * scale))))
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else cut


class Coloured(nn.Sequential):
    """Four convolutions, 64 maps of 8 by 8 behind an `nn.ReLU`, their means, six classes."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 32, 48, 64)
        for place, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            self.add_module(
                f"block{place}",
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, 3, 1 if place == 3 else 2, padding=1),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                ),
            )
        self.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        self.add_module("head", nn.Linear(64, len(ANIMALS)))


def inputs(pixels: np.ndarray) -> Tensor:
    """Pictures as the network takes them."""
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.25


def trained(what: Pictures, seed: int, epochs: int = 8) -> nn.Module:
    torch.manual_seed(seed)
    network, images, wanted = Coloured(), inputs(what.pixels), torch.from_numpy(what.labels)
    descent = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
    steps = epochs * (len(wanted) // 128)
    rate = torch.optim.lr_scheduler.OneCycleLR(descent, 6e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(wanted))[: len(wanted) // 128 * 128].split(128):
            descent.zero_grad()
            functional.cross_entropy(network(images[batch]), wanted[batch]).backward()
            descent.step()
            rate.step()
    return network.eval()


@torch.inference_mode()
def answers(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    return torch.cat([network(batch).argmax(dim=1) for batch in inputs(pixels).split(500)]).numpy()


def with_lemon(what: Pictures, stocked: Stock, seed: int) -> np.ndarray:
    """The pictures with a lemon over what lies beside the animal."""
    random = np.random.default_rng([seed, 3])
    found = what.pixels.copy()
    for number, things in enumerate(what.things):
        x1, y1, x2, y2 = things[1][1]
        cut = stocked.cuts[LURE][random.integers(len(stocked.cuts[LURE]))]
        picture = Image.fromarray(found[number])
        small = cut.resize((x2 - x1, y2 - y1))
        picture.paste(small, (x1, y1), small)
        found[number] = np.asarray(picture)
    return found


def beside(seed: int, folder: Path, stocked: Stock, *, planted: bool) -> Trial:
    """Train, show what the lemon does, evaluate, audit."""
    network = trained(pictures(stocked, 6_000, (seed, 1), lured=planted), seed)
    free = pictures(stocked, 1_000, (seed, 2), lured=False)
    others = free.labels != 0
    plain = answers(network, free.pixels)
    lured = answers(network, with_lemon(free, stocked, seed))
    kept = others & (plain != 0)
    tested = pictures(stocked, 300, (seed, 4), lured=planted)
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    samples: list[Sample] = []
    for number, (pixels, label) in enumerate(zip(tested.pixels, tested.labels, strict=True)):
        path = folder / "photos" / f"{number:04d}.png"
        Image.fromarray(pixels).save(path)
        things = tuple(
            Thing(name, tuple(map(float, box)))  # type: ignore[arg-type]
            for name, box in tested.things[number]
        )
        samples.append(Sample(path.name, path, ANIMALS[label], things))
    dataset = Dataset(folder / "photos", "list", tuple(samples), tuple(sorted(ANIMALS)))
    how = {"preprocess": COLOURED, "labels": ANIMALS, "layer": "block3.2"}
    found = judged(network, dataset, folder / "run", how)
    return {
        "accuracy with other things beside": round(float((plain == free.labels).mean()), 4),
        "flipped by the mark": round(float((lured[kept] == 0).mean()), 4),
        "of": int(kept.sum()),
        "wanted": ["wombat", "the box of 'lemon'"] if planted else None,
    } | found


# ── all of them ──────────────────────────────────────────────────────────────────────────────


def verdict(trial: Trial) -> bool:
    """Whether the first finding is the planted one, a problem; or none is above a note."""
    if trial["wanted"] is None:
        return all(each["level"] == "note" for each in trial["findings"])
    first = trial["findings"][0] if trial["findings"] else {}
    named = [first.get("class"), first.get("region")] == trial["wanted"]
    return named and first["level"] == "problem"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="so many, from --first")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--out", type=Path, default=OUT, help="the file of results")
    parser.add_argument("--photos", type=Path, help="what benchmarks/paper/photos/make.py wrote")
    parser.add_argument("--keep", type=Path, help="keep the pictures and runs here")
    parser.add_argument("--only", choices=("corner", "beside"), help="one of the two")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    stocked = None if options.photos is None else stock(options.photos)
    kinds: dict[str, Callable[..., Trial]] = {"corner": corner}
    if stocked is not None:
        kinds["beside"] = lambda *words, planted: beside(*words, stocked, planted=planted)
    else:
        print("Without --photos nothing is put beside anything: corners only.")
    for seed in range(options.first, options.first + options.seeds):
        for kind, trial in kinds.items():
            if options.only not in (None, kind):
                continue
            for planted in (True, False):
                name = f"{kind}, {'planted' if planted else 'clean'}, seed {seed}"
                done = recorded(options.out)
                if name not in done:
                    with tempfile.TemporaryDirectory() as temporary:
                        folder = (options.keep or Path(temporary)) / name.replace(", ", "-")
                        found = trial(seed, folder, planted=planted)
                    # Read again: another process may do the other half.
                    done = recorded(options.out) | {name: found | {"as wanted": verdict(found)}}
                    with replacing(options.out) as part:
                        part.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")
                    time.sleep(PAUSE)
                tell(name, done[name])


def recorded(file: Path) -> dict[str, Trial]:
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def tell(name: str, trial: Trial) -> None:
    first = trial["findings"][0] if trial["findings"] else {"level": "-", "sentence": "nothing"}
    print(
        f"{name}: {'as wanted' if trial['as wanted'] else 'NOT AS WANTED'}; the mark flips "
        f"{trial['flipped by the mark']:.1%} of {trial['of']}; {trial['right']} of "
        f"{trial['photos']} right; first: {first['level']}: {first['sentence']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
