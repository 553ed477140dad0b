"""Converted networks, which are kept for later calls, and when a conversion pays off."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn

from scorecam.backends.locks import inside
from scorecam.backends.runtimes.agreement import Answer, Trial
from scorecam.backends.runtimes.fallback import cause
from scorecam.backends.runtimes.runtime import Network, Runtime
from scorecam.backends.runtimes.state import State
from scorecam.backends.runtimes.timing import now
from scorecam.base.fork_lock import ForkLock
from scorecam.base.free_memory import free_memory_returned
from scorecam.errors import MissingExtra
from scorecam.model.engine import Engine, Probe
from scorecam.shapes import BatchedScores, Images

KEPT = 8
"""Conversions of one network that are kept."""

CALIBRATION = 4
"""Batches that a network is calibrated on: docs/int8.md has the measurements."""

Scores = Callable[[Images], BatchedScores]
Key = tuple[Any, ...]


class Conversion:
    """A converted network, or why it cannot be converted.

    Threads share conversions. `probed`, `refusal` and `changed_by_passes` are set by whichever
    thread tries the conversion first; two that do so at once compute the same values.

    Args:
        scores: maps one pass of images or fewer to their scores; None if conversion failed.
        state: the network's state when it was converted.
        refusal: why it cannot be converted; empty if it can.
        batch: images per pass.

    Attributes:
        seconds: what the conversion took.
        images: a checksum of the images that it was calibrated on; None for none.
        probed: whether it was compared with the network.
        changed_by_passes: parts of its state that the network changes itself when it runs.
    """

    def __init__(
        self, scores: Scores | None, state: State, refusal: str = "", *, batch: int = 1
    ) -> None:
        self.scores = scores
        self.state = state
        self.refusal = refusal
        self.batch = batch
        self.seconds = 0.0
        self.images: int | None = None
        self.probed = False
        self.changed_by_passes: frozenset[str] = frozenset()

    @property
    def certain(self) -> bool:
        """Whether nothing can change the network's output unnoticed. If not, it is probed again."""
        return self.state.whole and not self.changed_by_passes

    def fits(self, state: State, images: int | None = None) -> bool:
        """Whether the network is still the one that was converted, as far as its state shows.

        Args:
            state: the network's state.
            images: a checksum of the images to calibrate on.
        """
        return self.images == images and self.state.changed(state) <= self.changed_by_passes

    def engine(self, runtime: Runtime, precision: str) -> Engine:
        """A way to score images with it.

        Raises:
            ValueError: the network cannot be converted.
        """
        if self.scores is None or self.refusal:
            raise ValueError(self.refusal)
        return Engine(
            _in_turn(self.scores, self.batch),
            runtime.name,
            precision,
            batch=self.batch,
            mask_threads=runtime.mask_threads,
        )


_CONVERSIONS: WeakKeyDictionary[nn.Module, dict[Key, Conversion]] = WeakKeyDictionary()
"""Of the process: `KEPT` conversions per network, the oldest first."""

_CONVERTING = ForkLock()
"""Held while a network is converted, and while `_CONVERSIONS` changes: one conversion at a time."""

_RUNNING = ForkLock()
"""Held while a converted network runs: it has one set of buffers."""


# ── when it pays off ─────────────────────────────────────────────────────────────────────────


def price(trial: Trial, runtime: Runtime) -> float:
    """The estimated seconds until a converted network is there.

    Everything that decides whether a conversion is worth it calls this function.
    """
    network, image = trial.network, trial.probe.image
    shape = runtime.batch_for(image), *image.shape
    if runtime.stored(network, shape, trial.state):
        return 0.0
    return runtime.seconds_to_convert(sum(weight.numel() for weight in network.module.parameters()))


def pays(trial: Trial, runtime: Runtime, *, seconds: float) -> bool:
    """Whether runtime="auto" should convert the network: the runtime is there, and worth it.

    The rule: convert once the passes that were made without a conversion, including those of this
    photo, take as long as the conversion. This never takes twice the time of the better choice.

    Args:
        seconds: the time of these passes.
    """
    return seconds > price(trial, runtime) and runtime.installed()


# ── making and keeping them ──────────────────────────────────────────────────────────────────


def is_kept(trial: Trial, runtime: Runtime, precision: str) -> bool:
    """Whether the network is converted already, or known not to be convertible."""
    key = _key(trial.network, runtime, precision, trial.probe)
    known = _CONVERSIONS.get(trial.network.module, {}).get(key)
    return known is not None and known.fits(trial.state)


