"""If a disk call fails: an error, no partial files, and the next attempt succeeds."""

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
from command_runs import contents, furnish, words
from faulty_disk import FaultyDisk
from scorecam.io.files import write_bytes
from scorecam.runs import evaluate, summary

pytestmark = pytest.mark.needs("eval", "audit")

PHOTOS = 20
STEP = 37
"""An ordinary run lets every 37th call fail; a long run lets each call fail in turn."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("data"), PHOTOS)


@pytest.fixture
def cached_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute each photo once and reuse the result, because only the disk is tested here."""
    work, entry = evaluate.explain_photo, evaluate.entry
    cache: dict[str, tuple[list[Any], list[Any]]] = {}
    entries: dict[str, Any] = {}

    def cached_work(sample: Any, setup: Any, methods: Any, keep: Any) -> Iterator[Any]:
        if sample.id not in cache:
            kept_values: list[Any] = []
            results = list(work(sample, setup, methods, lambda *values: kept_values.extend(values)))
            cache[sample.id] = results, kept_values
        results, kept_values = cache[sample.id]
        keep(*kept_values)
        yield from results

    def cached_entry(subject: Any, *rest: Any) -> Any:
        if subject.sample.id not in entries:
            entries[subject.sample.id] = entry(subject, *rest)
        return entries[subject.sample.id]

    monkeypatch.setattr(evaluate, "explain_photo", cached_work)
    monkeypatch.setattr(evaluate, "entry", cached_entry)
    monkeypatch.setattr(summary, "draw", lambda to, *_: write_bytes(to.curves, b"PNG" * 99))


def check_error(answer: Answer, disk: FaultyDisk, folder: Path) -> None:
    """The command reports the failed call, and its exit code fits what was saved."""
    assert "Traceback" not in answer.err
    assert "our fault" not in answer.err, answer.err
    if disk.failed == "unlink" and answer.code == 0:
        return  # the file that could not be removed was obsolete
    assert os.strerror(disk.error) in answer.err, (disk.failed, answer)
    saved = any(folder.glob("items/*/??/*.json"))
    assert answer.code == (1 if saved else 2), (disk.failed, answer)


def check_sound(folder: Path, disk: FaultyDisk) -> None:
    """A folder holds no partial and no temporary files."""
    if disk.failed != "unlink":
        assert not [path for path in folder.rglob(".*") if path.is_file()], disk.failed
    if (folder / "run.json").exists():
        verification = scorecam.verify(folder)
        assert verification.sound, (disk.failed, verification.faults)


def finished_files(folder: Path) -> dict[str, Any]:
    """The files of a folder, without temporary ones."""
    everything = contents(folder).items()
    return {name: content for name, content in everything if not name.endswith(".tmp")}


def sweep(run: Callable[[Path], Answer], tmp_path: Path, step: int) -> Counter[str]:
    """Let every `step`-th call fail, each in its own run; count the failed calls by kind."""
    with pytest.MonkeyPatch.context() as patch:
        disk = FaultyDisk(tmp_path / "complete").install(patch)
        assert run(tmp_path / "complete").code == 0
    complete, count = contents(tmp_path / "complete"), len(disk.calls)
    failures: Counter[str] = Counter()
    for number in range(count % step, count, step):
        out = tmp_path / f"run{number}"
        with pytest.MonkeyPatch.context() as patch:
            disk = FaultyDisk(out, number).install(patch)
            answer = run(out)
        assert disk.failed is not None
        failures[disk.failed] += 1
        check_error(answer, disk, out)
        check_sound(out, disk)
        retry = run(out)
        assert retry.code == 0, (number, disk.failed, retry)
        assert finished_files(out) == complete, (number, disk.failed)
    return failures


def evaluation(folder: Path) -> Callable[[Path], Answer]:
    more = ("--methods", "scorecam", "--metrics", "recognition", "--banks")
    return lambda out: command(*words(folder, out, *more))


@pytest.mark.usefixtures("cached_results")
def test_a_run_survives_a_call_that_fails(folder: Path, tmp_path: Path) -> None:
    failures = sweep(evaluation(folder), tmp_path, STEP)
    assert len(failures) >= 5, "the sample misses some kinds of calls"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("cached_results")
def test_a_run_survives_any_call_that_fails(folder: Path, tmp_path: Path) -> None:
    failures = sweep(evaluation(folder), tmp_path, 1)
    assert failures.total() > 1000
    assert {
        "open",
        "open for writing",
        "write",
        "close",
        "fsync",
        "mkdir",
        "replace",
        "link",
    } < set(failures)
    print(dict(failures))  # noqa: T201


# ── other commands ───────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two complete runs."""
    both = tmp_path_factory.mktemp("runs")
    more = ("--methods", "scorecam,centre", "--metrics", "energy", "--limit", "5")
    for name, target in (("one", "label"), ("two", "predicted")):
        assert command(*words(folder, both / name, *more, "--target", target)).code == 0
    return both / "one", both / "two"


