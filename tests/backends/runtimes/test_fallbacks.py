"""If a runtime fails or is inaccurate, the network itself is used."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from network_state import unchanged
from networks import InPlace, Network, build, images_for
from scorecam.backends.runtimes import casting, openvino
from scorecam.backends.runtimes import compile as torch_compile
from scorecam.scoring.banks import make_banks
from stand_in_runtime import Converter, bank, distance, ran

# ── networks that cannot be converted ────────────────────────────────────────────────────────


def test_an_unconvertible_network_runs_itself_with_a_remark(
    converter: Converter, network: Network, image: Tensor
) -> None:
    truth = bank(network, image, "norm", runtime="eager")
    converter.refusal = RuntimeError("Check failed at graph.cpp:151:\n  no rule for it\n")
    with unchanged(network):
        result = bank(network, image, "norm", runtime="openvino")
    remark = "openvino cannot run this network (no rule for it); eager in float32 was used."
    assert ran(result) == ("eager", "float32", (remark,))
    assert torch.equal(result.scores, truth.scores)


def test_a_failed_conversion_is_not_repeated_without_changes(
    converter: Converter, network: Network, image: Tensor
) -> None:
    converter.refusal = ValueError()
    remarks = {ran(bank(network, image, "norm", runtime="openvino"))[2] for _ in range(3)}
    [[remark]] = remarks
    assert "(ValueError)" in remark
    assert len(converter.made) == 1
    converter.refusal = None
    network.classes.weight.data[0, 0] += 1
    assert ran(bank(network, image, "norm", runtime="openvino")) == ("openvino", "float32", ())


def test_a_conversion_that_ran_out_of_memory_is_tried_again(
    converter: Converter, network: Network, image: Tensor
) -> None:
    converter.refusal = torch.OutOfMemoryError("Tried to allocate 2.00 GiB.")
    [remark] = bank(network, image, "norm", runtime="openvino").provenance.remarks
    assert "Tried to allocate" in remark
    converter.refusal = None
    assert ran(bank(network, image, "norm", runtime="openvino")) == ("openvino", "float32", ())


@pytest.mark.usefixtures("impatient")
def test_auto_tries_each_network_once_without_a_remark(
    converter: Converter, network: Network, image: Tensor
) -> None:
    truth = bank(network, image, "norm", runtime="eager")
    converter.refusal = RuntimeError("no rule for it")
    for _ in range(3):
        result = bank(network, image, "norm")
        assert ran(result) == ("eager", "float32", ())
        assert torch.equal(result.scores, truth.scores)
    assert len(converter.made) == 1


class Altered(nn.Module):
    """A network with an operation that a runtime may not support."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = build(InPlace)
        self.change = change

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.change(images))


@torch.library.custom_op("scorecam_tests::doubled", mutates_args=())
def doubled(images: Tensor) -> Tensor:
    return images * 2


def through_numpy(images: Tensor) -> Tensor:
    """Tracing records this as a constant."""
    return torch.from_numpy(images.detach().numpy() * 2)


def branching(images: Tensor) -> Tensor:
    """Tracing records one branch; the batch of the probe takes the other."""
    return images if (images[0] == images[-1]).all() else images.flip(3)


@pytest.mark.needs("openvino")
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (doubled, "operations: scorecam_tests::doubled"),
        (torch.special.bessel_j0, "operations: aten::special_bessel_j0"),
        (through_numpy, "moves the heatmap by 0."),
        (branching, "moves the heatmap by 0."),
    ],
    ids=["custom operator", "no rule", "numpy", "branch"],
)
def test_networks_that_openvino_cannot_convert_run_themselves(
    change: Callable[[Tensor], Tensor], cause: str
) -> None:
    network = Altered(change).train()
    image = images_for(network.network)[0]
    truth = bank(network, image, "network.norm", runtime="eager")
    with unchanged(network):
        result = bank(network, image, "network.norm", runtime="openvino")
    [remark] = [r for r in result.provenance.remarks if r not in truth.provenance.remarks]
    assert cause in remark
    assert remark.startswith("openvino ")
    assert remark.endswith("; eager in float32 was used.")
    assert ran(result)[:2] == ("eager", "float32")
    assert torch.equal(result.scores, truth.scores)