def converted(trial: Trial, runtime: Runtime, precision: str) -> Conversion:
    """The kept conversion, or a new one.

    Raises:
        ValueError: this runtime cannot run the network.
        MissingExtra: it is not installed.
    """
    made = _conversion(trial, runtime, precision)
    if made.refusal:
        raise ValueError(made.refusal)
    return made


def compared(trial: Trial, made: Conversion, engine: Engine) -> Answer:
    """How a conversion scores the probe.

    Raises:
        ValueError: the network never gives the same scores twice, so there is nothing to compare.
    """
    answer = trial.answer(engine)
    if not made.probed:
        made.probed = True
        made.changed_by_passes |= trial.changed_by_passes()
        if (trial.drew or not made.certain) and not trial.repeats():
            made.refusal = "its scores of the same images differ each time"
            raise ValueError(made.refusal)
    return answer


def forget(network: Network, made: Conversion) -> None:
    """Drop a conversion that no longer agrees."""
    known = _CONVERSIONS.get(network.module, {})
    for key in [key for key, conversion in list(known.items()) if conversion is made]:
        known.pop(key, None)


def _conversion(trial: Trial, runtime: Runtime, precision: str) -> Conversion:
    """The kept conversion of the network, or a new one.

    Raises:
        ValueError: this runtime does not run such networks.
        MissingExtra: it is not installed.
    """
    if inside():
        raise ValueError("a pass of a network is running in this thread")
    network = trial.network
    runtime.check(network, precision)
    key = _key(network, runtime, precision, trial.probe)
    known = _CONVERSIONS.setdefault(network.module, {})
    example = _example(trial, runtime, precision)
    images = _checksum(example) if precision in runtime.calibrated else None
    with _CONVERTING:
        conversion = known.get(key)
        if conversion is None or not conversion.fits(trial.state, images):
            began = now(network.device)
            conversion = known[key] = _convert(trial, runtime, precision, example)
            conversion.images = images
            conversion.seconds = now(network.device) - began
            _drop_oldest(known)
    return conversion


def _example(trial: Trial, runtime: Runtime, precision: str) -> Images:
    """Images to convert the network with."""
    image = trial.probe.image
    batch = runtime.batch_for(image)
    if precision in runtime.calibrated:
        return trial.probe.typical(CALIBRATION * batch)
    own = image.to(getattr(torch, trial.network.precision))
    return own.expand(batch, *image.shape).contiguous()


def _checksum(images: Images) -> int:
    return zlib.crc32(cast("Any", images.contiguous().reshape(-1).view(torch.uint8).numpy()))


def _convert(trial: Trial, runtime: Runtime, precision: str, example: Images) -> Conversion:
    """The converted network; or why it cannot be converted, so that it is not tried again."""
    if trial.state.random_modules:
        names = " and ".join(sorted(trial.state.random_modules))
        return Conversion(None, trial.state, f"its output may depend on {names}")
    try:
        with free_memory_returned():
            scores = runtime.convert(trial.network, example, precision, state=trial.state)
        return Conversion(scores, trial.state, batch=runtime.batch_for(trial.probe.image))
    except (MissingExtra, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (runtimes raise errors of any kind)
        return Conversion(None, trial.state, cause(error))


def surroundings(network: Network, probe: Probe) -> Key:
    """What an engine depends on, apart from its runtime, its precision and the network's state."""
    kind, size, threads = network.device.type, tuple(probe.image.shape), torch.get_num_threads()
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    floats = torch.get_default_dtype()
    return _hashable(network.readout_key), size, threads, autocast, floats


def _hashable(value: object) -> Hashable:
    """The value, or its identity: the network's state shows whether another one has taken it."""
    if type(value) is tuple:
        return tuple(map(_hashable, cast("tuple[object, ...]", value)))
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def _key(network: Network, runtime: Runtime, precision: str, probe: Probe) -> Key:
    """What a conversion depends on, apart from the network's state."""
    return runtime.name, precision, *surroundings(network, probe)


def _drop_oldest(entries: dict[Key, Conversion]) -> None:
    for oldest in list(entries)[:-KEPT]:
        del entries[oldest]


def _in_turn(scores: Scores, batch: int) -> Scores:
    """The same function for any number of images, one caller at a time."""

    def run(images: Images) -> BatchedScores:
        with _RUNNING:
            return torch.cat([scores(part) for part in images.split(batch)])

    return run
