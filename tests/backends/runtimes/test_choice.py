"""Runtime and precision change only the speed, not the map."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from network_state import Everything, unchanged
from networks import NETWORKS, InPlace, Network, build, images_for
from scorecam.backends.runtimes import compile as torch_compile
from scorecam.backends.runtimes import conversions, openvino
from scorecam.scoring.banks import make_banks
from stand_in_runtime import Converter, bank, distance, ran

BFLOAT16 = 0.12
"""How far a scaled map may be from the float32 one, as for networks that are in bfloat16."""


def expected_of(precision: str) -> str:
    """The precision that OpenVINO uses for a requested one."""
    return precision if precision in openvino.RUNTIME.precisions() else "float32"


# ── agreement ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("openvino")
@pytest.mark.parametrize("kind", NETWORKS)
def test_openvino_gives_the_networks_own_maps(kind: type[Network]) -> None:
    network = build(kind)
    x = images_for(network)[0]
    truth = bank(network, x, network.layer, runtime="eager")
    result = bank(network, x, network.layer, runtime="openvino")
    assert ran(result) == ("openvino", "float32", ())
    assert distance(result, truth) <= 1e-4
    assert torch.equal(result.activations, truth.activations)


@pytest.mark.parametrize(
    "runtime", ["eager", pytest.param("openvino", marks=pytest.mark.needs("openvino"))]
)
@pytest.mark.parametrize("kind", NETWORKS)
def test_bfloat16_gives_float32_maps_near_those_of_float32(
    kind: type[Network], runtime: Any
) -> None:
    network = build(kind)
    x = images_for(network)[0]
    truth = bank(network, x, network.layer, runtime="eager")
    result = bank(network, x, network.layer, runtime=runtime, precision="bfloat16")
    if runtime == "eager" or expected_of("bfloat16") == "bfloat16":
        assert ran(result) == (runtime, "bfloat16", ())
        assert (result.scores - truth.scores).abs().max() > 1e-4  # the scores are not float32
    assert distance(result, truth, "official") <= BFLOAT16
    assert torch.equal(result.activations, truth.activations)  # the masks' maps are not rounded
    made = (result.activations, result.scores, result.image_scores, result.fill_scores)
    assert {tensor.dtype for tensor in (*made, result.weights(0), result.heatmap(0))} == {
        torch.float32
    }


@pytest.mark.needs("openvino")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_openvino_reports_a_precision_that_the_processor_lacks(
    network: Network, image: Tensor, precision: Any
) -> None:
    result = bank(network, image, "norm", runtime="openvino", precision=precision)
    if expected_of(precision) == precision:
        assert ran(result) == ("openvino", precision, ())
    else:
        assert ran(result)[:2] == ("eager", "float32")
        assert f"this processor does not compute in {precision}" in result.provenance.remarks[0]


class OneLogit(nn.Module):
    """A yes-or-no network that drops the axis of its single column."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build(InPlace)

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images)[:, 0] - self.inner(images)[:, 1]


