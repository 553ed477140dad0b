"""The paper's tables for `centred`, next to `official`, `consensus`, Grad-CAM and the plain mean.

    python -m benchmarks.paper.centred --photos PHOTOS --work WORK --networks lite0,lite1,lite2

Every network explains the labelled class of 200 composites, with one exact float32 bank per photo.
60 of them are measured with deletion and insertion too, exact and with the budget `fast`; so are
the natural photographs. Runs can be stopped and resumed. At the end, or with `--networks ''`, the
results of the runs in WORK are written to benchmarks/results/paper/centred.json, which
`centred_page.py` reads.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common.paths import RESULTS
from benchmarks.paper.reproduce import Group, measure
from benchmarks.paper.reproduced import NETWORKS, Run, chosen_photos, cut_outs, load
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset
from scorecam.datasets.selection import select

CENTRED = "scorecam:variant=centred"
RIVALS = ("scorecam:variant=official", "gradcam", "scorecam:variant=consensus", "mean")
METHODS = ",".join(("gradcam", RIVALS[0], "scorecam:variant=algorithm1", CENTRED, *RIVALS[2:]))
OUTCOMES = (
    "average_drop",
    "average_increase",
    "insertion",
    "deletion",
    "energy_mask",
    "energy_box",
    "hit_box",
    "iou_mask",
)
CHEAP, EXPENSIVE = 200, 60
"""Photos for the measures that take few passes, and for deletion and insertion."""


FEW = f"{RIVALS[0]},{CENTRED},{RIVALS[2]}"
PARTS = {
    "curves": Group(METHODS, "paper,pointing,iou"),
    "rest": Group(METHODS, "quick"),
    "fast": Group(FEW, "paper,pointing,iou", budget="fast"),
    "natural": Group(METHODS, "paper,pointing,iou"),
}
"""The methods and metrics of each part."""


def photographs(folder: Path, part: str) -> Dataset:
    """The photos of one part. The first 60 of 200 composites are measured with every metric."""
    if part == "natural":
        return open_dataset(str(folder / "natural"))
    composites = open_dataset(str(folder / "composites"))
    few = select(composites, limit=EXPENSIVE, single=True, at_most=0.5)
    if part != "rest":
        return few
    many = select(composites, limit=CHEAP, single=True, at_most=0.5)
    known = {sample.id for sample in few.samples}
    return replace(many, samples=tuple(each for each in many.samples if each.id not in known))


# ── results ──────────────────────────────────────────────────────────────────────────────────────


def results(work: Path, photos: Path) -> dict[str, Any]:
    """The means and differences of the runs that exist, by network."""
    shows = cut_outs(photos)
    found: dict[str, Any] = {}
    for network in NETWORKS:
        exact = _loaded(work, network, ("curves", "rest"), shows)
        if exact is None:
            continue
        found[network] = {
            "about": list(exact.about),
            "means": {method: _means(exact, method) for method in METHODS.split(",")},
            "all": _differences(exact, frozenset()),
            "held out": _differences(exact, frozenset(chosen_photos())),
        }
        fast = _loaded(work, network, ("fast",), shows)
        if fast is not None:
            found[network]["fast"] = _few_masks(fast, exact)
        natural = _loaded(work, network, ("natural",), {})
        if natural is not None:
            found[network]["natural"] = _differences(natural, frozenset())
    return found


def _loaded(work: Path, network: str, parts: tuple[str, ...], shows: dict[str, str]) -> Run | None:
    """The finished parts as one run; None if there are none."""
    folders = [work / f"{network}-{part}" for part in parts]
    finished = [folder for folder in folders if (folder / "results.parquet").exists()]
    return load(finished, shows) if finished else None


def _means(run: Run, method: str) -> dict[str, Any]:
    return {outcome: run.mean(method, outcome).plain() for outcome in OUTCOMES}


def _differences(run: Run, left_out: frozenset[str]) -> dict[str, Any]:
    """`centred` minus each rival, photo by photo, without the photos in `left_out`."""

    def keep(name: str) -> bool:
        return Path(name).stem not in left_out

    return {
        rival: {outcome: run.against(CENTRED, rival, outcome, keep).plain() for outcome in OUTCOMES}
        for rival in RIVALS
    }


def _few_masks(fast: Run, exact: Run) -> dict[str, Any]:
    """Each variant with `fast` minus Grad-CAM, and minus its own exact map."""
    values = {f"fast {method}": found for method, found in fast.values.items()}
    both = replace(exact, values=exact.values | values)
    return {
        method: {
            other: {
                outcome: both.against(f"fast {method}", other, outcome).plain()
                for outcome in OUTCOMES
            }
            for other in ("gradcam", method)
        }
        for method in fast.values
    }


def main() -> None:
    """Run the parts, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("out/photos"))
    parser.add_argument("--work", type=Path, default=Path("out/centred"))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args()
    for network in filter(None, options.networks.split(",")):
        for part in options.parts.split(","):
            photos = photographs(options.photos, part)
            measure(f"{network}-{part}", network, photos, PARTS[part], work=options.work)
    file = RESULTS / "paper/centred.json"
    file.write_text(json.dumps(results(options.work, options.photos), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
