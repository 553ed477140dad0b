"""State that a network's own forward changes is restored: value, identity and type."""

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
    """Updates statistics in evaluation mode too, and replaces its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, images: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * images.mean((0, 2, 3))
        return self.scores(images - self.mean[:, None, None])


class Halves(Base):
    """Changes the dtype of its buffer."""

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
    """Caches a growing table, as rotary embeddings do, and further tables in a dict."""

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
    """Has no view: a plain object calls its modules. So only evaluation mode is supported."""

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


WITH_VIEW = [Counter, Running, Halves, Attention, Table, Registers]
ALL_KINDS = [*WITH_VIEW, Opaque]


def state(network: nn.Module) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, module in network.named_modules():
        for attributes in (vars(module), module._buffers, getattr(module, "tables", {})):
            for key, value in attributes.items():
                if isinstance(value, Tensor):
                    value = (id(value), value.dtype, value.tolist())  # noqa: PLW2901
                elif isinstance(value, dict | set | nn.Module):
                    value = sorted(map(str, value)) if not isinstance(value, nn.Module) else ""  # noqa: PLW2901
                values[f"{name}.{key}"] = value
    values["state_dict"] = list(network.state_dict())
    return values


def _gradient(network: nn.Module) -> None:
    model = scorecam.open_model(network)
    with model.differentiable() as readable:  # pyright: ignore[reportAttributeAccessIssue]
        image = IMAGE[None].clone().requires_grad_()
        torch.autograd.grad(readable(image).sum(), [image])


def _failing_readout(_output: Tensor) -> Tensor:
    raise ValueError("boom")


def _with_failing_forward(network: nn.Module) -> None:
    handle = network.register_forward_hook(lambda *_: 1 / 0)
    try:
        scorecam.ScoreCAM(network, "conv")(IMAGE[None])
    finally:
        handle.remove()


CALLS: dict[str, Callable[[nn.Module], object]] = {
    "a map": lambda net: scorecam.ScoreCAM(net, "conv", runtime="eager")(IMAGE[None], 1),
    "layers": lambda net: scorecam.layers(net, IMAGE),
    "a gradient": _gradient,
}
FAILING: dict[str, Callable[[nn.Module], object]] = {
    "a readout that fails": lambda net: scorecam.explain(
        net, IMAGE, _failing_readout, layer="conv"
    ),
    "a forward that fails": _with_failing_forward,
}
CASES = [
    *((kind, training) for kind in WITH_VIEW for training in (False, True)),
    (Opaque, False),  # training mode is refused, see the test below
]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("kind", "training"), CASES)
def test_changes_by_forward_are_undone(
    kind: type[Base], training: bool, call: Callable[[nn.Module], object]
) -> None:
    network = kind().train(training)
    before = state(network)
    call(network)
    assert state(network) == before


@pytest.mark.parametrize("call", FAILING.values(), ids=FAILING)
@pytest.mark.parametrize(("kind", "training"), CASES)
def test_changes_by_forward_are_undone_after_an_error(
    kind: type[Base], training: bool, call: Callable[[nn.Module], object]
) -> None:
    network = kind().train(training)
    before = state(network)
    with pytest.raises(scorecam.ScorecamError):
        call(network)
    assert state(network) == before


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_map_is_a_fresh_copys_and_training_still_works(
    kind: type[Base],
) -> None:
    network = kind().eval()
    fresh = copy.deepcopy(network)
    scorecam.explain(network, IMAGE, 1, layer="conv", runtime="eager")
    heatmap = scorecam.ScoreCAM(network, "conv", runtime="eager")(IMAGE[None], 1)
    assert torch.equal(heatmap, scorecam.ScoreCAM(fresh, "conv", runtime="eager")(IMAGE[None], 1))
    network.train()(IMAGE[None]).sum().backward()
    assert network.conv.weight.grad is not None


def test_training_mode_without_a_view_is_refused() -> None:
    network = Opaque().train()
    before = state(network)
    with pytest.raises(scorecam.ModelError, match=r"training mode.*net\.eval\(\)") as error:
        scorecam.explain(network, IMAGE, layer="conv")
    assert len(str(error.value)) <= 600
    assert state(network) == before
    scorecam.explain(network.eval(), IMAGE, layer="conv")


def test_a_cache_in_a_list_holds_no_inference_tensors() -> None:
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
