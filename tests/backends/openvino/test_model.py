"""Files of OpenVINO as models: the same answers and maps as the networks they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import scorecam
from graph_networks import SIZE, small
from openvino_networks import converted, saved
from scorecam.backends.graphs.model import GraphModel
from scorecam.backends.runtimes.openvino import load, precisions
from scorecam.errors import LayerError

pytestmark = pytest.mark.needs("openvino")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, images: Tensor) -> Path:
    return converted(small(), images, tmp_path_factory.mktemp("openvino") / "net.xml")


@pytest.fixture(scope="module")
def expected(images: Tensor) -> Tensor:
    return scorecam.explain(small(), images[0], runtime="eager").heatmap


def test_the_default_layer_and_its_map_are_those_of_the_torch_network(
    file: Path, images: Tensor, expected: Tensor
) -> None:
    ours = scorecam.explain(scorecam.open_model(str(file)), images[0])
    assert ours.bank.activations.shape == (6, 8, 8)
    assert ours.provenance.runtime == "openvino"
    torch.testing.assert_close(ours.heatmap, expected, rtol=1e-4, atol=1e-6)


def test_the_numbers_are_float32_even_where_the_processor_has_bfloat16(
    file: Path, images: Tensor
) -> None:
    model = scorecam.open_model(str(file))
    assert model.precision == "float32"
    torch.testing.assert_close(model.scores(images), small()(images), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif("bfloat16" not in precisions(), reason="the processor has no bfloat16")
def test_bfloat16_scores_masked_images_where_it_is_chosen(
    file: Path, images: Tensor, expected: Tensor
) -> None:
    found = scorecam.explain(scorecam.open_model(str(file)), images[0], precision="bfloat16")
    assert found.provenance.precision == "bfloat16"
    assert not torch.equal(found.heatmap, expected)
    torch.testing.assert_close(found.heatmap, expected, rtol=0, atol=0.05)


def test_an_onnx_file_runs_in_openvino_by_its_prefix(
    images: Tensor, expected: Tensor, tmp_path: Path
) -> None:
    onnx_networks = pytest.importorskip("onnx_networks")
    path = onnx_networks.exported(small(), images, tmp_path / "net.onnx")
    model = scorecam.open_model(f"openvino:{path}")
    found = scorecam.explain(model, images[0])
    assert found.provenance.runtime == "openvino"
    torch.testing.assert_close(found.heatmap, expected, rtol=1e-4, atol=1e-6)


def test_the_files_are_not_changed(file: Path, images: Tensor) -> None:
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}
    scorecam.explain(scorecam.open_model(str(file)), images[0])
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before


def test_the_fingerprint_covers_the_weights(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.xml"
    copy.write_bytes(file.read_bytes())
    weights = bytearray(file.with_suffix(".bin").read_bytes())
    copy.with_suffix(".bin").write_bytes(weights)
    original = scorecam.open_model(str(file)).fingerprint()
    assert scorecam.open_model(str(copy)).fingerprint() == original
    weights[0] ^= 1
    copy.with_suffix(".bin").write_bytes(weights)
    assert scorecam.open_model(str(copy)).fingerprint() != original


def test_weights_can_be_replaced_in_a_copy(file: Path, images: Tensor) -> None:
    model = scorecam.open_model(str(file))
    assert isinstance(model, GraphModel)
    program = model.program
    taken = program.graph.inputs[0].name
    names = [weight.name for weight in program.weights()]
    shapes = [program.facts({taken: (1, 3, SIZE, SIZE)}).shapes[name] for name in names]
    assert shapes == [
        *((8, 3, 3, 3), (1, 8, 1, 1)),
        *((6, 8, 3, 3), (1, 6, 1, 1)),
        *((5, 6), (1, 5)),
    ]
    numbers = {taken: images.numpy()}
    outputs = [value.name for value in program.graph.outputs]
    before = program.run(numbers, outputs)[0]
    changed = program.with_weights(names[-2:], np.zeros_like)
    assert changed.fingerprint() != program.fingerprint()
    assert not changed.run(numbers, outputs)[0].any()
    np.testing.assert_array_equal(program.run(numbers, outputs)[0], before)


def test_names_are_unique_and_do_not_change_from_read_to_read(
    images: Tensor, tmp_path: Path
) -> None:
    onnx_networks = pytest.importorskip("onnx_networks")
    path = onnx_networks.exported(small(), images, tmp_path / "net.onnx")
    found: list[list[str]] = []
    for _ in range(3):
        model = scorecam.open_model(f"openvino:{path}")
        names = [layer.name for layer in scorecam.layers(model, images[:1])]
        assert len(set(names)) == len(names)
        found.append(names)
    assert found[0] == found[1] == found[2]


def test_a_layer_that_is_not_there_is_named_with_a_likely_one(file: Path, images: Tensor) -> None:
    model = scorecam.open_model(str(file))
    name = next(layer.name for layer in scorecam.layers(model, images[:1]) if layer.default)
    with pytest.raises(LayerError, match="no layer called"):
        scorecam.explain(model, images[0], layer=f"{name}x")


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.permute(0, 3, 1, 2))


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_network_that_takes_channels_last_gets_the_same_map(
    images: Tensor, expected: Tensor, tmp_path: Path, *, dynamic: bool
) -> None:
    last = images.permute(0, 2, 3, 1).contiguous()
    path = converted(ChannelsLast(), last[:1], tmp_path / "net.xml", dynamic=dynamic)
    found = scorecam.explain(scorecam.open_model(str(path)), last[0]).heatmap
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.mix = nn.Linear(8, 24)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.mix(self.norm(tokens)).chunk(3, dim=-1)
        return tokens + torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value


class Tokens(nn.Module):
    """A vision transformer that reads its class token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.cls = nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(x.shape[0], -1, -1), tokens], dim=1)
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def test_tokens_are_maps_without_the_class_token(images: Tensor, tmp_path: Path) -> None:
    path = converted(Tokens(), images, tmp_path / "net.xml")
    model = scorecam.open_model(str(path))
    [layer] = [each for each in scorecam.layers(model, images[:1]) if each.default]
    assert layer.grid == (4, 4)
    found = scorecam.explain(model, images[0]).heatmap
    expected = scorecam.explain(Tokens(), images[0], runtime="eager").heatmap
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


