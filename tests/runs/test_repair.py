"""What a power cut, a full disk or a hand has done to a run is noticed, and made again."""

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
    """A copy of a run that is whole."""
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
    """Another value, in a file that is well made."""
    if file.suffix == ".npy":
        np.save(file, np.load(file) / 2)
        return
    found = json.loads(file.read_text("utf-8"))
    found["name"] = "another.png"
    file.write_text(json.dumps(found), "utf-8")


PATTERNS = {
    "record": "items/scorecam/*/*.json",
    "map": "maps/centre/*/*.npy",
    "entry": "gallery/*/*.json",
    "bank": "banks/*/*.safetensors",
}


HARMS = [(what, harm) for what in PATTERNS for harm in (empty, cut, zeros, other)]
HARMS.remove(("bank", other))  # a bank is no text


@pytest.mark.parametrize(
    ("what", "harm"), HARMS, ids=[f"{what} {harm.__name__}" for what, harm in HARMS]
)
def test_a_file_that_is_damaged_or_edited_is_noticed_and_made_again(
    folder: Path, out: Path, whole: Path, what: str, harm: Callable[[Path], None]
) -> None:
    file = sorted(out.glob(PATTERNS[what]))[2]
    harm(file)

    found = scorecam.verify(out)
    state = "edited" if harm is other else "damaged"
    assert [(fault.file, fault.state) for fault in found.faults] == [
        (str(file.relative_to(out)), state)
    ]
    assert command("verify", out).code == 1
    answer = run(folder, out)
    assert answer.code == 0
    assert f"{state} and are made again: 1." in answer.err
    assert contents(out) == contents(whole)
    assert command("verify", out).code == 0


@pytest.mark.parametrize("pattern", ["items/scorecam/*/*.json", "maps/scorecam/*/*.npy"])
def test_a_file_that_is_gone_is_made_again(
    folder: Path, out: Path, whole: Path, pattern: str
) -> None:
    sorted(out.glob(pattern))[1].unlink()
    assert run(folder, out).code == 0
    assert contents(out) == contents(whole)


def change(record: Path, **values: Any) -> None:
    found = json.loads(record.read_text("utf-8"))
    found["values"] |= values
    record.write_text(json.dumps(found, indent=4), "utf-8")


def test_an_edited_record_is_in_no_mean(folder: Path, out: Path, whole: Path) -> None:
    record = min(out.glob("items/scorecam/*/*.json"))
    change(record, average_drop=73.5)
    pages = command("audit", out)
    assert "Damaged or edited, left out: 1 × edited record." in pages.err
    compared = command("compare", out, whole, "--out", out.parent / "compared")
    assert "1 damaged records or maps were left out" in compared.out
    answer = run(folder, out)
    assert "Records that were edited and are made again: 1." in answer.err
    assert contents(out) == contents(whole)


