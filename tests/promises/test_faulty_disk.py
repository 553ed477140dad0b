"""Whatever call of the disk fails: a message, nothing half-written, and the next try succeeds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import scorecam
from command_line import Answer
from command_line import scorecam as command
from faulty_disk import FaultyDisk
from scorecam.io.files import write_bytes
from scorecam.runs import evaluate, summary
from tiny_photos import contents, furnish, words

pytestmark = pytest.mark.needs("eval", "audit")

PHOTOS = 20
STEP = 37
"""Every so many calls are tried in an ordinary run; all of them in a long one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("data"), PHOTOS)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run computes of a photo is computed once: the disk is what is tried here."""
    work, entry = evaluate.work, evaluate.entry
    done: dict[str, tuple[list[Any], list[Any]]] = {}
    entries: dict[str, Any] = {}

    def remembered(sample: Any, setup: Any, methods: Any, keep: Any) -> Iterator[Any]:
        if sample.id not in done:
            kept: list[Any] = []
            found = list(work(sample, setup, methods, lambda *seen: kept.extend(seen)))
            done[sample.id] = found, kept
        found, kept = done[sample.id]
        keep(*kept)
        yield from found

    def shown(subject: Any, *rest: Any) -> Any:
        if subject.sample.id not in entries:
            entries[subject.sample.id] = entry(subject, *rest)
        return entries[subject.sample.id]

    monkeypatch.setattr(evaluate, "work", remembered)
    monkeypatch.setattr(evaluate, "entry", shown)
    monkeypatch.setattr(summary, "draw", lambda to, *_: write_bytes(to / "curves.png", b"PNG" * 99))


def told(answer: Answer, disk: FaultyDisk, place: Path) -> None:
    """How a command ended says what has happened, in words."""
    assert "Traceback" not in answer.err
    assert "our fault" not in answer.err, answer.err
    if disk.failed == "unlink" and answer.code == 0:
        return  # what could not be removed was not needed any more
    assert os.strerror(disk.error) in answer.err, (disk.failed, answer)
    saved = any(place.glob("items/*/??/*.json"))
    assert answer.code == (1 if saved else 2), (disk.failed, answer)


def sound(place: Path, disk: FaultyDisk) -> None:
    """Nothing in a folder is half-written, and nothing temporary is left."""
    if disk.failed != "unlink":
        assert not [path for path in place.rglob(".*") if path.is_file()], disk.failed
    if (place / "run.json").exists():
        found = scorecam.verify(place)
        assert found.sound, (disk.failed, found.faults)


def sweep(run: Callable[[Path], Answer], tmp_path: Path, step: int) -> Counter[str]:
    """Let every `step`-th call fail, each in a run of its own; how many calls of each kind did."""
    with pytest.MonkeyPatch.context() as patch:
        disk = FaultyDisk(tmp_path / "whole").install(patch)
        assert run(tmp_path / "whole").code == 0
    whole, count = contents(tmp_path / "whole"), len(disk.calls)
    tried: Counter[str] = Counter()
    for number in range(count % step, count, step):
        out = tmp_path / f"run{number}"
        with pytest.MonkeyPatch.context() as patch:
            disk = FaultyDisk(out, number).install(patch)
            answer = run(out)
        assert disk.failed is not None
        tried[disk.failed] += 1
        told(answer, disk, out)
        sound(out, disk)
        again = run(out)
        assert again.code == 0, (number, disk.failed, again)
        now = {name: it for name, it in contents(out).items() if not name.endswith(".tmp")}
        assert now == whole, (number, disk.failed)
    return tried


def evaluated(folder: Path) -> Callable[[Path], Answer]:
    more = ("--methods", "scorecam", "--metrics", "recognition", "--banks")
    return lambda out: command(*words(folder, out, *more))


@pytest.mark.usefixtures("quick")
def test_a_run_survives_a_call_that_fails(folder: Path, tmp_path: Path) -> None:
    tried = sweep(evaluated(folder), tmp_path, STEP)
    assert len(tried) >= 5, "the sample misses kinds of calls"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("quick")
def test_a_run_survives_whatever_call_fails(folder: Path, tmp_path: Path) -> None:
    tried = sweep(evaluated(folder), tmp_path, 1)
    assert tried.total() > 1000
    assert {
        "open",
        "open for writing",
        "write",
        "close",
        "fsync",
        "mkdir",
        "replace",
        "link",
    } < set(tried)
    print(dict(tried))  # noqa: T201


# ── other commands ───────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs that are whole."""
    both = tmp_path_factory.mktemp("runs")
    more = ("--methods", "scorecam,centre", "--metrics", "energy", "--limit", "5")
    for name, target in (("one", "label"), ("two", "predicted")):
        assert command(*words(folder, both / name, *more, "--target", target)).code == 0
    return both / "one", both / "two"


