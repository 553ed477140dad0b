"""Whether a runtime gives the same heatmap as the network itself."""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from typing import Any, NamedTuple, cast

import torch

from scorecam.backends.locks import exclusively
from scorecam.backends.runtimes import int8, random_numbers
from scorecam.backends.runtimes.runtime import Network
from scorecam.backends.runtimes.state import State, read_state
from scorecam.backends.runtimes.timing import now, rows, timed
from scorecam.base.cached_property import cached_property
from scorecam.model.batches import Batches, first_batch_size
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.shapes import BatchedScores, Images

SAME = 1e-4
"""Float32 runtimes agree when the probe's scaled heatmap moves by at most this."""

CLOSE = 0.05
"""The same for the half precision that precision="auto" chooses."""

WILD = 0.25
"""The same for a half precision that the user names. A larger change means a broken runtime."""


ROUGH = 0.1
"""The same for int8, which the user names. Beyond it, float32 is used."""


def limit(speed: Speed, precision: str) -> float:
    """How far the probe's scaled heatmap may move in this precision."""
    if precision in ("float32", "float64"):
        return SAME
    if precision == int8.NAME:
        return ROUGH
    return CLOSE if speed.precision == "auto" else WILD


class Answer(NamedTuple):
    """How an engine scored the probe.

    Args:
        distance: how far it moves the scaled heatmap.
        seconds: per row of its passes.
    """

    distance: float
    seconds: float


class Trial:
    """The network's own scores for the probe, against which other engines are compared.

    One choice of a runtime makes one trial. Threads do not share it.

    Args:
        network: the network.
        plain: the engine that runs the network itself.
        probe: a few masked images.

    Attributes:
        passes: images that were scored for the comparison so far.
        drew_outside_torch: whether the state of Python's or NumPy's random numbers changed during
            the network's own pass, in any thread.
        drew: whether that of any random numbers did.
    """

    def __init__(self, network: Network, plain: Engine, probe: Probe) -> None:
        self.network = network
        self.plain = plain
        self.probe = probe
        self.passes = 0
        self.drew_outside_torch = self.drew = False

    def answer(self, engine: Engine) -> Answer:
        """How another engine scores the probe."""
        own = self._own_scores[0]
        scores, seconds = self._timed(engine)
        return Answer(self.probe.distance(own, scores), seconds)

    def time(self, engine: Engine) -> float:
        """The seconds per row that an engine takes for the probe."""
        return self._timed(engine)[1]

    def rows(self, batch: int | None) -> int:
        """The rows of one pass over the probe, in an engine with this batch."""
        return rows(len(self._images), batch)

    def _timed(self, engine: Engine) -> tuple[BatchedScores, float]:
        self.passes += len(self._images)
        return timed(lambda images: _in_batches(engine, images), self._images, engine.batch)

    @cached_property
    def photo(self) -> Hashable:
        """Tells photos apart."""
        numbers = self.probe.image.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return type(self.probe), zlib.crc32(cast("Any", numbers.numpy()))

    @property
    def answered(self) -> bool:
        """Whether the network itself has scored the probe already."""
        return "_own_scores" in vars(self)

    @cached_property
    def state(self) -> State:
        """What the network's output depends on, read before its first pass."""
        return self._read()

    def changed_by_passes(self) -> frozenset[str]:
        """The parts of its state that the network changes itself when it runs."""
        return self.state.changed(self._read())

    def _read(self) -> State:
        with exclusively(self.network.module):  # no other thread may have a hook in it meanwhile
            return read_state(self.network.module, self.network.readout_key)

    def repeats(self) -> bool:
        """Whether the network gives the same scores for the probe a second time.

        This costs the probe's passes, so it is called only if there is reason to doubt.
        """
        own = self._own_scores[0]
        self.passes += len(self._images)
        before = random_numbers.outside_torch()
        with random_numbers.DrawWatcher(self.network.device) as watch:
            again = _in_batches(self.plain, self._images)
        if watch.drew or (self.drew_outside_torch and before != random_numbers.outside_torch()):
            return False
        return torch.allclose(own, again, rtol=1e-5, atol=1e-6, equal_nan=True)

    @property
    def seconds(self) -> float:
        """The time that the network itself takes for one image."""
        return self._own_scores[1]

    @cached_property
    def _images(self) -> Images:
        images = torch.cat([self.probe.masked(), self.probe.image[None]])
        return images.contiguous(memory_format=self.plain.layout)

    @cached_property
    def _own_scores(self) -> tuple[BatchedScores, float]:
        self.passes += len(self._images)
        device = self.network.device
        began = now(device)
        before, in_torch = random_numbers.outside_torch(), random_numbers.in_torch(device)
        scores = _in_batches(self.plain, self._images)
        seconds = (now(device) - began) / len(scores)
        self.drew_outside_torch = before != random_numbers.outside_torch()
        self.drew = self.drew_outside_torch or in_torch != random_numbers.in_torch(device)
        return scores, seconds


def _in_batches(engine: Engine, images: Images) -> BatchedScores:
    """The scores of all images, in batches that fit into memory."""
    batches = Batches(engine.batch or first_batch_size("auto", images))
    return torch.cat(list(batches.over(len(images), lambda part: engine.scores(images[part]))))
