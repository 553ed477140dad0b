"""Errors and remarks of `scorecam compare` about models, photos and runs."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import scorecam
import toy_models
from command_line import PREPROCESS, paragraph, refused
from command_line import scorecam as command
from scorecam import Model, ModelError, RunError, SettingError
from scorecam.runs.compare.comparison import Comparison
from scorecam.testing import Regions
from small_runs import NAMES, opened, photos, run, with_truth

pytestmark = pytest.mark.needs("eval")

TINY = "toy_models:tiny,runtime=eager"
WORDS = ["--preprocess", "preprocess.json", "--out", "out"]


@pytest.fixture
def three_class_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder, with photos of three classes and the files of the toy models."""
    monkeypatch.chdir(tmp_path)
    photos(Path("photos"), 6, side=16)
    Path("preprocess.json").write_text(json.dumps(PREPROCESS), "utf-8")
    Path("names.txt").write_text("red\ngreen\nblue\nlynx\ntabby\n", "utf-8")


with_photos = pytest.mark.usefixtures("three_class_folder")


def checkpoint(network: nn.Module, path: str = "weights.safetensors") -> str:
    safetensors.torch.save_file(network.state_dict(), path)
    return path


# ── other classes ────────────────────────────────────────────────────────────────────────────


@with_photos
def test_a_different_number_of_unnamed_classes_is_refused() -> None:
    answer = command("compare", TINY, "toy_models:two_classes,runtime=eager", "photos", *WORDS)
    refused(answer, "have different classes (5 and 2 classes)")
    assert not Path("out").exists()  # refused before the first model runs


@with_photos
def test_a_checkpoint_with_another_class_count_is_refused() -> None:
    other = f"{TINY},weights={checkpoint(toy_models.tiny(classes=3))}"
    answer = command("compare", TINY, other, "photos", *WORDS)
    refused(answer, "another shape", "classifier.weight", f"{other}: ")


@with_photos
def test_the_output_of_one_side_is_chosen_in_its_settings() -> None:
    sides = ["toy_models:two_answers,output=first", "toy_models:two_answers,output=second"]
    answer = command("compare", *sides, "photos", *WORDS)
    assert answer.code == 0, answer
    refused(
        command("compare", sides[0], f"{sides[1]}s", "photos", *WORDS),
        f"{sides[1]}s: ",
        "no entry 'seconds'",
    )


@with_photos
def test_the_same_classes_in_another_order_are_refused() -> None:
    Path("order.txt").write_text("red\ngreen\nlynx\nblue\ntabby\n", "utf-8")
    sides = [f"{TINY},labels=names.txt", f"{TINY},labels=order.txt"]
    refused(command("compare", *sides, "photos", *WORDS), "column 2 is named 'blue' and 'lynx'")


@with_photos
def test_names_on_only_one_side_are_accepted() -> None:
    answer = command("compare", f"{TINY},labels=names.txt", TINY, "photos", *WORDS)
    assert answer.code == 0, answer


def test_runs_with_different_column_names_are_refused(tmp_path: Path) -> None:
    dataset = with_truth(photos(tmp_path / "photos", 6))
    one = opened()
    other = scorecam.open_model(
        Regions(0.1 * torch.eye(3)), preprocess=one.preprocess, labels=NAMES[::-1]
    )
    for name, model in (("one", one), ("other", other)):
        run(dataset, tmp_path / name, "random", model=model)
    sides = [str(tmp_path / "one"), str(tmp_path / "other")]
    with pytest.raises(ModelError, match=r"column 0 is named 'red' and 'blue'"):
        scorecam.compare(sides, None, out=tmp_path / "out", method="random")


# ── layers, photos, networks ─────────────────────────────────────────────────────────────────


@with_photos
def test_a_layer_missing_from_one_model_is_named() -> None:
    sides = [f"{TINY},layer=body.3", "toy_models:spied,runtime=eager,layer=body.3"]
    refused(command("compare", *sides, "photos", *WORDS), "toy_models:spied", "no layer", "body.3")
    assert not Path("out").exists()  # refused before the first model runs


@with_photos
def test_without_boxes_only_focus_is_unknown() -> None:
    words = [*WORDS, "--labels", "names.txt"]
    answer = command("compare", TINY, TINY, "photos", *words, "--fail-under", "focus=0.4")
    assert answer.code == 3, answer
    assert "No photo has a box or a mask, so focus is unknown." in answer.out
    assert "accuracy is unknown" not in answer.out
    assert paragraph(answer, "focus is unknown, and the gate requires at least 0.4")
    held = command("compare", TINY, TINY, "photos", *words, "--fail-under", "similarity=0.99")
    assert held.code == 0, held


@with_photos
def test_a_photo_unreadable_on_one_side_is_skipped_with_a_remark() -> None:
    next(Path("photos/red").iterdir()).write_bytes(b"no photo")
    answer = command("compare", TINY, TINY, "photos", *WORDS, "--json")
    assert answer.code == 0, answer
    assert len(answer.document["items"][0]["photos"]) == 5
    assert answer.document["remarks"][-1] == f"{TINY} failed on 1 photos."


