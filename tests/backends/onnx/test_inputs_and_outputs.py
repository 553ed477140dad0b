"""The masked input of an ONNX file, what its outputs say about layers, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

import scorecam
from command_line import scorecam as command
from onnx_networks import written
from scorecam.errors import LayerError, SettingError, TargetError

pytestmark = pytest.mark.needs("onnx")

FLOAT = TensorProto.FLOAT


def drawn(*shapes: tuple[int, ...]) -> dict[str, np.ndarray[Any, Any]]:
    """Constants `w0`, `w1` and so on."""
    random = np.random.default_rng(0)
    return {f"w{i}": random.normal(size=s).astype(np.float32) for i, s in enumerate(shapes)}


# ── inputs ───────────────────────────────────────────────────────────────────────────────────


def recurrent(folder: Path) -> Path:
    """Scores of a signal, a state, and the number of axes of a scalar."""
    nodes = [
        helper.make_node("Unsqueeze", ["signal", "one"], ["s"]),
        helper.make_node("Conv", ["s", "w0"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["m"], axes=[2], keepdims=0),
        helper.make_node("Gather", ["state", "zero"], ["first"]),
        helper.make_node("Add", ["m", "first"], ["a"]),
        helper.make_node("Shape", ["rate"], ["sizes"]),
        helper.make_node("Size", ["sizes"], ["count"]),
        helper.make_node("Cast", ["count"], ["axes"], to=FLOAT),
        helper.make_node("Add", ["a", "axes"], ["y"]),
    ]
    inputs = {
        "state": (FLOAT, (2, "b", 4)),
        "signal": (FLOAT, ("b", "t")),
        "rate": (FLOAT, ()),
    }
    numbers = {"one": np.array([1]), "zero": np.array(0)}
    weights = drawn((4, 1, 3)) | numbers
    return written(folder / "n.onnx", nodes, inputs, {"y": ("b", 4)}, weights)


def test_a_state_is_not_taken_for_the_images_and_scalars_keep_their_shape(tmp_path: Path) -> None:
    model = scorecam.open_model(recurrent(tmp_path))
    signal = torch.randn(1, 20)
    given = {"state": torch.ones(2, 1, 4), "signal": signal, "rate": torch.tensor(16.0)}
    explanation = scorecam.explain(model, given)
    assert explanation.layer == "r"
    assert explanation.heatmap.shape == (20,)
    hidden = torch.conv1d(signal[:, None], torch.as_tensor(drawn((4, 1, 3))["w0"])).relu()
    expected = hidden.mean(2)[0] + 1  # a scalar has no axes, so that 0 is added
    torch.testing.assert_close(explanation.bank.image_scores, expected, rtol=1e-4, atol=1e-5)
    assert [layer.name for layer in scorecam.layers(model, given) if layer.default] == ["r"]


def streams(folder: Path) -> Path:
    """The scores of two pictures of one size."""
    nodes = [
        helper.make_node("Conv", ["left", "w0"], ["l"]),
        helper.make_node("Conv", ["right", "w1"], ["r"]),
        helper.make_node("Add", ["l", "r"], ["s"]),
        helper.make_node("Relu", ["s"], ["both"]),
        helper.make_node("ReduceMean", ["both"], ["y"], axes=[2, 3], keepdims=0),
    ]
    sizes: dict[str, Any] = dict.fromkeys(("left", "right"), (FLOAT, ("b", 3, 8, 6)))
    weights = drawn((4, 3, 3, 3), (4, 3, 3, 3))
    return written(folder / "n.onnx", nodes, sizes, {"y": ("b", 4)}, weights)


def test_layers_of_several_inputs_are_listed_without_any_of_them(tmp_path: Path) -> None:
    file = streams(tmp_path)
    [default] = [
        layer
        for layer in scorecam.layers(scorecam.open_model(file, masked_input="right"))
        if layer.default
    ]
    assert (default.name, default.grid) == ("both", (6, 4))
    answer = command("layers", "--model", str(file), "--masked-input", "left")
    assert answer.code == 0
    assert "→ both" in answer.out
    with pytest.raises(SettingError, match="--masked-input"):
        scorecam.layers(scorecam.open_model(file))


def test_a_network_inside_an_operation_is_refused(tmp_path: Path) -> None:
    """Voice detectors hold one network per sampling rate."""
    conv = [
        helper.make_node("Conv", ["x", "w0"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["out"], axes=[2, 3], keepdims=0),
    ]
    result = [helper.make_tensor_value_info("out", FLOAT, None)]
    graph = helper.make_graph(conv, "branch", [], result)
    choice = helper.make_node("If", ["yes"], ["y"], then_branch=graph, else_branch=graph)
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "limit"], ["yes"]),
        choice,
    ]
    weights = drawn((4, 3, 3, 3)) | {"limit": np.array(0, np.float32)}
    images = {"x": (FLOAT, ("b", 3, "h", "w"))}
    file = written(tmp_path / "n.onnx", nodes, images, {"y": ("b", 4)}, weights)
    with pytest.raises(LayerError, match="inside an operation If"):
        scorecam.explain(scorecam.open_model(file), torch.rand(3, 8, 8))


# ── outputs ──────────────────────────────────────────────────────────────────────────────────


def detector(folder: Path) -> Path:
    """A backbone of two stages and a neck: an extra level, and a branch, at coarse grids."""
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["fine"]),
        helper.make_node("Conv", ["fine", "w1"], ["c2"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["backbone"]),
        helper.make_node("Resize", ["backbone", "", "twice"], ["up"]),
        helper.make_node("Concat", ["fine", "up"], ["joined"], axis=1),
        helper.make_node("Conv", ["joined", "w2"], ["small"]),
        helper.make_node("Conv", ["backbone", "w3"], ["branch"]),
        helper.make_node("Conv", ["branch", "w4"], ["large"]),
        helper.make_node("Conv", ["branch", "w1b"], ["e"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["e"], ["extra"]),
        helper.make_node("Conv", ["extra", "w4"], ["huge"]),
        helper.make_node("Transpose", ["large"], ["rows"], perm=[0, 2, 3, 1]),
    ]
    shapes = (4, 3, 3, 3), (8, 4, 3, 3), (2, 12, 1, 1), (8, 8, 1, 1), (2, 8, 1, 1)
    weights = drawn(*shapes) | {"w1b": drawn((8, 8, 3, 3))["w0"]}
    weights["twice"] = np.array([1, 1, 2, 2], np.float32)
    outputs = dict.fromkeys(("small", "large", "huge"), ("b", 2, "h", "w"))
    images = {"x": (FLOAT, (1, 3, 32, 32))}
    return written(folder / "n.onnx", nodes, images, outputs, weights)


@pytest.mark.parametrize(
    ("output", "layer"),
    [
        (None, "backbone"),  # an extra level knows nothing about the others
        ("small[:, :, max, max]", "backbone"),
        ("large[:, :, max, max]", "branch"),
        ("huge[:, :, max, max]", "extra"),
        ("rows[:, max, max, :]", "branch"),  # not the scores before they were rearranged
    ],
)
def test_the_default_layer_is_the_deepest_grid_that_every_output_needs(
    output: str | None, layer: str, tmp_path: Path
) -> None:
    model = scorecam.open_model(detector(tmp_path), output=output)
    assert [each.name for each in scorecam.layers(model) if each.default] == [layer]


def test_a_part_of_an_output_with_positions_is_explained(tmp_path: Path) -> None:
    file = detector(tmp_path)
    image = torch.rand(3, 32, 32)

    def largest(output: dict[str, Tensor]) -> Tensor:
        return output["large"].amax((2, 3))

    by_text = scorecam.explain(scorecam.open_model(file, output="large[:, :, max, max]"), image, 1)
    by_function = scorecam.explain(scorecam.open_model(file, output=largest), image, 1)
    torch.testing.assert_close(by_text.heatmap, by_function.heatmap)
    with pytest.raises(TargetError, match=r"'NAME\[:, max, max, :\]'"):
        scorecam.explain(scorecam.open_model(file, output="large"), image)
    with pytest.raises(SettingError, match="no output 'lagre'"):
        scorecam.open_model(file, output="lagre[:, :, max, max]")
