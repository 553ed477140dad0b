"""The benchmark for graphics cards, tried on the processor with small networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchvision_ops
from benchmarks.gpu import gpu_page, graphs, measure
from benchmarks.gpu.networks import resnet, vgg
from benchmarks.gpu.rows import COMPILED, ROWS
from benchmarks.gpu.work import RowFailedError
from scorecam.backends.runtimes.known import RUNTIMES


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every row that needs no compiler, on both small networks."""
    torchvision_ops.define()
    out = tmp_path_factory.mktemp("gpu") / "small.json"
    arguments = ["--device", "cpu", "--small", "--rounds", "1", "--rows", ",".join(ROWS)]
    measure.Bench(measure.parsed([*arguments, "--out", str(out)])).all()
    return json.loads(out.read_text("utf-8"))


@pytest.mark.needs("peers")
def test_every_row_is_measured_on_every_network(report: dict[str, Any]) -> None:
    for network in report["networks"].values():
        assert {key: row["failure"] for key, row in network["rows"].items() if row["failure"]} == {}
        assert [key for key, row in network["rows"].items() if row["seconds"]] == list(ROWS)


@pytest.mark.needs("peers")
def test_rows_of_ours_count_their_passes_and_agree_with_float32(report: dict[str, Any]) -> None:
    for network in report["networks"].values():
        rows = network["rows"]
        for key in ("exact", "exact-half", "exact-graph", "five"):
            assert rows[key]["images"] > network["live"]
            assert rows[key]["fidelity"]["max_abs"] < 0.05
        assert rows["exact"]["fidelity"]["max_abs"] < 1e-4
        assert rows["exact"]["images"] <= rows["five"]["images"] <= rows["exact"]["images"] + 10
        assert rows["many"]["photos"] == 3
        assert rows["exact-graph"]["runtime"] == "cuda-graph"


@pytest.mark.needs("peers")
def test_the_page_has_a_line_for_each_row_and_no_claim_of_none(report: dict[str, Any]) -> None:
    page = gpu_page.page_of([report])

    for row in ROWS.values():
        label = gpu_page.labelled(row, report["settings"]["half"]).replace("many", "3")
        assert page.count(f"| {label} | ") == 2
    assert "not been run" not in page
    assert "Not measured" not in page


def test_a_row_that_fails_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = measure.work_of

    def work_of(row: Any, *rest: Any) -> Any:
        if row.kind == "plain" and not row.half:
            raise RowFailedError("the card is missing\nsecond line")
        return real(row, *rest)

    monkeypatch.setattr(measure, "work_of", work_of)
    out = tmp_path / "failed.json"
    rows = "plain,exact,plain-compile"
    arguments = ["--device", "cpu", "--small", "--rounds", "1", "--networks", "small-vgg"]
    monkeypatch.setattr(measure, "COMPILED", {})
    measure.Bench(measure.parsed([*arguments, "--rows", rows, "--out", str(out)])).all()
    network = json.loads(out.read_text("utf-8"))["networks"]["small-vgg"]["rows"]

    assert network["plain"]["failure"] == "RowFailedError: the card is missing"
    assert len(network["exact"]["seconds"]) == 1
    assert "Not measured: plain passes, float32 (RowFailedError: the card is missing)." in (
        gpu_page.page_of([json.loads(out.read_text("utf-8"))])
    )


def test_the_time_limit_leaves_results_of_what_was_measured(tmp_path: Path) -> None:
    out = tmp_path / "limited.json"
    arguments = ["--device", "cpu", "--small", "--networks", "small-vgg", "--limit", "0"]
    measure.Bench(measure.parsed([*arguments, "--out", str(out)])).all()

    assert json.loads(out.read_text("utf-8"))["networks"]["small-vgg"]["rows"] == {}


def test_without_a_card_the_error_names_the_small_trial(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a card")
    with pytest.raises(SystemExit):
        measure.parsed([])

    assert "--device cpu --small" in capsys.readouterr().err


def test_a_replayed_pass_keeps_no_scores_of_an_earlier_batch() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))
    images = torch.randn(6, 3, 8, 8)
    scores = graphs.replayed(network, images[:4].contiguous(memory_format=torch.channels_last))
    first, second = scores(images[:4]), scores(images[4:])

    assert torch.allclose(first, network(images[:4]), atol=1e-6)
    assert torch.allclose(second, network(images[4:]), atol=1e-6)


def test_the_runtimes_of_the_benchmark_are_offered_only_in_its_block() -> None:
    before = list(RUNTIMES)
    with graphs.offered(8):
        assert list(RUNTIMES) == [*before, "cuda-graph", "compile-graph"]
        assert {row.runtime for row in COMPILED.values()} <= set(RUNTIMES)

    assert list(RUNTIMES) == before


@pytest.mark.needs("torchvision")
@pytest.mark.parametrize(("name", "make"), [("resnet50", resnet), ("vgg16", vgg)])
def test_the_networks_are_those_of_torchvision(name: str, make: Any) -> None:
    torchvision_ops.define()
    from torchvision import models

    with torch.device("meta"):
        theirs, ours = getattr(models, name)(), make()
    shapes = {key: weight.shape for key, weight in theirs.state_dict().items()}

    assert {key: weight.shape for key, weight in ours.state_dict().items()} == shapes


@pytest.mark.needs("torchvision")
def test_a_small_resnet_gives_the_scores_of_torchvision() -> None:
    torchvision_ops.define()
    from torchvision.models.resnet import Bottleneck, ResNet

    ours = resnet((1, 2, 1, 1), width=64, classes=7)
    theirs = ResNet(Bottleneck, [1, 2, 1, 1], num_classes=7).eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 64, 64)

    assert torch.allclose(ours(images), theirs(images), rtol=1e-4, atol=1e-5)