class Locked(nn.Module):
    """Holds a lock, so it cannot be copied."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.lock = threading.Lock()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with self.lock:
            return self.network(images)


def test_a_network_that_cannot_be_copied_is_still_compared(tmp_path: Path) -> None:
    locked = opened(Locked(Regions(0.1 * torch.eye(3))))
    folder = photos(tmp_path / "photos", 6)
    comparison = scorecam.compare(
        ["one", "other"], folder, out=tmp_path / "out", opener=lambda _spec, **_: locked
    )
    assert comparison.versus[0].similarity.mean == pytest.approx(1)
    with pytest.raises(ModelError, match="cannot be copied"):
        scorecam.sanity(locked, folder, "edges", out=tmp_path / "sane")


# ── unfinished and damaged runs ──────────────────────────────────────────────────────────────


def compared(folder: Path, out: Path, **others: Any) -> Comparison:
    def opener(spec: str, **_: str) -> Model:
        return opened(Regions(0.1 * torch.eye(3) + (0.02 if spec == "other" else 0)))

    return scorecam.compare(["one", "other"], with_truth(folder), out=out, opener=opener, **others)


@pytest.mark.parametrize("after", [1, 6, 8])
def test_an_interrupted_comparison_resumes_to_the_same_numbers(tmp_path: Path, after: int) -> None:
    folder = photos(tmp_path / "photos", 6)
    whole = compared(folder, tmp_path / "whole")
    done: list[Any] = []

    def interrupt(
        step: Any,
    ) -> None:  # like Ctrl-C: during the first side, between the sides, during the second
        done.append(step)
        if len(done) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compared(folder, tmp_path / "out", progress=interrupt)
    assert not (tmp_path / "out/compare.json").exists()
    again = compared(folder, tmp_path / "out", progress=done.append)
    assert len(done) == 12  # no photo twice
    assert (again.versus, again.focus, again.accuracy) == (
        whole.versus,
        whole.focus,
        whole.accuracy,
    )


@pytest.fixture
def two_runs(tmp_path: Path) -> list[str]:
    dataset = with_truth(photos(tmp_path / "photos", 6))
    for name in ("one", "other"):
        run(dataset, tmp_path / name, "random")
    return [str(tmp_path / "one"), str(tmp_path / "other")]


def test_an_unfinished_run_is_compared_on_its_finished_photos(two_runs: list[str]) -> None:
    records = sorted(Path(two_runs[1]).rglob("items/random/**/*.json"))
    for path in records[:2]:
        path.unlink()
    comparison = scorecam.compare(
        two_runs, None, out=Path(two_runs[0]).parent / "out", method="random"
    )
    assert comparison.versus[0].agreement.n == 4
    assert comparison.versus[0].similarity.mean == pytest.approx(1)


def test_a_missing_or_damaged_map_loses_only_its_similarity(two_runs: list[str]) -> None:
    gone, damaged = sorted(Path(two_runs[1]).rglob("maps/random/**/*.npy"))[:2]
    gone.unlink()
    damaged.write_bytes(damaged.read_bytes()[:100])
    comparison = scorecam.compare(
        two_runs, None, out=Path(two_runs[0]).parent / "out", method="random"
    )
    [versus] = comparison.versus
    assert (versus.undefined, versus.similarity.n, versus.agreement.n) == (2, 4, 6)


def promising() -> bytes:
    """A header that claims 400 TB, without data."""
    stream = io.BytesIO()
    shape = (9999999, 9999999)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


@pytest.mark.parametrize("damage", [b"PK\x03\x04" + bytes(100), promising()], ids=["zip", "huge"])
def test_a_map_of_another_kind_loses_only_its_similarity(
    damage: bytes, two_runs: list[str]
) -> None:
    first = min(Path(two_runs[1]).rglob("maps/random/**/*.npy"))
    first.write_bytes(damage)
    comparison = scorecam.compare(
        two_runs, None, out=Path(two_runs[0]).parent / "out", method="random"
    )
    assert comparison.versus[0].undefined == 1


def test_a_damaged_run_is_refused(two_runs: list[str]) -> None:
    (Path(two_runs[1]) / "run.json").write_text("{", "utf-8")
    with pytest.raises(RunError, match=r"run\.json"):
        scorecam.compare(two_runs, None, out=Path(two_runs[0]).parent / "out", method="random")


@with_photos
def test_a_folder_that_is_not_a_run_is_refused() -> None:
    Path("empty").mkdir()
    refused(command("compare", "empty", TINY, "photos", *WORDS), "'empty'")


@with_photos
def test_another_model_in_the_same_place_is_refused() -> None:
    good = command("compare", TINY, TINY, "photos", *WORDS)
    assert good.code == 0, good
    Path("preprocess.json").write_text(json.dumps(PREPROCESS | {"mean": [0.4] * 3}), "utf-8")
    refused(command("compare", TINY, TINY, "photos", *WORDS), "holds another run", "preprocess")


# ── a release ────────────────────────────────────────────────────────────────────────────────


@with_photos
def test_a_checkpoint_with_a_broken_head_is_caught() -> None:
    broken = toy_models.tiny()
    with torch.no_grad():
        broken.classifier.weight.copy_(broken.classifier.weight.roll(1, 0))
        broken.classifier.bias.copy_(broken.classifier.bias.roll(1, 0))
    gate = ["--fail-under", "agreement=0.95,similarity=0.95"]
    other = f"{TINY},weights={checkpoint(broken)}"
    words = [*WORDS, "--labels", "names.txt", *gate]
    caught = command("compare", TINY, other, "photos", *words)
    assert caught.code == 3, caught
    assert "agreement is 0, below 0.95" in caught.err


# ── problems that must be caught ─────────────────────────────────────────────────────────────


def compared_runs(sides: list[str], out: Path, **others: Any) -> Comparison:
    return scorecam.compare(sides, None, out=out, **({"method": "random"} | others))


def grids(run: str) -> list[Path]:
    return sorted(Path(run).glob("maps/random/*/*.npy"))


def test_maps_that_became_flat_fail_the_gate(two_runs: list[str], tmp_path: Path) -> None:
    for file in grids(two_runs[1])[:5]:
        np.save(file, np.zeros_like(np.load(file)))
    result = compared_runs(two_runs, tmp_path / "out", fail_under={"similarity": 0.95})
    assert result.versus[0].similarity.n == 6
    assert result.versus[0].similarity.mean == pytest.approx(1 / 6)
    assert "similarity is" in result.failed[0]


def test_means_cover_the_photos_that_all_sides_have(two_runs: list[str], tmp_path: Path) -> None:
    for file in sorted(Path(two_runs[1]).glob("items/random/*/*.json"))[1:]:
        file.unlink()
    result = compared_runs(two_runs, tmp_path / "out")
    assert [accuracy.n for accuracy in result.accuracy] == [1, 1]
    assert "1 of 6 photos have results on every side; the means are over those." in result.remarks


def test_damaged_records_and_misshaped_maps_are_counted(
    two_runs: list[str], tmp_path: Path
) -> None:
    record = min(Path(two_runs[1]).glob("items/random/*/*.json"))
    values = json.loads(record.read_text("utf-8"))
    del values["target"]
    record.write_text(json.dumps(values), "utf-8")
    np.save(grids(two_runs[1])[-1], np.zeros((2, 2, 2), np.float16))
    result = compared_runs(two_runs, tmp_path / "out")
    assert any("2 damaged records or maps were left out" in remark for remark in result.remarks)
    assert len(result.versus[0].photos) == 5


def test_a_run_without_methods_or_a_sanity_check_is_refused(
    two_runs: list[str], tmp_path: Path
) -> None:
    file = Path(two_runs[1]) / "run.json"
    config = json.loads(file.read_text("utf-8"))
    for change, phrase in (
        ({"methods": 3}, "names no methods"),
        ({"check": "sanity"}, "sanity check"),
    ):
        file.write_text(json.dumps(config | change), "utf-8")
        with pytest.raises(RunError, match=phrase):
            compared_runs(two_runs, tmp_path / "out")


def test_other_differences_between_runs_get_a_remark(tmp_path: Path) -> None:
    folder = with_truth(photos(tmp_path / "photos", 6))
    sides = [str(tmp_path / "one"), str(tmp_path / "two")]
    run(folder, Path(sides[0]))
    run(folder, Path(sides[1]), fill="black", budget=2)
    remarks = compared_runs(sides, tmp_path / "out").remarks
    assert [remark.split(maxsplit=3)[3] for remark in remarks] == [
        "score different numbers of masks.",
        "fill muted pixels differently.",
    ]


@with_photos
def test_layers_of_different_names_are_named_in_a_remark() -> None:
    sides = [f"{TINY},layer=body.{i}" for i in (0, 1)]
    answer = command("compare", *sides, "photos", *WORDS)
    assert answer.code == 0, answer
    assert "layers of different names, 'body.0' and 'body.1'" in answer.out


def test_the_method_is_checked_before_anything_runs(two_runs: list[str], tmp_path: Path) -> None:
    for wrong in ("scorecamm", "scorecam,gradcam"):
        with pytest.raises(SettingError):
            compared_runs(two_runs, tmp_path / "out", method=wrong)


@with_photos
def test_an_empty_or_duplicate_gate_is_refused() -> None:
    for gates, phrase in (
        ("", "--fail-under is empty"),
        ("focus=0.1,focus=0.9", "names focus twice"),
    ):
        refused(command("compare", TINY, TINY, "photos", *WORDS, "--fail-under", gates), phrase)
