"""A conversion is never used after a change of the network or of its readout."""

from __future__ import annotations

import contextvars
import functools
import io
import itertools
import os
import random
import sys
import threading
import time
import types
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.backends.runtimes.state import read_state
from stand_in_runtime import install

X = torch.rand(3, 12, 14, generator=torch.Generator().manual_seed(0))

FACTOR = [1.0]  # globals that networks and functions below read
SETTINGS = types.ModuleType("settings_of_a_test")
VARIABLE: contextvars.ContextVar[float] = contextvars.ContextVar("factor", default=1.0)


class Plain(nn.Module):
    """Logits that depend on `factor()`: a strong change of the map, class by class."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.conv = nn.Conv2d(3, 6, 3, stride=2)
            self.classes = nn.Linear(6, 4)
        with torch.no_grad():
            self.classes.weight *= 8

    def factor(self) -> Any:
        return 1.0

    def forward(self, images: Tensor) -> Tensor:
        means = self.conv(images).relu().mean((2, 3))
        return self.classes(means * (means > means.mean(1, keepdim=True)) * self.factor())


Change = Callable[[], object]
Case = tuple[nn.Module, Any, Change]
"""A network, a target, and a change of its scores."""


def attribute(name: str, before: Any, after: Any, read: Callable[[Any], Any]) -> Case:
    class Reads(Plain):
        def factor(self) -> Any:
            return read(getattr(self, name))

    network = Reads()
    setattr(network, name, before)
    return network, None, lambda: setattr(network, name, after)


def within(value: Any, change: Callable[[Any], object], read: Callable[[Any], Any]) -> Case:
    """An attribute that stays the same object while its content changes."""

    class Reads(Plain):
        def factor(self) -> Any:
            return read(self.held)

    network = Reads()
    network.held = value
    return network, None, lambda: change(value)


def by_target(target: Callable[[Tensor], Tensor], change: Change) -> Case:
    return Plain(), target, change


class Held:
    """An object with a number, and a method that reads it."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def column(self, output: Tensor) -> Tensor:
        return output[:, self.number]

    def __call__(self, output: Tensor) -> Tensor:
        return output[:, self.number]


class Slotted:
    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 1.0


class Opaque:
    """Keeps its number where it cannot be read: in an iterator."""

    def __init__(self) -> None:
        self.numbers = itertools.repeat(1.0)

    def set(self) -> None:
        self.numbers = itertools.repeat(-2.0)


def global_value() -> Case:
    class Reads(Plain):
        def factor(self) -> Any:
            return FACTOR[0]

    return Reads(), None, lambda: FACTOR.__setitem__(0, -2.0)


def global_name() -> Case:
    scope: dict[str, Any] = {"which": 0}
    exec("def target(output): return output[:, which]", scope)
    return by_target(scope["target"], lambda: scope.update(which=2))


def module_attribute() -> Case:
    SETTINGS.factor = 1.0

    class Reads(Plain):
        def factor(self) -> Any:
            return SETTINGS.factor

    return Reads(), None, lambda: setattr(SETTINGS, "factor", -2.0)


def imported_inside() -> Case:
    SETTINGS.factor = 1.0
    sys.modules[SETTINGS.__name__] = SETTINGS

    class Reads(Plain):
        def factor(self) -> Any:
            from settings_of_a_test import factor  # pyright: ignore[reportMissingImports]

            return factor

    return Reads(), None, lambda: setattr(SETTINGS, "factor", -2.0)


def closure() -> Case:
    which = 0

    def target(output: Tensor) -> Tensor:
        return output[:, which]

    def change() -> None:
        nonlocal which
        which = 2

    return by_target(target, change)


def deep_closure() -> Case:
    inner: dict[str, list[int]] = {"columns": [0]}

    def column() -> int:
        return inner["columns"][0]

    return by_target(lambda output: output[:, column()], lambda: inner.update(columns=[2]))


def default_argument() -> Case:
    def target(output: Tensor, which: int = 0) -> Tensor:
        return output[:, which]

    return by_target(target, lambda: setattr(target, "__defaults__", (2,)))


def code_of_a_function() -> Case:
    def target(output: Tensor) -> Tensor:
        return output[:, 0]

    def other(output: Tensor) -> Tensor:
        return output[:, 2]

    return by_target(target, lambda: setattr(target, "__code__", other.__code__))