def test_a_sanity_check_survives_a_call_that_fails(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scorecam.runs.sanity import results

    monkeypatch.setattr(results, "draw_sanity", lambda to, *_: write_bytes(to.curves, b"PNG"))
    monkeypatch.setattr(results, "draw_strips", lambda to, *_: write_bytes(to, b"PNG"))
    more = ("--methods", "edges", "--modes", "cascading", "--limit", "2")

    def run(out: Path) -> Answer:
        return command(*words(folder, out, *more, command="sanity"))

    assert sweep(run, tmp_path, 17).total() > 10


def test_a_comparison_survives_a_call_that_fails(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        disk = FaultyDisk(tmp_path / "complete").install(patch)
        command("compare", *runs, "--out", tmp_path / "complete")
    complete, count = contents(tmp_path / "complete"), len(disk.calls)
    for number in range(0, count, 3):
        out = tmp_path / f"run{number}"
        with pytest.MonkeyPatch.context() as patch:
            disk = FaultyDisk(out, number).install(patch)
            answer = command("compare", *runs, "--out", out)
        if not (disk.failed == "unlink" and answer.code == 0):
            assert answer.code == (1 if (out / "compare.json").exists() else 2)
            assert os.strerror(disk.error) in answer.err
        assert command("compare", *runs, "--out", out).code == 0
        assert contents(out).keys() - complete.keys() <= leftovers(out)
        assert {
            name: content for name, content in contents(out).items() if name in complete
        } == complete


def leftovers(out: Path) -> set[str]:
    """Temporary files that failed unlink calls left; their process is alive, so they stay."""
    return {str(path.relative_to(out)) for path in out.rglob(".*.tmp")}


def test_an_audit_survives_any_call_that_fails(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        disk = FaultyDisk(tmp_path / "complete").install(patch)
        assert command("audit", runs[0], "--out", tmp_path / "complete" / "page.html").code == 0
    complete, count = contents(tmp_path / "complete"), len(disk.calls)
    assert set(complete) == {"page.html", "audit.json"}
    for number in range(count):
        out = tmp_path / f"audit{number}"
        with pytest.MonkeyPatch.context() as patch:
            disk = FaultyDisk(out, number).install(patch)
            answer = command("audit", runs[0], "--out", out / "page.html")
        if answer.code != 0:
            assert answer.code == 2
            assert os.strerror(disk.error) in answer.err
            assert contents(out).keys() <= leftovers(out), (
                "a remaining file blocks the next attempt"
            )
            assert command("audit", runs[0], "--out", out / "page.html").code == 0
        else:
            assert disk.failed == "unlink"
        assert {
            name: content for name, content in contents(out).items() if name in complete
        } == complete


def explained(folder: Path, out: Path, names: list[str]) -> Answer:
    photos = [str(folder / "photos" / name) for name in names]
    preprocess = str(folder / "preprocess.json")
    return command(
        "explain", *photos, "--model", "toy_models:tiny", "--preprocess", preprocess,
        "--runtime", "eager", "--methods", "scorecam,centre", "--out", str(out),
    )  # fmt: skip


def explanation_files(out: Path) -> dict[str, Any]:
    """The files of `explain`, without times."""
    files = finished_files(out)
    for name, content in files.items():
        if name.endswith(".json"):
            for item in content["items"]:
                item.pop("seconds")
                item["files"] = sorted(Path(file).name for file in item["files"].values())
        elif name.endswith(".safetensors"):
            files[name] = scorecam.ScoreBank.load(out / name).scores.tolist()
    return files


@pytest.mark.parametrize(
    "step", [29, pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_explanations_survive_a_call_that_fails(folder: Path, tmp_path: Path, step: int) -> None:
    names = ["red/000.png", "green/001.png"]
    with pytest.MonkeyPatch.context() as patch:
        disk = FaultyDisk(tmp_path / "complete").install(patch)
        assert explained(folder, tmp_path / "complete", names).code == 0
    complete = explanation_files(tmp_path / "complete")
    assert len(complete) == 8
    for number in range(step // 2, len(disk.calls), step):
        out = tmp_path / f"out{number}"
        with pytest.MonkeyPatch.context() as patch:
            faulty = FaultyDisk(out, number).install(patch)
            answer = explained(folder, out, names)
        saved = [name for name in names if (out / f"{Path(name).stem}.json").exists()]
        if faulty.failed != "unlink":
            assert answer.code == (1 if saved else 2), (faulty.failed, answer)
            assert os.strerror(faulty.error) in answer.err
        missing = [name for name in names if name not in saved]
        if missing:
            retry = explained(folder, out, missing)
            assert retry.code == 0, (faulty.failed, retry)
        assert explanation_files(out) == complete


def test_a_bank_that_cannot_be_replaced_is_kept(folder: Path, tmp_path: Path) -> None:
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
