"""Shows that results did not change since an older commit: equal to the last bit, or why not.

    python benchmarks/equality/compare.py COMMIT [--keep DIR] [--only CASE,...] [--spoil]

The same fixed cases (`cases.py`) run with the older commit's source and with the working tree's, on
this machine, with this interpreter, and everything that they wrote is compared: tensors, maps,
weights, formulas, banks, runs, JSON documents, pixels, exit codes. `contents.py` lists what is left
out, and why. The newer source then reads what the older one wrote: its banks and runs.
Exits with 1 where anything differs, failed, or produced nothing. With --spoil, one number is then
changed in one file of each kind, and a change that is not noticed is an error too. A case of --only
may need others: audit and verify read what evaluate wrote.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import spoil
from contents import FILES_LEFT_OUT, KEYS_LEFT_OUT, SENTENCES, VERSIONS, entries_of

import networks

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Row:
    """One case: what was compared, and the first difference, if there is one."""

    case: str
    tensors: int
    values: int
    files: int
    difference: str

    @property
    def text(self) -> str:
        counts = f"{self.tensors:>8,} {self.values:>8,} {self.files:>6,}"
        return f"{self.case:<28} {counts}  {self.difference or 'equal'}"


# ── running ──────────────────────────────────────────────────────────────────────────────────


def extract(commit: str, folder: Path) -> Path:
    """The source of a commit."""
    folder.mkdir(parents=True)
    git = ["git", "-C", str(ROOT), "archive", "--format=tar", commit, "src"]
    archive = subprocess.run(git, capture_output=True, check=False)  # noqa: S603  (our own command)
    if archive.returncode:
        sys.exit(f"The commit {commit} cannot be read: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(folder, filter="data")
    return folder / "src"


def run(stage: str, jobs: Sequence[tuple[Path, Path]], only: Sequence[str]) -> list[str]:
    """Run the cases of a stage for each (workspace, source); returns the names of the cases."""
    started = [start(stage, workspace, source, only) for workspace, source in jobs]
    for process, (workspace, _) in zip(started, jobs, strict=True):
        if process.wait():
            log = (workspace / f"{stage}.log").read_text("utf-8")
            sys.exit(f"The cases in {workspace} ended with {process.returncode}:\n{log[-3000:]}")
    lists = [json.loads((place / f"{stage}.json").read_text("utf-8")) for place, _ in jobs]
    return list(lists[0])


def start(
    stage: str, workspace: Path, source: Path, only: Sequence[str]
) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(source), str(HERE)]),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "SCORECAM_CACHE": str(workspace / "cache"),
    }
    command = [sys.executable, str(HERE / "cases.py"), stage, str(workspace), str(source), *only]
    with (workspace / f"{stage}.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603  (our own command)
            command, env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def prepare(workspace: Path, photos: Path) -> None:
    workspace.mkdir()
    (workspace / "photos").symlink_to(photos)


# ── comparing ────────────────────────────────────────────────────────────────────────────────


def row(case: str, older: Path, newer: Path) -> Row:
    """What two versions wrote for a case."""
    for side, folder in (("older", older), ("newer", newer)):
        if (log := folder / "failed.log").exists():
            return Row(case, 0, 0, 0, f"{side} failed: {log.read_text('utf-8').strip()[-600:]}")
    ours, theirs = files_under(older), files_under(newer)
    if ours != theirs:
        return Row(case, 0, 0, 0, f"only one side has {', '.join(sorted(ours ^ theirs)[:3])}")
    tensors = values = 0
    first = ""
    for name in sorted(ours):
        one, other = entries_of(older / name), entries_of(newer / name)
        count = sum(entry.startswith("tensor") for entry in one)
        tensors, values = tensors + count, values + len(one) - count
        first = first or difference(name, one, other)
    if not first and not tensors + values > 1:
        first = "nothing was produced, so nothing was compared"
    return Row(case, tensors, values, len(ours), first)


def files_under(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def difference(name: str, one: dict[str, str], other: dict[str, str]) -> str:
    """The first entry that differs, in words; empty where none does."""
    for entry in [*one, *(key for key in other if key not in one)]:
        before, after = one.get(entry, "nothing"), other.get(entry, "nothing")
        if before != after:
            return f"{name}: {entry}: {before[:100]} became {after[:100]}"
    return ""


def compare(commit: str, place: Path, only: Sequence[str], self_test: bool) -> int:
    began = time.perf_counter()
    sources = {"older": extract(commit, place / "source"), "newer": ROOT / "src"}
    networks.make_photos(next(sources["older"].rglob("chelsea.jpg")), place / "photos")
    older, newer, crossed = (place / name for name in ("older", "newer", "crossed"))
    for workspace in (older, newer, crossed):
        prepare(workspace, place / "photos")
    made = run("make", [(older, sources["older"]), (newer, sources["newer"])], only)
    for workspace, other in ((older, older), (newer, newer), (crossed, newer)):
        (workspace / "other").symlink_to(other / "made")
    (crossed / "made").symlink_to(older / "made")
    opened = run("open", [(older, sources["older"]), (newer, sources["newer"])], only)
    run("open", [(crossed, sources["newer"])], only)
    rows = [row(case, older / "made" / case, newer / "made" / case) for case in made]
    for case in opened:
        folders = [workspace / "opened" / case for workspace in (older, newer, crossed)]
        rows.append(row(f"{case} (own files)", folders[0], folders[1]))
        rows.append(row(f"{case} (older files)", folders[0], folders[2]))
    differing = report(rows, commit, time.perf_counter() - began)
    missed = test_itself(older, newer) if self_test else 0
    return int(differing + missed > 0)


def report(rows: Sequence[Row], commit: str, seconds: float) -> int:
    """Print the table; how many cases are not equal."""
    print(f"{'case':<28} {'tensors':>8} {'values':>8} {'files':>6}  {commit} and the working tree")
    print("\n".join(each.text for each in rows))
    for title, left_out in (
        ("Files", FILES_LEFT_OUT),
        ("Keys", {**KEYS_LEFT_OUT, **VERSIONS}),
        ("Texts of", SENTENCES),
    ):
        print(f"{title} left out: {', '.join(left_out)}")
    differing = sum(bool(each.difference) for each in rows)
    total = f"{sum(each.tensors for each in rows):,} tensors and pictures, "
    total += f"{sum(each.values for each in rows):,} values"
    print(f"{len(rows) - differing} of {len(rows)} cases equal: {total}; {seconds:.0f} s.")
    return differing or int(not rows)


def test_itself(older: Path, newer: Path) -> int:
    """Change one number in a file of each kind; how many changes are not reported."""

    def noticed(file: Path) -> str:
        name = file.relative_to(newer)
        case = name.parts[1]
        return row(case, older / "made" / case, newer / "made" / case).difference

    missed = 0
    for file, found in spoil.spoiled(newer / "made", noticed):
        missed += not found
        print(f"spoiled {file.relative_to(newer)}: {found or 'NOT NOTICED'}")
    return missed


@contextlib.contextmanager
def working_folder(keep: str | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="equality-") as folder:
            yield Path(folder)
    else:
        Path(keep).mkdir(parents=True)
        yield Path(keep).resolve()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("commit", help="the older commit")
    parser.add_argument("--keep", metavar="DIR", help="keep everything that was written here")
    parser.add_argument("--only", default="", metavar="CASE,...", help="run these cases alone")
    parser.add_argument("--spoil", action="store_true", help="test that a difference is noticed")
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    with working_folder(given.keep) as place:
        return compare(given.commit, place, only, given.spoil)


if __name__ == "__main__":
    sys.exit(main())
