"""The automatic choice of runtime and precision."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import command_line
import scorecam
from networks import InPlace, Network, build, images_for
from scorecam.backends.runtimes import agreement, casting, measurements, openvino
from scorecam.scoring.banks import make_banks
from scorecam.testing import Regions, regions
from stand_in_runtime import Clock, Converter, Slow, bank, distance, equal_times, ran

# ── the automatic choice ─────────────────────────────────────────────────────────────────────


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, network: Network) -> Slow:
    """A network of 7 masks, one second each; its conversion takes 20 seconds."""
    monkeypatch.setattr(openvino, "CONVERTING", (20.0, 0.0))
    return Slow(network, Clock(monkeypatch))


def test_auto_converts_once_the_passes_would_have_cost_as_much(
    converter: Converter, slow: Slow, image: Tensor
) -> None:
    taken = [bank(slow, image, "network.norm").provenance.runtime for _ in range(5)]
    assert taken == ["eager", "eager", "openvino", "openvino", "openvino"]  # 7, 14, 21 > 20
    assert converter.made == ["float32"]


def test_auto_converts_at_once_for_many_or_slow_passes(
    converter: Converter, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = images_for(slow.network, 3)
    cam = scorecam.ScoreCAM(slow, "network.norm")
    banks = make_banks(cam.model, images, [None] * 3, layer=cam.layer, settings=cam.settings)
    assert {result.provenance.runtime for result in banks} == {"openvino"}
    monkeypatch.setattr(openvino, "CONVERTING", (0.0, 1.0))  # a second per weight: hundreds
    other = Slow(build(InPlace), slow.clock)
    assert bank(other, images[0], "network.norm").provenance.runtime == "eager"
    assert len(converter.made) == 1


def test_auto_never_spends_more_than_twice_the_better_choice(
    converter: Converter, slow: Slow, image: Tensor
) -> None:
    for calls in range(1, 12):
        bank(slow, image, "network.norm")
        spent = slow.clock.now + 20 * len(converter.made)  # a converted network takes no time
        itself, converted = 9 * calls, 20 + calls  # the network itself always scores the image
        assert spent <= 2 * min(itself, converted)


def test_auto_counts_passes_for_each_network_and_readout(
    converter: Converter, slow: Slow, image: Tensor
) -> None:
    converter.copies = False
    other = Slow(build(InPlace), slow.clock)

    def first(output: Tensor) -> Tensor:
        return output[:, :2]

    def last(output: Tensor) -> Tensor:
        return output[:, 2:]

    models = [
        scorecam.open_model(slow, output=first),
        scorecam.open_model(slow, output=last),
        scorecam.open_model(other, output=first),
    ]
    for taken in ("eager", "eager", "openvino"):
        for model in models:
            result = scorecam.ScoreCAM(model, "network.norm").bank(image)
            assert result.provenance.runtime == taken
    assert len(converter.made) == 3


def test_auto_counts_passes_separately_for_new_weights_and_sizes(
    converter: Converter, slow: Slow, image: Tensor
) -> None:
    for height in (24, 20, 16, 12, 24, 20, 16, 12):  # two calls each
        bank(slow, image[:, :height], "network.norm")
    for _ in range(4):
        bank(slow, image, "network.norm")
        slow.network.conv.weight.data.mul_(1.1)
    assert converter.made == ["float32"]  # for the third call at 24


def test_targets_that_are_new_functions_each_time_do_not_convert(
    converter: Converter, slow: Slow, image: Tensor
) -> None:
    converter.copies = False
    cam = scorecam.ScoreCAM(slow, "network.norm")
    for column in range(20):
        result = cam.bank(image, lambda output, i=column % 5: output[:, i])
        assert result.provenance.runtime == "eager"
    assert converter.made == []
    assert len(measurements._TABLES[slow]) == measurements.TABLES


def test_auto_costs_nothing_without_openvino(
    converter: Converter, slow: Slow, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino.OpenVINO, "installed", lambda _self: False)
    passes = set()
    for _ in range(5):
        result = bank(slow, image, "network.norm")
        assert ran(result) == ("eager", "float32", ())
        passes.add(result.provenance.forward_passes)
    assert passes == {10}  # and no probe of an absent runtime
    assert converter.made == []


@pytest.mark.parametrize("half", ["bfloat16", "float16", None])
def test_precision_auto_uses_the_half_precision_of_the_machine(
    half: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(casting, "half_precision", lambda _device: half)
    equal_times(monkeypatch)
    network = Regions(torch.tensor([[1.0, -2.0, 0.5], [0.25, 0.5, -1.0]]))
    x = regions((4, 2, 3), 5, 7)
    truth = bank(network, x, "maps", runtime="eager")
    result = bank(network, x, "maps", precision="auto")
    assert ran(result) == ("eager", half or "float32", ())
    assert distance(result, truth) <= 1e-6  # numbers that are exact in both half precisions


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux about the processor")
def test_the_half_precision_of_a_processor_has_instructions() -> None:
    words = Path("/proc/cpuinfo").read_text("utf-8").split()
    expected = "bfloat16" if "avx512_bf16" in words else None
    assert casting.half_precision(torch.device("cpu")) == expected


@pytest.mark.parametrize(
    ("capability", "half"),
    [((6, 1), None), ((7, 5), "float16"), ((8, 0), "bfloat16"), ((12, 0), "bfloat16")],
)
def test_a_gpu_without_fast_bfloat16_uses_float16(
    capability: tuple[int, int], half: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)  # emulated, where slow
    monkeypatch.setattr(torch.version, "hip", None)
    assert casting.half_precision(torch.device("cuda", 1)) == half


# ── doctor and errors ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("half", ["bfloat16", None])
@pytest.mark.parametrize("missing", [False, True])
def test_doctor_explains_what_auto_uses(
    half: str | None,
    missing: bool,
    converter: Converter,  # noqa: ARG001  openvino is there, whether or not it is installed
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(_self: object) -> list[str]:
        raise scorecam.MissingExtra(
            "OpenVINO is not installed.", do="pip install 'scorecam[openvino]'"
        )

    monkeypatch.setattr(casting, "half_precision", lambda _device: half)
    if missing:
        monkeypatch.setattr(openvino.OpenVINO, "precisions", absent)
    lines = command_line.scorecam("doctor").out.splitlines()
    [runtime] = [line for line in lines if line.startswith("runtime auto")]
    [precision] = [line for line in lines if line.startswith("precision auto")]
    if missing:
        assert runtime.split()[2] == "eager:"
        assert "not installed. pip install 'scorecam[openvino]'" in runtime
    else:
        assert runtime.split()[2] == "openvino,"
        assert f"agree to {agreement.SAME:g}" in runtime
        assert "until then eager" in runtime
    assert precision.split()[2] == (half or "float32")
    assert ("which has no bfloat16 instructions" in precision) == (half is None)


@pytest.mark.parametrize(
    ("settings", "phrases"),
    [
        ({"runtime": "opnvino"}, ["no runtime 'opnvino'", "Did you mean 'openvino'?", "compile"]),
        ({"runtime": "Eager"}, ["no runtime 'Eager'", "Did you mean 'eager'?"]),
        ({"runtime": None}, ["no runtime None", "auto, eager, compile or openvino"]),
        ({"precision": "float-16"}, ["no precision 'float-16'", "Did you mean 'float16'"]),
        ({"precision": torch.float16}, ["no precision torch.float16", "Did you mean 'float16'"]),
        ({"precision": 16}, ["no precision 16", "auto, float32, bfloat16, float16 or int8"]),
    ],
    ids=str,
)
def test_an_unknown_runtime_or_precision_suggests_the_nearest(
    network: Network, settings: dict[str, Any], phrases: list[str]
) -> None:
    with pytest.raises(scorecam.SettingError) as raised:
        scorecam.ScoreCAM(network, **settings)
    for phrase in phrases:
        assert phrase in str(raised.value)


@pytest.mark.parametrize(
    ("option", "word", "nearest"),
    [("--runtime", "opnvino", "openvino"), ("--precision", "float-16", "float16")],
)
def test_the_command_suggests_the_nearest_runtime_or_precision(
    option: str, word: str, nearest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command_line.furnish(tmp_path)
    answer = command_line.scorecam("explain", "cat.png", *command_line.options(), option, word)
    command_line.refused(answer, repr(word), f"Did you mean {nearest!r}")
    assert not command_line.listing(tmp_path / "out")
