"""ONNX files as models: the same answers and maps as the networks that they were exported from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

import scorecam
from graph_networks import SIZE, small
from onnx_networks import exported, quantised, written
from scorecam.errors import LayerError, ModelError, ScorecamError, SettingError, TargetError
from scorecam.model.model import Randomisable

pytestmark = pytest.mark.needs("onnx")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, images: Tensor) -> Path:
    return exported(small(), images, tmp_path_factory.mktemp("onnx") / "net.onnx")


def pearson(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def test_the_default_layer_and_its_map_are_those_of_the_torch_network(
    file: Path, images: Tensor
) -> None:
    ours = scorecam.explain(scorecam.open_model(str(file)), images[0])
    torchs = scorecam.explain(small(), images[0], runtime="eager")
    assert ours.target.index == torchs.target.index
    assert ours.bank.activations.shape == torchs.bank.activations.shape == (6, 8, 8)
    torch.testing.assert_close(ours.heatmap, torchs.heatmap, rtol=1e-4, atol=1e-6)
    assert ours.provenance.runtime == "onnxruntime"


def test_a_path_object_and_a_prefix_open_the_same_file(file: Path, images: Tensor) -> None:
    expected = scorecam.open_model(str(file)).scores(images)
    for given in (file, f"onnx:{file}"):
        assert torch.equal(scorecam.open_model(given).scores(images), expected)


def test_layers_are_tensors_with_one_default_and_readable_names(file: Path, images: Tensor) -> None:
    layers = scorecam.layers(scorecam.open_model(str(file)), images[:1])
    assert [layer.name for layer in layers if layer.default] == ["/4/Relu"]
    assert {layer.layout for layer in layers} == {"channels first"}
    assert "/2/MaxPool" in [layer.name for layer in layers]


def test_a_layer_can_be_given_by_its_tensor_or_its_node(file: Path, images: Tensor) -> None:
    model = scorecam.open_model(str(file))
    by_node, _ = model.activations(images, "/1/Relu")
    by_tensor, _ = model.activations(images, "/1/Relu_output_0")
    assert torch.equal(by_node, by_tensor)
    expected = small()[:2](images)
    torch.testing.assert_close(by_node, expected, rtol=1e-4, atol=1e-5)


def test_the_file_is_not_changed(file: Path, images: Tensor) -> None:
    before = file.read_bytes()
    scorecam.explain(scorecam.open_model(str(file)), images[0])
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name]


def test_layers_need_no_image_if_the_file_states_its_size(file: Path, tmp_path: Path) -> None:
    stated = scorecam.layers(scorecam.open_model(file))
    assert [layer.grid for layer in stated if layer.default] == [(8, 8)]
    path = written(tmp_path / "n.onnx", nodes(), IMAGES, {"y": ("b", 5)}, weights())
    with pytest.raises(SettingError, match="size of the input, which is not known"):
        scorecam.layers(scorecam.open_model(path))


def test_a_device_that_the_runtime_lacks_is_refused(file: Path) -> None:
    for device in ("cuda:0", "xla", "gpu"):
        with pytest.raises(SettingError, match=r"--device.*cpu"):
            scorecam.open_model(file, device=device)
    assert scorecam.open_model(file, device="cpu").device.type == "cpu"


def test_a_fixed_batch_runs_one_by_one_with_the_same_result(
    file: Path, images: Tensor, tmp_path: Path
) -> None:
    fixed = scorecam.open_model(
        str(exported(small(), images[:1], tmp_path / "fixed.onnx", dynamic=False))
    )
    assert any("batches of 1" in remark for remark in fixed.remarks)
    expected = scorecam.explain(scorecam.open_model(str(file)), images[0]).heatmap
    found = scorecam.explain(fixed, images[0], batch_size=4).heatmap
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("last", ["Softmax", "Sigmoid"])
def test_scores_are_the_numbers_before_a_last_softmax_or_sigmoid(
    last: str, images: Tensor, tmp_path: Path
) -> None:
    end = nn.Softmax(dim=1) if last == "Softmax" else nn.Sigmoid()
    path = exported(nn.Sequential(*small(), end), images, tmp_path / "net.onnx")
    model = scorecam.open_model(str(path))
    assert model.head == ("logits" if last == "Softmax" else "sigmoid")
    assert any(last in remark for remark in model.remarks)
    torch.testing.assert_close(model.scores(images), small()(images), rtol=1e-4, atol=1e-5)
    stated = scorecam.open_model(str(path), head="probabilities")
    torch.testing.assert_close(stated.scores(images), end(small()(images)), rtol=1e-4, atol=1e-5)


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.permute(0, 3, 1, 2))


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_network_that_takes_channels_last_gets_the_same_map(
    images: Tensor, tmp_path: Path, *, dynamic: bool
) -> None:
    last = images.permute(0, 2, 3, 1).contiguous()
    path = exported(ChannelsLast(), last[:1], tmp_path / "net.onnx", dynamic=dynamic)
    expected = scorecam.explain(small(), images[0], runtime="eager").heatmap
    model = scorecam.open_model(str(path))
    for given in (last[0], images[0]):
        found = scorecam.explain(model, given).heatmap
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


class Tokens(nn.Module):
    """A vision transformer of one block that reads its class token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.cls = nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2)
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(x.shape[0], -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0])


