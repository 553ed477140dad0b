"""No call changes the user's network or tensors."""

from __future__ import annotations

import contextlib
import copy
import gc
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor, nn

import scorecam
from network_state import Everything, snapshot, unchanged
from networks import NETWORKS, InPlace, Network, build, images_for
from scorecam.testing import Spy


@pytest.fixture
def network() -> Everything:
    return Everything()


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 24, 40)


# ── calls that succeed ───────────────────────────────────────────────────────────────────────

CALLS: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "a heatmap": lambda net, image: scorecam.ScoreCAM(net)(image[None]),
    "a batch": lambda net, image: scorecam.ScoreCAM(net, "body")(
        torch.stack([image] * 3), [0, 1, 2]
    ),
    "a bank": lambda net, image: scorecam.ScoreCAM(net, "body.0").bank(image),
    "an explanation": lambda net, image: scorecam.explain(net, image, 2).health,
    "a readout": lambda net, image: scorecam.explain(net, image, lambda output: output[:, 1]),
    "layers": scorecam.layers,
    "a context manager": lambda net, image: scorecam.ScoreCAM(net).__enter__()(image[None]),
    "opening the model": lambda net, image: scorecam.open_model(net, device="cpu"),  # noqa: ARG005
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("mode", ["mixed", "training", "evaluation"])
def test_no_call_changes_the_network(
    network: Everything, image: Tensor, mode: str, call: Callable[[nn.Module, Tensor], object]
) -> None:
    if mode != "mixed":
        network.train(mode == "training")
    with unchanged(network):
        call(network, image)


def test_the_comparison_notices_hooks_modes_and_values(network: Everything) -> None:
    with pytest.raises(AssertionError, match="_forward_hooks"), unchanged(network):
        network.body.register_forward_hook(lambda _module, _inputs, _output: None)
    with pytest.raises(AssertionError, match="training"), unchanged(network):
        network.drop.eval()
    with pytest.raises(AssertionError, match="value"), unchanged(network):
        network.stem[1].running_mean += 1
    with pytest.raises(AssertionError, match="random"), unchanged(network):
        torch.rand(1)


@pytest.mark.parametrize("kind", NETWORKS)
def test_no_call_writes_to_the_users_images(kind: type[Network]) -> None:
    network = build(kind)
    images = images_for(network, count=2)
    before, version = images.clone(), images._version
    scorecam.ScoreCAM(network, network.layer)(images)
    scorecam.explain(network, images[0], layer=network.layer)
    scorecam.layers(network, images[0])
    assert torch.equal(images, before)
    assert images._version == version


