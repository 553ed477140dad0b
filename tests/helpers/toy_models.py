"""Factories of small networks, for `--model toy_models:NAME` on the command line.

Some fail on purpose; their docstrings say how.
"""

from __future__ import annotations

import functools
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scorecam.testing import Spy

CLASSES = 5
CHANNELS = 6

SPIES: list[Spy] = []
"""Every network that `spied` built, in order; tests clear the list."""


class Tiny(nn.Module):
    """Two convolutions, the second with stride 2, and a linear head."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, CHANNELS, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(CHANNELS, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.pool(self.body(images))))


class Altered(nn.Module):
    """A network whose output is replaced by a function of its input and output."""

    def __init__(self, network: nn.Module, change: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.network = network
        self.change = change

    def forward(self, images: Tensor) -> Any:
        return self.change(images, self.network(images))


def tiny(classes: int = CLASSES, seed: int = 0) -> Tiny:
    """A network with the same weights every time; no channel is flat on an ordinary photo."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Tiny(classes)
        for tensor in network.parameters():
            nn.init.normal_(tensor, std=0.5)
        nn.init.constant_(network.body[2].bias, 2.0)
    return network


# ── models that work ─────────────────────────────────────────────────────────────────────────


two_classes = functools.partial(tiny, classes=2)

a_module = tiny(seed=1)
"""A network instead of a factory."""


def spied() -> Spy:
    """Records every image it receives; the network is appended to `SPIES`."""
    SPIES.append(Spy(tiny()))
    return SPIES[-1]


def grey() -> nn.Module:
    """Takes grey images: one channel."""
    network = tiny()
    network.body[0] = nn.Conv2d(1, 4, 3, padding=1)
    return network


def talkative() -> nn.Module:
    """Prints when it is built and in every pass, as during debugging."""
    sys.stdout.write("Loading my weights …\n")

    def print_shape(images: Tensor, output: Tensor) -> Tensor:
        sys.stdout.write(f"shape: {tuple(images.shape)}\n")
        return output

    return Altered(tiny(), print_shape)


def standardising() -> nn.Module:
    """Divides by each image's standard deviation, so the empty image scores 0 / 0."""
    return Altered(tiny(), lambda images, output: output / images.flatten(1).std(1, keepdim=True))


# ── models that fail ─────────────────────────────────────────────────────────────────────────

not_callable = 3


def raises() -> nn.Module:
    """Cannot be built."""
    raise FileNotFoundError("no such file: my_weights.bin")


def gives_up() -> nn.Module:
    """Exits the program, like a training script with invalid arguments."""
    sys.exit(0)


def state_dict() -> dict[str, Tensor]:
    """Returns only the weights, a common mistake."""
    return tiny().state_dict()


def needs_depth(depth: int) -> nn.Module:
    """Cannot be called without arguments."""
    return tiny(seed=depth)


def with_nan() -> nn.Module:
    """Scores of NaN for every image."""
    network = tiny()
    network.classifier.weight.data[0, 0] = torch.nan
    return network


def fails() -> nn.Module:
    """Raises when it runs."""

    def multiply(_images: Tensor, _output: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    return Altered(tiny(), multiply)


def never_fits() -> nn.Module:
    """Runs out of memory for any number of images."""

    def allocate(_images: Tensor, _output: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return Altered(tiny(), allocate)


def detects() -> nn.Module:
    """Returns a dictionary in which several things could be scores."""
    return Altered(tiny(), lambda _images, output: {"classes": output, "boxes": output[:, :4]})


def waits_on_white() -> nn.Module:
    """On a white photo, creates the file `waiting` and hangs until it is interrupted."""
    # Background processes of a shell ignore Ctrl-C, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait(images: Tensor, output: Tensor) -> Tensor:
        if float(images[0].mean()) > 0.9:
            Path("waiting").touch()
            time.sleep(60)
        return output

    return Altered(tiny(), wait)


# ── networks of other inputs ─────────────────────────────────────────────────────────────────────


class TwoStreams(nn.Module):
    """A convolution for each of two inputs, and a head on both."""

    def __init__(self) -> None:
        super().__init__()
        self.rgb = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.depth = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(8, CLASSES)

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        streams = self.rgb(rgb).mean((2, 3)), self.depth(depth).mean((2, 3))
        return self.head(torch.cat(streams, 1))


def two_streams() -> nn.Module:
    """A network of two inputs, by name or in order."""
    torch.manual_seed(0)
    return TwoStreams().eval()


def two_answers() -> nn.Module:
    """A network that returns two matrices in a dict."""
    return Altered(tiny(), lambda _images, scores: {"first": -scores, "second": scores})


def _brightness(convolution: nn.Module, pool: nn.Module) -> nn.Module:
    """A network whose score is the mean of its input."""
    nn.init.ones_(next(convolution.parameters()))
    return nn.Sequential(convolution, nn.ReLU(), pool, nn.Flatten(), _sum()).eval()


def _sum() -> nn.Linear:
    """The sum of two numbers."""
    linear = nn.Linear(2, 1, bias=False)
    nn.init.ones_(linear.weight)
    return linear


def brightness_of_five() -> nn.Module:
    """The mean of five bands."""
    torch.manual_seed(0)
    return _brightness(nn.Conv2d(5, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1))


def brightness_of_volume() -> nn.Module:
    """The mean of a volume."""
    torch.manual_seed(0)
    return _brightness(nn.Conv3d(1, 2, 1, bias=False), nn.AdaptiveAvgPool3d(1))
