"""Cases that read what another version wrote: banks, runs, and the folders of other commands.

WORKSPACE/made has the files of one version, WORKSPACE/other those of a second one.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from commands import COLOUR, EAGER, LIST, PHOTOS, SIDES, SMALL
from library import ask_all
from out import Out

import scorecam

MADE, OTHER = Path("../../made"), Path("../../other")


def banks(out: Out) -> None:
    """Every bank is read and asked again; the commands read it too."""
    files = sorted(MADE.rglob("*.safetensors"))
    files = [file for file in files if file.name != "found.safetensors"]
    for file in files:
        ask_all(out, str(file.relative_to(MADE)), scorecam.ScoreBank.load(file))
    bank = str(MADE / "show/made/chelsea.safetensors")
    out.expect("show", 0, "show", bank, "--target", "tabby", "--out", "shown.png")
    out.expect("verify", 0, "verify", bank, "--json")
    out.values["banks"] = len(files)


def run(out: Out) -> None:
    """A run is sound, has nothing left to do, is audited, and its maps equal another run's."""
    shutil.copytree(MADE / "evaluate/run", "run")
    out.expect("verify", 0, "verify", "run", "--json")
    before = digests("run")
    how = (*COLOUR, *EAGER, "--methods", "scorecam,gradcam,random", "--metrics", "all")
    out.expect("resume", 0, "evaluate", LIST, *how, "--banks", "--out", "run", "--json")
    done = [name for name in before if name.split("/")[1] in {"items", "maps", "banks", "gallery"}]
    after = digests("run")
    changed = [name for name in done if before[name] != after.get(name)]
    if changed or not done:
        raise AssertionError(f"Resuming a finished run rewrote {changed[:3]} of {len(done)} files.")
    out.values["resumed"] = len(done)
    out.expect("verify again", 0, "verify", "run", "--json")
    out.expect("audit", 0, "audit", "run", "--json")
    other = str(OTHER / "evaluate/run")
    same = ("--fail-under", "similarity=0.9999999,agreement=1")
    out.expect("compare", 0, "compare", "run", other, "--out", "compared", *same, "--json")


def unfinished(out: Out) -> None:
    """A run that lost records is completed, to the same numbers."""
    shutil.copytree(MADE / "evaluate_lite0/run", "run")
    for file in sorted(Path("run/items").glob("*/*/*.json"))[::3]:
        file.unlink()
    how = ("--methods", "scorecam,scorecam:variant=algorithm1,edges", "--metrics", "quick")
    fast = ("--runtime", "openvino", "--budget", "fast")
    cats = f"{PHOTOS}/cats"
    out.expect("run", 0, "evaluate", cats, *fast, *how, "--out", "run", "--json")
    out.expect("verify", 0, "verify", "run", "--json")
    out.expect("refused", 2, "evaluate", cats, *fast, "--metrics", "quick", "--out", "run")


def folders(out: Out) -> None:
    """The folders of sanity and compare are sound and have nothing left to do."""
    shutil.copytree(MADE / "sanity/small", "small")
    shutil.copytree(MADE / "compare/close", "close")
    before = {**digests("small"), **digests("close")}
    photos = (f"{PHOTOS}/chelsea.jpg", f"{PHOTOS}/left.png")
    out.expect("sanity", 0, "sanity", *photos, *SMALL, *EAGER, "--out", "small", "--json")
    how = (*COLOUR[2:], "--budget", "exact", "--json")
    out.expect("compare", 0, "compare", *SIDES, LIST, *how, "--out", "close")
    for folder in ("small", "close"):
        out.expect(f"verify {folder}", 0, "verify", folder, "--json")
    after = {**digests("small"), **digests("close")}
    items = [name for name in before if "/items/" in name or "/maps/" in name]
    changed = [name for name in items if before[name] != after.get(name)]
    if changed or not items:
        raise AssertionError(f"Resuming rewrote {changed[:3]} of {len(items)} files.")
    out.values["resumed"] = len(items)


def digests(folder: str) -> dict[str, str]:
    """The SHA-256 of every file."""
    files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
    return {file.as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