class Record(OneLogit):
    """A network that returns its scores in a dict with other entries."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"size": images.flatten(1).abs().sum(1), "logits": self.inner(images)}


class TwoInputs(OneLogit):
    """A network with a second input that is not an image."""

    def forward(self, images: Tensor, offset: Tensor) -> Tensor:
        return self.inner(images * offset[:, :, None, None])


@pytest.mark.needs("openvino")
@pytest.mark.parametrize(
    ("kind", "others", "target"),
    [
        (OneLogit, (), None),
        (Record, (), None),
        (InPlace, (), lambda output: output[:, 2] - 0.5 * output[:, 0]),
        (TwoInputs, (torch.tensor([[0.5, 2.0, -1.0]]),), None),
    ],
    ids=["one logit", "dict", "readout", "two inputs"],
)
def test_openvino_uses_the_readout_of_the_model(
    kind: type[nn.Module], others: tuple[Tensor, ...], target: Any
) -> None:
    whole = build(InPlace) if kind is InPlace else kind().eval()
    x = images_for(build(InPlace))
    given = [x, *others] if others else x
    layer = "norm" if kind is InPlace else "inner.norm"
    model = scorecam.open_model(whole, masked_input=0 if others else None)
    truth = scorecam.ScoreCAM(model, layer, runtime="eager").bank(given, target)
    result = scorecam.ScoreCAM(model, layer, runtime="openvino").bank(given, target)
    assert ran(result) == ("openvino", "float32", ())
    assert result.names == truth.names
    assert distance(result, truth) <= 1e-4


@pytest.mark.needs("openvino")
@pytest.mark.parametrize("fails", [False, True])
def test_converting_a_network_leaves_it_unchanged(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Everything()  # of mixed modes, hooked, and partly frozen
    x = torch.randn(3, 25, 25)
    truth = bank(network, x, "body", runtime="eager")
    if fails:
        monkeypatch.setattr(openvino.load(), "convert_model", lambda: None)
    with unchanged(network):
        result = bank(network, x, "body", runtime="openvino")
    assert ran(result)[0] == ("eager" if fails else "openvino")
    assert len(result.provenance.remarks) == fails
    assert distance(result, truth) <= 1e-4
    network(x[None]).sum().backward()  # and can be trained
    assert network.classes.weight.grad is not None


@pytest.mark.early
@pytest.mark.needs("compiler")
def test_compiled_networks_give_the_same_maps_and_are_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    convert = torch_compile.compiled

    def counted(*given: Any) -> Any:
        made.append(1)
        return convert(*given)

    monkeypatch.setattr(torch_compile, "compiled", counted)
    network = build(InPlace).train()  # its batch norm must not learn from masks
    x = images_for(network, 2)
    truth = [bank(network, image, "norm", runtime="eager") for image in x]
    with unchanged(network):
        result = [bank(network, image, "norm", runtime="compile") for image in x]
    for one, other in zip(result, truth, strict=True):
        assert ran(one) == ("compile", "float32", ())
        assert distance(one, other) <= 1e-4
    assert len(made) == 1
    alive = weakref.ref(network)
    del network
    gc.collect()
    assert alive() is None


@pytest.mark.early
def test_any_number_of_networks_can_be_compiled_in_one_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graphs: list[Any] = []

    def backend(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compile_fast = functools.partial(torch.compile, backend=backend)
    monkeypatch.setattr(torch, "compile", compile_fast)
    for seed in range(10):  # torch itself gives up after eight
        network = build(InPlace, seed)
        x = images_for(network)[0]
        result = bank(network, x, "norm", runtime="compile", budget=3)
        assert ran(result) == ("compile", "float32", ())
        assert len(graphs) == seed + 1


# ── converted once ───────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("openvino")
def test_a_changed_weight_causes_a_new_conversion(
    network: Network, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    convert = openvino.converted

    def counted(*given: Any) -> Any:
        made.append(given[2])
        return convert(*given)

    monkeypatch.setattr(openvino, "converted", counted)
    for settings in ({}, {"variant": "increase"}, {"budget": 5}, {"batch_size": 2}):
        result = bank(network, image, "norm", runtime="openvino", **settings)
        assert ran(result) == ("openvino", "float32", ())
    assert made == ["float32"]
    network.classes.weight.data[3, 2] += 5  # what torch's count of changes omits
    truth = bank(network, image, "norm", runtime="eager")
    result = bank(network, image, "norm", runtime="openvino")
    assert ran(result) == ("openvino", "float32", ())
    assert distance(result, truth) <= 1e-4
    assert len(made) == 2


def shuffle(network: Network) -> None:
    weight = network.classes.weight.data
    weight.copy_(weight.flip(0))


@torch.no_grad()
def one_element(network: Network) -> None:
    network.conv.weight[5, 1, 2, 0] += 1


def step(network: Network) -> None:
    optimiser = torch.optim.SGD(network.parameters(), lr=0.3)
    network(images_for(network)).square().sum().backward()
    optimiser.step()


CHANGES: dict[str, Callable[[Any], Any]] = {
    "in place": lambda network: network.conv.weight.data.mul_(2),
    "one element": one_element,
    "one element of data": lambda network: network.classes.weight.data[4, 8].add_(9),
    "order": shuffle,
    "a buffer": lambda network: network.norm.running_var.mul_(3),
    "a step of an optimiser": step,
    "loaded": lambda network: network.load_state_dict(build(InPlace, seed=3).state_dict()),
    "a weight less": lambda network: setattr(network.classes, "bias", None),
    "a hook": lambda network: network.relu.register_forward_hook(lambda *given: given[2] * 2),
    "a setting": lambda network: setattr(network.norm, "eps", 5.0),
}
"""Changes of the scores."""

SAME: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda _network: None,
    "its mode": lambda network: network.train(),
    "requires_grad": lambda network: network.requires_grad_(requires_grad=False),
    "where weights lie": lambda network: setattr(
        network.conv.weight, "data", network.conv.weight.data.clone()
    ),
    "a pass": lambda network: network(images_for(network)),
}
"""Changes that do not affect the scores."""


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_of_the_output_causes_a_new_conversion(
    change: Callable[[Network], Any], converter: Converter, network: Network, image: Tensor
) -> None:
    before = bank(network, image, "norm", runtime="openvino")
    change(network)
    truth = bank(network, image, "norm", runtime="eager")
    result = bank(network, image, "norm", runtime="openvino")
    assert ran(result) == ("openvino", "float32", ())
    torch.testing.assert_close(result.scores, truth.scores, rtol=0, atol=1e-5)
    assert not torch.equal(result.scores, before.scores)
    assert len(converter.made) == 2


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
def test_a_network_that_stays_the_same_is_converted_once(
    same: Callable[[Network], Any], converter: Converter, network: Network, image: Tensor
) -> None:
    for _ in range(2):
        result = bank(network, image, "norm", runtime="openvino")
        assert ran(result) == ("openvino", "float32", ())
        same(network)
    assert len(converter.made) == 1


def test_changes_of_weights_made_in_inference_mode_are_noticed(converter: Converter) -> None:
    with torch.inference_mode():
        network = build(InPlace)
        image = images_for(network)[0]
        bank(network, image, "norm", runtime="openvino")
        network.conv.weight[5, 1, 2, 0] += 1
        truth = bank(network, image, "norm", runtime="eager")
        result = bank(network, image, "norm", runtime="openvino")
    torch.testing.assert_close(result.scores, truth.scores, rtol=0, atol=1e-5)
    assert len(converter.made) == 2


def test_each_precision_size_and_readout_is_converted_once(
    converter: Converter, network: Network
) -> None:
    converter.copies = False
    models = [
        scorecam.open_model(network, output=lambda output, i=i: output[:, i:]) for i in (0, 2)
    ]
    for _ in range(2):
        for model in models:
            for size in (20, 24):
                for precision in ("float32", "bfloat16"):
                    cam = scorecam.ScoreCAM(model, "norm", runtime="openvino", precision=precision)
                    result = cam.bank(torch.rand(3, size, 24))
                    assert ran(result) == ("openvino", precision, ())
    assert len(converter.made) == 8


def test_threads_that_share_a_network_convert_it_once(converter: Converter) -> None:
    network = build(InPlace)
    images = images_for(network, 8)
    truth = [bank(network, image, "norm", runtime="eager") for image in images]

    def found_for(image: Tensor) -> scorecam.ScoreBank:
        return bank(network, image, "norm", runtime="openvino")

    with ThreadPoolExecutor(4) as pool:
        for result, own in zip(pool.map(found_for, images), truth, strict=True):
            assert distance(result, own) <= 1e-5
    assert len(converter.made) == 1


@pytest.mark.needs("openvino")
def test_a_conversion_is_freed_with_its_network() -> None:
    network = build(InPlace)
    bank(network, images_for(network)[0], "norm", runtime="openvino")
    [made] = conversions._CONVERSIONS[network].values()
    alive = [weakref.ref(thing) for thing in (network, network.conv.weight, made.scores)]
    del network, made
    gc.collect()
    assert [reference() for reference in alive] == [None, None, None]


@pytest.mark.needs("openvino")
def test_a_conversion_under_autocast_is_used_only_under_autocast(
    network: Network, image: Tensor
) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        bank(network, image, "norm", runtime="openvino")
    truth = bank(network, image, "norm", runtime="eager")
    result = bank(network, image, "norm", runtime="openvino")
    assert ran(result) == ("openvino", "float32", ())
    assert distance(result, truth) <= 1e-4


# ── batches ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("openvino")
def test_openvino_maps_do_not_depend_on_batch_size_or_other_images(
    network: Network,
) -> None:
    images = images_for(network, 3)  # 25 images, in batches of 8 for openvino
    truth = [bank(network, image, "norm", runtime="openvino") for image in images]
    for size in ("auto", 1, 3, 8, 20, 100):
        cam = scorecam.ScoreCAM(network, "norm", runtime="openvino", batch_size=size)
        banks = make_banks(cam.model, images, [None] * 3, layer=cam.layer, settings=cam.settings)
        for result, alone in zip(banks, truth, strict=True):
            assert ran(result) == ("openvino", "float32", ())
            assert result.provenance.batch_size == (8 if size == "auto" else size)
            torch.testing.assert_close(result.scores, alone.scores, rtol=0, atol=1e-5)
            assert distance(result, alone) <= 1e-5


def test_a_runtime_never_gets_more_images_than_its_batch(
    converter: Converter, network: Network
) -> None:
    images = images_for(network, 3)
    scorecam.ScoreCAM(network, "norm", runtime="openvino", batch_size=20)(images)
    assert converter.passes == [5, 8, 8, 4, 5]  # the probe, then 20 and 5
