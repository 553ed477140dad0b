"""What `fast` does in the time of one photo, and of sixteen photos in one call.

    python -m benchmarks.speed.profile

Every network is opened once and explains all photos until the choice of a runtime settles. Then
each photo is explained as `scorecam explain` does it: the photo is read and explained, and its
overlay, bank and record are written. At last all photos are read and explained in one call of
`ScoreCAM`, which returns the maps and writes no files. Functions are measured from outside
(timing.py).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.common.paths import PHOTOS, RESULTS
from benchmarks.speed.machine import machine
from benchmarks.speed.rows import FAST, MEASURED, THREADS, TINY, Json
from benchmarks.speed.subjects import natural, opened
from benchmarks.speed.timing import CHOICE, PASSES, Timers
from scorecam import Model, ScoreCAM, explain
from scorecam.cli.saving import OutputFolder
from tests.helpers import torchvision_ops

STAGES = {
    "reading the photo": ("scorecam.model.model:Model.read",),
    "unmasked pass": ("scorecam.scoring.masked_image:prepare",),
    CHOICE: (),
    "masks": (
        "scorecam.cam:live",
        "scorecam.cam:distinct",
        "scorecam.scoring.mask_scorer:MaskScorer._write",
    ),
    PASSES: (),
    "choosing": ("scorecam.budget.search:BudgetedSearch.select",),
    "predicting": (
        "scorecam.budget.search:BudgetedSearch.update",
        "scorecam.budget.gaussian_process:Surrogate.__init__",
        "scorecam.budget.gaussian_process:Posterior.__init__",
        "scorecam.budget.gaussian_process:Posterior.complete",
        "scorecam.budget.estimate:estimate",
    ),
    "error": ("scorecam.budget.estimate:uncertainty_of",),
    "checks": (
        "scorecam.scoring.repeatability:repeatability",
        "scorecam.model.head:find_head",
        "scorecam.model.head:check_declared",
    ),
    "bank": ("scorecam.scoring.score:_Run.bank",),
    "map": ("scorecam.bank.bank:ScoreBank.heatmap",),
    "writing files": ("scorecam.cli.saving:OutputFolder.save",),
}
"""The functions of each stage. The time inside a function of another stage counts for that one."""

OTHER = "everything else"
LAPS = 3
"""Times that all photos are explained and measured."""


def profile(network: str, photos: Sequence[Path]) -> Json:
    """The stages of one network, in seconds per photo."""
    model = opened(network, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        output = OutputFolder(folder, force=True)

        def one_by_one() -> None:
            for photo in photos:
                explanation = explain(model, str(photo), **FAST)
                output.save([explanation], str(photo), photo.stem)

        def at_once() -> None:
            images = torch.stack([model.read(str(photo)).image for photo in photos])
            ScoreCAM(model, **FAST)(images)

        one_by_one()  # conversions, and the choice of a runtime
        return {
            "photos": len(photos),
            "one": measured(model, one_by_one, len(photos)),
            "many": measured(model, at_once, len(photos)),
        }


def measured(model: Model, work: Callable[[], None], photos: int) -> Json:
    """The median over laps of every stage, in seconds per photo, and of one masked image."""
    laps: list[dict[str, float]] = []
    passes: list[float] = []
    counts: list[float] = []
    for _ in range(LAPS):
        timers = Timers()
        with timers.patched(model, STAGES):
            began = time.perf_counter()
            work()
            total = time.perf_counter() - began
        stages = {stage: timers.seconds.get(stage, 0.0) / photos for stage in STAGES}
        stages[OTHER] = total / photos - sum(stages.values())
        laps.append(stages | {"total": total / photos})
        full = max(images for images, _ in timers.batches)
        passes += [seconds / images for images, seconds in timers.batches if images == full]
        counts.append(sum(images for images, _ in timers.batches) / photos)
    seconds = {stage: statistics.median(lap[stage] for lap in laps) for stage in laps[0]}
    pass_ = statistics.median(passes)
    return {
        "seconds": seconds,
        "masked images": statistics.median(counts),
        "seconds per pass": pass_,
        "search in passes": (seconds["choosing"] + seconds["predicting"]) / pass_,
    }


# ── the page ─────────────────────────────────────────────────────────────────────────────────────

HEAD = """## Where the time of `fast` goes

Milliseconds per photo in a warm process, and the share of the whole. *one* is `scorecam explain`:
each photo is read and explained, and its overlay, bank and record are written. The other columns
are one call of `ScoreCAM` for as many photos, which returns maps and writes no files. *predicting*
is the Gaussian process, and *error* is the estimate that decides when to stop. A pass is one masked
image in a full batch.
"""


def tables(report: Json) -> Iterator[str]:
    """The profile as Markdown, line by line."""
    networks = report["networks"]
    yield HEAD
    columns = [(name, kind) for name in networks for kind in ("one", "many")]
    titles = [
        f"{name}, one" if kind == "one" else f"{name}, {networks[name]['photos']}"
        for name, kind in columns
    ]
    yield f"| | {' | '.join(titles)} |"
    yield "|---" * (1 + len(columns)) + "|"
    parts = [networks[name][kind] for name, kind in columns]
    for stage in parts[0]["seconds"]:
        cells = [f"{milliseconds(part, stage)}" for part in parts]
        yield f"| {stage} | {' | '.join(cells)} |"
    for label, form in (("masked images", ".0f"), ("search in passes", ".1f")):
        name = "choosing and predicting, in passes" if label.startswith("search") else label
        yield f"| {name} | {' | '.join(f'{part[label]:{form}}' for part in parts)} |"
    passes = " | ".join(f"{1000 * part['seconds per pass']:.2f}" for part in parts)
    yield f"| one pass, ms | {passes} |\n"


def milliseconds(part: Json, stage: str) -> str:
    """A stage's time, and its share of the whole."""
    seconds, total = part["seconds"][stage], part["seconds"]["total"]
    text = f"{1000 * seconds:.1f}"
    return text if stage == "total" else f"{text} ({seconds / total:.0%})"


def main() -> None:
    """Measure, write the results, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--photos", type=Path, default=PHOTOS)
    add("--networks", help="comma-separated")
    add("--many", type=int, default=None, help="photos (16)")
    add("--quick", action="store_true", help="try the script: a tiny network, 3 photos")
    add("--out", type=Path, default=RESULTS / "speed" / "profile.json")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    torchvision_ops.define()
    networks = options.networks or (TINY if options.quick else MEASURED)
    photos = natural(options.photos, options.many or (3 if options.quick else 16))
    report: Json = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine("cpu", THREADS),
        "networks": {},
    }
    for network in networks.split(","):
        report["networks"][network] = profile(network, photos)
        options.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print("\n".join(tables(report)))


if __name__ == "__main__":
    main()