def partial() -> Case:
    held = {"which": 0}

    def target(held: dict[str, int], output: Tensor) -> Tensor:
        return output[:, held["which"]]

    return by_target(functools.partial(target, held), lambda: held.update(which=2))


def method() -> Case:
    held = Held()
    return by_target(held.column, lambda: setattr(held, "number", 2))


def callable_object() -> Case:
    held = Held()
    return by_target(held, lambda: setattr(held, "number", 2))


def tensor_of_a_target() -> Case:
    weights = torch.tensor([1.0, 0.0, 0.0, 0.0])
    return by_target(lambda output: output @ weights, lambda: weights.copy_(weights.roll(2)))


def network_of_a_target() -> Case:
    head = nn.Linear(4, 1).requires_grad_(requires_grad=False)
    return by_target(lambda output: head(output)[:, 0], head.weight.data.neg_)


class Doubled(nn.Module):
    def forward(self, scores: Tensor) -> Tensor:
        return 2 - scores * 2


def replaced_forward() -> Case:
    network = Plain()

    def change() -> None:
        network.forward = lambda images: Plain.forward(network, images).roll(1, 1) * -1

    return network, None, change


def method_of_the_class() -> Case:
    class Reads(Plain):
        def factor(self) -> Any:
            return 1.0

    return Reads(), None, lambda: setattr(Reads, "factor", lambda _self: -2.0)


def value_of_the_class() -> Case:
    class Reads(Plain):
        number = 1.0

        def factor(self) -> Any:
            return self.number

    return Reads(), None, lambda: setattr(Reads, "number", -2.0)


def a_property() -> Case:
    held = [1.0]

    class Reads(Plain):
        @property
        def number(self) -> float:
            return held[0]

        def factor(self) -> Any:
            return self.number

    return Reads(), None, lambda: held.__setitem__(0, -2.0)


def hook() -> Case:
    network = Plain()
    return network, None, lambda: network.conv.register_forward_hook(lambda *given: given[2] * -1)


def what_a_hook_reads() -> Case:
    network, held = Plain(), [1.0]
    network.conv.register_forward_hook(lambda *given: given[2] * held[0])
    return network, None, lambda: held.__setitem__(0, -1.0)


def replaced_module() -> Case:
    network = Plain()
    return network, None, lambda: setattr(network, "classes", nn.Linear(6, 4))


def order_of_modules() -> Case:
    network = nn.Sequential(Plain(), nn.Softmax(1), Doubled())

    def change() -> None:
        modules = network._modules
        modules["1"], modules["2"] = modules["2"], modules["1"]

    return network, None, change


def thread_local() -> Case:
    held = threading.local()
    held.number = 1.0

    class Reads(Plain):
        def factor(self) -> Any:
            return held.number

    return Reads(), None, lambda: setattr(held, "number", -2.0)


def context_variable() -> Case:
    class Reads(Plain):
        def factor(self) -> Any:
            return VARIABLE.get()

    return Reads(), None, lambda: VARIABLE.set(-2.0)


def auxiliary_network_in_a_list() -> Case:
    inner = Plain().requires_grad_(requires_grad=False)

    class Reads(Plain):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + 5 * self.others[0](images)

    network = Reads()
    network.others = [inner]
    return network, None, inner.classes.weight.data.neg_


def unreadable() -> Case:
    held = Opaque()

    class Reads(Plain):
        def factor(self) -> Any:
            return next(held.numbers)

    return Reads(), None, held.set


def environment_variable() -> Case:
    class Reads(Plain):
        def factor(self) -> Any:
            import os

            return float(os.environ["FACTOR_OF_A_TEST"])

    return Reads(), None, lambda: os.environ.update(FACTOR_OF_A_TEST="-2")


