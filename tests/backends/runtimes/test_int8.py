"""int8 in OpenVINO: calibrated on masked images, compared with float32, and only when named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
import watched_process
from networks import InPlace, Network, build, images_for
from scorecam.backends.runtimes import agreement, int8, openvino
from scorecam.model.engine import Speed
from scorecam.model.offers import check_offered
from scorecam.testing import Regions, regions
from stand_in_runtime import Converter, bank, distance, ran

WEIGHTS = torch.tensor([[1.0, -2.0, 0.5], [0.25, 0.5, -1.0]])

STEP = 1 / 127 + 2 / 255
"""Rounding relative to the largest number: weights to 127 steps, activations to 255, twice."""


@pytest.fixture
def examples(converter: Converter, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The images of every conversion, by a stand-in for OpenVINO that accepts int8."""
    seen: list[Tensor] = []

    def converted(prepared: Any, example: Tensor, precision: str, place: object) -> Any:
        seen.append(example)
        return converter(prepared, example, precision, place)

    monkeypatch.setattr(openvino, "converted", converted)
    monkeypatch.setattr(openvino, "_capabilities", lambda: ["INT8"])
    monkeypatch.setattr(int8, "load", lambda: None)
    return seen


def errs(converter: Converter, error: float) -> None:
    """Let int8 change one score of each image by this much, by its place in the batch."""

    def spoil(_number: int, scores: Tensor) -> Tensor:
        return scores + error * (converter.made[-1] == "int8") * torch.eye(*scores.shape)

    converter.spoil = spoil


# ── with NNCF ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("nncf")
def test_int8_gives_the_known_map_within_its_rounding() -> None:
    network, x = Regions(WEIGHTS), regions((3, 3, 3), 5, 7)
    result = scorecam.explain(network, x, layer="maps", variant="increase", precision="int8")
    record = result.provenance
    assert (record.runtime, record.precision) == ("openvino", "int8")
    [remark] = record.remarks
    assert "int8 moved the map of a few masks by" in remark
    for target in (0, 1):
        known = (WEIGHTS[target] * 3).relu()
        heatmap = result.bank.heatmap(target, "increase")
        expected = (known[:, None, None] * x).sum(dim=0)
        assert (heatmap - expected).abs().max() <= STEP * 3 * WEIGHTS[target].abs().max()


@pytest.mark.needs("nncf")
def test_int8_scores_are_near_those_of_float32_but_rounded() -> None:
    network = build(InPlace)
    x = images_for(network)[0]
    truth = bank(network, x, "norm", runtime="eager")
    result = bank(network, x, "norm", precision="int8")
    assert ran(result)[:2] == ("openvino", "int8")
    assert (result.scores - truth.scores).abs().max() > 1e-4
    assert distance(result, truth, "official") <= agreement.ROUGH
    assert torch.equal(result.activations, truth.activations)


@pytest.mark.needs("nncf")
def test_a_network_without_products_does_not_run_in_int8() -> None:
    class Largest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.ReLU()

        def forward(self, images: Tensor) -> Tensor:
            return self.maps(images).amax(dim=(2, 3))

    result = bank(Largest(), regions((4, 2, 3), 5, 7), "maps", precision="int8")
    assert ran(result)[:2] == ("openvino", "float32")
    [remark] = result.provenance.remarks
    assert "no operation that runs in int8" in remark


QUIET = """
import logging, os, sys, torch, scorecam
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
).eval()
def state():
    bars = sys.modules.get("nncf.common.logging.track_progress")
    return logging.getLoggerClass(), dict(os.environ), bars and (
        bars.Progress, logging.getLogger("nncf").filters[:]
    )
before = state()
step("ours")
explanation = scorecam.explain(net, torch.rand(3, 32, 32), layer="1", precision="int8")
assert explanation.provenance.precision == "int8", explanation.provenance.remarks
after = state()
assert before == (after if before[2] else (*after[:2], None)), (before, after)
print("explained")
"""

IMPORTED = """
import os
os.environ["CI"] = "true"  # NNCF's own switch: importing it by hand must not send anything
import nncf
os.environ["CI"] = "false"
"""


@pytest.mark.early
@pytest.mark.needs("nncf")
@pytest.mark.parametrize("first", ["", IMPORTED], ids=["ours", "the user's"])
def test_calibrating_sends_prints_and_writes_nothing(first: str, tmp_path: Path) -> None:
    watched = watched_process.watch(f"{first}{QUIET}", tmp_path, SCORECAM_CACHE_SIZE="0")
    assert watched.code == 0, watched.out
    assert watched.out.strip() == "explained"
    assert [event for event in watched.events if event.step == "ours"] == []


# ── calibration ──────────────────────────────────────────────────────────────────────────────