def test_a_network_that_cannot_be_compiled_runs_itself(
    network: Network, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(*_given: Any) -> Any:
        raise RuntimeError("backend='inductor' raised:\nNo working C++ compiler found.")

    monkeypatch.setattr(torch_compile, "compiled", convert)
    [remark] = bank(network, image, "norm", runtime="compile").provenance.remarks
    assert remark.startswith("compile cannot run this network (No working C++ compiler found.)")


def test_a_network_that_deepcopy_refuses_is_still_compiled(network: Network, image: Tensor) -> None:
    network.kept = (
        network.classes.weight * 2
    )  # copy.deepcopy stops at such a tensor; a view does not
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(network)
    result = bank(network, image, "norm", runtime="compile")
    own = bank(network, image, "norm", runtime="eager")
    assert ran(result)[:2] == ("compile", "float32")
    assert torch.allclose(result.heatmap(), own.heatmap(), atol=1e-5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("runtime", "remarks"), [("auto", 0), ("openvino", 1)])
def test_a_network_for_single_images_is_not_converted(
    converter: Converter, runtime: Any, remarks: int
) -> None:
    def alone(images: Tensor) -> Tensor:
        return images.reshape(1, 3, 24, 40)

    network = Altered(alone)
    image = images_for(network.network)[0]
    result = bank(network, image, "network.norm", runtime=runtime, batch_size=1)
    assert ran(result)[:2] == ("eager", "float32")
    assert len(result.provenance.remarks) == remarks
    assert len(converter.made) == remarks


# ── missing runtimes and precisions ──────────────────────────────────────────────────────────


def test_openvino_by_name_but_missing_is_an_error_with_the_extra(
    network: Network, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    for settings in ({}, {"precision": "bfloat16"}, {"precision": "auto"}):
        with pytest.raises(scorecam.MissingExtra, match="OpenVINO is not installed") as raised:
            bank(network, image, "norm", runtime="openvino", **settings)
        assert raised.value.do == "pip install 'scorecam[openvino]'"
        assert isinstance(raised.value, ImportError)


@pytest.mark.usefixtures("impatient")
def test_a_missing_openvino_does_not_matter_with_auto(
    network: Network, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    truth = bank(network, image, "norm", runtime="eager")
    result = bank(network, image, "norm")
    assert ran(result) == ("eager", "float32", ())
    assert torch.equal(result.scores, truth.scores)
    assert result.provenance.forward_passes == truth.provenance.forward_passes


def test_an_unsupported_precision_is_refused_before_converting(
    converter: Converter, network: Network, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino.OpenVINO, "precisions", lambda _self: ["float32"])
    result = bank(network, image, "norm", runtime="openvino", precision="bfloat16")
    [remark] = result.provenance.remarks
    assert "this processor does not compute in bfloat16" in remark
    assert ran(result)[:2] == ("eager", "float32")
    assert converter.made == []


def test_another_precision_for_a_half_precision_network_is_refused(
    network: Network, image: Tensor
) -> None:
    halved = copy.deepcopy(network).bfloat16()
    with pytest.raises(scorecam.SettingError) as raised:
        bank(halved, image, "norm", precision="float16")
    assert "The network is in bfloat16" in str(raised.value)
    assert "precision='float16'" in str(raised.value)
    truth = bank(halved, image, "norm", runtime="eager")
    for precision in ("float32", "bfloat16", "auto"):  # float32 is the default
        result = bank(halved, image, "norm", precision=precision)
        assert ran(result) == ("eager", "bfloat16", ())
        assert torch.equal(result.scores, truth.scores)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_are_not_converted_and_get_a_remark(
    converter: Converter, network: Network, image: Tensor, dtype: torch.dtype
) -> None:
    name = str(dtype).removeprefix("torch.")
    result = bank(network.to(dtype), image, "norm", runtime="openvino")
    assert ran(result)[:2] == ("eager", name)
    assert name in result.provenance.remarks[0]
    assert converter.made == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_network_is_compiled_in_its_own_precision(
    network: Network, image: Tensor, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.dtype] = []

    def compile_nothing(function: Callable[[Tensor], Tensor], **_settings: Any) -> Any:
        def ask(images: Tensor) -> Tensor:
            seen.append(images.dtype)
            return function(images)

        return ask

    monkeypatch.setattr(torch, "compile", compile_nothing)
    truth = bank(network.to(dtype), image, "norm", runtime="eager")
    result = bank(network, image, "norm", runtime="compile")
    assert ran(result) == ("compile", str(dtype).removeprefix("torch."), ())
    cam = scorecam.ScoreCAM(network, "norm", runtime="compile")
    for own in make_banks(
        cam.model, images_for(network, 3), [None] * 3, layer=cam.layer, settings=cam.settings
    ):  # a full batch too
        assert ran(own) == ran(result)
    assert set(seen) == {dtype}
    assert result.scores.dtype == torch.float32
    torch.testing.assert_close(result.scores, truth.scores, rtol=0, atol=1e-2)


# ── runtimes with other results ──────────────────────────────────────────────────────────────

WRONG: dict[str, Callable[[int, Tensor], Tensor]] = {
    "noise": lambda _number, scores: torch.randn_like(scores),
    "a little off": lambda _number, scores: scores * 1.02,
    "another class's": lambda _number, scores: scores.roll(1, 1),
    "another image's": lambda _number, scores: scores.roll(1, 0),
    "NaN": lambda _number, scores: scores * torch.nan,
    "one NaN": lambda _number, scores: scores.index_fill(0, torch.tensor([1]), torch.nan),
    "infinity": lambda _number, scores: scores + torch.inf,
}


@pytest.mark.parametrize("runtime", ["openvino", "auto"])
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.usefixtures("impatient")
def test_a_runtime_that_disagrees_on_the_probe_is_not_used(
    converter: Converter,
    network: Network,
    image: Tensor,
    wrong: Callable[[int, Tensor], Tensor],
    runtime: Any,
) -> None:
    truth = bank(network, image, "norm", runtime="eager")
    converter.spoil = wrong
    for _ in range(2):
        result = bank(network, image, "norm", runtime=runtime)
        assert ran(result)[:2] == ("eager", "float32")
        assert torch.equal(result.scores, truth.scores)
        remarks = result.provenance.remarks
        assert len(remarks) == (runtime == "openvino")
        assert all("openvino in float32 moves the heatmap by" in remark for remark in remarks)
    assert len(converter.made) == len(converter.passes) == 1  # the verdict is kept


def test_a_runtime_is_used_if_its_map_differs_by_less_than_1e4(
    converter: Converter, network: Network, image: Tensor
) -> None:
    converter.spoil = lambda _number, scores: scores * (1 + 1e-6)
    truth = bank(network, image, "norm", runtime="eager")
    result = bank(network, image, "norm", runtime="openvino")
    assert ran(result) == ("openvino", "float32", ())
    assert 0 < distance(result, truth) < 1e-4


@pytest.mark.parametrize(
    ("error", "precision", "taken"),
    [
        (0.1, "auto", ("openvino", "bfloat16", 0)),  # moves the map by 0.01
        (1.0, "auto", ("openvino", "float32", 0)),  # by 0.15
        (1.0, "bfloat16", ("openvino", "bfloat16", 0)),
        (3.0, "bfloat16", ("eager", "float32", 1)),  # by 0.6
    ],
)
def test_named_half_precision_may_change_the_map_more_than_auto(
    converter: Converter,
    error: float,
    precision: Any,
    taken: tuple[str, str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def halves_err(_number: int, scores: Tensor) -> Tensor:
        wrong = error * (converter.made[-1] == "bfloat16")
        return scores + wrong * torch.eye(*scores.shape)

    monkeypatch.setattr(casting, "half_precision", lambda _device: "bfloat16")
    converter.spoil = halves_err
    network = build(InPlace)
    result = bank(network, images_for(network)[0], "norm", runtime="openvino", precision=precision)
    runtime, precision, remarks = ran(result)
    assert (runtime, precision, len(remarks)) == taken
    assert all("openvino in bfloat16 moves the heatmap by" in remark for remark in remarks)
