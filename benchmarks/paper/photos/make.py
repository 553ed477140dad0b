"""Build labelled photographs with exact object masks and boxes, from packages of Debian.

    python benchmarks/paper/photos/make.py --out DIR

* `composites`: a photograph of one thing, cut out, on a background it has nothing to do with. The
  mask is exact, for it is the cut.
* `pairs`: two things of different classes on one background.
* `natural`: photographs as they were taken, with boxes drawn by eye (boxes.json).

Each is laid out like ImageNet's validation set: `images/<wnid>/*.JPEG`, `Annotations/<wnid>/*.xml`
(Pascal VOC), `masks/<wnid>/*.png` where there are any, and a `manifest.csv` or `boxes.json`. What
DIR has already is kept, so a run that was cut off goes on. It takes two minutes on one core.

The packages (252 MB) are fetched with `apt-get download` and unpacked beside, which needs no root;
nothing is installed. Their licences differ (packages.py), so build the photos, don't hand them on.
Needs `scorecam[demo]` for the network that has to recognise each thing, and scikit-image.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import composites
import natural
import packages
import pairs
import torch
from judge import Judge


def build(folder: Path, write: Callable[[Path], int]) -> None:
    """Have `write` fill a folder, which appears under its name once it is complete."""
    if folder.exists():
        print(f"{folder} is there already")
        return
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    count = write(part)
    part.rename(folder)
    print(f"{folder}: {count} photos")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="where the photos go")
    parser.add_argument("--packages", type=Path, help="where the packages go (OUT/packages)")
    options = parser.parse_args()
    out: Path = options.out
    torch.set_num_threads(1)  # sums of another order could tip a photo that is nearly left out
    root = packages.fetch(options.packages or out / "packages")
    judge = Judge()
    build(out / "natural", lambda part: natural.write(part, root))
    build(out / "composites", lambda part: composites.write(part, root, judge))
    recognised = pairs.recognised(out / "composites" / "manifest.csv")
    build(out / "pairs", lambda part: pairs.write(part, root, judge, recognised))


if __name__ == "__main__":
    main()