def test_tokens_are_read_as_a_grid_without_the_class_token(images: Tensor, tmp_path: Path) -> None:
    net = Tokens().eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        path = exported(net, images, tmp_path / "net.onnx")
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    model = scorecam.open_model(str(path))
    [default] = [layer for layer in scorecam.layers(model, images[:1]) if layer.default]
    assert (default.grid, default.channels) == ((4, 4), 8)
    assert default.layout.startswith("tokens")
    maps, scores = model.activations(images, default.name)
    assert maps.shape == (3, 8, 4, 4)
    torch.testing.assert_close(scores, net(images), rtol=1e-3, atol=1e-4)


class Detector(nn.Module):
    """A backbone of three grids, joined from the coarsest to the finest; a score per cell."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.ReLU())
            for i, o in ((3, 4), (4, 6), (6, 8))
        )
        self.sides = nn.ModuleList(nn.Conv2d(c, 4, 1) for c in (4, 6, 8))
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for stage, side in zip(self.stages, self.sides, strict=True):
            x = stage(x)
            levels.append(side(x))
        fine, middle, coarse = levels
        middle = middle + nn.functional.interpolate(coarse, scale_factor=2.0)
        fine = fine + nn.functional.interpolate(middle, scale_factor=2.0)
        found = [self.head(level).flatten(2) for level in (fine, middle, coarse)]
        return torch.cat(found, 2).transpose(1, 2)


def test_a_detector_is_explained_at_the_deepest_grid_of_its_backbone(
    images: Tensor, tmp_path: Path
) -> None:
    path = exported(Detector(), images, tmp_path / "net.onnx")
    model = scorecam.open_model(str(path), output=lambda boxes: boxes.amax(1))
    [default] = [layer for layer in scorecam.layers(model, images[:1]) if layer.default]
    assert default.grid == (2, 2)
    assert "deepest grid" in default.why
    assert scorecam.explain(model, images[0], 1).heatmap.shape == (SIZE, SIZE)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        return self.net(x) * factor


def test_other_inputs_come_along_by_name_or_in_order(images: Tensor, tmp_path: Path) -> None:
    factors = torch.tensor([[1.0], [2.0], [-1.0]])
    path = exported(TwoInputs(), (images, factors), tmp_path / "net.onnx", names=("x", "factor"))
    model = scorecam.open_model(str(path))
    expected = scorecam.explain(TwoInputs(), (images[2:], factors[2:]), 3, runtime="eager").heatmap
    for given in ((images[2:], factors[2:]), {"x": images[2:], "factor": factors[2:]}):
        found = scorecam.explain(model, given, 3).heatmap
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(SettingError, match="'factor' is missing"):
        scorecam.explain(model, images[0])
    with pytest.raises(SettingError, match="no input 'factr'"):
        scorecam.explain(model, {"x": images[2:], "factr": factors[2:]})


@pytest.mark.parametrize("operators", [False, True])
def test_the_layer_of_an_int8_file_holds_its_dequantised_numbers(
    file: Path, images: Tensor, tmp_path: Path, *, operators: bool
) -> None:
    path = quantised(file, torch.rand(16, 3, SIZE, SIZE), tmp_path / "q.onnx", operators=operators)
    model = scorecam.open_model(str(path))
    explanation = scorecam.explain(model, images[0], 2)
    assert model.precision == explanation.provenance.precision == "int8"
    maps = explanation.bank.activations
    assert maps.shape == (6, 8, 8)
    assert float(maps.min()) >= 0  # after the ReLU, which the quantiser merged into the layer
    expected = scorecam.explain(small(), images[0], 2, runtime="eager")
    torch.testing.assert_close(maps, expected.bank.activations, rtol=0, atol=0.02)
    assert pearson(explanation.heatmap, expected.heatmap) > 0.98


def weights(seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    return {
        "w": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "m": random.normal(size=(4, 5)).astype(np.float32),
    }


def nodes(first: str = "x") -> list[Any]:
    return [
        helper.make_node("Conv", [first, "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["7"], name="relu"),
        helper.make_node("GlobalAveragePool", ["7"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["y"]),
    ]


IMAGES = {"x": (TensorProto.FLOAT, ("b", 3, "h", "w"))}


def test_a_tensor_with_a_number_for_a_name_is_called_after_its_node(tmp_path: Path) -> None:
    path = written(tmp_path / "n.onnx", nodes(), IMAGES, {"y": ("b", 5)}, weights())
    model = scorecam.open_model(str(path))
    [default] = [layer for layer in scorecam.layers(model, torch.rand(1, 3, 8, 8)) if layer.default]
    assert default.name == "relu_7"
    assert scorecam.explain(model, torch.rand(3, 8, 8), layer="7").layer == "relu_7"


def test_shapes_that_are_known_only_when_it_runs_are_found(tmp_path: Path) -> None:
    """The maps are moved to tokens and back with sizes that the graph computes."""
    numbers = {"minus": -1, "zero": 0, "two": 2}
    extra = {name: np.array([number], np.int64) for name, number in numbers.items()}
    middle = [
        helper.make_node("Shape", ["7"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "two"], ["head"]),
        helper.make_node("Concat", ["head", "minus"], ["flat"], axis=0),
        helper.make_node("Reshape", ["7", "flat"], ["t"]),
        helper.make_node("Reshape", ["t", "s"], ["back"]),
    ]
    first, last = nodes()[:2], nodes()[2:]
    last[0] = helper.make_node("GlobalAveragePool", ["back"], ["p"])
    path = written(
        tmp_path / "n.onnx", [*first, *middle, *last], IMAGES, {"y": ("b", 5)}, weights() | extra
    )
    model = scorecam.open_model(str(path))
    layers = {layer.name: layer for layer in scorecam.layers(model, torch.rand(1, 3, 8, 6))}
    assert layers["relu_7"].grid == (8, 6)
    assert scorecam.explain(model, torch.rand(3, 8, 6)).bank.activations.shape == (4, 8, 6)


def test_an_input_of_whole_numbers_gets_rounded_pixels_and_says_so(tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT)
    inputs = {"x": (TensorProto.UINT8, ("b", 3, 8, 8))}
    path = written(tmp_path / "n.onnx", [cast, *nodes("float")], inputs, {"y": ("b", 5)}, weights())
    model = scorecam.open_model(str(path))
    assert any("uint8" in remark for remark in model.remarks)
    pixels = torch.randint(0, 256, (3, 8, 8)).float()
    plain = written(tmp_path / "p.onnx", nodes(), IMAGES, {"y": ("b", 5)}, weights())
    expected = scorecam.open_model(str(plain)).scores(pixels[None])
    torch.testing.assert_close(model.scores(pixels[None]), expected, rtol=1e-5, atol=1e-3)
    assert scorecam.explain(model, pixels).heatmap.shape == (8, 8)
    with pytest.raises(SettingError, match=r"whole numbers .uint8.*mean"):
        scorecam.explain(model, pixels / 255)


def test_an_output_that_mixes_the_batch_is_read_one_image_at_a_time(tmp_path: Path) -> None:
    """Flattened to one row, whatever the batch: 1 × 8 for 2 × 4."""
    flat = helper.make_node("Reshape", ["p", "one"], ["f"])
    every = [*nodes()[:3], flat, helper.make_node("Identity", ["f"], ["y"])]
    extra = {"one": np.array([1, -1], np.int64)}
    path = written(tmp_path / "n.onnx", every, IMAGES, {"y": (1, "n")}, weights() | extra)
    model = scorecam.open_model(str(path))
    explanation = scorecam.explain(model, torch.rand(3, 8, 8))
    assert explanation.bank.scores.shape[1] == 4
    assert any("one by one" in remark for remark in explanation.provenance.remarks)


class One(nn.Module):
    """Its export keeps the size of the batch, 1, in the middle of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, x: Tensor) -> Tensor:
        maps = self.net[:5](x)
        return self.net[5:](maps.reshape(1, 6, SIZE // 2, SIZE // 2))


def test_a_graph_that_fails_on_two_images_runs_one_by_one(images: Tensor, tmp_path: Path) -> None:
    model = scorecam.open_model(str(exported(One(), images[:1], tmp_path / "net.onnx")))
    expected = scorecam.explain(small(), images[0], runtime="eager").heatmap
    explanation = scorecam.explain(model, images[0])
    torch.testing.assert_close(explanation.heatmap, expected, rtol=1e-4, atol=1e-6)
    assert any("one by one" in remark for remark in explanation.provenance.remarks)


def two_outputs(path: Path) -> Path:
    every = [*nodes(), helper.make_node("Relu", ["y"], ["z"])]
    return written(path, every, IMAGES, {"y": ("b", 5), "z": ("b", 5)}, weights())


def test_one_of_several_outputs_is_chosen_by_name_index_or_function(tmp_path: Path) -> None:
    path, images = str(two_outputs(tmp_path / "n.onnx")), torch.rand(2, 3, 8, 8)
    y = scorecam.open_model(path, output="y").scores(images)
    assert torch.equal(scorecam.open_model(path, output=0).scores(images), y)
    assert torch.equal(scorecam.open_model(path, output=lambda o: o["z"]).scores(images), y.relu())
    with pytest.raises(TargetError, match="could not be identified"):
        scorecam.open_model(path).scores(images)
    with pytest.raises(SettingError, match=r"no output 'logit'.*--output.*'y', 'z'"):
        scorecam.open_model(path, output="logit")


def test_the_only_output_and_any_tensor_can_be_named(file: Path, images: Tensor) -> None:
    expected = scorecam.open_model(file).scores(images)
    assert torch.equal(scorecam.open_model(file, output="y").scores(images), expected)
    pooled = scorecam.open_model(file, output="/6/Flatten").scores(images)
    torch.testing.assert_close(pooled, small()[:7](images), rtol=1e-4, atol=1e-5)


def test_a_target_function_gets_the_output_as_a_tensor(file: Path, images: Tensor) -> None:
    model = scorecam.open_model(str(file))

    def margin(output: Tensor) -> Tensor:
        return output[:, 1] - output[:, 0]

    explanation = scorecam.explain(model, images[0], margin)
    expected = small()(images[:1]).detach()
    assert explanation.target.score == pytest.approx(
        float(expected[0, 1] - expected[0, 0]), abs=1e-4
    )


def test_errors_say_what_to_do(file: Path, images: Tensor, tmp_path: Path) -> None:
    model = scorecam.open_model(str(file))
    with pytest.raises(LayerError, match="no layer called '/4/Rel'"):
        scorecam.explain(model, images[0], layer="/4/Rel")
    with pytest.raises(LayerError, match="has no grid"):
        scorecam.explain(model, images[0], layer="/6/Flatten")
    with pytest.raises(ScorecamError, match=r"3|colours"):
        scorecam.explain(model, torch.rand(4, SIZE, SIZE))
    with pytest.raises(SettingError, match="holds its own weights"):
        scorecam.open_model(str(file), weights="net.safetensors")
    with pytest.raises(ModelError, match=r"gone.onnx"):
        scorecam.open_model(str(tmp_path / "gone.onnx"))


def test_the_sanity_check_shuffles_the_weights_of_a_graph(file: Path, images: Tensor) -> None:
    model = scorecam.open_model(file)
    assert isinstance(model, Randomisable)
    stages = model.stages(images[:1])
    assert len(stages) == 3  # the head, then the two convolutions
    before = model.scores(images)
    copy = model.randomised(stages[:1], images[:1], 0)
    assert not torch.allclose(copy.scores(images), before)
    layer = model.find_layer(None, images[:1])
    torch.testing.assert_close(
        copy.activations(images, layer)[0], model.activations(images, layer)[0]
    )
    assert copy.fingerprint() != model.fingerprint()
    assert torch.equal(model.scores(images), before)


def test_integers_of_an_int8_file_are_shuffled_too(
    file: Path, images: Tensor, tmp_path: Path
) -> None:
    path = quantised(file, torch.rand(16, 3, SIZE, SIZE), tmp_path / "q.onnx")
    model = scorecam.open_model(path)
    assert isinstance(model, Randomisable)
    stages = model.stages(images[:1])
    assert len(stages) == 3
    copy = model.randomised(stages, images[:1], 0)
    assert not torch.allclose(copy.scores(images), model.scores(images))


def test_a_network_without_a_grid_is_refused_in_words(tmp_path: Path) -> None:
    every = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["y"]),
    ]
    matrix = {"m": np.ones((3 * 8 * 8, 5), np.float32)}
    inputs = {"x": (TensorProto.FLOAT, ("b", 3, 8, 8))}
    model = scorecam.open_model(
        str(written(tmp_path / "n.onnx", every, inputs, {"y": ("b", 5)}, matrix))
    )
    with pytest.raises(LayerError, match="No layer could be chosen"):
        scorecam.explain(model, torch.rand(3, 8, 8))


