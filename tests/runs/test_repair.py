"""Damage by power cuts, full disks or edits is detected, and the results are recomputed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scorecam
import toy_models
from command_line import Answer, shell_environment
from command_line import scorecam as command
from command_runs import contents, furnish, words
from scorecam import OutputError
from scorecam.runs import store
from scorecam.runs.sanity import check
from scorecam.runs.seals import checksum

pytestmark = pytest.mark.needs("eval", "audit")

MORE = ("--methods", "scorecam,centre", "--metrics", "quick", "--banks")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("data"), 5)


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(folder, out).code == 0
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A copy of an intact run."""
    return shutil.copytree(whole, tmp_path / "run")


def run(folder: Path, out: Path) -> Answer:
    return command(*words(folder, out, *MORE))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def zeros(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def other(file: Path) -> None:
    """Another value in a valid file."""
    if file.suffix == ".npy":
        np.save(file, np.load(file) / 2)
        return
    result = json.loads(file.read_text("utf-8"))
    result["name"] = "another.png"
    file.write_text(json.dumps(result), "utf-8")


PATTERNS = {
    "record": "items/scorecam/*/*.json",
    "map": "maps/centre/*/*.npy",
    "entry": "gallery/*/*.json",
    "bank": "banks/*/*.safetensors",
}


HARMS = [(what, harm) for what in PATTERNS for harm in (empty, cut, zeros, other)]
HARMS.remove(("bank", other))  # a bank is not text


@pytest.mark.parametrize(
    ("what", "harm"), HARMS, ids=[f"{what} {harm.__name__}" for what, harm in HARMS]
)
def test_a_damaged_or_edited_file_is_detected_and_recomputed(
    folder: Path, out: Path, whole: Path, what: str, harm: Callable[[Path], None]
) -> None:
    file = sorted(out.glob(PATTERNS[what]))[2]
    harm(file)

    result = scorecam.verify(out)
    state = "edited" if harm is other else "damaged"
    assert [(fault.file, fault.state) for fault in result.faults] == [
        (str(file.relative_to(out)), state)
    ]
    assert command("verify", out).code == 1
    answer = run(folder, out)
    assert answer.code == 0
    assert f"{state} and are made again: 1." in answer.err
    assert contents(out) == contents(whole)
    assert command("verify", out).code == 0


@pytest.mark.parametrize("pattern", ["items/scorecam/*/*.json", "maps/scorecam/*/*.npy"])
def test_a_missing_file_is_recomputed(folder: Path, out: Path, whole: Path, pattern: str) -> None:
    sorted(out.glob(pattern))[1].unlink()
    assert run(folder, out).code == 0
    assert contents(out) == contents(whole)


def change(record: Path, **values: Any) -> None:
    result = json.loads(record.read_text("utf-8"))
    result["values"] |= values
    record.write_text(json.dumps(result, indent=4), "utf-8")


def test_an_edited_record_is_excluded_from_means(folder: Path, out: Path, whole: Path) -> None:
    record = min(out.glob("items/scorecam/*/*.json"))
    change(record, average_drop=73.5)
    pages = command("audit", out)
    assert "Damaged or edited, left out: 1 × edited record." in pages.err
    compared = command("compare", out, whole, "--out", out.parent / "compared")
    assert "1 damaged records or maps were left out" in compared.out
    answer = run(folder, out)
    assert "Records that were edited and are made again: 1." in answer.err
    assert contents(out) == contents(whole)


def test_a_shard_skips_invalid_records_of_other_shards(folder: Path, tmp_path: Path) -> None:
    for part in ("1/2", "2/2"):
        assert command(*words(folder, tmp_path / "run", *MORE, "--shard", part)).code == 0
    mine = {path.stem for path in (tmp_path / "run").glob("items/scorecam/*/*.json")}
    first = command(*words(folder, tmp_path / "one", *MORE, "--shard", "1/2"))
    assert first.code == 0
    one = {path.stem for path in (tmp_path / "one").glob("items/scorecam/*/*.json")}
    file = next(
        path
        for path in (tmp_path / "run").glob("items/scorecam/*/*.json")
        if path.stem in mine - one
    )
    change(file, average_drop=73.5)
    answer = command(*words(folder, tmp_path / "run", *MORE, "--shard", "1/2", "--json"))
    assert "Records left out, edited: 1." in answer.err
    [drop] = [
        item
        for item in answer.items
        if (item["outcome"], item["method"], item["against"]) == ("average_drop", "scorecam", None)
        and item["group"] == "all"
    ]
    assert drop["n"] == 4
    assert drop["mean"] <= 1


def test_removing_a_checksum_is_an_edit(out: Path) -> None:
    file = min(out.glob("items/scorecam/*/*.json"))
    result = json.loads(file.read_text("utf-8"))
    del result["checksum"]
    file.write_text(json.dumps(result), "utf-8")
    assert [fault.state for fault in scorecam.verify(out).faults] == ["edited"]


def test_reformatting_the_same_values_is_not_an_edit(out: Path) -> None:
    for file in out.glob("items/*/*/*.json"):
        result = json.loads(file.read_text("utf-8"))
        result["timings"] = {"seconds": 0.0}
        file.write_text(json.dumps(result, sort_keys=True, indent=7, ensure_ascii=True), "utf-8")
    assert scorecam.verify(out).faults == ()


def test_the_checksum_equals_the_documented_one() -> None:
    import hashlib

    record = {"b": [1.5, "ü"], "a": None, "timings": {"seconds": 2}, "checksum": "?"}
    text = '{"a":null,"b":[1.5,"\\u00fc"]}'
    assert checksum(record) == hashlib.sha256(text.encode()).hexdigest()


def test_runs_of_earlier_versions_are_read_and_resumed(
    folder: Path, out: Path, whole: Path
) -> None:
    """Their records, maps and run.json have no checksums."""
    for file in out.rglob("*.json"):
        result = json.loads(file.read_text("utf-8"))
        for key in ("checksum", "checksums", "files"):
            result.pop(key, None)
        if isinstance(result.get("map"), dict):
            result["map"].pop("sha256", None)
        file.write_text(json.dumps(result), "utf-8")
    (out / "results.parquet").unlink()
    kept = sorted(out.glob("items/centre/*/*.json"))[:3]
    before = [file.stat().st_mtime_ns for file in kept]
    for file in sorted(out.glob("items/centre/*/*.json"))[3:]:
        file.unlink()
    answer = run(folder, out)
    assert answer.code == 0
    assert "made again" not in answer.err
    assert [file.stat().st_mtime_ns for file in kept] == before
    name = "results.parquet"
    assert (out / name).read_bytes() == (whole / name).read_bytes()
    checked = command("verify", out)
    assert checked.code == 0, checked
    assert "kept no checksums" in checked.err


# ── verify ───────────────────────────────────────────────────────────────────────────────────


def test_verify_finds_results_that_differ_from_the_records(out: Path) -> None:
    summary = out / "summary.json"
    document = json.loads(summary.read_text("utf-8"))
    [row, *_] = [item for item in document["items"] if item["outcome"] == "average_drop"]
    row["mean"] = 0.001
    document["checksum"] = checksum(document)  # by someone who knows the format
    summary.write_text(json.dumps(document), "utf-8")
    [fault] = scorecam.verify(out).faults
    assert (fault.file, fault.state) == ("summary.json", "out of date")


@pytest.mark.parametrize("change", ["value", "row", "text"])
def test_verify_compares_every_table_row_with_its_record(out: Path, change: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = out / "results.parquet"
    rows = pq.read_table(file).to_pylist()
    if change == "value":
        next(row for row in rows if row["value"] is not None)["value"] += 1e-3
    elif change == "row":
        del rows[0]
    pq.write_table(pa.Table.from_pylist(rows), file)
    if change == "text":
        file.write_text("no table", "utf-8")
    [fault] = scorecam.verify(out).faults
    assert (fault.file, fault.state) == ("results.parquet", "out of date")


@pytest.mark.parametrize("name", ["table.md", "drop-increase.png"])
def test_verify_checks_every_result_file(out: Path, name: str) -> None:
    (out / name).write_bytes(b"edited")
    assert [(f.file, f.state) for f in scorecam.verify(out).faults] == [(name, "edited")]
    (out / name).unlink()
    assert [(f.file, f.state) for f in scorecam.verify(out).faults] == [(name, "missing")]


def test_verify_lists_leftover_files_as_harmless(out: Path) -> None:
    from scorecam.io import files

    left = out / "items" / f".x-{files._host()}.{2**22 + 1}.00000000.tmp"
    left.touch()
    stray = out / "maps" / "scorecam" / "ab" / "abcd.npy"
    stray.parent.mkdir(exist_ok=True)
    shutil.copy(next(out.glob("maps/scorecam/*/*.npy")), stray)
    result = scorecam.verify(out)
    assert {(fault.file, fault.state) for fault in result.faults} == {
        (str(left.relative_to(out)), "left over"),
        (str(stray.relative_to(out)), "left over"),
    }
    assert result.sound
    assert command("verify", out).code == 0


def test_verify_writes_nothing(out: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    os.utime(out, ns=(0, 0))
    before[out] = out.stat().st_mtime_ns
    command("verify", out, "--json")
    assert {path: path.stat().st_mtime_ns for path in (out, *out.rglob("*"))} == before


def test_verify_lists_unfinished_work(folder: Path, tmp_path: Path) -> None:
    command(*words(folder, tmp_path / "run", *MORE, "--shard", "1/2"))
    answer = command("verify", tmp_path / "run")
    assert answer.code == 0
    assert "is not finished: 3 of 5 photos are done." in answer.err


def test_verify_reads_a_bank(out: Path) -> None:
    bank = next(out.glob("banks/*/*.safetensors"))
    assert command("verify", bank).code == 0
    cut(bank)
    answer = command("verify", bank, "--json")
    assert answer.code == 1
    assert [item["state"] for item in answer.items] == ["damaged"]


def test_verify_refuses_anything_but_a_run_or_a_bank(tmp_path: Path) -> None:
    for place, phrase in (
        (tmp_path, "neither a run nor a bank"),
        (tmp_path / "x", "does not exist"),
    ):
        answer = command("verify", place)
        assert answer.code == 2
        assert phrase in answer.err


def test_verify_reads_sanity_checks(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "sanity"
    more = ("--methods", "edges", "--modes", "cascading", "--limit", "2")
    assert command(*words(folder, out, *more, command="sanity")).code == 0
    assert scorecam.verify(out).faults == ()
    record = next(out.glob("items/*/*/*.json"))
    change(record, edges={"spearman": 0.5, "ssim": 0.5, "hog": 0.5})
    empty(next(out.glob("originals/*/*.npy")))
    result = {(Path(f.file).parts[0], f.state) for f in scorecam.verify(out).faults}
    assert result == {("items", "edited"), ("originals", "damaged")}
    assert command(*words(folder, out, *more, command="sanity")).code == 0
    assert scorecam.verify(out).faults == ()


# ── disappearing folders ─────────────────────────────────────────────────────────────────────

COMMANDS = {
    "evaluate": (MORE, store.Store),
    "sanity": (("--methods", "edges", "--modes", "cascading"), store.Store),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("away", ["removed", "renamed", "emptied"])
def test_a_folder_that_disappears_ends_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, away: str
) -> None:
    out = tmp_path / "out"
    more, _ = COMMANDS[name]
    write, left = store.Store.write, [3]

    def going(self: Any, *arguments: Any) -> None:
        write(self, *arguments)
        left[0] -= 1
        if left[0] == 0:
            if away == "renamed":
                out.rename(tmp_path / "elsewhere")
            else:
                shutil.rmtree(out)
            if away == "emptied":
                out.mkdir()

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "write", going)
        answer = command(*words(folder, out, *more, command=name))
    assert answer.code == 2, answer
    assert "are gone" in answer.err
    assert "Results are in" not in answer.out
    assert command(*words(folder, out, *more, command=name)).code == 0


def test_records_that_disappear_are_detected_at_the_end(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write = store.Store.write

    def losing(self: Any, record: Any, *rest: Any) -> None:
        for earlier in out.glob("items/scorecam/*/*.json"):
            earlier.unlink()
        write(self, record, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "write", losing)
        answer = command(*words(folder, out, *MORE))
    assert answer.code == 1
    assert "are gone" in answer.err
    assert run(folder, out).code == 0


def test_a_full_disk_is_not_a_bad_photo_in_a_sanity_check(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("Could not write: No space left on device.")

    monkeypatch.setattr(check, "write_bytes", full)
    out = tmp_path / "out"
    answer = command(*words(folder, out, "--methods", "edges", command="sanity"))
    assert answer.code == 2
    assert "No space left" in answer.err
    assert not (out / "sanity.json").exists()


# ── memory ───────────────────────────────────────────────────────────────────────────────────


def near(one: Any, other: Any) -> bool:
    """Equal except for the rounding in other batches."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = (one.keys() | other.keys()) - {"checksum", "timings", "sha256"}
        return all(near(one.get(key), other.get(key)) for key in keys)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(near, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-5
    return bool(one == other)


def failing(patch: pytest.MonkeyPatch, where: Any, name: str, moment: int) -> list[int]:
    """Make the n-th call run out of memory. Returns the number of calls."""
    real, calls = getattr(where, name), [0]

    def call(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == moment:
            raise MemoryError
        return real(*arguments, **named)

    patch.setattr(where, name, call)
    return calls


ALLOCATIONS = {
    "forward": (toy_models.Tiny, "forward"),
    "empty": (torch, "empty"),
    "cat": (torch, "cat"),
    "asarray": (np, "asarray"),
}


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_running_out_of_memory_is_reported_and_the_run_continues(
    folder: Path, tmp_path: Path, name: str
) -> None:
    where, function = ALLOCATIONS[name]
    more = ("--methods", "scorecam", "--metrics", "recognition", "--limit", "3")

    def go(out: Path) -> Answer:
        return command(*words(folder, out, *more))

    with pytest.MonkeyPatch.context() as patch:
        calls = failing(patch, where, function, 0)
        assert go(tmp_path / "whole").code == 0
    total = calls[0]
    assert total > 0
    records = {k: v for k, v in contents(tmp_path / "whole").items() if k.startswith("items")}
    for moment in sorted({1, 2, total // 2, total - 1, total} - {0}):
        out = tmp_path / f"run{moment}"
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, where, function, moment)
            answer = go(out)
        assert answer.code in (0, 1, 2), (moment, answer)
        assert "our fault" not in answer.err, (moment, answer)
        assert "Traceback" not in answer.err
        if answer.code:
            assert "emory" in answer.err, (moment, answer)
        again = go(out)
        assert again.code == 0, (moment, again)
        now = {k: v for k, v in contents(out).items() if k.startswith("items")}
        assert near(now, records), moment


def test_output_that_cannot_be_printed_is_an_error(folder: Path, tmp_path: Path) -> None:
    """`scorecam layers > /dev/full`."""
    preprocess = str(folder / "preprocess.json")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "scorecam", "layers", "--model", "toy_models:tiny"),
                *("--preprocess", preprocess),
            ],
            env=shell_environment(),
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "our fault" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.timeout(60)
def test_verify_does_not_block_on_a_pipe_instead_of_the_table(out: Path) -> None:
    (out / "results.parquet").unlink()
    os.mkfifo(out / "results.parquet")
    [fault] = scorecam.verify(out).faults
    assert (fault.file, fault.state) == ("results.parquet", "out of date")


def test_verify_reads_the_table_without_threads(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    reads: list[tuple[Any, Any]] = []

    class Watched(pq.ParquetFile):
        def __init__(self, source: Any, *args: Any, **kwargs: Any) -> None:
            self.buffered = kwargs.get("pre_buffer")
            super().__init__(source, *args, **kwargs)

        def read(self, *args: Any, **kwargs: Any) -> Any:
            reads.append((self.buffered, kwargs.get("use_threads")))
            return super().read(*args, **kwargs)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    assert scorecam.verify(out).sound
    assert reads == [(False, False)]


def test_verify_checks_a_comparison_of_runs_elsewhere(out: Path, tmp_path: Path) -> None:
    other = shutil.copytree(out, tmp_path / "other")
    compared = tmp_path / "compared"
    assert command("compare", out, other, "--out", compared).code == 0
    assert command("verify", compared).code == 0
    document = compared / "compare.json"
    document.write_text(document.read_text("utf-8")[:-30], "utf-8")
    [fault] = scorecam.verify(compared).faults
    assert (fault.file, fault.state) == ("compare.json", "damaged")


def test_verify_mentions_a_bank_without_a_checksum(out: Path, tmp_path: Path) -> None:
    import safetensors
    import safetensors.torch

    bank = next(out.glob("banks/*/*.safetensors"))
    assert not scorecam.verify(bank).remarks
    with safetensors.safe_open(bank, "pt") as file:
        record = json.loads(file.metadata()["scorecam"])
    del record["sha256"]
    older = tmp_path / "older.safetensors"
    tensors = safetensors.torch.load_file(bank)
    safetensors.torch.save_file(tensors, older, {"scorecam": json.dumps(record)})
    result = scorecam.verify(older)
    assert result.sound
    assert "no checksum" in result.remarks[0]
