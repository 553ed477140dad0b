"""Detectors in ONNX files: raw outputs, and suppression inside the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scorecam
from detectors import CELL, COLOURS, FORMS, Spots, cell_boxes, picture
from scorecam.tasks import Detect

pytestmark = pytest.mark.needs("onnx")

SIZE = 64, 96
RED, GREEN = (1, 2), (6, 9)
IMAGE = picture({RED: (0, 0.9), GREEN: (1, 0.6)}, SIZE)
BOXES = [[16.0, 8, 24, 16], [72, 48, 80, 56]]


def inside(heatmap: torch.Tensor, box: list[float]) -> float:
    """The part of a map in a box and a cell around it."""
    left, top, right, bottom = (int(number) for number in box)
    part = heatmap[max(top - CELL, 0) : bottom + CELL, max(left - CELL, 0) : right + CELL]
    return float(part.sum() / heatmap.sum())


def exported(form: str, path: Path, *, dynamic: bool = True) -> Path:
    import onnx_networks

    return onnx_networks.exported(Spots(FORMS[form]), IMAGE[None], path, dynamic=dynamic)


@pytest.mark.parametrize("form", ["yolo", "yolo_v5", "end_to_end"])
def test_an_exported_detector_has_the_maps_of_the_network(tmp_path: Path, form: str) -> None:
    model = scorecam.open_model(exported(form, tmp_path / "net.onnx"), labels=COLOURS)
    network = scorecam.open_model(Spots(FORMS[form]).eval(), labels=COLOURS)
    for target in ("red", "green"):
        of_file = scorecam.explain(model, IMAGE, target, task="detect")
        of_network = scorecam.explain(network, IMAGE, target, task="detect", layer="maps")
        assert of_file.bank.boxes is not None
        assert of_file.bank.boxes.tolist() == BOXES
        assert inside(of_file.heatmap, BOXES[of_file.target.index]) > 0.99
        assert inside(of_network.heatmap, BOXES[of_network.target.index]) > 0.99


def test_names_in_the_metadata_name_the_boxes(tmp_path: Path) -> None:
    import onnx

    path = exported("yolo", tmp_path / "net.onnx")
    file = onnx.load(path)
    onnx.helper.set_model_props(file, {"names": "{0: 'red', 1: 'green', 2: 'blue'}"})
    onnx.save(file, path)
    model = scorecam.open_model(path)
    assert model.names is None
    assert model.class_names == COLOURS
    assert scorecam.explain(model, IMAGE, task="detect").bank.names == ("red", "green")


def with_suppression(path: Path) -> Path:
    """The means of cells, and the boxes that remain: their number differs from image to image."""
    from onnx import TensorProto, helper

    import onnx_networks

    def node(kind: str, inputs: list[str], outputs: list[str], **settings: Any) -> Any:
        return helper.make_node(kind, inputs, outputs, **settings)

    nodes = [
        node("Conv", ["x", "mean"], ["maps"], strides=[CELL, CELL]),
        node("Relu", ["maps"], ["act"]),
        node("Conv", ["act", "same"], ["found"]),
        node("Reshape", ["found", "flat"], ["numbers"]),
        node("NonMaxSuppression", ["all", "numbers", "most", "overlap", "least"], ["chosen"]),
        node("Split", ["chosen", "ones"], ["image", "kind", "row"], axis=1),
        node("Squeeze", ["kind", "one"], ["labels"]),
        node("Squeeze", ["row", "one"], ["rows"]),
        node("Gather", ["every", "rows"], ["boxes"], axis=0),
        node("GatherND", ["numbers", "chosen"], ["scores"]),
    ]
    weights: dict[str, np.ndarray[Any, Any]] = {
        "mean": np.zeros((3, 3, CELL, CELL), np.float32),
        "same": np.eye(3, dtype=np.float32)[:, :, None, None],
        "flat": np.array([1, 3, -1]),
        "every": cell_boxes(*SIZE).numpy(),
        "all": cell_boxes(*SIZE).numpy()[None],
        "most": np.array([20]),
        "overlap": np.array([0.5], np.float32),
        "least": np.array([0.05], np.float32),
        "ones": np.array([1, 1, 1]),
        "one": np.array([1]),
    }
    for colour in range(3):
        weights["mean"][colour, colour] = 1 / CELL**2
    return onnx_networks.written(
        path,
        nodes,
        {"x": (TensorProto.FLOAT, [1, 3, *SIZE])},
        {"boxes": ["n", 4], "scores": ["n"], "labels": None},
        weights,
    )


@pytest.fixture
def suppressed(tmp_path: Path) -> scorecam.model.model.Model:  # type: ignore[name-defined]
    import onnx

    path = with_suppression(tmp_path / "nms.onnx")
    file = onnx.load(path)
    file.graph.output[2].type.tensor_type.elem_type = onnx.TensorProto.INT64
    onnx.save(file, path)
    return scorecam.open_model(path, labels=COLOURS, task=Detect())


def test_suppression_inside_the_graph_leaves_any_number_of_boxes(suppressed: Any) -> None:
    explanation = scorecam.explain(suppressed, IMAGE, "green")
    bank = explanation.bank
    assert "decoded as nms" in bank.provenance.remarks[0]
    assert bank.names == ("red", "green")
    assert bank.boxes is not None
    assert bank.boxes.tolist() == BOXES
    assert inside(explanation.heatmap, BOXES[1]) > 0.99
    assert inside(bank.heatmap("red"), BOXES[0]) > 0.99
    assert float(bank.scores.min()) == 0  # masks under which no box remains


def test_no_box_in_a_graph_with_suppression_is_refused(suppressed: Any) -> None:
    with pytest.raises(scorecam.errors.TargetError, match="The detector found no box"):
        scorecam.explain(suppressed, IMAGE * 0)
