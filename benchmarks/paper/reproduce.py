"""The runs for the paper's Tables 1, 2 and 3 on EfficientNet-Lite0, 1 and 2.

    make reproduce                                       # everything: many hours on two cores
    python -m benchmarks.paper.reproduce --work DIR --groups cams --networks lite0

The photographs are built first if they do not exist (photos/make.py). Runs can be stopped and
resumed at any time. `reproduction_page.py` and `claims_page.py` write the pages from the runs that
exist.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scorecam
from benchmarks.paper.reproduced import NETWORKS
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset
from scorecam.datasets.selection import select
from scorecam.runs.progress import RunProgress


@dataclass(frozen=True)
class Group:
    """Methods that are measured together.

    Args:
        methods: in the command line's notation; the others are compared with the first.
        metrics: in the command line's notation.
        limit: the most photos; expensive methods take fewer.
        budget: the budget of Score-CAM.
        dataset: the folder of photographs.
    """

    methods: str
    metrics: str
    limit: int | None = None
    budget: str = "exact"
    dataset: str = "composites"


VARIANTS = (
    "scorecam,scorecam:variant=algorithm1,scorecam:variant=consensus,scorecam:variant=centred"
)
GROUPS = {
    # Table 3 costs 200 passes per map: only the paper's methods and the variants.
    "cams": Group(f"gradcam,gradcam++,{VARIANTS}", "paper,pointing,iou", limit=200),
    # Tables 1 and 2 cost two passes per map.
    "cheap": Group(
        "gradcam,xgradcam,layercam,gradient,uniform,random,centre,edges,fakecam,mean",
        "quick",
        limit=200,
    ),
    "natural": Group(f"gradcam,gradcam++,{VARIANTS}", "paper,pointing", dataset="natural"),
    "others": Group(
        "gradcam,scorecam:variant=increase,scorecam:variant=literal", "paper,pointing,iou", limit=60
    ),
    "expensive": Group(
        "gradcam,smoothgrad:samples=16,integrated:steps=16,occlusion:stride=0.075,"
        "rise:masks=1000,mask:steps=100",
        "quick",
        limit=60,
    ),
    "fast": Group(f"gradcam,{VARIANTS}", "paper,pointing,iou", limit=60, budget="fast"),
}


def photos(folder: Path) -> Path:
    """The folder of photographs, built if it does not exist."""
    if not (folder / "composites").exists():
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "benchmarks.paper.photos.make", "--out", folder], check=True
        )
    return folder


def run(network: str, name: str, options: argparse.Namespace) -> None:
    """Run one group on one network, or the missing part of it."""
    group = GROUPS[name]
    # The paper's filters (section 4.3), with the default random seed.
    dataset = select(
        open_dataset(str(photos(options.photos) / group.dataset)),
        limit=min(filter(None, (group.limit, options.limit)), default=None),
        single=True,
        at_most=0.5,
    )
    part = tuple(map(int, (options.shard or "1/1").split("/")))
    shard = (part[0], part[1])
    measure(
        f"{network}-{name}",
        network,
        dataset,
        group,
        work=options.work,
        runtime=options.runtime,
        precision=options.precision,
        shard=shard,
    )


def measure(
    title: str, network: str, dataset: Dataset, group: Group, *, work: Path, **settings: Any
) -> None:
    """Measure a group of methods in the folder `work / title`, or what is missing of it.

    Args:
        settings: further arguments of `scorecam.evaluate`.
    """
    began = time.perf_counter()

    def report(progress: RunProgress) -> None:
        if progress.done % 20 == 0:
            minutes = (time.perf_counter() - began) / 60
            print(f"{title} {progress.done}/{progress.total} {minutes:.1f} min", flush=True)

    scorecam.evaluate(
        scorecam.open_model(network),
        dataset,
        group.methods,
        group.metrics,
        out=work / title,
        budget=group.budget,
        target="label",
        progress=report,
        **settings,
    )


def main() -> None:
    """Run every group on every network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("out/photos"))
    parser.add_argument("--work", type=Path, default=Path("out/reproduction"))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--shard", help="i/n: every n-th photo, starting at the i-th")
    options = parser.parse_args()
    for name in options.groups.split(","):
        for network in options.networks.split(","):
            run(network, name, options)


if __name__ == "__main__":
    main()
