"""`scorecam evaluate`: options, output, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import PREPROCESS, Answer, listing, paragraph, refused, strict_json
from command_line import scorecam as command
from scorecam.cli import progress as bar
from scorecam.runs.progress import RunProgress
from small_runs import photos

pytestmark = pytest.mark.needs("eval")

SIDE = 16


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photos in class folders and the files of the toy models."""
    photos(tmp_path / "photos", 6, side=SIDE)
    (tmp_path / "preprocess.json").write_text(json.dumps(PREPROCESS), "utf-8")
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\nlynx\ntabby\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*words: str, dataset: str = "photos", out: str = "run") -> Answer:
    return command(
        "evaluate", dataset, "--out", out, "--model", "toy_models:tiny", "--preprocess",
        "preprocess.json", "--labels", "names.txt", "--runtime", "eager", *words,
    )  # fmt: skip


def test_the_table_is_printed_and_the_files_are_named() -> None:
    answer = evaluate("--methods", "scorecam,random", "--metrics", "quick")
    assert answer.code == 0, answer
    assert "| scorecam |" in answer.out
    assert "Differences from scorecam" in answer.out
    assert "results.parquet" in answer.out
    assert {"run/results.parquet", "run/summary.json", "run/table.md"} <= listing(Path())


def test_json_is_one_document_of_rows() -> None:
    answer = evaluate("--methods", "scorecam,uniform", "--metrics", "quick", "--json")
    assert answer.code == 0
    assert answer.document["schema"] == 1
    for item in answer.items:
        assert set(item) == {
            "method", "outcome", "group", "against", "mean", "low", "high", "n", "undefined",
        }  # fmt: skip
    energy = [i for i in answer.items if i["outcome"] == "energy_box" and i["against"] is None]
    assert [(item["mean"], item["n"], item["undefined"]) for item in energy] == [(None, 0, 6)] * 2


def test_a_selection_is_printed_and_recorded() -> None:
    answer = evaluate("--methods", "random", "--metrics", "quick", "--limit", "4", "--seed", "3")
    assert answer.code == 0
    assert "4 of 6 photos chosen at random, seed 3" in answer.err
    assert strict_json(Path("run/run.json").read_text("utf-8"))["dataset"]["photos"] == 4
    assert len([name for name in listing(Path("run/items")) if name.endswith(".json")]) == 4


def test_shards_give_the_same_results_as_a_whole_run(desk: Path) -> None:
    words = "--methods", "scorecam", "--metrics", "quick"
    first = evaluate(*words, "--shard", "1/2")
    assert first.code == 0
    assert "3 of 6 photos are not done yet" in first.err
    assert evaluate(*words, "--shard", "2/2").code == 0
    whole = evaluate(*words, out="whole")
    assert whole.code == 0
    assert (desk / "run/results.parquet").read_bytes() == (
        desk / "whole/results.parquet"
    ).read_bytes()


def test_some_failures_exit_with_1_and_only_failures_with_2(desk: Path) -> None:
    (desk / "photos/red/000.png").write_bytes(b"no photo")
    some = evaluate("--methods", "random", "--metrics", "quick")
    assert some.code == 1
    assert "1 photo has no result: PhotoError" in paragraph(some)
    document = evaluate("--methods", "random", "--metrics", "quick", "--json")
    [failure] = [item for item in document.items if "failure" in item]
    assert failure["name"] == "red/000.png"
    assert failure["failure"]["kind"] == "PhotoError"
    for path in desk.rglob("*.png"):
        path.write_bytes(b"no photo")
    every = evaluate("--methods", "random", "--metrics", "quick", out="other")
    assert every.code == 2
    assert "6 photos have no result" in paragraph(every)


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        (("--methods", "scorecan"), "no method 'scorecan'"),
        (("--methods", ""), "No method was given"),
        (("--metrics", "papre"), "no metric 'papre'"),
        (("--shard", "2"), "--shard 2 does not have the form i/n"),
        (("--shard", "3/2"), "3"),
        (("--limit", "0"), "0"),
        (("--at-most", "50"), "50"),
        (("--target", "best"), "target='best' is invalid"),
        (("--budget", "quick"), "budget"),
        (("--layer", "bodi"), "bodi"),
        (("--single",), "photos"),
    ],
)
def test_invalid_options_are_refused_before_anything_runs(
    words: tuple[str, ...], phrase: str
) -> None:
    refused(evaluate(*words), phrase)
    assert not Path("run").exists()


def test_invalid_data_sets_are_refused_before_anything_runs(desk: Path) -> None:
    (desk / "empty").mkdir()
    for dataset in ("empty", "nowhere", "names.txt", "coco:photos", "zip:photos"):
        refused(evaluate(dataset=dataset))
    assert not Path("run").exists()


def test_another_run_in_the_folder_is_refused() -> None:
    assert evaluate("--methods", "random", "--metrics", "quick").code == 0
    phrase = refused(evaluate("--methods", "random", "--metrics", "paper"), "holds another run")
    assert "metrics: recognition, energy, pointing, iou there" in phrase


# ── progress ─────────────────────────────────────────────────────────────────────────────────


def test_without_a_terminal_progress_is_printed_at_intervals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(bar.time, "perf_counter", lambda: clock[0])
    with bar.RunProgressBar("lite0") as tell:
        for fresh in range(1, 101):
            clock[0] += 0.5
            tell(RunProgress(fresh + 100, 200, fresh, fresh // 50, clock[0]))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[0] == "lite0: 120 of 200, 2 photos/s, about 40 s left."
    assert "1 failed" in lines[3]
    assert "200 of 200" in lines[-1]


@pytest.mark.parametrize(
    ("seconds", "phrase"), [(3, "3 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_remaining_time_is_printed_in_a_suitable_unit(seconds: float, phrase: str) -> None:
    progress = RunProgress(done=1, total=2, fresh=1, failed=0, seconds=seconds)
    assert progress.left == seconds
    assert bar._duration(seconds) == phrase
