"""Photos, pages and signals in which the place of something is known, for deployed networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of each colour."""


@dataclass(frozen=True)
class Planted:
    """A picture and what is in it.

    Args:
        picture: in RGB.
        box: of the thing: left, top, right, bottom.
    """

    picture: Image.Image
    box: tuple[int, int, int, int]


def page(quarters: int = 0) -> Image.Image:
    """scikit-image's photo of a printed page, turned anticlockwise."""
    return Image.fromarray(skimage.data.page()).convert("RGB").rotate(90 * quarters, expand=True)


def face() -> Image.Image:
    """The face in scikit-image's photo of an astronaut, with some space around it."""
    return Image.fromarray(skimage.data.astronaut()).crop((140, 20, 320, 200))


def line_of_text(text: str = "Hello 42") -> Image.Image:
    """A line of large text, 192 × 48."""
    picture = Image.new("RGB", (192, 48), "white")
    _write(picture, (8, 4), text, 34)
    return picture


def text_in_a_corner() -> Planted:
    """Two words in the lower left of an empty picture, 320 × 320."""
    picture = Image.new("RGB", (320, 320), "white")
    return Planted(picture, _write(picture, (40, 220), "Hello world", 34))


def page_with_a_figure() -> Planted:
    """A page of text with a photo in it, 608 × 800."""
    picture = Image.new("RGB", (608, 800), "white")
    words = "the quick brown fox jumps over a lazy dog and runs into the dark green wood of pines"
    for top in (*range(80, 240, 16), *range(540, 732, 16)):
        _write(picture, (60, top), words, 12)
    box = (180, 300, 420, 480)
    picture.paste(Image.fromarray(skimage.data.astronaut()).resize((240, 180)), box[:2])
    return Planted(picture, box)


def _write(
    picture: Image.Image, place: tuple[int, int], text: str, size: int
) -> tuple[int, int, int, int]:
    """Write black text, and return its box."""
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    draw.text(place, text, fill="black", font=font)
    left, top, right, bottom = draw.textbbox(place, text, font=font)
    return int(left), int(top), int(right), int(bottom)


# ── signals ──────────────────────────────────────────────────────────────────────────────────

EEG_RATE = 250


def eeg_with_a_spindle(second: float, seconds: int = 30) -> Tensor:
    """Noise as in an EEG, with a sleep spindle: 13 Hz for half a second, `b 1 t`."""
    count = seconds * EEG_RATE
    random = np.random.default_rng(0)
    frequencies = np.fft.rfftfreq(count, 1 / EEG_RATE)
    pink = np.fft.rfft(random.standard_normal(count)) / np.maximum(frequencies, 0.5)
    noise = np.fft.irfft(pink, count)
    time = np.arange(count) / EEG_RATE
    burst = np.exp(-(((time - second) / 0.35) ** 2)) * np.sin(2 * np.pi * 13 * time)
    signal = noise / noise.std() + 1.25 * burst
    normalised = (signal - signal.mean()) / signal.std()
    return torch.as_tensor(normalised, dtype=torch.float32)[None, None]


class Scalogram:
    """The input that spindle detectors compute from the signal: `b 1 t` → `b 15 t`.

    The sizes of a wavelet transform at 15 scales, normalised, as in brainmaze-eeg-models (BSD-3).
    """

    def __init__(self, count: int) -> None:
        places = np.linspace(-20, 20, 2**10)
        step = places[1] - places[0]
        wavelet = np.sqrt(6) * np.sinc(6 * places) * np.exp(2j * np.pi * 13 * places)
        integral = np.conj(np.cumsum(wavelet) * step)
        scales = np.geomspace(135, 270, 15)
        kernels = [self._kernel(integral, scale, step) for scale in scales]
        self.length = count + max(map(len, kernels))
        self.starts = [(len(kernel) - 2) // 2 + 1 for kernel in kernels]
        spectra = [
            -np.sqrt(scale) * np.fft.fft(np.diff(kernel, prepend=0, append=0), self.length)
            for scale, kernel in zip(scales, kernels, strict=True)
        ]
        self.spectra = torch.as_tensor(np.stack(spectra)).to(torch.complex64)

    @staticmethod
    def _kernel(integral: np.ndarray, scale: float, step: float) -> np.ndarray:
        places = (np.arange(scale * 40 + 1) / (scale * step)).astype(int)
        return integral[places[places < integral.size]][::-1]

    def __call__(self, signal: Tensor) -> Tensor:
        whole = torch.fft.ifft(torch.fft.fft(signal, self.length) * self.spectra).abs()
        count = signal.shape[-1]
        rows = [whole[:, i, start : start + count] for i, start in enumerate(self.starts)]
        sizes = torch.stack(rows, 1)
        spread = sizes.std(-1, keepdim=True, correction=0)
        return ((sizes - sizes.mean(-1, keepdim=True)) / spread).nan_to_num()


def tone(hertz: float, count: int, rate: int = 16_000) -> Tensor:
    """A tone with twelve harmonics, as a vowel has them, `t`."""
    time = torch.arange(count) / rate
    parts = [torch.sin(2 * torch.pi * hertz * k * time) / k for k in range(1, 13)]
    return 0.3 * torch.stack(parts).sum(0)
