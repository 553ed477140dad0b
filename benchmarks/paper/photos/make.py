"""Build labelled photographs with exact object masks and boxes, from packages of Debian.

    python -m benchmarks.paper.photos.make --out DIR

* `composites`: one cut-out object on an unrelated background. The mask is exact, because it is the
  cut-out.
* `pairs`: two objects of different classes on one background.
* `natural`: unedited photographs, with boxes drawn by eye (boxes.json).

Each folder has the layout of ImageNet's validation set: `images/<wnid>/*.JPEG`,
`Annotations/<wnid>/*.xml` (Pascal VOC), `masks/<wnid>/*.png` where there are masks, and a
`manifest.csv` or `boxes.json`. Folders that exist are kept, so an interrupted build can be resumed.
It takes two minutes on one core.

The packages (252 MB) are downloaded with `apt-get download` and unpacked, without root and without
installing anything. Their licences differ (packages.py): build the photos yourself, and do not
redistribute them. The script needs `scorecam[demo]`, for the network that must recognise each
object, and scikit-image.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.paper.photos import composites, natural, packages, pairs
from benchmarks.paper.photos.judge import Judge


def build(folder: Path, write: Callable[[Path], int]) -> None:
    """Let `write` fill a folder. It gets its name once it is complete."""
    if folder.exists():
        print(f"{folder} exists")
        return
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    count = write(part)
    part.rename(folder)
    print(f"{folder}: {count} photos")


def main() -> None:
    """Build every folder that does not exist."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder for the photos")
    parser.add_argument("--packages", type=Path, help="the folder for the packages (OUT/packages)")
    options = parser.parse_args()
    out: Path = options.out
    torch.set_num_threads(1)  # another order of summation could change which photos are kept
    root = packages.fetch(options.packages or out / "packages")
    judge = Judge()
    build(out / "natural", lambda part: natural.write(part, root))
    build(out / "composites", lambda part: composites.write(part, root, judge))
    recognised = pairs.recognised(out / "composites" / "manifest.csv")
    build(out / "pairs", lambda part: pairs.write(part, root, judge, recognised))


if __name__ == "__main__":
    main()