def test_the_ranges_come_from_the_photo_and_its_masked_images(
    examples: list[Tensor], network: Network, image: Tensor
) -> None:
    result = bank(network, image, "norm", precision="int8")
    [example] = examples
    assert len(example) == 4 * openvino.RUNTIME.batch
    assert torch.equal(example[0], image)
    # The fill is 0, so a masked pixel is between 0 and the pixel.
    inside = (example * image >= 0) & (example.abs() <= image.abs() + 1e-6)
    assert inside.all()
    assert len(example.unique(dim=0)) == 1 + len(result.asked)


def test_each_photo_is_calibrated_once(
    converter: Converter, examples: list[Tensor], network: Network, image: Tensor
) -> None:
    for x in (image, image, image.flip(-1), image.flip(-1)):
        assert ran(bank(network, x, "norm", precision="int8"))[:2] == ("openvino", "int8")
    assert converter.made == ["int8", "int8"]
    assert torch.equal(examples[1][0], image.flip(-1))


def test_photos_of_one_call_share_their_ranges(
    examples: list[Tensor], network: Network, image: Tensor
) -> None:
    photos = [image, image.flip(-1), image.flip(-2)]
    scorecam.ScoreCAM(network, "norm", precision="int8")(torch.stack(photos))
    [example] = examples
    assert len(example) == 4 * openvino.RUNTIME.batch
    for photo in photos:
        assert any(torch.equal(photo, each) for each in example)


# ── agreement ────────────────────────────────────────────────────────────────────────────────


def test_the_remark_states_the_distance_of_the_probe(
    converter: Converter,
    examples: list[Tensor],  # noqa: ARG001  int8 is accepted
    network: Network,
    image: Tensor,
) -> None:
    errs(converter, 0.1)
    result = bank(network, image, "norm", precision="int8")
    [remark] = result.provenance.remarks
    moved = float(remark.partition(" by ")[2].partition(" ")[0])
    assert 0 < moved <= agreement.ROUGH
    assert ran(result)[:2] == ("openvino", "int8")


def test_int8_beyond_its_limit_gives_way_to_float32(
    converter: Converter,
    examples: list[Tensor],  # noqa: ARG001  int8 is accepted
    network: Network,
    image: Tensor,
) -> None:
    errs(converter, 3.0)
    truth = bank(network, image, "norm", runtime="eager")
    result = bank(network, image, "norm", precision="int8")
    runtime, precision, [remark] = ran(result)
    assert (runtime, precision) == ("openvino", "float32")
    assert "openvino in int8 moves the heatmap by" in remark
    assert "openvino in float32 was used" in remark
    assert distance(result, truth) <= agreement.SAME


@pytest.mark.usefixtures("impatient")
def test_auto_never_takes_int8(
    converter: Converter,
    examples: list[Tensor],  # noqa: ARG001  int8 is accepted
    network: Network,
    image: Tensor,
) -> None:
    for _ in range(2):
        bank(network, image, "norm", precision="auto")
    assert converter.made
    assert "int8" not in converter.made


# ── where it cannot run ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("runtime", ["eager", "compile"])
def test_a_runtime_without_int8_is_refused(runtime: str, network: Network, image: Tensor) -> None:
    with pytest.raises(scorecam.SettingError) as raised:
        bank(network, image, "norm", runtime=runtime, precision="int8")
    assert f"runtime='{runtime}' does not compute in int8" in str(raised.value)
    assert "--runtime" in str(raised.value)
    assert "openvino" in str(raised.value)


@pytest.mark.parametrize(
    ("device", "dtype"),
    [("meta", torch.float32), ("cpu", torch.bfloat16), ("cpu", torch.float64)],
    ids=str,
)
def test_int8_is_offered_only_for_float32_on_the_processor(
    device: str, dtype: torch.dtype, network: Network
) -> None:
    model = scorecam.open_model(network.to(device, dtype))
    assert "int8" not in model.precisions
    with pytest.raises(scorecam.SettingError, match="offers no precision 'int8'"):
        check_offered(model, Speed(precision="int8"))


def test_a_processor_without_int8_uses_float32_with_a_remark(
    examples: list[Tensor],
    network: Network,
    image: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openvino, "_capabilities", lambda: ["FP32"])
    result = bank(network, image, "norm", precision="int8")
    assert ran(result)[:2] == ("openvino", "float32")
    [remark] = result.provenance.remarks
    assert "this processor does not compute in int8" in remark
    assert len(examples) == 1


def test_without_nncf_the_error_names_the_extra(
    converter: Converter, network: Network, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(scorecam.MissingExtra) as raised:
        bank(network, image, "norm", precision="int8")
    assert "NNCF" in str(raised.value)
    assert "pip install 'scorecam[int8]'" in str(raised.value)
    assert converter.made == []
