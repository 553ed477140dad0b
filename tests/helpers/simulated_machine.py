"""A simulated machine: fake runtimes with stated speeds and errors, and a clock that they advance.

Nothing sleeps, and no real time is read, so that every choice is known beforehand.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from typing import Any, ClassVar
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from scorecam.backends.runtimes import casting, timing
from scorecam.backends.runtimes.choice import choose
from scorecam.backends.runtimes.known import RUNTIMES
from scorecam.backends.runtimes.runtime import Runtime
from scorecam.model.engine import Engine, Probe, Speed

FAST = "openvino"
"""The name of the fake runtime; it replaces the real one."""

OWN = ("eager", "float32")
AUTO = Speed("auto", "auto")


class Machine:
    """Seconds per image, distances and load, all stated by a test.

    Attributes:
        now: the time; each thread has its own, as one thread's passes take no time in another.
        seconds: per image, by runtime and precision.
        error: (runtime, precision, number of the photo) → how far the heatmap moves.
        load: (runtime, precision) → by how much other work slows the candidate down now.
        conversion: seconds that each conversion takes.
        made: the precisions that were converted.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[tuple[str, str], float]):
        self._clocks = threading.local()
        self.seconds = seconds
        self.error: Callable[[str, str, int], float] = lambda *_which: 0.0
        self.load: Callable[[str, str], float] = lambda *_which: 1.0
        self.conversion = 1.0
        self.made: list[str] = []
        monkeypatch.setattr(timing, "time", mock.Mock(perf_counter=lambda: self.now))
        monkeypatch.setattr(casting, "half_precision", lambda _device: "bfloat16")
        monkeypatch.setattr(casting, "autocast", self._cast)
        monkeypatch.setitem(RUNTIMES, FAST, FakeRuntime(self))

    @property
    def now(self) -> float:
        return getattr(self._clocks, "now", 0.0)

    @now.setter
    def now(self, time: float) -> None:
        self._clocks.now = time

    def passed(self, runtime: str, precision: str, images: Tensor, rows: int) -> Tensor:
        """The scores of images; the clock advances by the time of that many rows."""
        which = (runtime, precision)
        self.now += rows * self.seconds[which] * self.load(*which)
        photo = int(images[0, 0, 0, 0])
        return images.flatten(1)[:, 1:3] + self.error(*which, photo)

    def _cast(self, _scores: Any, _device: Any, precision: str) -> Callable[[Tensor], Tensor]:
        return lambda images: self.passed("eager", precision, images, len(images))


class FakeRuntime(Runtime):
    """A runtime of the simulated machine."""

    name = FAST
    help = "simulated"
    batch: ClassVar[int] = 8

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def version(self) -> str:
        return "0"

    def precisions(self) -> list[str]:
        return ["bfloat16", "float32"]

    def automatic(self, device: torch.device) -> bool:
        return device.type == "cpu"

    def seconds_to_convert(self, weights: int) -> float:  # noqa: ARG002
        return self.machine.conversion

    def check(self, network: Any, precision: str) -> None:
        """It runs every network."""

    def convert(
        self,
        network: Any,  # noqa: ARG002
        example: Tensor,  # noqa: ARG002
        precision: str,
        *,
        state: Any,  # noqa: ARG002
    ) -> Callable[[Tensor], Tensor]:
        self.machine.made.append(precision)
        self.machine.now += self.machine.conversion
        return lambda images: self.machine.passed(FAST, precision, images, self.batch)


class FakeNetwork:
    """A network of the simulated machine."""

    precision = "float32"
    readout_key = None
    device = torch.device("cpu")

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.module = nn.Linear(2, 2)

    def memory_format(self, images: Tensor) -> torch.memory_format:  # noqa: ARG002
        return torch.contiguous_format

    def scores(self, images: Tensor) -> Tensor:
        return self.machine.passed(*OWN, images, len(images))

    @contextlib.contextmanager
    def prepared(self) -> Generator[Any]:
        yield self

    def copied(self) -> FakeNetwork:
        return self


class Photo(Probe):
    """The probe of a photo whose pixels are its number."""

    def __init__(self, network: FakeNetwork, number: int, passes: int) -> None:
        self.image = torch.full((1, 2, 2), float(number))
        self.passes = passes
        before = network.machine.now
        network.scores(self.image[None])
        self.seconds = network.machine.now - before

    def masked(self) -> Tensor:
        return self.image.expand(4, *self.image.shape).clone()

    def distance(self, one: Tensor, other: Tensor) -> float:
        return float((one - other).abs().max())


class Run:
    """Photos that are explained one after the other.

    Attributes:
        choices: the runtime and precision of each photo.
        took: the seconds of each photo, everything included.
        choosing: the seconds of each photo that its choice took, without conversions.
    """

    def __init__(self, machine: Machine, speed: Speed = AUTO) -> None:
        self.machine = machine
        self.speed = speed
        self.network = FakeNetwork(machine)
        self.choices: list[tuple[str, str]] = []
        self.took: list[float] = []
        self.choosing: list[float] = []

    def photo(self, passes: int = 56, number: int | None = None) -> Engine:
        """Explain the next photo."""
        machine, began = self.machine, self.machine.now
        number = len(self.took) + 1 if number is None else number
        probe = Photo(self.network, number, passes)
        made, before = len(machine.made), machine.now
        engine = choose(self.network, self.speed, probe)
        converting = (len(machine.made) - made) * machine.conversion
        self.choosing.append(machine.now - before - converting)
        for part in probe.image.expand(passes, 1, 2, 2).split(engine.batch or 8):
            engine.scores(part)
        self.choices.append((engine.runtime, engine.precision))
        self.took.append(machine.now - began)
        return engine

    def photos(self, count: int) -> list[tuple[str, str]]:
        """Explain some photos; their choices."""
        for _ in range(count):
            self.photo()
        return self.choices[-count:]
