"""Faces (TFLite), a vision transformer, and a volume: deployed networks for pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor

import scorecam
from command_line import scorecam as command
from deployed_inputs import IMAGENET, face, page
from scorecam import Preprocess

pytestmark = [pytest.mark.long, pytest.mark.needs("deployed", "eval")]

Deployed = Callable[[str], Path]
Direct = Callable[..., dict[str, Any]]

# ── faces: channels last, one picture at a time ──────────────────────────────────────────────

FACE = (0.32, 0.08, 0.58, 0.42)
"""The astronaut's face as shares of the photo: left, top, right, bottom."""


def preprocess(size: int, mean: float = 0.5, std: float = 0.5) -> Preprocess:
    return Preprocess(size=(size, size), fit="squash", mean=(mean,) * 3, std=(std,) * 3)


def in_openvino(file: Path, inputs: Tensor) -> list[np.ndarray[Any, Any]]:
    """The outputs of a file in OpenVINO itself, channels last."""
    from scorecam.backends.runtimes.openvino import RUNTIME

    assert RUNTIME.installed()  # without its telemetry
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(file), "CPU", settings)
    found = compiled([inputs.movedim(1, -1).numpy()])
    return [np.array(found[output]) for output in compiled.outputs]


@pytest.mark.needs("openvino")
@pytest.mark.parametrize(
    ("name", "size", "scores", "layer"),
    [
        ("face_detection_front", 128, "classificators", (96, 8, 8)),
        ("face_detection_back", 256, "classificators", (96, 8, 8)),
        ("face_detection_full_range", 192, "reshaped_classifier_face_4", (96, 6, 6)),
    ],
)
def test_a_face_detector_finds_the_face_and_its_layer_is_the_deepest_grid(
    name: str, size: int, scores: str, layer: tuple[int, ...], deployed: Deployed
) -> None:
    file = deployed(f"{name}.tflite")
    model = scorecam.open_model(
        file, preprocess=preprocess(size), output=f"{scores}[:, max, 0]", head="sigmoid"
    )
    assert any("batches of 1" in remark for remark in model.remarks)
    inputs = model.read(face()).image[None]
    [direct] = [found for found in in_openvino(file, inputs) if found.shape[-1] == 1]
    explanation = scorecam.explain(model, face())
    assert explanation.bank.activations.shape == layer
    found = float(explanation.bank.image_scores[-1])
    np.testing.assert_allclose(found, direct.max(), rtol=1e-3)
    nothing = float(model.scores(model.read(page()).image[None])[0, -1])
    assert found > 1 > nothing + 0.5  # logits
    assert explanation.heatmap.shape == (size, size)


