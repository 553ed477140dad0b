"""The Debian packages with the photographs. They are downloaded and unpacked, not installed.

* tuxpaint-stamps-default: cut-out objects (GPL-2 or later).
* gcompris-qt-data: backgrounds and natural photos (a licence per file: public domain, CC0, CC-BY
  or CC-BY-SA; README files in the archives name the authors).
* mate-backgrounds: backgrounds (GPL-2 or later).
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.paper.photos import rcc

VERSIONS = {
    "tuxpaint-stamps-default": "2022.06.04-1",
    "gcompris-qt-data": "3.1-2",
    "mate-backgrounds": "1.26.0-1",
}
"""The versions of Debian 12. Other versions may work, but give other photos."""

STAMPS = "tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
NATURE = "mate-backgrounds/usr/share/backgrounds/mate/nature"
ACTIVITIES = "gcompris-qt-data/usr/share/gcompris-qt/rcc"


def fetch(root: Path) -> Path:
    """Download and unpack missing packages. A .deb file in the folder is used if there is one."""
    for name, version in VERSIONS.items():
        if (root / name).is_dir():
            continue
        root.mkdir(parents=True, exist_ok=True)
        deb = _downloaded(root, name)
        if f"_{version}_" not in deb.name:
            print(f"{deb.name} is not version {version}; the photos will differ from ours")
        part = root / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        _run(["dpkg", "-x", deb.name, part.name], root)
        part.rename(root / name)
    return root


def _downloaded(root: Path, name: str) -> Path:
    if not list(root.glob(f"{name}_*.deb")):
        _run(["apt-get", "download", "-q", name], root)
    return max(root.glob(f"{name}_*.deb"))


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True)  # noqa: S603  (names from above)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(
            f"{' '.join(command)} failed: {error}. If apt does not know the package, run "
            f"`sudo apt-get update`. Without apt, put the .deb files of {', '.join(VERSIONS)} from "
            f"packages.debian.org into {folder}; unpacking them takes dpkg."
        )


@functools.cache
def activity(root: Path, name: str) -> dict[str, bytes]:
    """The files of a GCompris activity by path, such as "erase/resource/gibbon.webp"."""
    files = rcc.read((root / ACTIVITIES / f"{name}.rcc").read_bytes())
    return {path.removeprefix("gcompris/src/activities/"): data for path, data in files}
