"""Forms a network comes in: each gives the map of the network that it was made from, or says why.

The same network is scripted, traced, frozen, exported, compiled, quantised and parametrised. Its
map must be that of the network itself, at the same place, and the network must stay as it was.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import scorecam
from network_state import unchanged
from scorecam.backends.opening import open_model
from scorecam.errors import LayerError, ModelError, WeightsError
from scorecam.methods.names import heatmaps, parse_methods

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # torch's own, of TorchScript, quantisation and older parts
    "ignore::FutureWarning",
    "ignore::UserWarning:torch",
)

IMAGE = torch.rand(1, 3, 24, 20, generator=torch.Generator().manual_seed(3))
OTHER = IMAGE.flip(3)


def plain(seed: int = 0) -> nn.Sequential:
    """A small network; its last block with a grid is module 4, and relu#2 among operations."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 5),
        )
        nn.init.normal_(net[7].weight)
        nn.init.normal_(net[1].running_mean)
    return net.eval()


class Inside(nn.Module):
    """A network that TorchScript does the work of."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.jit.script(plain())

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images)


class Functional(nn.Module):
    """A network without modules: it calls functions with its own parameters."""

    def __init__(self) -> None:
        super().__init__()
        net = plain()
        self.first, self.second, self.last = net[0].weight, net[3].weight, net[7].weight

    def forward(self, images: Tensor) -> Tensor:
        maps = nn.functional.conv2d((images - 0.5) / 0.25, self.first, padding=1).relu()
        maps = nn.functional.conv2d(maps, self.second, padding=1).relu()
        return maps.mean((2, 3)) @ self.last.T


def exported(batch: int | None) -> torch.export.ExportedProgram:
    """The network as a program for batches of this size, or of any."""
    example = torch.cat([IMAGE] * (batch or 2))
    free = None if batch else ({0: torch.export.Dim("batch")},)
    return torch.export.export(plain(), (example,), dynamic_shapes=free)


def loaded(tmp_path: Path) -> nn.Module:
    torch.jit.script(plain()).save(tmp_path / "net.pt")
    return torch.jit.load(tmp_path / "net.pt")


OPERATIONS: dict[str, Callable[[], Any]] = {
    "script": lambda: torch.jit.script(plain()),
    "trace": lambda: torch.jit.trace(plain(), IMAGE),
    "frozen": lambda: torch.jit.freeze(torch.jit.script(plain())),
    "TorchScript inside": Inside,
    "graph of a program": lambda: exported(None).module(),
    "graph for batches of 1": lambda: exported(1).module(),
    "graph for batches of 4": lambda: exported(4).module(),
}
"""Forms that call no modules: their layers are operations."""

MODULES: dict[str, Callable[[], Any]] = {
    "program": lambda: exported(None),
    "program for batches of 1": lambda: exported(1),
    "program for batches of 3": lambda: exported(3),
    "unflattened program": lambda: torch.export.unflatten(exported(None)),
    "compiled": lambda: torch.compile(plain()),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(plain()),
}
"""Forms that keep the network's modules, and so the names of its layers."""

FORMS = OPERATIONS | MODULES


def truth(layer: str = "4") -> scorecam.Explanation:
    return scorecam.explain(plain(), IMAGE, layer=layer, target=3, runtime="eager")


