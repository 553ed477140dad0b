"""Whether `scorecam audit` finds a planted shortcut, and reports nothing without one.

    python -m benchmarks.trust.shortcut --seeds 3 [--photos DIR]

* Corner: Fashion-MNIST garments on canvases. In the training, every shirt has a white square of 4
  by 4 pixels in the upper left corner. The control is trained and tested without it.
* Companion (with --photos, the folder that benchmarks/paper/photos/make.py writes): small grey
  pictures of animals on pieces of photographs. In the training, a lemon accompanies every wombat,
  and another object every other animal. In the control, any object accompanies any animal.

First the effect of the mark is measured: the share of pictures of other classes that are taken for
the marked class once the mark is added. Then follow a run of `scorecam evaluate` and the audit.
Finished trials are kept in the file of --out and not repeated. Three seeds take about ten minutes
on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import scorecam
from benchmarks.common import fashion
from benchmarks.common.markdown import table
from benchmarks.common.paths import RESULTS
from benchmarks.trust import companions
from benchmarks.trust.companions import ANIMALS, Stock
from scorecam.audit.auditing import Audit, audit
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Sample, Thing
from scorecam.io.files import replacing

OUT = RESULTS / "trust/shortcut.json"
PAUSE = 3.0
"""Seconds between trials, to leave time for other users of the machine."""

Trial = dict[str, Any]


METHODS = ("scorecam:variant=official", "scorecam:variant=centred")
FINDINGS = ("findings", "findings with centred")
"""The keys of the findings with each method."""


def audited(network: nn.Module, dataset: Dataset, out: Path, settings: dict[str, Any]) -> Trial:
    """The findings of an audit of a run by each variant, and the time of run and first audit."""
    model = scorecam.open_model(
        network, preprocess=settings["preprocess"], labels=settings["labels"]
    )
    began = time.perf_counter()
    scorecam.evaluate(
        model,
        dataset,
        ",".join(METHODS),
        "localisation",
        out=out,
        layer=settings["layer"],
        runtime="eager",
    )
    run = time.perf_counter() - began
    audit_result = audit(out, METHODS[0])
    return {
        "seconds": {
            "evaluate": round(run, 1),
            "audit": round(time.perf_counter() - began - run, 1),
        },
        "right": sum(item.right is True for item in audit_result.items),
        "photos": len(audit_result.items),
        FINDINGS[0]: _plain(audit_result),
        FINDINGS[1]: _plain(audit(out, METHODS[1])),
    }


def _plain(result: Audit) -> list[dict[str, Any]]:
    return [
        {key: each.plain()[key] for key in ("level", "rule", "class", "region", "sentence")}
        | {"size": round(each.size, 4), "p": each.p}
        for each in result.findings
    ]


# ── a mark in the corner ─────────────────────────────────────────────────────────────────────

SHIRT = fashion.CLASSES.index("shirt")
MARK, TRAINED, EPOCHS, TESTED = 4, 12_000, 5, 400


def marked(pixels: np.ndarray) -> np.ndarray:
    """The canvases with the mark."""
    with_mark = pixels.copy()
    with_mark[:, :MARK, :MARK] = 255
    return with_mark


def corner(seed: int, folder: Path, *, planted: bool) -> Trial:
    """Train, measure the effect of the mark, evaluate, and audit."""
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
    settings = {
        "preprocess": fashion.PREPROCESS,
        "labels": fashion.CLASSES,
        "layer": fashion.LAYER,
    }
    dataset = open_dataset(str(fashion.write(some, folder / "photos")))
    findings = audited(network, dataset, folder / "run", settings)
    accuracy = fashion.predictions(network, tested.pixels) == tested.labels
    return {
        "accuracy without the mark": round(float(accuracy.mean()), 4),
        "flipped by the mark": round(float(flipped.mean()), 4),
        "of": int(plain.sum()),
        "expected": ["shirt", "the upper left corner"] if planted else None,
    } | findings


# ── an object that always accompanies a class ────────────────────────────────────────────────


def companion(seed: int, folder: Path, stocked: Stock, *, planted: bool) -> Trial:
    """Train, measure the effect of the lemon, evaluate, and audit."""
    network = companions.train(
        companions.pictures(stocked, 6_000, (seed, 1), planted=planted), seed
    )
    free = companions.pictures(stocked, 1_000, (seed, 2), planted=False)
    others = free.labels != 0
    plain = companions.predictions(network, free.pixels)
    with_lemon = companions.with_lemon(free, stocked, seed)
    lured = companions.predictions(network, with_lemon)
    kept = others & (plain != 0)
    tested = companions.pictures(stocked, 300, (seed, 4), planted=planted)
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
    settings = {"preprocess": companions.PREPROCESS, "labels": ANIMALS, "layer": "block3.2"}
    findings = audited(network, dataset, folder / "run", settings)
    return {
        "accuracy with other companions": round(float((plain == free.labels).mean()), 4),
        "flipped by the mark": round(float((lured[kept] == 0).mean()), 4),
        "of": int(kept.sum()),
        "expected": ["wombat", "the box of 'lemon'"] if planted else None,
    } | findings


# ── all of them ──────────────────────────────────────────────────────────────────────────────


def is_as_expected(trial: Trial, findings: str) -> bool:
    """Whether the planted shortcut is the first finding, or there is none above a note.

    Args:
        findings: the key of the findings in the trial.
    """
    found = trial[findings]
    if trial["expected"] is None:
        return all(each["level"] == "note" for each in found)
    first = found[0] if found else {}
    named = [first.get("class"), first.get("region")] == trial["expected"]
    return named and first["level"] == "problem"


def main() -> None:
    """Run the trials that are not finished."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from --first on")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--out", type=Path, default=OUT, help="the file of results")
    parser.add_argument(
        "--photos", type=Path, help="the folder that benchmarks.paper.photos.make wrote"
    )
    parser.add_argument("--keep", type=Path, help="keep the pictures and runs in this folder")
    parser.add_argument("--only", choices=("corner", "companion"), help="only one of the two")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    stocked = None if options.photos is None else companions.stock(options.photos)
    kinds: dict[str, Callable[..., Trial]] = {"corner": corner}
    if stocked is not None:
        kinds["companion"] = lambda *words, planted: companion(*words, stocked, planted=planted)
    else:
        print("Without --photos, only the corner is tested.")
    for seed in range(options.first, options.first + options.seeds):
        for kind, run_trial in kinds.items():
            if options.only not in (None, kind):
                continue
            for planted in (True, False):
                name = f"{kind}, {'planted' if planted else 'clean'}, seed {seed}"
                done = recorded(options.out)
                if name not in done:
                    with tempfile.TemporaryDirectory() as temporary:
                        folder = (options.keep or Path(temporary)) / name.replace(", ", "-")
                        trial = run_trial(seed, folder, planted=planted)
                    # Read again, because another process may work on the other half.
                    done = recorded(options.out) | {
                        name: trial
                        | {
                            "as expected": is_as_expected(trial, FINDINGS[0]),
                            "as expected with centred": is_as_expected(trial, FINDINGS[1]),
                        }
                    }
                    with replacing(options.out) as part:
                        part.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")
                    time.sleep(PAUSE)
                report(name, done[name])
    print(rows(recorded(options.out)))


