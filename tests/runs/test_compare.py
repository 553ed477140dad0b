"""Two or more models on the same photos, and the gate."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import scorecam
from command_line import PREPROCESS, refused
from command_line import scorecam as command
from compared_runs import NETWORKS, compared
from scorecam import Model, ModelError, RunError, SettingError
from scorecam.metrics.statistics import Interval
from scorecam.runs.compare.changes import map_similarity
from scorecam.runs.compare.plots import draw_training, short_names
from scorecam.runs.compare.sides import parse_side
from scorecam.testing import Regions
from small_runs import NAMES, opened, photos, run, with_truth

pytestmark = pytest.mark.needs("eval")


# ── comparison ───────────────────────────────────────────────────────────────────────────────


def test_a_model_is_similar_to_itself(folder: Path, tmp_path: Path) -> None:
    comparison = compared(["right", "same"], with_truth(folder), tmp_path / "out")
    [versus] = comparison.versus
    assert versus.similarity.mean == pytest.approx(1)
    assert versus.agreement.mean == 1
    assert versus.focus.mean == 0
    assert versus.focus.excludes(0.0) is False
    assert comparison.accuracy[0].mean == comparison.accuracy[1].mean == 1
    assert comparison.focus[0] == comparison.focus[1]
    assert not comparison.failed


def test_a_model_with_swapped_classes_is_caught(folder: Path, tmp_path: Path) -> None:
    comparison = compared(
        ["right", "near", "swapped"],
        with_truth(folder),
        tmp_path / "out",
        fail_under={"similarity": 0.9, "agreement": 0.9, "accuracy": 0.9},
    )
    near, swapped = comparison.versus
    assert near.agreement.mean == 1
    assert swapped.agreement.mean == 0
    assert swapped.similarity.mean < near.similarity.mean
    assert [(gate.side, gate.gate) for gate in comparison.failed_gates] == [
        ("near", "similarity"),
        ("swapped", "similarity"),
        ("swapped", "agreement"),
        ("swapped", "accuracy"),
    ]
    assert comparison.failed[2] == "swapped: agreement is 0, below 0.9"
    assert all(photo.flipped for photo in swapped.photos)
    assert comparison.focus[0].mean > comparison.focus[2].mean


def test_existing_runs_are_compared_without_a_model(folder: Path, tmp_path: Path) -> None:
    dataset = with_truth(folder)
    for name in ("right", "swapped"):
        run(dataset, tmp_path / name, model=opened(NETWORKS[name]))
    sides = [str(tmp_path / name) for name in ("right", "swapped")]
    comparison = compared(sides, None, tmp_path / "out", method="scorecam")
    assert comparison.versus[0].agreement.mean == 0
    document = json.loads((tmp_path / "out" / "compare.json").read_text("utf-8"))
    assert len(document["items"][0]["photos"]) == 6
    assert "another class" in (tmp_path / "out" / "compare.md").read_text("utf-8")


def test_photos_with_the_largest_change_come_first(folder: Path, tmp_path: Path) -> None:
    comparison = compared(["right", "near"], with_truth(folder), tmp_path / "out")
    likeness = [photo.similarity for photo in comparison.versus[0].photos]
    assert likeness == sorted(likeness)


def test_maps_of_different_grids_are_resampled_to_one() -> None:
    ramp = torch.linspace(0, 1, 7).expand(7, 7)
    finer = torch.linspace(0, 1, 9).expand(9, 9)
    assert map_similarity(ramp, finer) == pytest.approx(1, abs=0.01)
    assert map_similarity(ramp, -finer) == pytest.approx(-1, abs=0.01)
    assert map_similarity(ramp, torch.ones(9, 9)) is None


def test_without_boxes_or_labels_focus_and_accuracy_are_unknown(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(photos(tmp_path / "photos", 6).rglob("*.png"))):
        path.rename(flat / f"{number}.png")
    comparison = compared(["right", "same"], flat, tmp_path / "out", fail_under={"focus": 0.4})
    remarks = " ".join(comparison.remarks)
    assert "focus is unknown" in remarks
    assert "accuracy is unknown" in remarks
    assert "focus is unknown, and the gate requires at least 0.4" in comparison.failed[0]
    assert comparison.versus[0].similarity.mean == pytest.approx(1)


def test_a_comparison_resumes(folder: Path, tmp_path: Path) -> None:
    reports: list[Any] = []
    compared(["right", "same"], folder, tmp_path / "out")
    compared(["right", "same"], folder, tmp_path / "out", progress=reports.append)
    assert reports == []  # nothing was left to do


# ── refused input ────────────────────────────────────────────────────────────────────────────


def test_models_with_different_classes_are_refused(folder: Path, tmp_path: Path) -> None:
    def other(spec: str, **_: str) -> Model:
        names = NAMES if spec == "right" else NAMES[::-1]
        model = opened(NETWORKS["right"])
        return scorecam.open_model(model.module, preprocess=model.preprocess, labels=names)

    with pytest.raises(ModelError, match="column 0 is named 'red' and 'blue'"):
        compared(["right", "same"], folder, tmp_path / "out", opener=other)

    def fewer(spec: str, **_: str) -> Model:
        count = 3 if spec == "right" else 2
        network = Regions(torch.rand(count, 3))
        return scorecam.open_model(network, preprocess=opened().preprocess, labels=NAMES[:count])

    with pytest.raises(ModelError, match="3 and 2 classes"):
        compared(["right", "same"], folder, tmp_path / "more", opener=fewer)


def test_invalid_settings_and_gates_are_refused(folder: Path, tmp_path: Path) -> None:
    for sides, dataset, others in (
        (["right"], folder, {}),
        (["right", "same"], None, {}),
        (["right", "same,precison=float32"], folder, {}),
        (["right", "same"], folder, {"fail_under": {"likeness": 0.5}}),
    ):
        with pytest.raises(SettingError):
            compared(sides, dataset, tmp_path / "out", **others)
    assert parse_side("lite0,precision=bfloat16").settings == {"precision": "bfloat16"}


def test_runs_need_the_method_and_common_photos(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "one", "random")
    run(photos(tmp_path / "others", 5).rename(tmp_path / "elsewhere"), tmp_path / "two", "random")
    sides = [str(tmp_path / name) for name in ("one", "two")]
    with pytest.raises(RunError, match="no maps of scorecam"):
        compared(sides, None, tmp_path / "out", method="scorecam")
    for path in (tmp_path / "two" / "items").rglob("*.json"):
        path.unlink()
    with pytest.raises(RunError, match="no photo in common"):
        compared(sides, None, tmp_path / "out", method="random")


# ── the command ──────────────────────────────────────────────────────────────────────────────


def test_the_gate_is_exit_code_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos(Path("photos"), 6, side=16)
    Path("preprocess.json").write_text(json.dumps(PREPROCESS), "utf-8")
    Path("names.txt").write_text("red\ngreen\nblue\nlynx\ntabby\n", "utf-8")
    words = ["--preprocess", "preprocess.json", "--labels", "names.txt", "--out"]
    sides = ["toy_models:tiny,runtime=eager", "toy_models:a_module,runtime=eager"]
    same = [sides[0], "toy_models:tiny,runtime=eager,precision=float32"]
    gate = ["--fail-under", "similarity=0.999"]
    good = command("compare", *same, "photos", *words, "good", *gate)
    assert good.code == 0, good
    assert "1.000" in good.out
    bad = command("compare", *sides, "photos", *words, "bad", *gate)
    assert bad.code == 3, bad
    assert "below 0.999. Gate failed." in bad.err
    refused(command("compare", *same, "photos", *words, "x", "--fail-under", "similarity"))
    refused(command("compare", "toy_models:tiny", "photos", *words, "x"), "at least two")


# ── the picture ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (
            [f"my:Net,weights=runs/epoch{epoch}.pt,layer=last" for epoch in (1, 2, 10)],
            ["epoch1", "epoch2", "epoch10"],
        ),
        (["lite0,precision=float32", "lite0,precision=bfloat16"], ["float32", "bfloat16"]),
        (["lite0", "lite0,precision=bfloat16"], ["lite0", "lite0,precision=bfloat16"]),
        (["lite0", "lite0"], ["lite0", "lite0"]),
        (["lite0", "a,b.net,preprocess=p.json,labels=l.txt"], ["lite0", "a,b.net"]),
        (["a,a", "a,a,a"], ["a,a", "a,a,a"]),
    ],
)
def test_side_names_are_shortened_to_their_differences(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short


@pytest.mark.needs("plot")
def test_the_picture_shows_every_known_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[list[int], list[float], list[list[float]]]] = []

    def noted(_axes: Axes, places: Any, mean: Any, *, yerr: Any, **_: Any) -> None:
        drawn.append((list(places), list(mean), [list(ends) for ends in yerr]))

    monkeypatch.setattr(Axes, "errorbar", noted)
    unknown = Interval(math.nan, math.nan, math.nan, 0)
    one = Interval(0.5, math.nan, math.nan, 1)
    focus = [Interval(0.25, 0.0, 0.5, 9), unknown, one]
    accuracy = [unknown] * 3
    draw_training(tmp_path / "focus.png", ["a", "b", "c"], focus, accuracy)
    assert drawn == [([0, 2], [0.25, 0.5], [[0.25, 0.0], [0.25, 0.0]])]
    assert (tmp_path / "focus.png").read_bytes().startswith(b"\x89PNG")