def check_same(explanation: scorecam.Explanation, own: scorecam.Explanation) -> None:
    assert explanation.bank.activations.shape == own.bank.activations.shape
    torch.testing.assert_close(explanation.bank.scores, own.bank.scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(explanation.scaled, own.scaled, rtol=0, atol=1e-4)


# ── maps ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_a_form_gives_the_map_of_its_network(make: Callable[[], Any]) -> None:
    form = make()
    explanation = scorecam.explain(form, IMAGE, target=3, runtime="eager")
    assert explanation.layer == ("4" if form_has_modules(make) else "relu#2")
    check_same(explanation, truth())


def form_has_modules(make: Callable[[], Any]) -> bool:
    return make in MODULES.values()


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_a_named_layer_of_a_form_gives_the_same_map(make: Callable[[], Any]) -> None:
    layer = "2" if form_has_modules(make) else "relu#1"
    form = make()
    check_same(scorecam.explain(form, IMAGE, layer=layer, target=3, runtime="eager"), truth("2"))
    assert layer in {found.name for found in scorecam.layers(form, IMAGE)}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_a_form_explains_a_batch_and_takes_the_usual_options(make: Callable[[], Any]) -> None:
    form, images = make(), torch.cat([IMAGE, OTHER])
    own = scorecam.ScoreCAM(plain(), runtime="eager")(images, target=[3, None])
    maps = scorecam.ScoreCAM(form, runtime="eager")(images, target=[3, None])
    torch.testing.assert_close(maps, own, rtol=1e-4, atol=1e-4)
    model = open_model(form, device="cpu")
    assert len(model.fingerprint()) == 64
    torch.testing.assert_close(model.scores(images), plain()(images))
    fast = scorecam.explain(model, IMAGE, budget="fast")
    assert fast.provenance.forward_passes > 0


@pytest.mark.parametrize("name", ["script", "trace", "TorchScript inside", "graph of a program"])
def test_a_form_is_unchanged_and_can_be_trained_afterwards(name: str) -> None:
    form = FORMS[name]()
    form(IMAGE)  # TorchScript keeps its method forward as an attribute from the first call on
    with unchanged(form):
        scorecam.explain(form, IMAGE, runtime="eager")
    form(torch.cat([IMAGE, OTHER])).sum().backward()
    assert any(weight.grad is not None for weight in form.parameters())


def test_a_loaded_script_in_training_mode_is_explained_in_evaluation_mode(tmp_path: Path) -> None:
    form = loaded(tmp_path).train()
    before = {name: value.clone() for name, value in form.state_dict().items()}
    check_same(scorecam.explain(form, IMAGE, target=3, runtime="eager"), truth())
    assert form.training
    assert all(torch.equal(value, before[name]) for name, value in form.state_dict().items())


@pytest.mark.parametrize("size", [1, 4])
def test_a_program_for_one_batch_size_says_how_it_runs(size: int) -> None:
    [remark] = open_model(exported(size)).remarks
    assert f"batches of {size}" in remark


def test_a_program_for_one_image_size_refuses_another() -> None:
    with pytest.raises(ModelError, match=r"exported for another shape.*dynamic_shapes"):
        scorecam.explain(exported(None), torch.rand(1, 3, 32, 32))


def test_weights_of_a_program_come_from_a_file(tmp_path: Path) -> None:
    torch.save(plain(seed=1).state_dict(), tmp_path / "w.pt")
    for form in (exported(None), exported(1), torch.jit.script(plain())):
        model = open_model(form, weights=tmp_path / "w.pt")
        torch.testing.assert_close(model.scores(IMAGE), plain(seed=1)(IMAGE))


def test_a_network_without_modules_is_explained_by_its_operations() -> None:
    listed = [layer.name for layer in scorecam.layers(Functional(), IMAGE)]
    assert listed == ["conv2d#1", "relu#1", "conv2d#2", "relu#2"], "the image itself is no layer"
    assert scorecam.explain(Functional(), IMAGE).layer == "relu#2"


SIGNALS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "script": lambda net, _signal: torch.jit.script(net),
    "frozen": lambda net, _signal: torch.jit.freeze(torch.jit.script(net)),
    "program": lambda net, signal: torch.export.export(net, (signal,)),
    "graph of a program": lambda net, signal: torch.export.export(net, (signal,)).module(),
}