@pytest.mark.needs("openvino")
def test_the_map_of_a_face_in_a_photo_peaks_on_it(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line, with channels last and a batch of one."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(skimage.data.astronaut()).save("astronaut.png")
    Path("p.json").write_text(json.dumps(preprocess(192).to_dict()), "utf-8")
    words = ["--model", str(deployed("face_detection_full_range.tflite")), "--head", "sigmoid"]
    words += ["--output", "reshaped_classifier_face_4[:, max, 0]", "--preprocess", "p.json"]
    answer = command("explain", "astronaut.png", *words, "--json")
    assert answer.code == 0, answer.err
    [item] = answer.items
    assert item["channels"]["total"] == 96
    assert "batches of 1" in answer.err
    heatmap = scorecam.ScoreBank.load(item["files"]["bank"]).heatmap(1)
    row, column = (place / 192 for place in divmod(int(heatmap.flatten().argmax()), 192))
    assert FACE[0] <= column < FACE[2]
    assert FACE[1] <= row < FACE[3]


@pytest.mark.needs("openvino")
def test_face_landmarks_are_explained_by_their_score(deployed: Deployed) -> None:
    model = scorecam.open_model(
        deployed("face_landmark.tflite"),
        preprocess=preprocess(192, 0, 1),
        output="conv2d_30[:, 0, 0, :]",
        head="sigmoid",
    )
    with_face, without = (scorecam.explain(model, photo) for photo in (face(), page()))
    assert with_face.bank.activations.shape == (32, 3, 3)
    assert with_face.bank.image_scores[-1] > 2 * without.bank.image_scores[-1]
    row, column = divmod(int(with_face.heatmap.flatten().argmax()), 192)
    assert 64 <= row < 128
    assert 64 <= column < 128


# ── a vision transformer ─────────────────────────────────────────────────────────────────────


@pytest.mark.needs("onnx")
def test_a_vision_transformer_is_explained_on_its_tokens(
    deployed: Deployed, direct: Direct
) -> None:
    """It marks what is important in a picture: a face on an empty background."""
    file = deployed("vit_s_focus.onnx")
    stated = Preprocess(size=(224, 224), fit="squash", mean=IMAGENET[0], std=IMAGENET[1])
    picture = Image.new("RGB", (224, 224), (150, 170, 150))
    picture.paste(face().resize((90, 90)), (112, 112))
    model = scorecam.open_model(file, preprocess=stated, output="[:, :, mean, mean]", head="value")
    [default] = [layer for layer in scorecam.layers(model) if layer.default]
    assert (default.channels, default.grid, default.layout) == (384, (16, 16), "tokens")
    inputs = model.read(picture).image[None]
    importance = direct(file, input_image=inputs.numpy())["output_importance"][0, 0]
    assert importance[112:202, 112:202].mean() > 10 * importance[:100, :100].mean()
    explanation = scorecam.explain(model, picture, budget=24)
    assert explanation.bank.activations.shape == (384, 16, 16)
    np.testing.assert_allclose(float(explanation.target.score), importance.mean(), rtol=1e-3)


# ── a volume ─────────────────────────────────────────────────────────────────────────────────


def head(size: int = 64) -> tuple[Tensor, Tensor]:
    """A head in layers, `1 1 d h w`, and where its brain is, `d h w`."""
    place = torch.arange(size) - size / 2 + 0.5
    z, y, x = torch.meshgrid(place - 6, place + 8, place - 4, indexing="ij")

    def ball(*radii: float) -> Tensor:
        pairs = zip((x, y, z), radii, strict=True)
        parts = [(place / (radius * 0.7 * size)) ** 2 for place, radius in pairs]
        return torch.stack(parts).sum(0) < 1

    skin, skull, brain = ball(0.40, 0.46, 0.44), ball(0.36, 0.42, 0.40), ball(0.32, 0.38, 0.36)
    folds = 0.55 + 0.1 * torch.sin(0.8 * x) * torch.sin(0.8 * y)
    values = 0.75 * (skin & ~skull) + 0.08 * (skull & ~brain) + brain * folds
    noise = 0.02 * torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    return (values + noise).clamp(0, 1)[None, None], brain


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_a_brain_in_a_volume_is_found_by_a_torchscript_file(deployed: Deployed) -> None:
    network = torch.jit.load(deployed("bbox_model.pt"), map_location="cpu").eval()
    volume, brain = head()
    with torch.no_grad():
        found = network(volume)[0, 1]
    assert found[brain].mean() > 0.9
    assert found[~brain].mean() < 0.2
    model = scorecam.open_model(network, output="[:, 1, mean, mean, mean]", head="value")
    layers = scorecam.layers(model, volume)
    assert (128, (2, 2, 2)) in [(layer.channels, layer.grid) for layer in layers]
    assert not any(layer.name.startswith(("mean", "select")) for layer in layers)
    explanation = scorecam.explain(model, volume)
    assert explanation.layer == "relu#31"
    assert explanation.heatmap.shape == (64, 64, 64)
    np.testing.assert_allclose(float(explanation.target.score), float(found.mean()), rtol=1e-4)
    share = float(explanation.heatmap[brain].sum() / explanation.heatmap.sum())
    assert share > 3 * float(brain.float().mean())