class Joined(nn.Module):
    """Answers with one row, whatever the batch: the images of a batch are joined."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, x: Tensor) -> Tensor:
        return self.net[:5](x).mean((2, 3)).reshape(1, -1)


def test_a_fixed_batch_of_one_takes_more_where_every_answer_follows(
    images: Tensor, tmp_path: Path
) -> None:
    network = nn.Sequential(*list(small())[:5], nn.AvgPool2d(8), nn.Conv2d(6, 6, 1))
    path = converted(network, images[:1], tmp_path / "net.xml", dynamic=False)
    model = scorecam.open_model(str(path), output=lambda y: y.flatten(1))
    assert any("any batch" in remark for remark in model.remarks)
    torch.testing.assert_close(
        model.scores(images), network(images).flatten(1), rtol=1e-4, atol=1e-6
    )


def test_a_fixed_batch_stays_where_an_answer_does_not_follow(
    images: Tensor, tmp_path: Path
) -> None:
    path = converted(Joined(), images[:1], tmp_path / "net.xml", dynamic=False)
    model = scorecam.open_model(str(path))
    assert not any("any batch" in remark for remark in model.remarks)
    assert any("one by one" in remark for remark in model.remarks)
    one_by_one = torch.cat([Joined()(image[None]) for image in images])
    torch.testing.assert_close(model.scores(images), one_by_one, rtol=1e-4, atol=1e-6)


def quantised(path: Path) -> Path:
    """A convolution, a ReLU and a FakeQuantize of 5 levels, then the mean of every channel."""
    openvino = load()
    ops = openvino.opset13
    draw = np.random.default_rng(0)
    image = ops.parameter([-1, 3, SIZE, SIZE], np.float32, name="image")
    weights = ops.constant(draw.normal(size=(4, 3, 3, 3)).astype(np.float32))
    maps = ops.relu(ops.convolution(image, weights, [1, 1], [1, 1], [1, 1], [1, 1]))
    low, high = ops.constant(np.float32(0)), ops.constant(np.float32(2))
    quantised = ops.fake_quantize(maps, low, high, low, high, 5)
    quantised.output(0).set_names({"quantised"})
    scores = ops.reduce_mean(quantised, ops.constant(np.array([2, 3])), keep_dims=False)
    return saved(openvino.Model([scores], [image], "net"), path)


def test_a_quantised_network_is_explained_at_its_quantised_tensor(
    images: Tensor, tmp_path: Path
) -> None:
    model = scorecam.open_model(str(quantised(tmp_path / "net.xml")))
    assert model.precision == "int8"
    [layer] = [each for each in scorecam.layers(model, images[:1]) if each.default]
    assert layer.name == "quantised"
    maps, scores = model.activations(images, layer.name)
    levels = torch.unique(maps)
    assert set(levels.tolist()) <= {0.0, 0.5, 1.0, 1.5, 2.0}
    assert len(levels) > 2
    torch.testing.assert_close(scores, maps.mean((2, 3)), rtol=1e-5, atol=1e-6)