CASES: dict[str, Callable[[], Case]] = {
    "tensor attribute": lambda: attribute("prompt", torch.ones(6), -torch.ones(6), lambda it: it),
    "tensor in place": lambda: within(torch.ones(6), Tensor.neg_, lambda it: it),
    "one element": lambda: within(torch.ones(6), lambda it: it[:3].neg_(), lambda it: it),
    "dict": lambda: within({"a": 1.0}, lambda it: it.update(a=-2.0), lambda it: it["a"]),
    "nested": lambda: within(
        {"a": [(1, {"b": torch.ones(6)})]},
        lambda it: it["a"][0][1]["b"].neg_(),
        lambda it: it["a"][0][1]["b"],
    ),
    "list": lambda: within([1.0], lambda it: it.__setitem__(0, -2.0), lambda it: it[0]),
    "set": lambda: within({1}, lambda it: it.add(5), lambda it: 1 - len(it) * 1.5),
    "numpy": lambda: within(torch.ones(6).numpy(), lambda it: it.__imul__(-1), torch.from_numpy),
    "object": lambda: within(Held(1), lambda it: setattr(it, "number", -2), lambda it: it.number),
    "slots": lambda: within(Slotted(), lambda it: setattr(it, "number", -2), lambda it: it.number),
    "number": lambda: attribute("number", 1.0, -2.0, lambda it: it),
    "function attribute": lambda: attribute("made", lambda: 1.0, lambda: -2.0, lambda it: it()),
    "global list": global_value,
    "global name": global_name,
    "module's attribute": module_attribute,
    "imported inside": imported_inside,
    "closure": closure,
    "deep closure": deep_closure,
    "default argument": default_argument,
    "a function's code": code_of_a_function,
    "partial": partial,
    "bound method": method,
    "callable object": callable_object,
    "target's tensor": tensor_of_a_target,
    "target's network": network_of_a_target,
    "replaced forward": replaced_forward,
    "class's method": method_of_the_class,
    "class's value": value_of_the_class,
    "property": a_property,
    "hook": hook,
    "what a hook reads": what_a_hook_reads,
    "replaced module": replaced_module,
    "order of modules": order_of_modules,
    "thread-local": thread_local,
    "context variable": context_variable,
    "network in a list": auxiliary_network_in_a_list,
    "what cannot be read": unreadable,
    "environment variable": environment_variable,
}


@pytest.fixture(autouse=True)
def globals_as_before(monkeypatch: pytest.MonkeyPatch) -> Any:
    FACTOR[0] = 1.0
    monkeypatch.setenv("FACTOR_OF_A_TEST", "1")
    monkeypatch.delitem(sys.modules, SETTINGS.__name__, raising=False)
    token = VARIABLE.set(1.0)
    yield
    VARIABLE.reset(token)
    sys.modules.pop(SETTINGS.__name__, None)


def explained(network: nn.Module, target: Any, runtime: Any) -> scorecam.Explanation:
    layer = "0.conv" if isinstance(network, nn.Sequential) else "conv"
    return scorecam.explain(network, X, target, layer=layer, runtime=runtime)


