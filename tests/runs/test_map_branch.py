"""Networks in ONNX files that compute a heatmap themselves."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from onnxruntime import quantization
from PIL import Image

import scorecam
from command_line import refused
from command_line import scorecam as command
from onnx_heads import CLASSES, SIZE, classifier, weights
from scorecam.backends.branches.weights import Overlap, branch_map
from scorecam.model.model import WhiteBox
from scorecam.runs.map_branch.fit import Fit

PLAIN = scorecam.Preprocess(
    size=(SIZE, SIZE), fit="squash", mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="nearest"
)


def images(count: int = 3, seed: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


def answers(path: Path, inputs: Any, names: list[str]) -> list[Any]:
    return onnxruntime.InferenceSession(str(path)).run(names, {"image": inputs})


def opened(path: Path) -> scorecam.Model:
    return scorecam.open_model(str(path), preprocess=PLAIN)


def exported(path: Path, **options: Any) -> scorecam.MapExport:
    return scorecam.export_with_map(opened(path), out=path.with_suffix(".map.onnx"), **options)


def activations(path: Path, inputs: Any) -> np.ndarray[Any, Any]:
    proto = onnx.load(path)
    proto.graph.output.append(onnx.ValueInfoProto(name="maps"))
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(["maps"], {"image": inputs})[0].astype(np.float32)


def class_maps(path: Path, inputs: Any) -> np.ndarray[Any, Any]:
    """The class activation maps of the predicted classes, in NumPy."""
    maps, [scores] = activations(path, inputs), answers(path, inputs, ["scores"])
    rows = weights()["rows"].astype(np.float32)[scores.argmax(axis=1)]
    sums = np.maximum(np.einsum("bk,bkhw->bhw", rows, maps), 0)
    low, high = sums.min(axis=(1, 2), keepdims=True), sums.max(axis=(1, 2), keepdims=True)
    return (sums - low) / np.maximum(high - low, 1e-20)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(15):
        pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed:02}.png")
    return folder


@pytest.mark.parametrize("head", ["gemm", "matmul", "conv"])
def test_a_linear_head_gives_the_class_activation_map(head: str, tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx", head)
    before = net.read_bytes()
    saved = exported(net)
    inputs = images()
    maps, scores = answers(saved.path, inputs, ["map", "scores"])

    assert saved.method == "class"
    assert maps.shape == (3, 4, 4)
    np.testing.assert_allclose(maps, class_maps(net, inputs), atol=1e-5)
    np.testing.assert_array_equal(scores, answers(net, inputs, ["scores"])[0])
    assert net.read_bytes() == before


@pytest.mark.parametrize("head", ["last", "tokens"])
def test_maps_with_channels_last_and_tokens_are_read(head: str, tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx", head)
    saved, inputs = exported(net, layer="turned"), images()
    [maps] = answers(saved.path, inputs, ["map"])

    assert (saved.method, saved.layer) == ("class", "turned")
    np.testing.assert_allclose(maps, class_maps(net, inputs), atol=1e-5)


def test_openvino_computes_the_same_map_and_the_same_scores(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx")
    saved = exported(net)
    core, inputs = openvino.Core(), images()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    plain = core.compile_model(str(net), "CPU", settings)({"image": inputs})
    found = core.compile_model(str(saved.path), "CPU", settings)({"image": inputs})

    np.testing.assert_allclose(found["map"], class_maps(net, inputs), atol=1e-5)
    np.testing.assert_allclose(found["scores"], plain["scores"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("batch", "found"), [("b", "b"), (1, 1)])
def test_the_batch_of_the_map_is_that_of_the_input(
    batch: str | int, found: str | int, tmp_path: Path
) -> None:
    saved = exported(classifier(tmp_path / "net.onnx", batch=batch))
    output = onnxruntime.InferenceSession(str(saved.path)).get_outputs()[-1]

    assert output.name == "map"
    assert output.shape[0] == found


def test_a_float16_network_gets_a_float32_map(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx", half=True)
    saved, inputs = exported(net), images()
    maps, scores = answers(saved.path, inputs, ["map", "scores"])

    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, class_maps(net, inputs), atol=5e-3)
    np.testing.assert_allclose(scores, answers(net, inputs, ["scores"])[0], rtol=1e-3, atol=1e-3)


class Calibration(quantization.CalibrationDataReader):
    def __init__(self) -> None:
        self.left = [{"image": images(1, seed)} for seed in range(4)]

    def get_next(self) -> Any:
        return self.left.pop() if self.left else None


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_quantised_network_keeps_its_scores(
    form: str, tmp_path: Path, *, per_channel: bool
) -> None:
    net, small = classifier(tmp_path / "net.onnx", "matmul"), tmp_path / "int8.onnx"
    quantization.quantize_static(
        str(net),
        str(small),
        Calibration(),
        quant_format=quantization.QuantFormat[form],
        per_channel=per_channel,
    )
    saved, inputs = exported(small), images()
    maps, scores = answers(saved.path, inputs, ["map", "scores"])

    np.testing.assert_array_equal(scores, answers(small, inputs, ["scores"])[0])
    assert saved.method == "class"
    for one, other in zip(maps, class_maps(net, inputs), strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.97


def test_a_head_with_a_hidden_layer_gets_the_overlap_of_masks(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx", "hidden")
    saved, inputs = exported(net), images()
    [found] = answers(saved.path, inputs, ["map"])
    maps = torch.from_numpy(activations(net, inputs))
    equal = Overlap(np.ones(5, np.float32))

    assert saved.method == "overlap"
    for own, each in zip(found, maps, strict=True):
        expected = branch_map(equal, each, torch.zeros(CLASSES))
        np.testing.assert_allclose(own, expected, atol=1e-5)


def test_the_overlap_weights_are_those_of_a_case_worked_out_by_hand() -> None:
    maps = torch.tensor([[[4.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]], [[3.0, 3.0, 3.0]]])
    # The sum is 7, 5, 3. The masks are 1 0 0 and 0 1 0; the third channel has none. The overlaps
    # are 7 and 5, so the weights are 1, −1 and 0.
    found = branch_map(Overlap(np.ones(3, np.float32)), maps, torch.zeros(2))

    assert found.tolist() == [[1.0, 0.0, 0.0]]


def test_photos_fit_the_overlap_and_a_third_of_them_measure_it(
    photos: Path, tmp_path: Path
) -> None:
    net = classifier(tmp_path / "net.onnx", "hidden")
    saved = exported(net, photos=photos)
    metadata = {each.key: each.value for each in onnx.load(saved.path).metadata_props}

    assert (saved.method, saved.fitted) == ("fitted overlap", 10)
    assert saved.fidelity is not None
    assert saved.fidelity.photos + saved.fidelity.undefined == 5
    assert metadata["scorecam.map.fidelity"] == saved.fidelity.sentence
    assert float(metadata["scorecam.map.fidelity.worst"]) == round(saved.fidelity.worst, 4)
    assert metadata["scorecam.map.photos"].startswith("10 fitted")
    assert metadata["scorecam.map.source sha256"] == opened(net).fingerprint()


def test_the_fidelity_is_the_correlation_with_explained_photos(
    photos: Path, tmp_path: Path
) -> None:
    net = classifier(tmp_path / "net.onnx")
    saved = exported(net, photos=photos, budget="exact")
    model, values = opened(net), []
    for photo in sorted(photos.iterdir()):
        explanation = scorecam.explain(model, photo)
        [[grid]] = answers(saved.path, model.read(photo).image[None].numpy(), ["map"])[:1]
        enlarged = torch.nn.functional.interpolate(
            torch.from_numpy(grid)[None, None], (SIZE, SIZE), mode="bilinear"
        )
        pair = enlarged.flatten().numpy(), explanation.heatmap.flatten().numpy()
        values.append(np.corrcoef(*pair)[0, 1])

    assert saved.fidelity is not None
    assert saved.fidelity.photos == 15
    assert saved.fidelity.mean == pytest.approx(np.mean(values), abs=1e-4)


def test_without_photos_the_metadata_says_that_nothing_was_measured(tmp_path: Path) -> None:
    saved = exported(classifier(tmp_path / "net.onnx"))
    metadata = {each.key: each.value for each in onnx.load(saved.path).metadata_props}

    assert saved.fidelity is None
    assert metadata["scorecam.map.fidelity"].startswith("not measured")
    assert metadata["scorecam.map.photos"] == "0 fitted, 0 held out"


def test_a_fit_finds_the_weights_of_planted_maps() -> None:
    random = torch.Generator().manual_seed(0)
    planted = torch.tensor([3.0, 0.5, 1.0, 0.1])
    fit = Fit.of(4)
    for _ in range(400):
        maps = torch.rand(4, 5, 5, generator=random)
        fit.add(maps, torch.tensordot(planted, maps, dims=1))
    found = torch.from_numpy(fit.weights().channels)

    assert (found.argsort() == planted.argsort()).all()


def test_external_data_is_put_into_the_new_file(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx")
    outside = tmp_path / "outside"
    outside.mkdir()
    onnx.save(
        onnx.load(net),
        outside / "net.onnx",
        save_as_external_data=True,
        location="net.bin",
        size_threshold=0,
    )
    saved = exported(outside / "net.onnx")
    moved = saved.path.rename(tmp_path / "moved.onnx")

    np.testing.assert_allclose(
        answers(moved, images(), ["map"])[0], class_maps(net, images()), atol=1e-5
    )


# ── errors ───────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_exists_is_kept_without_force(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx")
    out = tmp_path / "net.map.onnx"
    out.write_bytes(b"mine")
    with pytest.raises(scorecam.OutputError, match=r"already exists.*--force"):
        exported(net)
    assert out.read_bytes() == b"mine"
    assert exported(net, force=True).path == out


def test_the_network_itself_is_never_overwritten(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx")
    before = net.read_bytes()
    with pytest.raises(scorecam.OutputError, match="file of the network itself"):
        scorecam.export_with_map(opened(net), out=net, force=True)
    assert net.read_bytes() == before


def test_a_network_in_pytorch_has_to_be_exported_first(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    model = scorecam.open_model(net, preprocess=PLAIN)
    with pytest.raises(scorecam.ModelError, match=r"no ONNX file.*torch\.onnx\.export first"):
        scorecam.export_with_map(model, out=tmp_path / "net.map.onnx")
    with pytest.raises(scorecam.ModelError, match="no ONNX file"):  # its size is not the fault
        scorecam.export_with_map(scorecam.open_model(net), out=tmp_path / "net.map.onnx")


def test_the_new_file_has_the_suffix_of_its_format(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx")
    with pytest.raises(scorecam.OutputError, match=r"does not end in \.onnx"):
        scorecam.export_with_map(str(net), out=tmp_path / "net.xml")


def test_a_network_with_several_inputs_is_refused_in_words(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx")
    proto = onnx.load(net)
    value = onnx.helper.make_tensor_value_info("age", onnx.TensorProto.FLOAT, ["b", 2])
    proto.graph.input.append(value)
    onnx.save(proto, net)
    with pytest.raises(scorecam.SettingError, match="takes 2 inputs"):
        scorecam.export_with_map(str(net), out=tmp_path / "net.map.onnx")


def test_a_network_with_a_map_gets_no_second_one(tmp_path: Path) -> None:
    saved = exported(classifier(tmp_path / "net.onnx"))
    with pytest.raises(scorecam.ModelError, match="called 'map' already"):
        scorecam.export_with_map(
            scorecam.open_model(str(saved.path), preprocess=PLAIN, output="scores"),
            out=tmp_path / "twice.onnx",
        )


def test_a_layer_without_a_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(scorecam.LayerError):
        exported(classifier(tmp_path / "net.onnx"), layer="means")


def test_too_few_photos_for_a_fit_are_refused_in_words(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(scorecam.DatasetError, match="5 photos are too few to fit"):
        exported(classifier(tmp_path / "net.onnx", "hidden"), photos=photos, limit=5)


def test_an_old_opset_is_refused_in_words(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx", "matmul", opset=8)
    with pytest.raises(scorecam.ModelError, match=r"version 8 .*needs 9 or later"):
        exported(net)


def test_without_preprocessing_the_input_has_the_size_that_the_file_states(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx")
    saved = scorecam.export_with_map(str(net), out=tmp_path / "net.map.onnx")
    assert saved.path.read_bytes() == exported(net, force=True).path.read_bytes()


def test_an_unknown_input_size_is_refused_in_words(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx")
    proto = onnx.load(net)
    for axis in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.dim_param = "size"
    onnx.save(proto, net)
    with pytest.raises(scorecam.SettingError, match=r"any size.*--preprocess"):
        scorecam.export_with_map(str(net), out=tmp_path / "net.map.onnx")


# ── the command ──────────────────────────────────────────────────────────────────────────────


def test_the_command_prints_what_the_map_is_and_how_far_it_is_off(
    photos: Path, tmp_path: Path
) -> None:
    net = classifier(tmp_path / "net.onnx")
    (tmp_path / "preprocess.json").write_text(json.dumps(PLAIN.to_dict()), "utf-8")
    options = ["--preprocess", str(tmp_path / "preprocess.json")]
    out = ["--out", str(tmp_path / "net.map.onnx")]
    answer = command("export", str(net), str(photos), "--with-map", *options, *out)

    assert answer.code == 0, answer
    assert "new output map, 4×4, from the layer" in answer.out
    assert "on 15 held-out photos: mean" in answer.out
    refused(command("export", str(net), "--with-map", *options, *out), "already exists", "--force")
    refused(command("export", str(net), *options, *out), "--with-map")


@pytest.mark.long
def test_lite0_with_a_map_agrees_with_score_cam(tmp_path: Path) -> None:
    lite0 = scorecam.open_model("lite0")
    net = tmp_path / "lite0.onnx"
    x = lite0.read(Path(scorecam.__file__).parent / "data/chelsea.jpg").image[None]
    assert isinstance(lite0, WhiteBox)
    with lite0.differentiable() as network, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated; the new one takes 20 s
        torch.onnx.export(
            network, (x,), str(net), dynamo=False, opset_version=17, input_names=["image"]
        )
    model = scorecam.open_model(str(net), preprocess=lite0.preprocess)
    saved = scorecam.export_with_map(model, out=tmp_path / "lite0.map.onnx")
    [grid] = answers(saved.path, x.numpy(), ["map"])
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(grid)[None], (224, 224), mode="bilinear"
    )
    heatmap = scorecam.explain(model, x[0], budget="fast").heatmap

    assert saved.method == "class"
    assert np.corrcoef(enlarged.flatten(), heatmap.flatten())[0, 1] > 0.9
