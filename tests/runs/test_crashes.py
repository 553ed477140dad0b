"""A run that was killed or had a full disk resumes to the same results."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from child_runs import METHODS, PHOTOS, run
from command_line import scorecam as command
from command_line import shell_environment
from command_runs import furnish, photos
from command_runs import words as evaluating
from scorecam import OutputError

pytestmark = [pytest.mark.needs("eval"), pytest.mark.early]

KILLS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 tiny photos in three classes."""
    return photos(tmp_path_factory.mktemp("photos"), PHOTOS)


def records(out: Path) -> dict[str, Any]:
    """Every record by its path, without times."""
    result: dict[str, Any] = {}
    for path in sorted((out / "items").rglob("*.json")):
        record = json.loads(path.read_text("utf-8"))
        record.pop("timings", None)
        result[str(path.relative_to(out))] = record
    return result


def same(one: Path, other: Path) -> None:
    """Two runs have equal records, maps and results."""
    assert records(one) == records(other)
    assert (one / "results.parquet").read_bytes() == (other / "results.parquet").read_bytes()
    maps = sorted(path.relative_to(one) for path in one.glob("maps/**/*.npy"))
    assert len(maps) == PHOTOS * len(METHODS.split(","))
    for path in maps[::37]:
        assert (one / path).read_bytes() == (other / path).read_bytes()


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(folder, out)
    return out


def written(out: Path) -> int:
    """The number of records."""
    return sum(1 for _ in out.glob("items/*/??/*.json"))


def in_a_child(folder: Path, out: Path, shard: tuple[int, int] | None = None) -> None:
    torch.set_num_threads(1)
    run(folder, out, shard=shard)
    os._exit(0)


def child(*arguments: Any) -> multiprocessing.process.BaseProcess:
    """A process with everything already imported."""
    process = multiprocessing.get_context("fork").Process(target=in_a_child, args=arguments)
    process.start()
    return process


# This one comes first: its children must be made before this process has threads of its own.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_after_twenty_kills_the_results_are_the_same(
    folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    out = tmp_path / "run"
    random = np.random.default_rng(0)
    total = PHOTOS * len(METHODS.split(","))
    early = 0
    for _ in range(KILLS):
        process = child(folder, out)
        # Each does about a twentieth of the run, however busy the machine is; the last kills come
        # near its end.
        goal = min(written(out) + random.integers(0, 2.2 * total / KILLS), total)
        while written(out) < goal and process.is_alive():
            time.sleep(0.02)
        time.sleep(random.uniform(0.0, 0.5 if goal == total else 0.02))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode in {-signal.SIGKILL, 0}
        early += not (out / "results.parquet").exists()
    assert early >= KILLS // 2, "the run was over before it had been killed often"
    assert len(records(out)) > 0, "every kill came before the first record"
    summary = run(folder, out)
    assert summary.done == PHOTOS
    same(out, request.getfixturevalue("whole"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_two_concurrent_shards_give_one_run(folder: Path, tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", SHARD, str(folder), str(out)]
    environment = shell_environment()
    processes = [subprocess.Popen([*command, str(i)], env=environment) for i in (1, 2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    summary = run(folder, out)
    assert summary.done == PHOTOS
    same(out, whole)


SHARD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import child_runs
folder, out, part = sys.argv[1:]
child_runs.run(Path(folder), Path(out), shard=(int(part), 2))
"""


def test_a_shard_reports_missing_photos(folder: Path, tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "run"
    first = run(folder, out, shard=(1, 2))
    assert first.done == PHOTOS // 2
    assert any("100 of 200 photos are not done yet" in remark for remark in first.remarks)
    run(folder, out, shard=(2, 2))
    same(out, whole)


# ── disks ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A disk with room for a number of records; raising the number frees space."""
    room = [40]
    write = Path.write_text

    def limited(self: Path, text: str, *others: Any, **named: Any) -> int:
        if '"method"' in text and room[0] == 0:
            write(self, text[:20], *others, **named)  # the part that fits
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room[0] -= '"method"' in text
        return write(self, text, *others, **named)

    monkeypatch.setattr(Path, "write_text", limited)
    return room


def test_a_full_disk_ends_the_run_without_loss(
    folder: Path, tmp_path: Path, whole: Path, full: list[int]
) -> None:
    out = tmp_path / "run"
    with pytest.raises(OutputError, match="No space left"):
        run(folder, out)
    assert len(records(out)) == 40
    assert not [path for path in out.rglob(".*") if path.is_file()]
    full[0] = -1  # unlimited room
    run(folder, out)
    same(out, whole)


def words(folder: Path, out: Path) -> list[str]:
    return evaluating(folder, out, "--methods", "scorecam,uniform", "--metrics", "all")


def test_a_limit_on_file_sizes_is_reported_and_can_be_resumed(tmp_path: Path) -> None:
    furnish(tmp_path)
    out = tmp_path / "run"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

    process = subprocess.run(
        [sys.executable, "-m", "scorecam", *words(tmp_path, out)],
        env=shell_environment(),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 1, process
    assert "File too large" in process.stderr
    assert "run the same command to resume" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (out / "results.parquet").exists() or not (out / "summary.json").exists()
    there = len(records(out))
    assert there > 0

    answer = command(*words(tmp_path, out))
    assert answer.code == 0, answer
    assert len(records(out)) == 12
    assert json.loads((out / "summary.json").read_text("utf-8"))["done"] == 6


def test_ctrl_c_keeps_finished_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scorecam.runs import store

    furnish(tmp_path)
    out = tmp_path / "run"
    write = store.Store.write
    left = [5]

    def interrupted(self: Any, *arguments: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "write", interrupted)
        answer = command(*words(tmp_path, out))
    assert answer.code == 130
    assert "run the same command to resume" in answer.err
    assert len(records(out)) == 5
    assert command(*words(tmp_path, out)).code == 0
    assert len(records(out)) == 12
