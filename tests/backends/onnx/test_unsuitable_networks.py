"""Networks and settings that do not fit each other: what is accepted, and what each error says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

import scorecam
from onnx_networks import written
from scorecam.errors import LayerError, ModelError, ScorecamError, SettingError, TargetError

pytestmark = pytest.mark.needs("onnx")

IMAGE = ["b", 3, 8, 8]
RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "kernel": RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "head": RANDOM.normal(size=(4, 5)).astype(np.float32),
    "same": np.ones((2, 3), np.float32),
    "rows": np.array([0, 4, 36]),
    "last": RANDOM.normal(size=(5, 4, 1, 1)).astype(np.float32),
}
BODY = [
    helper.make_node("Conv", ["x", "kernel"], ["maps"], name="conv"),
    helper.make_node("Relu", ["maps"], ["active"], name="relu"),
    helper.make_node("GlobalAveragePool", ["active"], ["means"]),
]
HEAD = [
    helper.make_node("Flatten", ["means"], ["flat"]),
    helper.make_node("MatMul", ["flat", "head"], ["y"]),
]


def network(
    path: Path,
    nodes: list[object] | None = None,
    *,
    shape: list[object] | None = None,
    kind: int = TensorProto.FLOAT,
    outputs: dict[str, list[object] | None] | None = None,
) -> Path:
    return written(
        path / "net.onnx",
        [*BODY, *HEAD] if nodes is None else nodes,
        {"x": (kind, IMAGE if shape is None else shape)},
        {"y": ["b", 5]} if outputs is None else outputs,
        WEIGHTS,
    )


def image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(3, 9, 8), (1, 8, 8), (3, 8)])
def test_an_image_of_another_shape_is_refused_with_the_shape_that_fits(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    model = scorecam.open_model(network(tmp_path))
    with pytest.raises(ModelError, match=r"takes tensors of the shape \(any, 3, 8, 8\)"):
        scorecam.explain(model, image(*shape))


def test_a_network_for_vectors_refuses_an_image_with_the_shape_that_fits(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "head"], ["y"])
    model = scorecam.open_model(network(tmp_path, [node], shape=["b", 4]))
    with pytest.raises(ModelError, match=r"shape \(any, 4\), and not"):
        scorecam.explain(model, image(3, 8, 8))


@pytest.mark.parametrize("kind", [TensorProto.BOOL, TensorProto.STRING])
def test_an_input_of_booleans_or_texts_is_no_image(kind: int, tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT)
    first = helper.make_node("Conv", ["real", "kernel"], ["maps"])
    file = network(tmp_path, [cast, first, *BODY[1:], *HEAD], kind=kind)
    with pytest.raises(ModelError, match=r"takes (booleans|texts)") as error:
        scorecam.open_model(file)
    assert "--masked-input" in str(error.value)


@pytest.mark.parametrize("output", [None, "y", 0])
def test_an_output_that_is_the_same_for_every_image_is_refused(
    output: str | int | None, tmp_path: Path
) -> None:
    file = network(tmp_path, [*BODY, helper.make_node("Identity", ["same"], ["y"])])
    with pytest.raises(ModelError, match="does not depend on any input"):
        scorecam.open_model(file, output=output)


def test_outputs_that_are_constants_are_left_out(tmp_path: Path) -> None:
    """One of them is computed from a constant, the other is a weight itself."""
    copied = helper.make_node("Identity", ["same"], ["copy"])
    outputs = {"y": ["b", 5], "copy": [2, 3], "same": [2, 3]}
    model = scorecam.open_model(network(tmp_path, [*BODY, *HEAD, copied], outputs=outputs))
    assert model.scores(image(2, 3, 8, 8)).shape == (2, 5)
    assert scorecam.explain(model, image(3, 8, 8)).layer == "active"


def test_scores_with_axes_of_one_position_are_those_without_them(tmp_path: Path) -> None:
    """The head of a fully convolutional classifier: `b n 1 1`, or `b 1 1 n`."""
    head = helper.make_node("Conv", ["means", "last"], ["y"])
    model = scorecam.open_model(network(tmp_path, [*BODY, head], outputs={"y": ["b", 5, 1, 1]}))
    images = image(3, 3, 8, 8)
    wide = scorecam.open_model(tmp_path / "net.onnx", output=lambda y: y.flatten(1))
    last = scorecam.open_model(tmp_path / "net.onnx", output=lambda y: y.movedim(1, -1))
    for other in (wide, last):
        assert torch.equal(model.scores(images), other.scores(images))
    assert scorecam.explain(model, images[0]).layer == "active"


def test_one_score_for_each_of_many_boxes_is_not_taken_for_classes(tmp_path: Path) -> None:
    """`b n 1` is what detectors return."""
    file = network(tmp_path)
    model = scorecam.open_model(file, output=lambda y: y[..., None])
    with pytest.raises(TargetError, match=r"shape \(1, 5, 1\)"):
        model.scores(image(1, 3, 8, 8))


def test_scores_that_cannot_be_read_are_reported_before_layers(tmp_path: Path) -> None:
    last = helper.make_node("Reshape", ["active", "rows"], ["y"])
    model = scorecam.open_model(network(tmp_path, [*BODY[:2], last], outputs={"y": ["b", 4, 36]}))
    with pytest.raises(TargetError, match=r"shape \(1, 4, 36\)"):
        scorecam.explain(model, image(3, 8, 8))


def test_a_layer_can_be_given_by_the_name_of_its_node(tmp_path: Path) -> None:
    model = scorecam.open_model(network(tmp_path))
    assert scorecam.explain(model, image(3, 8, 8), layer="relu").layer == "active"
    with pytest.raises(LayerError, match="image itself"):
        scorecam.explain(model, image(3, 8, 8), layer="x")


@pytest.mark.parametrize("count", [2, 3])
def test_too_many_inputs_are_counted_in_the_error(count: int, tmp_path: Path) -> None:
    model = scorecam.open_model(network(tmp_path))
    with pytest.raises(SettingError, match=rf"{count} inputs were given. It takes 'x'"):
        scorecam.explain(model, (image(1, 3, 8, 8),) * count)


def test_a_checkpoint_with_the_suffix_of_onnx_is_named_as_such(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "net.onnx")
    with pytest.raises(ScorecamError, match=r"zip file: a PyTorch checkpoint.*torch\.onnx\.export"):
        scorecam.open_model(tmp_path / "net.onnx")