@pytest.mark.parametrize("convert", SIGNALS.values(), ids=SIGNALS)
def test_a_form_of_a_signal_network_takes_signals(
    convert: Callable[[nn.Module, Tensor], Any],
) -> None:
    net = nn.Sequential(nn.Conv1d(2, 6, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    net.append(nn.Linear(6, 3)).eval()
    signal = torch.rand(1, 2, 50)
    own = scorecam.explain(net, signal, target=0).heatmap
    form = convert(net, signal)
    for given in (signal, signal[0]):
        heatmap = scorecam.explain(form, given, target=0).heatmap
        torch.testing.assert_close(heatmap, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("convert", ["script", "program", "graph of a program"])
def test_a_form_with_two_inputs_takes_both(convert: str) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
            self.head = nn.Linear(4 + 2, 5)

        def forward(self, image: Tensor, meta: Tensor) -> Tensor:
            return self.head(torch.cat([self.trunk(image).mean((2, 3)), meta], 1))

    net, inputs = Two().eval(), (IMAGE, torch.rand(1, 2))
    own = scorecam.explain(net, inputs, target=1, runtime="eager")
    form: Any = torch.jit.script(net)
    if convert != "script":
        form = torch.export.export(net, inputs)
    if convert == "graph of a program":
        form = form.module()
    check_same(scorecam.explain(form, inputs, target=1, runtime="eager"), own)
    if convert != "script":
        with pytest.raises(ModelError, match="inputs passed in another way"):
            scorecam.explain(form, dict(zip(("image", "meta"), inputs, strict=True)))


def test_operations_of_a_readout_are_no_layers() -> None:
    body = torch.jit.trace(nn.Sequential(*plain(), nn.Unflatten(1, (5, 1, 1))), IMAGE)

    def means(scores: Tensor) -> Tensor:
        return scores.mean(3).mean(2)

    layers = scorecam.layers(open_model(body, output=means), IMAGE)
    assert [layer.name for layer in layers if layer.default] == ["relu#2"]
    assert not any(layer.name.startswith("mean") for layer in layers)


def test_a_planted_spot_is_found_in_torchscript() -> None:
    class Spot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detect = nn.Conv2d(3, 2, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            return self.detect(images).relu().amax((2, 3))

    net = Spot().eval()
    net.detect.weight.data = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[..., None, None]
    image = torch.zeros(1, 3, 12, 16)
    image[0, 0, 2, 13] = image[0, 1, 9, 3] = 1.0
    heatmap = scorecam.explain(torch.jit.script(net), image, target=1).heatmap
    assert divmod(int(heatmap.argmax()), 16) == (9, 3)


# ── layers that there are not ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("layer", ["4", "inner.4", "relu#9", "layer4"])
def test_an_unknown_layer_of_a_form_names_operations(make: Callable[[], Any], layer: str) -> None:
    for call in (
        lambda: scorecam.explain(make(), IMAGE, layer=layer),
        lambda: scorecam.ScoreCAM(make(), layer)(IMAGE),
    ):
        with pytest.raises(LayerError, match=r"no layer called.*operations.*'relu#2'"):
            call()


@pytest.mark.parametrize("layer", ["2", "9", "#1"])
def test_a_number_is_no_call_of_the_whole_network(layer: str) -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = plain()

        def forward(self, images: Tensor) -> Tensor:
            return self.net(images)

    with pytest.raises(LayerError, match=f"no layer called '{layer}'"):
        scorecam.explain(Wrapper(), IMAGE, layer=layer)


def test_an_optimised_script_whose_operations_are_hidden_is_refused() -> None:
    form = torch.jit.optimize_for_inference(torch.jit.script(plain()))
    with pytest.raises(LayerError, match=r"outside PyTorch's own operations.*as it was before"):
        scorecam.explain(form, IMAGE)


def test_gradient_maps_of_torchscript_say_what_to_use() -> None:
    model = open_model(torch.jit.script(plain()))
    explanation = scorecam.explain(model, IMAGE)
    with pytest.raises(LayerError, match=r"needs a module.*rise"):
        heatmaps(model, explanation, parse_methods("gradcam"))


# ── what is no network ───────────────────────────────────────────────────────────────────────


def program_files(folder: Path) -> dict[str, Path]:
    torch.jit.script(plain()).save(folder / "script.pt")
    torch.export.save(exported(None), folder / "program.pt2")
    return {"torch.jit.load": folder / "script.pt", "torch.export.load": folder / "program.pt2"}


def test_files_with_programs_say_how_they_are_opened(tmp_path: Path) -> None:
    for opener, file in program_files(tmp_path).items():
        for path in (file, str(file)):
            with pytest.raises(ModelError, match="can run code") as error:
                open_model(path)  # pyright: ignore[reportArgumentType]
            assert f"{opener}({str(file)!r})" in str(error.value)
        with pytest.raises(WeightsError, match="not its weights") as refused:
            open_model(plain(), weights=file)
        assert opener in str(refused.value)


def test_a_program_file_opened_by_the_user_is_explained(tmp_path: Path) -> None:
    file = program_files(tmp_path)["torch.export.load"]
    check_same(scorecam.explain(torch.export.load(file), IMAGE, target=3), truth())


def test_a_factory_may_return_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program_files(tmp_path)
    (tmp_path / "own_program.py").write_text(
        "import torch\ndef make():\n    return torch.export.load('program.pt2')\n"
    )
    monkeypatch.chdir(tmp_path)
    torch.testing.assert_close(open_model("own_program:make").scores(IMAGE), plain()(IMAGE))


NO_NETWORKS: dict[str, tuple[Callable[[], Any], str]] = {
    "a state dict": (lambda: plain().state_dict(), "weights="),
    "a class": (lambda: nn.Flatten, r"Flatten\(\.\.\.\)"),
    "a function": (lambda: plain().forward, "no layers that can be read"),
    "a path": (lambda: Path("weights.pth"), "weights="),
}


@pytest.mark.parametrize(("make", "phrase"), NO_NETWORKS.values(), ids=NO_NETWORKS)
def test_what_is_no_network_is_named(make: Callable[[], Any], phrase: str) -> None:
    with pytest.raises(ModelError, match=phrase):
        open_model(make())


def test_a_container_without_forward_says_what_to_pass() -> None:
    class Average(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = plain()

    with pytest.raises(ModelError, match=r"ema\.module"):
        scorecam.explain(Average(), IMAGE)


# ── fingerprints ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["script", "frozen", "program", "graph of a program"])
def test_a_fingerprint_follows_the_weights_of_a_form(name: str) -> None:
    make = {
        "script": torch.jit.script,
        "frozen": lambda net: torch.jit.freeze(torch.jit.script(net)),
        "program": lambda net: torch.export.export(net, (IMAGE,)),
        "graph of a program": lambda net: torch.export.export(net, (IMAGE,)).module(),
    }[name]
    one, again, other = (open_model(make(plain(seed))).fingerprint() for seed in (0, 0, 1))
    assert one == again
    assert one != other


# ── computed weights ─────────────────────────────────────────────────────────────────────────


class Double(nn.Module):
    """A parametrisation without an inverse."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _with(change: Callable[[nn.Module], Any]) -> Callable[[], nn.Sequential]:
    def make() -> nn.Sequential:
        net = plain()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            change(net[3])
            net(IMAGE)
        return net

    return make


COMPUTED = {
    "weight_norm": _with(nn.utils.weight_norm),
    "weight_norm, parametrised": _with(parametrizations.weight_norm),
    "spectral_norm": _with(nn.utils.spectral_norm),
    "spectral_norm, parametrised": _with(parametrizations.spectral_norm),
    "orthogonal": _with(parametrizations.orthogonal),
    "without an inverse": _with(
        lambda layer: parametrize.register_parametrization(layer, "weight", Double())
    ),
    "pruned": _with(lambda layer: prune.l1_unstructured(layer, "weight", 0.3)),
    "pruned and without bias": _with(
        lambda layer: (setattr(layer, "bias", None), prune.l1_unstructured(layer, "weight", 0.3))
    ),
}


@pytest.mark.parametrize("make", COMPUTED.values(), ids=COMPUTED)
def test_computed_weights_are_re_initialised_and_the_network_keeps_its_own(
    make: Callable[[], nn.Sequential],
) -> None:
    net = make()
    own = net(IMAGE).detach()
    model = open_model(net)
    assert model.stages(IMAGE) == ["7", "3", "1", "0"]  # pyright: ignore[reportAttributeAccessIssue]
    with unchanged(net):
        copies = [
            model.randomised(["3"], IMAGE, seed)  # pyright: ignore[reportAttributeAccessIssue]
            for seed in (0, 0, 1)
        ]
    first, same, other = (copy.scores(IMAGE) for copy in copies)
    assert torch.equal(first, same)
    assert float((first - own).abs().max()) > 1e-3
    assert float((first - other).abs().max()) > 1e-3
    torch.testing.assert_close(net(IMAGE), own)
    net.train()(torch.cat([IMAGE, OTHER])).sum().backward()


@pytest.mark.parametrize("make", COMPUTED.values(), ids=COMPUTED)
def test_a_plain_file_for_computed_weights_says_to_load_it_first(
    make: Callable[[], nn.Sequential], tmp_path: Path
) -> None:
    torch.save(plain().state_dict(), tmp_path / "plain.pt")
    with pytest.raises(WeightsError, match="load the file first"):
        open_model(make(), weights=tmp_path / "plain.pt")
    torch.save(make().state_dict(), tmp_path / "computed.pt")
    with pytest.raises(WeightsError, match="apply the same to the network"):
        open_model(plain(), weights=tmp_path / "computed.pt")
    net = make()
    loaded_again = open_model(net, weights=tmp_path / "computed.pt")
    torch.testing.assert_close(loaded_again.scores(IMAGE), net(IMAGE))


# ── quantised networks ───────────────────────────────────────────────────────────────────────


def static_int8() -> nn.Module:
    from torch.ao import quantization

    net = nn.Sequential(quantization.QuantStub(), *plain().children(), quantization.DeQuantStub())
    net.eval().qconfig = quantization.get_default_qconfig("x86")
    quantization.prepare(net, inplace=True)
    net(IMAGE)
    return quantization.convert(net)


def fx_int8() -> nn.Module:
    from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx

    mapping = get_default_qconfig_mapping("x86")
    prepared = quantize_fx.prepare_fx(plain(), mapping, (IMAGE,))
    prepared(IMAGE)
    return quantize_fx.convert_fx(prepared)


def dynamic_int8() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}, dtype=torch.qint8)


PACKED = {"static": static_int8, "fx": fx_int8, "dynamic": dynamic_int8}


@pytest.mark.parametrize("make", PACKED.values(), ids=PACKED)
def test_an_int8_network_is_explained_close_to_its_float_map(make: Callable[[], nn.Module]) -> None:
    net = make()
    with torch.no_grad():
        own = net(IMAGE)
    explanation = scorecam.explain(net, IMAGE, target=3)
    assert torch.equal(explanation.bank.image_scores[None], own)
    assert explanation.bank.activations.dtype == torch.float32
    distance = (explanation.scaled - truth().scaled).abs().mean()
    assert float(distance) < 0.1
    assert explanation.provenance.runtime == "eager"


@pytest.mark.parametrize("make", PACKED.values(), ids=PACKED)
def test_packed_weights_cannot_be_randomised_or_loaded(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    model = open_model(make())
    with pytest.raises(ModelError, match=r"quantised: its weights are packed"):
        model.stages(IMAGE)  # pyright: ignore[reportAttributeAccessIssue]
    torch.save(plain().state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="load its weights first, and then quantise"):
        open_model(make(), weights=tmp_path / "w.pt")


def test_a_file_of_quantised_tensors_says_what_to_do(tmp_path: Path) -> None:
    torch.save(dynamic_int8().state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"quantised tensors.*load_state_dict"):
        open_model(plain(), weights=tmp_path / "w.pt")


class Attended(nn.Module):
    """A network with a linear layer over positions, large enough for torchao to quantise."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, 32, 3, padding=1)
            self.mix = nn.Linear(32, 32)
            self.head = nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.mix(self.stem(images).relu().movedim(1, -1)).relu()
        return self.head(maps.mean((1, 2)))


@pytest.mark.needs("torchao")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
def test_torchao_networks_are_explained_and_have_their_own_fingerprint(kind: str) -> None:
    from torchao import quantization

    own = Attended().eval()
    net = copy.deepcopy(own)
    quantization.quantize_(net, getattr(quantization, kind)())
    prints = {open_model(module).fingerprint() for module in (own, net)}
    assert len(prints) == 2
    assert open_model(copy.deepcopy(net)).fingerprint() in prints
    explanation = scorecam.explain(net, IMAGE, target=3)
    truth = scorecam.explain(own, IMAGE, target=3)
    assert explanation.layer == truth.layer == "mix"
    assert float((explanation.scaled - truth.scaled).abs().mean()) < 0.1
    with pytest.raises(ModelError, match="cannot be re-initialised"):
        open_model(net).randomised(["mix"], IMAGE, 0)  # pyright: ignore[reportAttributeAccessIssue]


def test_torchscript_cannot_be_randomised() -> None:
    for make in (OPERATIONS["script"], OPERATIONS["frozen"], Inside):
        with pytest.raises(ModelError, match=r"cannot be re-initialised.*TorchScript"):
            open_model(make()).stages(IMAGE)  # pyright: ignore[reportAttributeAccessIssue]


def test_an_error_inside_torchscript_is_short_and_names_the_cause() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        form = torch.jit.script(plain())
    with pytest.raises(ModelError) as error:
        scorecam.explain(form, torch.rand(1, 4, 24, 20))
    assert "expected input" in str(error.value)
    assert "Traceback" not in str(error.value)
