"""Bad files of OpenVINO and TFLite: each is refused in words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import scorecam
from openvino_networks import converted, saved
from scorecam.backends.runtimes.openvino import load
from scorecam.errors import ModelError, ScorecamError, SettingError, WeightsError

pytestmark = pytest.mark.needs("openvino")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    folder = tmp_path_factory.mktemp("openvino")
    return converted(network, torch.rand(1, 3, 8, 8), folder / "net.xml")


@pytest.fixture
def file(original: Path, tmp_path: Path) -> Path:
    for path in original.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / "net.xml"


Damage = Callable[[Path], object]


def replaced(old: str, new: str) -> Damage:
    def damage(file: Path) -> None:
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), "utf-8")

    return damage


DAMAGED: dict[str, tuple[Damage, type[ScorecamError], str]] = {
    "no weights": (lambda file: file.with_suffix(".bin").unlink(), WeightsError, "no file 'net"),
    "short weights": (
        lambda file: file.with_suffix(".bin").write_bytes(b"1234"),
        WeightsError,
        "too short",
    ),
    "truncated": (
        lambda file: file.write_bytes(file.read_bytes()[:600]),
        ModelError,
        "not valid XML",
    ),
    "empty": (lambda file: file.write_bytes(b""), ModelError, "not valid XML"),
    "entities": (
        replaced('<?xml version="1.0"?>', '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "b">]>'),
        ModelError,
        "document type",
    ),
    "other XML": (lambda file: file.write_text("<svg/>"), ModelError, "no model of OpenVINO"),
    "wrong size": (replaced('shape="4, 3, 3, 3"', 'shape="4, 3, 3, 4"'), ModelError, "need"),
    "huge shape": (
        replaced('shape="4, 3, 3, 3"', 'shape="400000000, 300000000"'),
        ModelError,
        "need",
    ),
    "outside": (replaced('offset="0"', 'offset="123456789"'), WeightsError, "too short"),
    "negative": (replaced('offset="0"', 'offset="-8"'), ModelError, "without a place"),
    "unknown type": (
        replaced('element_type="f32" shape="4', 'element_type="q7" shape="4'),
        ModelError,
        "unknown type",
    ),
    "unknown operator": (replaced('type="ReLU"', 'type="Mine"'), ModelError, "Custom operators"),
    "unknown opset": (
        replaced('type="ReLU" version="opset1"', 'type="ReLU" version="mine"'),
        ModelError,
        "Custom operators",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_model_of_openvino_is_refused_in_words(name: str, file: Path) -> None:
    damage, error, words = DAMAGED[name]
    damage(file)
    with pytest.raises(error, match=words):
        scorecam.open_model(str(file))


def test_a_missing_file_is_refused_in_words(tmp_path: Path) -> None:
    for name in ("net.xml", "net.tflite"):
        with pytest.raises(ModelError, match="There is no file"):
            scorecam.open_model(str(tmp_path / name))


def test_an_older_openvino_opens_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(b"anything")
    monkeypatch.setattr(load(), "__version__", "2024.4.0-1234")
    with pytest.raises(scorecam.MissingExtra, match=r"2024\.4\.0 is too old.*openvino>=2026\.4"):
        scorecam.open_model(str(path))


@pytest.mark.parametrize("content", [b"", b"\x1c\0\0\0TFL3", b"\x1c\0\0\0TFL3" + bytes(100)])
def test_a_damaged_tflite_file_is_refused_in_words(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "net.tflite"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"no TFLite file|cannot read"):
        scorecam.open_model(str(file))


def test_a_tensor_that_would_fill_memory_is_refused(tmp_path: Path) -> None:
    openvino = load()
    ops = openvino.opset13
    image = ops.parameter([-1, 3, 8, 8], np.float32, name="image")
    large = ops.broadcast(ops.constant(np.float32(1)), ops.constant(np.array([1, 3, 2**15, 2**15])))
    mean = ops.reduce_mean(large, ops.constant(np.array([2, 3])), keep_dims=True)
    path = saved(openvino.Model([ops.add(image, mean)], [image], "net"), tmp_path / "net.xml")
    with pytest.raises(ModelError, match="exhaust memory"):
        scorecam.open_model(str(path))


def test_a_network_that_keeps_a_state_is_refused(tmp_path: Path) -> None:
    openvino = load()
    ops = openvino.opset13
    image = ops.parameter([1, 3, 8, 8], np.float32, name="image")
    state = ops.read_value(ops.constant(np.zeros((1, 3, 8, 8), np.float32)), "state")
    total = ops.add(image, state)
    kept = ops.assign(total, "state")
    model = openvino.Model([ops.result(total)], [kept], [image], "net")
    with pytest.raises(ModelError, match="keeps a state"):
        scorecam.open_model(str(saved(model, tmp_path / "net.xml")))


def test_another_size_of_image_is_refused_with_the_size_that_fits(file: Path) -> None:
    model = scorecam.open_model(str(file))
    with pytest.raises(ModelError, match=r"\(any, 3, 8, 8\)"):
        model.layers(torch.rand(1, 3, 9, 9))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net.engine", "TensorRT"),
        ("net.plan", "TensorRT"),
        ("net.pb", "TensorFlow"),
        ("saved/saved_model.pb", "SavedModel"),
        ("net.mlpackage/x", "Core ML"),
        ("net.keras", "Keras"),
    ],
)
def test_formats_that_are_not_opened_are_named_with_what_to_do(
    name: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"x")
    given = file if file.parent == tmp_path else file.parent
    with pytest.raises(ModelError, match=words) as caught:
        scorecam.open_model(str(given))
    assert "ONNX" in str(caught.value)


def test_only_files_of_the_known_suffixes_are_opened_with_the_prefix(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"\.xml, \.tflite, \.onnx"):
        scorecam.open_model(f"openvino:{tmp_path / 'net.pt'}")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "GPU", torch.device("mps")])
def test_another_device_than_the_processor_is_refused(
    device: str | torch.device, file: Path
) -> None:
    with pytest.raises(SettingError, match=r"--device.*processor only"):
        scorecam.open_model(file, device=device)
    assert scorecam.open_model(file, device="cpu").device == torch.device("cpu")


def test_messages_of_openvino_are_shown_without_places_in_its_source(file: Path) -> None:
    replaced('type="ReLU"', 'type="Mine"')(file)
    with pytest.raises(ModelError, match=r"'net\.xml': Opset opset1 doesn't contain"):
        scorecam.open_model(file)