def test_a_sanity_check_survives_a_call_that_fails(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scorecam.runs.sanity import sanity

    monkeypatch.setattr(
        sanity, "draw_sanity", lambda to, *_: write_bytes(to / "curves.png", b"PNG")
    )
    monkeypatch.setattr(sanity, "draw_strips", lambda to, *_: write_bytes(to, b"PNG"))
    more = ("--methods", "edges", "--modes", "cascading", "--limit", "2")

    def run(out: Path) -> Answer:
        return command(*words(folder, out, *more, command="sanity"))

    assert sweep(run, tmp_path, 17).total() > 10


def test_a_comparison_survives_a_call_that_fails(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        disk = FaultyDisk(tmp_path / "whole").install(patch)
        command("compare", *runs, "--out", tmp_path / "whole")
    whole, count = contents(tmp_path / "whole"), len(disk.calls)
    for number in range(0, count, 3):
        out = tmp_path / f"run{number}"
        with pytest.MonkeyPatch.context() as patch:
            disk = FaultyDisk(out, number).install(patch)
            answer = command("compare", *runs, "--out", out)
        if not (disk.failed == "unlink" and answer.code == 0):
            assert answer.code == (1 if (out / "compare.json").exists() else 2)
            assert os.strerror(disk.error) in answer.err
        assert command("compare", *runs, "--out", out).code == 0
        assert contents(out).keys() - whole.keys() <= leftovers(out)
        assert {name: it for name, it in contents(out).items() if name in whole} == whole


def leftovers(out: Path) -> set[str]:
    """What calls of unlink that failed have left: the process is alive, so nobody sweeps it."""
    return {str(path.relative_to(out)) for path in out.rglob(".*.tmp")}


def test_an_audit_survives_whatever_call_fails(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        disk = FaultyDisk(tmp_path / "whole").install(patch)
        assert command("audit", runs[0], "--out", tmp_path / "whole" / "page.html").code == 0
    whole, count = contents(tmp_path / "whole"), len(disk.calls)
    assert set(whole) == {"page.html", "audit.json"}
    for number in range(count):
        out = tmp_path / f"audit{number}"
        with pytest.MonkeyPatch.context() as patch:
            disk = FaultyDisk(out, number).install(patch)
            answer = command("audit", runs[0], "--out", out / "page.html")
        if answer.code != 0:
            assert answer.code == 2
            assert os.strerror(disk.error) in answer.err
            assert contents(out).keys() <= leftovers(out), "a file is there, which blocks a retry"
            assert command("audit", runs[0], "--out", out / "page.html").code == 0
        else:
            assert disk.failed == "unlink"
        assert {name: it for name, it in contents(out).items() if name in whole} == whole


def explained(folder: Path, out: Path, names: list[str]) -> Answer:
    photos = [str(folder / "photos" / name) for name in names]
    preprocess = str(folder / "preprocess.json")
    return command(
        "explain", *photos, "--model", "toy_models:tiny", "--preprocess", preprocess,
        "--runtime", "eager", "--methods", "scorecam,centre", "--out", str(out),
    )  # fmt: skip


def pictures(out: Path) -> dict[str, Any]:
    """What `explain` leaves, but for what a clock says."""
    found = {name: it for name, it in contents(out).items() if not name.endswith(".tmp")}
    for name, content in found.items():
        if name.endswith(".json"):
            for item in content["items"]:
                item.pop("seconds")
                item["files"] = sorted(Path(file).name for file in item["files"].values())
        elif name.endswith(".safetensors"):
            found[name] = scorecam.ScoreBank.load(out / name).scores.tolist()
    return found


@pytest.mark.parametrize(
    "step", [29, pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_explanations_survive_a_call_that_fails(folder: Path, tmp_path: Path, step: int) -> None:
    names = ["red/000.png", "green/001.png"]
    with pytest.MonkeyPatch.context() as patch:
        disk = FaultyDisk(tmp_path / "whole").install(patch)
        assert explained(folder, tmp_path / "whole", names).code == 0
    whole = pictures(tmp_path / "whole")
    assert len(whole) == 8
    for number in range(step // 2, len(disk.calls), step):
        out = tmp_path / f"out{number}"
        with pytest.MonkeyPatch.context() as patch:
            faulty = FaultyDisk(out, number).install(patch)
            answer = explained(folder, out, names)
        there = [name for name in names if (out / f"{Path(name).stem}.json").exists()]
        if faulty.failed != "unlink":
            assert answer.code == (1 if there else 2), (faulty.failed, answer)
            assert os.strerror(faulty.error) in answer.err
        missing = [name for name in names if name not in there]
        if missing:
            again = explained(folder, out, missing)
            assert again.code == 0, (faulty.failed, again)
        assert pictures(out) == whole


def test_a_bank_that_cannot_be_replaced_stays(folder: Path, tmp_path: Path) -> None:
    explained(folder, tmp_path / "out", ["red/000.png"])
    file = tmp_path / "out" / "000.safetensors"
    bank, before = scorecam.ScoreBank.load(file), file.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        disk = FaultyDisk(tmp_path / "out").install(patch)
        bank.save(file)
    after = file.read_bytes()
    file.write_bytes(before)
    for number, call in enumerate(disk.calls):
        with pytest.MonkeyPatch.context() as patch:
            faulty = FaultyDisk(tmp_path / "out", number).install(patch)
            if call == "unlink":
                bank.save(file)
                continue
            with pytest.raises(scorecam.OutputError, match=os.strerror(faulty.error)):
                bank.save(file)
        assert file.read_bytes() in (before, after)
        assert scorecam.ScoreBank.load(file).layer == bank.layer