def test_a_shard_leaves_out_what_another_shards_records_say_wrongly(
    folder: Path, tmp_path: Path
) -> None:
    for part in ("1/2", "2/2"):
        assert command(*words(folder, tmp_path / "run", *MORE, "--shard", part)).code == 0
    mine = {each.stem for each in (tmp_path / "run").glob("items/scorecam/*/*.json")}
    first = command(*words(folder, tmp_path / "one", *MORE, "--shard", "1/2"))
    assert first.code == 0
    one = {each.stem for each in (tmp_path / "one").glob("items/scorecam/*/*.json")}
    file = next(
        each
        for each in (tmp_path / "run").glob("items/scorecam/*/*.json")
        if each.stem in mine - one
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


def test_a_checksum_that_was_removed_is_an_edit(out: Path) -> None:
    file = min(out.glob("items/scorecam/*/*.json"))
    found = json.loads(file.read_text("utf-8"))
    del found["checksum"]
    file.write_text(json.dumps(found), "utf-8")
    assert [fault.state for fault in scorecam.verify(out).faults] == ["edited"]


def test_another_layout_of_the_same_values_is_no_edit(out: Path) -> None:
    for file in out.glob("items/*/*/*.json"):
        found = json.loads(file.read_text("utf-8"))
        found["timings"] = {"seconds": 0.0}
        file.write_text(json.dumps(found, sort_keys=True, indent=7, ensure_ascii=True), "utf-8")
    assert scorecam.verify(out).faults == ()


def test_the_checksum_is_what_the_documentation_says() -> None:
    import hashlib

    record = {"b": [1.5, "ü"], "a": None, "timings": {"seconds": 2}, "checksum": "?"}
    text = '{"a":null,"b":[1.5,"\\u00fc"]}'
    assert checksum(record) == hashlib.sha256(text.encode()).hexdigest()


def test_runs_of_earlier_versions_are_read_and_resumed(
    folder: Path, out: Path, whole: Path
) -> None:
    """Their records and maps have no checksums, and their run.json says nothing of them."""
    for file in out.rglob("*.json"):
        found = json.loads(file.read_text("utf-8"))
        for key in ("checksum", "checksums", "files"):
            found.pop(key, None)
        if isinstance(found.get("map"), dict):
            found["map"].pop("sha256", None)
        file.write_text(json.dumps(found), "utf-8")
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


def test_verify_finds_results_that_are_not_those_of_the_records(out: Path) -> None:
    summary = out / "summary.json"
    document = json.loads(summary.read_text("utf-8"))
    [row, *_] = [item for item in document["items"] if item["outcome"] == "average_drop"]
    row["mean"] = 0.001
    document["checksum"] = checksum(document)  # by someone who knows how
    summary.write_text(json.dumps(document), "utf-8")
    [fault] = scorecam.verify(out).faults
    assert (fault.file, fault.state) == ("summary.json", "out of date")


@pytest.mark.parametrize("change", ["value", "row", "text"])
def test_verify_holds_every_row_of_the_table_against_its_record(out: Path, change: str) -> None:
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
def test_verify_knows_every_result(out: Path, name: str) -> None:
    (out / name).write_bytes(b"edited")
    assert [(f.file, f.state) for f in scorecam.verify(out).faults] == [(name, "edited")]
    (out / name).unlink()
    assert [(f.file, f.state) for f in scorecam.verify(out).faults] == [(name, "missing")]


def test_verify_lists_what_is_left_over_and_that_is_harmless(out: Path) -> None:
    from scorecam.io import files

    left = out / "items" / f".x-{files._host()}.{2**22 + 1}.00000000.tmp"
    left.touch()
    stray = out / "maps" / "scorecam" / "ab" / "abcd.npy"
    stray.parent.mkdir(exist_ok=True)
    shutil.copy(next(out.glob("maps/scorecam/*/*.npy")), stray)
    found = scorecam.verify(out)
    assert {(fault.file, fault.state) for fault in found.faults} == {
        (str(left.relative_to(out)), "left over"),
        (str(stray.relative_to(out)), "left over"),
    }
    assert found.sound
    assert command("verify", out).code == 0


def test_verify_writes_nothing(out: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    os.utime(out, ns=(0, 0))
    before[out] = out.stat().st_mtime_ns
    command("verify", out, "--json")
    assert {path: path.stat().st_mtime_ns for path in (out, *out.rglob("*"))} == before


def test_verify_says_what_is_not_finished(folder: Path, tmp_path: Path) -> None:
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


def test_verify_refuses_what_is_neither(tmp_path: Path) -> None:
    for place, said in ((tmp_path, "neither a run nor a bank"), (tmp_path / "x", "does not exist")):
        answer = command("verify", place)
        assert answer.code == 2
        assert said in answer.err


def test_verify_reads_sanity_checks(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "sanity"
    more = ("--methods", "edges", "--modes", "cascading", "--limit", "2")
    assert command(*words(folder, out, *more, command="sanity")).code == 0
    assert scorecam.verify(out).faults == ()
    record = next(out.glob("items/*/*/*.json"))
    change(record, edges={"spearman": 0.5, "ssim": 0.5, "hog": 0.5})
    empty(next(out.glob("originals/*/*.npy")))
    found = {(Path(f.file).parts[0], f.state) for f in scorecam.verify(out).faults}
    assert found == {("items", "edited"), ("originals", "damaged")}
    assert command(*words(folder, out, *more, command="sanity")).code == 0
    assert scorecam.verify(out).faults == ()


# ── a folder that goes away ──────────────────────────────────────────────────────────────────

COMMANDS = {
    "evaluate": (MORE, store.Store),
    "sanity": (("--methods", "edges", "--modes", "cascading"), store.Store),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("away", ["removed", "renamed", "emptied"])
def test_a_folder_that_goes_away_ends_the_run(
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


def test_records_that_go_away_are_noticed_at_the_end(
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


def test_a_sanity_check_does_not_take_a_full_disk_for_a_bad_photo(
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
    """Equal, but for the rounding of other batches."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = (one.keys() | other.keys()) - {"checksum", "timings", "sha256"}
        return all(near(one.get(key), other.get(key)) for key in keys)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(near, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-5
    return bool(one == other)


def failing(patch: pytest.MonkeyPatch, where: Any, name: str, moment: int) -> list[int]:
    """Let the n-th call run out of memory; how many calls there were."""
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
def test_memory_that_runs_out_is_told_and_the_run_goes_on(
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


def test_what_cannot_be_printed_is_told(folder: Path, tmp_path: Path) -> None:
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
def test_verify_does_not_wait_for_a_pipe_in_the_place_of_the_table(out: Path) -> None:
    (out / "results.parquet").unlink()
    os.mkfifo(out / "results.parquet")
    [fault] = scorecam.verify(out).faults
    assert (fault.file, fault.state) == ("results.parquet", "out of date")


def test_verify_reads_the_table_without_threads(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    asked: list[tuple[Any, Any]] = []

    class Watched(pq.ParquetFile):
        def __init__(self, source: Any, *args: Any, **kwargs: Any) -> None:
            self.buffered = kwargs.get("pre_buffer")
            super().__init__(source, *args, **kwargs)

        def read(self, *args: Any, **kwargs: Any) -> Any:
            asked.append((self.buffered, kwargs.get("use_threads")))
            return super().read(*args, **kwargs)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    assert scorecam.verify(out).sound
    assert asked == [(False, False)]


def test_verify_checks_a_comparison_of_runs_that_lie_elsewhere(out: Path, tmp_path: Path) -> None:
    other = shutil.copytree(out, tmp_path / "other")
    compared = tmp_path / "compared"
    assert command("compare", out, other, "--out", compared).code == 0
    assert command("verify", compared).code == 0
    document = compared / "compare.json"
    document.write_text(document.read_text("utf-8")[:-30], "utf-8")
    [fault] = scorecam.verify(compared).faults
    assert (fault.file, fault.state) == ("compare.json", "damaged")


def test_verify_says_where_a_bank_has_no_checksum(out: Path, tmp_path: Path) -> None:
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
    found = scorecam.verify(older)
    assert found.sound
    assert "no checksum" in found.remarks[0]