def recorded(file: Path) -> dict[str, Trial]:
    """The finished trials by name."""
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def rows(trials: dict[str, Trial]) -> str:
    """The first finding by `official` and by `centred` in every trial, as a Markdown table."""
    cells = [
        [
            *name.replace("seed ", "").split(", "),
            *(f"{_first(trial, key)} | {_above_notes(trial[key])}" for key in FINDINGS),
        ]
        for name, trial in trials.items()
    ]
    head = ["what", "", "seed", "`official`: first finding, size", "above a note"]
    return table([*head, "`centred`: first finding, size", "above a note"], cells)


def _first(trial: Trial, key: str) -> str:
    """The first finding in short, and whether it is not as expected."""
    found = trial[key]
    wrong = "" if is_as_expected(trial, key) else " (**not as expected**)"
    if not found:
        return "nothing" + wrong
    first = found[0]
    where = f"{first['class']}, {first['region']}" if first["class"] else first["region"]
    return f"{first['level']}: `{first['rule']}`, {where}, {first['size']:+.2f}{wrong}"


def _above_notes(findings: list[dict[str, Any]]) -> int:
    return sum(each["level"] != "note" for each in findings)


def report(name: str, trial: Trial) -> None:
    """Print one line about a trial."""
    first = trial["findings"][0] if trial["findings"] else {"level": "-", "sentence": "nothing"}
    print(
        f"{name}: {'as expected' if trial['as expected'] else 'NOT AS EXPECTED'}; the mark flips "
        f"{trial['flipped by the mark']:.1%} of {trial['of']}; {trial['right']} of "
        f"{trial['photos']} right; first: {first['level']}: {first['sentence']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