class NormalisesInPlace(nn.Module):
    """Writes into its own input before anything else."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.sub_(0.3).mul_(2.0))


def test_a_network_may_write_into_its_input() -> None:
    inner = build(InPlace)
    network = NormalisesInPlace(inner)
    images = images_for(inner, count=2)
    before = images.clone()

    class Normalises(NormalisesInPlace):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.clone())

    expected = scorecam.ScoreCAM(Normalises(inner), "network.norm")(images, 0)
    maps = scorecam.ScoreCAM(network, "network.norm")(images, 0)
    scorecam.ScoreCAM(network)(images, 0)
    scorecam.layers(network, images[0])
    assert torch.equal(images, before)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-6)


# ── calls that fail ──────────────────────────────────────────────────────────────────────────


class Fails(nn.Module):
    """Raises in the middle of its pass number `at`."""

    def __init__(self, network: nn.Module, at: int, error: BaseException) -> None:
        super().__init__()
        self.network = network
        self.at = at
        self.error = error
        self.passes = 0
        self.network.body.register_forward_hook(self.count)

    def count(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self.passes += 1
        if self.passes == self.at:
            raise self.error

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


STAGES = ("dry run", "unmasked", "first chunk", "middle chunk", "last chunk")


def passes_of_one_call(network: nn.Module, image: Tensor) -> int:
    spy = Spy(network)
    scorecam.ScoreCAM(spy, batch_size=1)(image[None])
    return len(spy.seen)


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("stage", STAGES)
def test_a_model_that_raises_is_unchanged(
    network: Everything, image: Tensor, stage: str, error: BaseException
) -> None:
    last = passes_of_one_call(network, image)
    assert last >= 5
    at = dict(zip(STAGES, (1, 2, 3, (3 + last) // 2, last), strict=True))[stage]
    failing = Fails(network, at, error)
    expected = scorecam.ModelError if isinstance(error, Exception) else type(error)
    before = snapshot(failing)
    with pytest.raises(expected) as raised:
        scorecam.ScoreCAM(failing, batch_size=1)(image[None])
    assert snapshot(failing) == before
    assert failing.passes == at
    if isinstance(error, Exception):
        assert "ValueError: boom" in str(raised.value)
        assert raised.value.__cause__ is error


FAILING: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "no such layer": lambda net, image: scorecam.ScoreCAM(net, "bdoy")(image[None]),
    "a layer without a grid": lambda net, image: scorecam.ScoreCAM(net, "classes")(image[None]),
    "no such class": lambda net, image: scorecam.ScoreCAM(net)(image[None], 99),
    "another number of colours": lambda net, image: scorecam.ScoreCAM(net)(image[None, :1]),
    "a readout that raises": lambda net, image: scorecam.explain(net, image, lambda out: out.nope),
}


@pytest.mark.parametrize("call", FAILING.values(), ids=FAILING)
def test_a_call_that_fails_changes_nothing(
    network: Everything, image: Tensor, call: Callable[[nn.Module, Tensor], object]
) -> None:
    with unchanged(network), pytest.raises(scorecam.ScorecamError):
        call(network, image)


def test_an_exception_in_progress_is_raised_unchanged(network: Everything, image: Tensor) -> None:
    with unchanged(network), pytest.raises(ZeroDivisionError):
        scorecam.explain(network, image, progress=lambda progress: progress.done // 0)


# ── autograd modes ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_autograd_mode_changes_nothing(
    network: Everything, image: Tensor, mode: Callable[[], contextlib.AbstractContextManager[Any]]
) -> None:
    expected = scorecam.ScoreCAM(network)(image[None], 1)
    with unchanged(network), mode():
        heatmap = scorecam.ScoreCAM(network)(image[None], 1)
    assert torch.equal(heatmap, expected)


def test_no_gradient_reaches_images_that_require_one(network: Everything, image: Tensor) -> None:
    expected = scorecam.ScoreCAM(network)(image[None], 1)
    x = image[None].clone().requires_grad_()
    heatmap = scorecam.ScoreCAM(network)(x, 1)
    assert torch.equal(heatmap, expected)
    assert not heatmap.requires_grad
    assert x.grad is None
    assert x.requires_grad


def test_images_made_in_inference_mode_can_be_explained(network: Everything, image: Tensor) -> None:
    expected = scorecam.ScoreCAM(network)(image[None], 1)
    with torch.inference_mode():
        x = image[None].clone()
    assert torch.equal(scorecam.ScoreCAM(network)(x, 1), expected)


# ── results ──────────────────────────────────────────────────────────────────────────────────


def test_results_are_ordinary_tensors(network: Everything, image: Tensor) -> None:
    with torch.inference_mode():
        scorecam.ScoreCAM(network, "body").bank(image)  # the results must not inherit this mode
    explanation = scorecam.explain(network, image, 1, layer="body")
    bank = explanation.bank
    results = {
        "activations": bank.activations,
        "scores": bank.scores,
        "image_scores": bank.image_scores,
        "fill_scores": bank.fill_scores,
        "weights": bank.weights(1),
        "heatmap": explanation.heatmap,
        "scaled": explanation.scaled,
        "maps": scorecam.ScoreCAM(network)(image[None]),
    }
    for name, tensor in results.items():
        assert not tensor.is_inference(), name
        assert not tensor.requires_grad, name
        factor = torch.ones((), requires_grad=True)
        (factor * tensor).sum().backward()
        assert factor.grad is not None
        tensor.add_(0.0)


def test_the_bank_shares_no_memory_with_network_or_image() -> None:
    class Passes(nn.Module):
        """Its layer's output is its input, and its scores are its activations."""

        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Identity()
            self.kept = nn.Parameter(torch.ones(1))

        def forward(self, images: Tensor) -> Tensor:
            return self.same(images).flatten(1)[:, :3]

    image = torch.rand(3, 4, 6)
    before = image.clone()
    bank = scorecam.ScoreCAM(Passes(), "same").bank(image)
    assert torch.equal(bank.activations, image)
    bank.activations.zero_()
    bank.image_scores.zero_()
    assert torch.equal(image, before)


def test_of_a_layer_called_twice_the_last_output_counts() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Conv2d(3, 3, 3, padding=1)
            self.classes = nn.Linear(3, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.classes(self.shared(self.shared(images).relu_()).mean((2, 3)))

    network = Twice()
    image = torch.rand(3, 6, 8)
    bank = scorecam.ScoreCAM(network, "shared").bank(image)
    with torch.no_grad():
        last = network.shared(network.shared(image[None]).relu())[0]
    torch.testing.assert_close(bank.activations, last)


def test_loading_weights_does_not_change_the_users_network(tmp_path: Any) -> None:
    network = Everything()
    other = {name: tensor + 1 for name, tensor in Everything().state_dict().items()}
    torch.save(other, tmp_path / "weights.pt")
    image = torch.rand(3, 24, 40)
    with unchanged(network):
        model = scorecam.open_model(network, weights=tmp_path / "weights.pt")
        scorecam.explain(model, image)


def test_a_network_can_be_copied_and_trained_afterwards(network: Everything, image: Tensor) -> None:
    scorecam.ScoreCAM(network)(image[None])
    copy.deepcopy(network)
    network(image[None]).sum().backward()
    assert network.classes.weight.grad is not None


# ── a thousand calls ─────────────────────────────────────────────────────────────────────────


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 4, 3, stride=3)
        self.classes = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(images).mean((2, 3)))


def test_a_thousand_calls_leak_neither_hooks_nor_memory() -> None:
    network = Tiny()
    images = torch.rand(1, 3, 24, 32)
    cam = scorecam.ScoreCAM(network, "maps")

    def call(times: int) -> None:
        for _ in range(times // 10):
            for _ in range(7):
                cam(images)
            scorecam.ScoreCAM(network)(images)
            assert scorecam.explain(network, images, lambda output: output[:, 0]).health is not None
            with contextlib.suppress(scorecam.LayerError):
                scorecam.ScoreCAM(network, "classes")(images)

    # Later calls would convert the network; importing OpenVINO must not count as a leak.
    scorecam.ScoreCAM(network, "maps", runtime="openvino")(images)
    call(50)
    gc.collect()
    process = psutil.Process()
    objects, resident = len(gc.get_objects()), process.memory_info().rss
    with unchanged(network):
        call(1000)
    gc.collect()
    assert len(gc.get_objects()) - objects < 90  # one object in ten calls would be 100
    # A batch of masked images takes 46 kB; leaked in one call of ten, that would be 4.6 MB.
    assert process.memory_info().rss - resident < 4_000_000
