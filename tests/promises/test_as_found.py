"""What a network changes in its own forward is as it was found: value, identity, type."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam

IMAGE = torch.rand(3, 16, 20, generator=torch.Generator().manual_seed(1)) - 0.5


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.classes = nn.Linear(6, 4)

    def scores(self, images: Tensor) -> Tensor:
        return self.classes(self.conv(images).relu().mean((2, 3)))


class Counter(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        self.count += 1
        return self.scores(images)


class Running(Base):
    """Gathers statistics in evaluation mode too, and replaces its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, images: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * images.mean((0, 2, 3))
        return self.scores(images - self.mean[:, None, None])


class Halves(Base):
    """Changes its buffer's type."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(4))

    def forward(self, images: Tensor) -> Tensor:
        self.scale = self.scale.half()
        return self.scores(images) * self.scale.float()


class Attention(Base):
    """Keeps its last attention as a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None
        self.before = torch.ones(2)

    def forward(self, images: Tensor) -> Tensor:
        self.last = self.conv(images).softmax(1)
        self.before.mul_(2)
        return self.scores(images)


class Table(Base):
    """A table that grows, its length beside it, as rotary embeddings have; and one in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.length = 0
        self.table: Tensor | None = None
        self.tables: dict[int, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] > self.length:
            self.length = images.shape[-1]
            self.table = torch.linspace(0, 1, self.length)
        if images.shape[-2] not in self.tables:
            self.tables[images.shape[-2]] = torch.linspace(0, 1, images.shape[-2])
        assert self.table is not None
        images = images + self.table[: images.shape[-1]]
        return self.scores(images + self.tables[images.shape[-2]][:, None])


class Registers(Base):
    """Adds a buffer in its forward."""

    def forward(self, images: Tensor) -> Tensor:
        self.register_buffer("late", torch.ones(4), persistent=False)
        return self.scores(images) * self.late


class Opaque(Base):
    """Can be run in evaluation mode only: an object that it holds calls its modules."""

    class Runner:
        def __init__(self, network: Base) -> None:
            self.network = network

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(3))
        self.last: Tensor | None = None
        self.runner = self.Runner(self)

    def forward(self, images: Tensor) -> Tensor:
        self.count += 1
        self.mean = self.mean + 1
        self.last = images.mean()
        return self.runner.network.classes(self.runner.network.conv(images).mean((2, 3)))


VIEWED = [Counter, Running, Halves, Attention, Table, Registers]
KINDS = [*VIEWED, Opaque]


def state(network: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, module in network.named_modules():
        for home in (vars(module), module._buffers, getattr(module, "tables", {})):
            for key, value in home.items():
                if isinstance(value, Tensor):
                    value = (id(value), value.dtype, value.tolist())  # noqa: PLW2901
                elif isinstance(value, dict | set | nn.Module):
                    value = sorted(map(str, value)) if not isinstance(value, nn.Module) else ""  # noqa: PLW2901
                found[f"{name}.{key}"] = value
    found["state_dict"] = list(network.state_dict())
    return found


def _gradient(network: nn.Module) -> None:
    model = scorecam.open_model(network)
    with model.differentiable() as readable:  # pyright: ignore[reportAttributeAccessIssue]
        image = IMAGE[None].clone().requires_grad_()
        torch.autograd.grad(readable(image).sum(), [image])


def _fails(_output: Tensor) -> Tensor:
    raise ValueError("boom")


def _failing(network: nn.Module) -> None:
    handle = network.register_forward_hook(lambda *_: 1 / 0)
    try:
        scorecam.ScoreCAM(network, "conv")(IMAGE[None])
    finally:
        handle.remove()


CALLS: dict[str, Callable[[nn.Module], object]] = {
    "a map": lambda net: scorecam.ScoreCAM(net, "conv", runtime="eager")(IMAGE[None], 1),
    "its layers": lambda net: scorecam.layers(net, IMAGE),
    "a gradient": _gradient,
}
FAILING: dict[str, Callable[[nn.Module], object]] = {
    "a readout that fails": lambda net: scorecam.explain(net, IMAGE, _fails, layer="conv"),
    "a forward that fails": _failing,
}
CASES = [
    *((kind, training) for kind in VIEWED for training in (False, True)),
    (Opaque, False),  # in training mode it is refused: see below
]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("kind", "training"), CASES)
def test_what_forward_changes_is_put_back(
    kind: type[Base], training: bool, call: Callable[[nn.Module], object]
) -> None:
    network = kind().train(training)
    before = state(network)
    call(network)
    assert state(network) == before


@pytest.mark.parametrize("call", FAILING.values(), ids=FAILING)
@pytest.mark.parametrize(("kind", "training"), CASES)
def test_what_forward_changes_is_put_back_after_an_error(
    kind: type[Base], training: bool, call: Callable[[nn.Module], object]
) -> None:
    network = kind().train(training)
    before = state(network)
    with pytest.raises(scorecam.ScorecamError):
        call(network)
    assert state(network) == before


@pytest.mark.parametrize("kind", KINDS)
def test_such_networks_have_the_map_of_a_fresh_copy_and_can_be_trained_afterwards(
    kind: type[Base],
) -> None:
    network = kind().eval()
    fresh = copy.deepcopy(network)
    scorecam.explain(network, IMAGE, 1, layer="conv", runtime="eager")
    found = scorecam.ScoreCAM(network, "conv", runtime="eager")(IMAGE[None], 1)
    assert torch.equal(found, scorecam.ScoreCAM(fresh, "conv", runtime="eager")(IMAGE[None], 1))
    network.train()(IMAGE[None]).sum().backward()
    assert network.conv.weight.grad is not None


def test_a_network_in_training_that_cannot_be_viewed_is_refused_in_words() -> None:
    network = Opaque().train()
    before = state(network)
    with pytest.raises(scorecam.ModelError, match=r"training mode.*net\.eval\(\)") as error:
        scorecam.explain(network, IMAGE, layer="conv")
    assert len(str(error.value)) <= 600
    assert state(network) == before
    scorecam.explain(network.eval(), IMAGE, layer="conv")


def test_a_cache_in_a_list_holds_ordinary_tensors_afterwards() -> None:
    class Caching(Base):
        def __init__(self) -> None:
            super().__init__()
            self.cache: list[Tensor] = []

        def forward(self, images: Tensor) -> Tensor:
            if not self.cache:
                self.cache.append(images.new_ones(4))
            return self.scores(images) * self.cache[0]

    network = Caching()
    scorecam.explain(network, IMAGE)
    network(IMAGE[None]).sum().backward()
    assert not network.cache[0].is_inference()