def test_a_graph_of_ten_thousand_nodes_is_explained(tmp_path: Path) -> None:
    chain = [
        helper.make_node("Relu" if i % 2 else "Neg", [f"t{i}"], [f"t{i + 1}"])
        for i in range(10_000)
    ]
    first, *last = nodes()[0], *nodes()[2:]
    first = helper.make_node("Conv", ["x", "w"], ["t0"], pads=[1, 1, 1, 1])
    last[0] = helper.make_node("GlobalAveragePool", ["t10000"], ["p"])
    path = written(tmp_path / "n.onnx", [first, *chain, *last], IMAGES, {"y": ("b", 5)}, weights())
    model = scorecam.open_model(str(path))
    layers = scorecam.layers(model, torch.rand(1, 3, 8, 8))
    assert [layer.name for layer in layers if layer.default] == ["t10000"]


def test_half_precision_files_take_and_return_ordinary_numbers(tmp_path: Path) -> None:
    halves = {name: value.astype(np.float16) for name, value in weights().items()}
    inputs = {"x": (TensorProto.FLOAT16, ("b", 3, "h", "w"))}
    path = written(tmp_path / "n.onnx", nodes(), inputs, {}, halves)
    import onnx

    proto = onnx.load(path)
    proto.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT16, ("b", 5)))
    onnx.save(proto, path)
    model = scorecam.open_model(str(path))
    image = torch.rand(3, 8, 8)
    explanation = scorecam.explain(model, image)
    assert explanation.provenance.precision == "float16"
    assert explanation.bank.activations.dtype == torch.float32
    plain = written(tmp_path / "p.onnx", nodes(), IMAGES, {"y": ("b", 5)}, weights())
    expected = scorecam.explain(scorecam.open_model(str(plain)), image, explanation.target.index)
    assert pearson(explanation.heatmap, expected.heatmap) > 0.999