@pytest.mark.needs("openvino")
@pytest.mark.parametrize("runtime", ["auto", "openvino"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.usefixtures("impatient")
def test_after_any_state_change_the_map_is_the_networks_own(
    case: Callable[[], Case], runtime: str
) -> None:
    network, target, change = case()
    network.eval()
    before = explained(network, target, "eager")
    first = explained(network, target, runtime)
    assert first.provenance.runtime == "openvino"
    torch.testing.assert_close(first.scaled, before.scaled, rtol=0, atol=1e-5)
    change()
    truth = explained(network, target, "eager")
    assert (truth.scaled - before.scaled).abs().max() > 0.01  # otherwise the change has no effect
    second = explained(network, target, runtime)
    torch.testing.assert_close(second.scaled, truth.scaled, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_state_is_equal_without_a_change(case: Callable[[], Case]) -> None:
    network, target, change = case()
    model = scorecam.open_model(network.eval())
    read = [read_state(network, target) for _ in range(2)]
    assert not read[0].changed(read[1])
    model.scores(X[None])
    assert not read[0].changed(read_state(network, target))
    change()
    after = read_state(network, target)
    assert read[0].changed(after) or not after.whole


UNREADABLE = {"what cannot be read", "environment variable"}


@pytest.mark.parametrize("name", CASES)
def test_a_conversion_is_probed_again_only_if_state_is_unread(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    converter = install(monkeypatch)
    converter.copies = False
    network, target, _ = CASES[name]()
    network.eval()
    asked = [explained(network, target, "openvino").provenance.forward_passes for _ in range(3)]
    assert len(converter.made) == 1
    extra = (asked[1] - asked[0], asked[2] - asked[1])
    # Five images go to the network and the runtime; at first twice if in doubt.
    assert extra == ((-5, 0) if name in UNREADABLE else (-10, 0))


# ── random output ────────────────────────────────────────────────────────────────────────────


class Drops(Plain):
    """Dropout that is always on: it draws from torch's generator."""

    def factor(self) -> Any:
        return nn.functional.dropout(torch.ones(6), 0.5, training=True)


class Draws(Plain):
    """Draws from Python's generator."""

    def factor(self) -> Any:
        return 1.0 if random.random() < 0.5 else -2.0


class DrawsFromNumpy(Plain):
    def factor(self) -> Any:
        return 1.0 if np.random.rand() < 0.5 else -2.0  # noqa: NPY002


class Clocked(Plain):
    """Depends on the time."""

    def factor(self) -> Any:
        return 1.0 if time.perf_counter_ns() // 1000 % 2 else -2.0


@pytest.mark.needs("openvino")
@pytest.mark.parametrize("kind", [Drops, Draws, DrawsFromNumpy, Clocked])
@pytest.mark.usefixtures("impatient")
def test_a_network_with_random_output_is_not_converted(kind: type[Plain]) -> None:
    network = kind().eval()
    for _ in range(3):
        assert explained(network, None, "auto").provenance.runtime == "eager"
        result = explained(network, None, "openvino").provenance
        assert result.runtime == "eager"
        assert len(result.remarks) >= 1


# ── any network ──────────────────────────────────────────────────────────────────────────────


def with_attribute(value: Any) -> nn.Module:
    network = Plain()
    network.held = value
    return network


def deep() -> list[Any]:
    whole: list[Any] = []
    for _ in range(5000):
        whole = [whole]
    return whole


def circle() -> dict[str, Any]:
    whole: dict[str, Any] = {}
    whole["itself"] = [whole]
    return whole


def int8() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(Plain(), {nn.Linear})


ODD: dict[str, tuple[bool, Callable[[], nn.Module]]] = {
    "weight norm": (True, lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))),
    "fx": (True, lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))),
    "TorchScript": (False, lambda: torch.jit.script(nn.Sequential(nn.Linear(2, 3)))),
    "int8": (False, int8),
    "conjugate": (True, lambda: with_attribute(torch.ones(2, dtype=torch.complex64).conj())),
    "sparse": (False, lambda: with_attribute(torch.eye(3).to_sparse())),
    "without storage": (False, lambda: with_attribute(torch.empty(3, device="meta"))),
    "generator": (False, lambda: with_attribute(torch.Generator())),
    "file": (False, lambda: with_attribute(io.StringIO("x"))),
    "lock": (True, lambda: with_attribute(threading.Lock())),
    "circle": (True, lambda: with_attribute(circle())),
    "deep": (False, lambda: with_attribute(deep())),
    "long": (False, lambda: with_attribute(list(range(10**6)))),
    "mixed set": (False, lambda: with_attribute({1, ("a", 2)})),
    "date": (True, lambda: with_attribute(datetime(2026, 1, 1, tzinfo=UTC))),
    "path": (True, lambda: with_attribute(Path("/nowhere"))),
    "array of objects": (True, lambda: with_attribute(np.array([{"a": 1}, None], dtype=object))),
    "remembered": (False, lambda: with_attribute(functools.cache(lambda: 1))),
}
"""Networks with something odd in them, and whether all of it can be read."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("whole", "make"), ODD.values(), ids=ODD)
def test_any_attribute_is_read_or_marked_unread_quickly(
    whole: bool, make: Callable[[], nn.Module]
) -> None:
    network = make()
    before = time.process_time()
    result = [read_state(network, None) for _ in range(2)]
    assert time.process_time() - before < 2
    assert not result[0].changed(result[1])
    assert {state.whole for state in result} == {whole}


@pytest.mark.needs("demo", "torchvision")
def test_ordinary_networks_are_read_whole() -> None:
    import torchvision

    lite = scorecam.open_model("lite0")
    others = [
        torchvision.models.resnet18(weights=None),
        torchvision.models.mobilenet_v3_small(weights=None),
        torchvision.models.swin_t(weights=None),
        torchvision.models.vit_b_16(weights=None),
        torchvision.models.densenet121(weights=None),
        torchvision.models.inception_v3(weights=None, init_weights=False),
    ]
    for network in (lite.module, *others):
        result = read_state(network, scorecam.model.readout.find_scores)
        assert result.unread == frozenset(), type(network).__name__
