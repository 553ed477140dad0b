"""Every kind of module is explained as in evaluation mode, or refused with an error."""

from __future__ import annotations

import copy
import functools
import pickle
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import scorecam
from scorecam.backends.copies import copied
from shared_networks import CALLS, EVAL_CALLS, IMAGE, Headed, make_trunk

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # torch's own, of TorchScript and of its older parts
    "ignore::FutureWarning",
    "ignore:Lazy modules are a new feature",
    "ignore:torch.quantize_per_tensor",
    "ignore:Please use quant_min and quant_max",
)


def plain(**own: nn.Module) -> nn.Sequential:
    """A network in training mode; dropout and batch norm reveal the mode it runs in."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential()
        net.add_module("conv", own.get("conv") or nn.Conv2d(3, 8, 3, padding=1))
        net.add_module("norm", nn.BatchNorm2d(8))
        net.add_module("drop", nn.Dropout2d(0.5))
        net.add_module("relu", nn.ReLU())
        net.add_module("pool", nn.AdaptiveAvgPool2d(1))
        net.add_module("flatten", nn.Flatten())
        net.add_module("classes", own.get("classes") or nn.Linear(8, 5))
        nn.init.normal_(net.norm.running_mean)
        nn.init.uniform_(net.norm.running_var, 0.5, 2.0)
    return net


# ── networks that a view has to follow ───────────────────────────────────────────────────────


class Outer(nn.Module):
    """Calls the network, but not through its registered modules."""

    def __init__(self) -> None:
        super().__init__()
        self.net = plain()
        self.how: Any = None

    def forward(self, images: Tensor) -> Tensor:
        return self.how(images)


def closure_on_the_instance() -> nn.Module:
    net = plain()
    steps = list(net)
    net.forward = lambda images: functools.reduce(lambda x, step: step(x), steps, images)
    return net


def global_on_the_instance() -> nn.Module:
    net = plain()
    scope: dict[str, Any] = {"net": net}
    exec("def forward(x):\n for step in net.children(): x = step(x)\n return x", scope)
    net.forward = scope["forward"]
    return net


def method_on_the_instance() -> nn.Module:
    net = plain()

    def forward(self: nn.Module, images: Tensor) -> Tensor:
        for step in self.children():
            images = step(images)
        return images

    net.forward = types.MethodType(forward, net)
    return net


def in_a_plain_list() -> nn.Module:
    outer = Outer()
    steps = list(outer.net)
    outer.how = functools.partial(_run_all, steps)
    return outer


def _run_all(steps: list[nn.Module], images: Tensor) -> Tensor:
    for step in steps:
        images = step(images)
    return images


def in_a_dict() -> nn.Module:
    outer = Outer()
    parts = {"all": {"net": outer.net}}
    outer.how = lambda images: parts["all"]["net"](images) + 0.0
    return outer


def a_bound_method() -> nn.Module:
    outer = Outer()
    outer.how = outer.net.forward
    return outer


def a_weak_reference() -> nn.Module:
    outer = Outer()
    reference = weakref.ref(outer.net)
    outer.how = lambda images: reference()(images) + 0.0
    return outer


def a_default_argument() -> nn.Module:
    outer = Outer()
    outer.how = lambda images, net=outer.net: net(images)
    return outer


def refers_to_itself() -> nn.Module:
    net = plain()
    vars(net)["itself"] = net
    vars(net.conv)["parent"] = net
    vars(net)["siblings"] = [net.conv, net.classes]
    return net


def hooks_keyed_by_module() -> nn.Module:
    net = plain()
    names = {module: name for name, module in net.named_modules()}
    seen: list[str] = []

    def note(module: nn.Module, _inputs: Any, _output: Any) -> None:
        seen.append(names[module])

    for module in net.children():
        module.register_forward_hook(note)
    return net


def a_hook_that_changes_its_module() -> nn.Module:
    net = plain()

    def standardise(module: Any, _inputs: Any) -> None:
        module.scaled = module.weight / module.weight.norm()

    net.conv.register_forward_pre_hook(standardise)
    return net


def forwards_attributes() -> nn.Module:
    class Forwards(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("inner"), name)

        def forward(self, images: Tensor) -> Tensor:
            return self.classes(self.flatten(self.pool(self.relu(self.norm(self.conv(images))))))

    return Forwards(plain())


def holds_a_lock() -> nn.Module:
    net = plain()
    lock = threading.Lock()
    vars(net)["lock"] = lock
    return net


def holds_extra_state() -> nn.Module:
    class Extra(nn.Sequential):
        def get_extra_state(self) -> dict[str, int]:
            return {"epoch": 3}

        def set_extra_state(self, state: object) -> None:
            pass

    return Extra(plain())


def weight_norm() -> nn.Module:
    net = plain()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(net.conv)
    net(IMAGE[None].expand(2, -1, -1, -1))  # its weight is now part of an autograd graph
    return net


def spectral_norm() -> nn.Module:
    net = plain()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.spectral_norm(net.conv)
    net(IMAGE[None].expand(2, -1, -1, -1))
    return net


class Double(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def parametrised() -> nn.Module:
    net = plain()
    parametrize.register_parametrization(net.conv, "weight", Double())
    parametrizations.weight_norm(net.classes)
    parametrizations.spectral_norm(nn.Linear(2, 2))
    return net


def data_parallel_inside() -> nn.Module:
    return nn.Sequential(nn.DataParallel(plain()))


def graph_module() -> nn.Module:
    return torch.fx.symbolic_trace(plain())


def scripted_part() -> nn.Module:
    net = plain()
    net.norm = torch.jit.script(net.norm)
    net.relu = torch.jit.trace(nn.ReLU(), torch.zeros(1))
    return net


def recurrent() -> nn.Module:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = plain(classes=nn.Identity())
            self.lstm = nn.LSTM(8, 6, batch_first=True, dropout=0.5, num_layers=2)
            self.attend = nn.MultiheadAttention(6, 2, dropout=0.5, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            hidden = self.lstm(self.net(images)[:, None])[0]
            return self.attend(hidden, hidden, hidden)[0][:, 0]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Recurrent()


def tied() -> nn.Module:
    net = plain()
    net.add_module("again", nn.Linear(5, 8))
    net.add_module("last", nn.Linear(8, 5))
    net.last.weight = net.classes.weight
    return net


def in_half() -> nn.Module:
    return plain().bfloat16()


def mixed() -> nn.Module:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = plain().bfloat16()
            self.norm = nn.LayerNorm(5)

        def forward(self, images: Tensor) -> Tensor:
            return self.norm(self.net(images.bfloat16()).float())

    return Mixed()


def answers(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], nn.Module]:
    class Answers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = plain()

        def forward(self, images: Tensor) -> Tensor:
            return change(images, self.net(images))

    return Answers


KINDS: dict[str, Callable[[], nn.Module]] = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        *(closure_on_the_instance, global_on_the_instance, method_on_the_instance),
        *(in_a_plain_list, in_a_dict, a_bound_method, a_weak_reference, a_default_argument),
        *(refers_to_itself, hooks_keyed_by_module, a_hook_that_changes_its_module),
        *(forwards_attributes, holds_a_lock, holds_extra_state, weight_norm, spectral_norm),
        *(parametrised, data_parallel_inside, graph_module, scripted_part, recurrent, tied),
        *(in_half, mixed),
    )
} | {
    "output that is not contiguous": answers(lambda _x, y: y.t().contiguous().t()),
    "output that is a view of the input": answers(lambda x, _y: x[:, :, 0, :5].sum(1)),
    "output made in inference mode": answers(lambda _x, y: _inferred(y)),
}


def _inferred(scores: Tensor) -> Tensor:
    with torch.inference_mode():
        return scores.clone()


def truth_of(network: nn.Module) -> Tensor:
    """The scores of a deep copy in evaluation mode."""
    modes = {module: module.training for module in network.modules()}
    before = {
        key: value.clone() for key, value in network.state_dict().items() if _is_tensor(value)
    }
    network.eval()
    with torch.no_grad():
        first = next(network.parameters())
        result = network(IMAGE[None].to(first.dtype)).float()[0]
    for module, mode in modes.items():
        module.training = mode
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())
    return result


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_training_mode_network_is_explained_in_evaluation_mode(
    kind: Callable[[], nn.Module],
) -> None:
    network = kind().train()
    truth = truth_of(network)
    attributes = {name: sorted(vars(module)) for name, module in network.named_modules()}
    state = {k: v.clone() for k, v in network.state_dict().items() if _is_tensor(v)}
    [layer] = [name for name, _ in network.named_modules() if name.split(".")[-1] == "conv"]
    bank = scorecam.ScoreCAM(network, layer, runtime="eager").bank(IMAGE)
    # Photos are channels last here: the same sums in another order.
    torch.testing.assert_close(bank.image_scores, truth, rtol=0, atol=1e-6)
    assert len(bank.asked) > 1
    assert scorecam.layers(network, IMAGE)
    model = scorecam.open_model(network)
    assert len(model.fingerprint()) == 64
    with model.differentiable() as readable:  # pyright: ignore[reportAttributeAccessIssue]
        torch.testing.assert_close(readable(IMAGE[None].to(next(network.parameters())))[0], truth)
        assert not any(weight.requires_grad for weight in readable.parameters())
    assert {name: sorted(vars(module)) for name, module in network.named_modules()} == attributes
    assert all(torch.equal(network.state_dict()[key], value) for key, value in state.items())
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("kind", [weight_norm, spectral_norm, parametrised, holds_extra_state])
def test_unusual_state_accepts_weights_and_devices(
    kind: Callable[[], nn.Module], tmp_path: Path
) -> None:
    network = kind()
    truth = truth_of(network)
    state = {k: v for k, v in network.state_dict().items() if _is_tensor(v)}
    torch.save(state, tmp_path / "w.pth")
    for model in (
        scorecam.open_model(network, weights=tmp_path / "w.pth"),
        scorecam.open_model(network, device="cpu"),
    ):
        torch.testing.assert_close(model.scores(IMAGE[None])[0], truth)
    assert copied(network) is not network


# ── torchscript, integers, laziness ──────────────────────────────────────────────────────────


@pytest.fixture(params=["script", "trace"])
def scripted(request: pytest.FixtureRequest) -> nn.Module:
    net = plain().eval()
    return torch.jit.script(net) if request.param == "script" else torch.jit.trace(net, IMAGE[None])


@pytest.mark.parametrize("training", [False, True])
def test_torchscript_runs_in_evaluation_mode_and_keeps_its_mode(
    scripted: nn.Module, training: bool
) -> None:
    with torch.no_grad():
        truth = plain().eval()(IMAGE[None])
    traced = "Traced" in type(scripted).__name__
    scripted.train(training)
    model = scorecam.open_model(scripted)
    torch.testing.assert_close(model.scores(IMAGE[None]), truth, rtol=0, atol=1e-6)
    assert all(part.training == training for part in scripted.modules()) or traced


def quantised() -> nn.Module:
    from torch.ao import quantization

    net = nn.Sequential(quantization.QuantStub(), *plain().eval().children())
    del net[3]  # dropout
    net = nn.Sequential(*net.children(), quantization.DeQuantStub()).eval()
    net.qconfig = quantization.get_default_qconfig("x86")
    quantization.prepare(net, inplace=True)
    net(IMAGE[None])
    return quantization.convert(net)


def test_a_quantised_network_is_explained_or_clearly_refused() -> None:
    network = quantised()
    with torch.no_grad():
        truth = network(IMAGE[None])[0]
    model = scorecam.open_model(network)
    assert len(model.fingerprint()) == 64
    assert torch.equal(model.scores(IMAGE[None])[0], truth)
    bank = scorecam.ScoreCAM(model, "1", runtime="eager").bank(IMAGE)
    assert torch.equal(bank.image_scores, truth)
    assert bank.activations.dtype == torch.float32
    assert float(bank.activations.std()) > 0


def test_a_lazy_network_is_built_by_its_first_explanation() -> None:
    network = nn.Sequential(
        nn.LazyConv2d(8, 3),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LazyLinear(5),
    ).train()
    first = scorecam.explain(network, IMAGE, 1, runtime="eager").heatmap
    assert torch.equal(scorecam.explain(network, IMAGE, 1, runtime="eager").heatmap, first)
    network(IMAGE[None].expand(2, -1, -1, -1)).sum().backward()
    assert network[0].weight.grad is not None
    assert type(network[0]) is nn.Conv2d
    assert network[0].in_channels == 3


# ── refused networks ─────────────────────────────────────────────────────────────────────────


def meta() -> nn.Module:
    net = plain()
    net.classes = nn.Linear(8, 5, device="meta")
    return net


def sparse() -> nn.Module:
    net = plain()
    net.classes.weight = nn.Parameter(net.classes.weight.detach().to_sparse())
    return net


def two_precisions() -> nn.Module:
    net = plain()
    net.classes = net.classes.double()
    return net


REFUSED = {"meta": (meta, "'meta'"), "two precisions": (two_precisions, "precision")}


@pytest.mark.parametrize(("kind", "phrase"), REFUSED.values(), ids=REFUSED)
def test_a_network_that_cannot_run_is_refused_with_the_reason(
    kind: Callable[[], nn.Module], phrase: str
) -> None:
    with pytest.raises(scorecam.ModelError, match=phrase) as error:
        scorecam.explain(kind(), IMAGE, layer="conv")
    assert "colours" not in str(error.value)
    assert len(str(error.value)) <= 600


@pytest.mark.parametrize("kind", [meta, sparse, two_precisions])
def test_every_network_has_a_fingerprint(kind: Callable[[], nn.Module]) -> None:
    one, other = (scorecam.open_model(kind()).fingerprint() for _ in range(2))
    assert one == other
    assert len(one) == 64


def test_a_fingerprint_covers_sparse_and_quantised_weights() -> None:
    network, changed = sparse(), sparse()
    with torch.no_grad():
        changed.classes.weight.coalesce().values()
        changed.classes.weight = nn.Parameter((2 * network.classes.weight.to_dense()).to_sparse())
    prints = [scorecam.open_model(module).fingerprint() for module in (network, changed)]
    assert prints[0] != prints[1]


def test_a_network_that_cannot_be_copied_is_refused_clearly(tmp_path: Path) -> None:
    network = holds_a_lock()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(scorecam.ModelError, match=r"cannot be copied.*lock"):
        scorecam.open_model(network, weights=tmp_path / "w.pth")


# ── surroundings ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


EVERY = [
    *(pytest.param(call, id=name) for name, call in CALLS.items()),
    *(
        pytest.param(call, id=name, marks=pytest.mark.needs("eval"))
        for name, call in EVAL_CALLS.items()
    ),
]


@pytest.mark.parametrize("call", EVERY)
def test_results_are_the_same_with_float64_as_torch_default(
    call: Callable[[nn.Module], Tensor],
) -> None:
    network = Headed(make_trunk(), 0)
    truth = call(network)
    torch.set_default_dtype(torch.float64)
    try:
        result = call(network)
    finally:
        torch.set_default_dtype(torch.float32)
    assert result.shape == truth.shape
    if (
        call is not EVAL_CALLS["smoothgrad"]
    ):  # Captum draws its noise in the default type: other numbers
        torch.testing.assert_close(result.double(), truth.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("doubles")
def test_a_float64_network_works_if_float64_is_the_default() -> None:
    network = plain()
    assert network.conv.weight.dtype == torch.float64
    assert scorecam.explain(network, IMAGE, 1).heatmap.dtype == torch.float32


@pytest.mark.parametrize("output", [None, 0, "logits"])
def test_a_model_can_be_pickled_and_copied(output: int | str | None) -> None:
    model = scorecam.open_model(plain(), output=output)
    scorecam.open_model(plain())
    again = pickle.loads(pickle.dumps(model))
    assert copy.deepcopy(model).spec == model.spec
    assert again.readout == model.readout
    if output is None:
        assert torch.equal(again.scores(IMAGE[None]), model.scores(IMAGE[None]))
        assert len(pickle.dumps(model)) < 1.2 * len(pickle.dumps(again))
