"""Converted networks, which are kept for later calls, and when a conversion pays off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from scorecam.backends.locks import inside
from scorecam.backends.runtimes.agreement import Trial
from scorecam.backends.runtimes.fallback import cause
from scorecam.backends.runtimes.runtime import Network, Runtime
from scorecam.backends.runtimes.state import State
from scorecam.base.fork_lock import ForkLock
from scorecam.errors import MissingExtra
from scorecam.model.engine import Engine, Probe
from scorecam.shapes import BatchedScores, Images

KEPT = 8
"""Conversions of one network that are kept, and accounts of time spent without one."""

HALF = 0.45
"""The cost of a network's own pass in half precision, relative to float32."""

Scores = Callable[[Images], BatchedScores]
Key = tuple[Any, ...]


class Conversion:
    """A converted network, or why it cannot be converted.

    Threads share conversions. `distance`, `refusal` and `changed_by_passes` are set by whichever
    thread tries the conversion first; two that do so at once compute the same values.

    Args:
        scores: maps `runtime.batch` images or fewer to their scores; None if conversion failed.
        state: the network's state when it was converted.
        refusal: why it cannot be converted; empty if it can.

    Attributes:
        distance: how far it moved the heatmap of its last probe; None before the first.
        changed_by_passes: parts of its state that the network changes itself when it runs.
    """

    def __init__(self, scores: Scores | None, state: State, refusal: str = "") -> None:
        self.scores = scores
        self.state = state
        self.refusal = refusal
        self.distance: float | None = None
        self.changed_by_passes: frozenset[str] = frozenset()

    @property
    def certain(self) -> bool:
        """Whether nothing can change the network's output unnoticed. If not, it is probed again."""
        return self.state.whole and not self.changed_by_passes

    def fits(self, state: State) -> bool:
        """Whether the network is still the one that was converted, as far as its state shows."""
        return self.state.changed(state) <= self.changed_by_passes

    def engine(self, runtime: Runtime, precision: str) -> Engine:
        """A way to score images with it.

        Raises:
            ValueError: the network cannot be converted.
        """
        if self.scores is None or self.refusal:
            raise ValueError(self.refusal)
        return Engine(
            _in_turn(self.scores, runtime.batch),
            runtime.name,
            precision,
            batch=runtime.batch,
            mask_threads=runtime.mask_threads,
        )


class Account(NamedTuple):
    """Seconds of a network's own passes that were spent instead of a conversion.

    Args:
        state: the network's state during these passes.
        seconds: spent since the network entered this state.
    """

    state: State
    seconds: float


_CONVERSIONS: WeakKeyDictionary[nn.Module, dict[Key, Conversion]] = WeakKeyDictionary()
_SPENT: WeakKeyDictionary[nn.Module, dict[Key, Account]] = WeakKeyDictionary()
"""Both belong to the process, and hold `KEPT` entries per network, the oldest first."""

_CONVERTING = ForkLock()
"""Held while a network is converted, and while `_CONVERSIONS` changes: one conversion at a time."""

_RUNNING = ForkLock()
"""Held while a converted network runs: it has one set of buffers."""


# ── when it pays off ─────────────────────────────────────────────────────────────────────────


def pays(trial: Trial, runtime: Runtime, precision: str) -> bool:
    """Whether runtime="auto" should use this runtime: it is installed, and worth its conversion.

    The rule: convert once the network's own passes, those of earlier images included, would have
    taken as long as the conversion. This never takes twice the time of the better choice.
    """
    network, probe = trial.network, trial.probe
    key = _key(network, runtime, precision, probe)
    known = _CONVERSIONS.get(network.module, {}).get(key)
    if known is not None and known.fits(trial.state):
        return True
    if runtime.stored(network, (runtime.batch, *probe.image.shape), trial.state):
        return True
    price = runtime.seconds_to_convert(
        sum(weight.numel() for weight in network.module.parameters())
    )
    passes = probe.passes * (1.0 if precision == "float32" else HALF)
    accounts = _SPENT.setdefault(network.module, {})
    state, spent = accounts.pop(key, Account(trial.state, 0.0))
    spent = 0.0 if state.changed(trial.state) else spent
    # The first pass for a photo warms the network up, so the network seems slower than it is.
    seconds = probe.seconds
    if (worth_it := spent + passes * seconds > price) and (worth_it := runtime.installed()):
        seconds = trial.seconds
        worth_it = spent + passes * seconds > price
    accounts[key] = Account(trial.state, spent + passes * seconds)
    _drop_oldest(accounts)
    return worth_it


# ── making and keeping them ──────────────────────────────────────────────────────────────────


def converted(
    trial: Trial, runtime: Runtime, precision: str, *, limit: float, named: bool
) -> tuple[Engine, float]:
    """The kept conversion, or a new one, and how far it moves the probe's heatmap.

    A kept conversion that no longer agrees is dropped.

    Args:
        limit: how far it may move the heatmap.
        named: whether the user chose this runtime by name: then a dropped conversion is made again.

    Raises:
        ValueError: this runtime cannot run the network.
        MissingExtra: it is not installed.
    """
    made = _conversion(trial, runtime, precision)
    before = made.distance
    distance = _distance(made, made.engine(runtime, precision), trial)
    if before is not None and not made.certain and distance > limit:
        _forget(trial.network, made)
        if named:
            made = _conversion(trial, runtime, precision)
            distance = _distance(made, made.engine(runtime, precision), trial)
    return made.engine(runtime, precision), distance


def _distance(made: Conversion, engine: Engine, trial: Trial) -> float:
    """How far a conversion moves the heatmap. It is measured again only if it may have changed.

    Raises:
        ValueError: the network never gives the same scores twice, so there is nothing to compare.
    """
    if made.distance is not None and made.certain:
        return made.distance
    first = made.distance is None
    made.distance = distance = trial.distance(engine)
    if first:
        made.changed_by_passes |= trial.changed_by_passes()
        if (trial.drew or not made.certain) and not trial.repeats():
            made.refusal = "its scores of the same images differ each time"
            raise ValueError(made.refusal)
    return distance


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
    with _CONVERTING:
        conversion = known.get(key)
        if conversion is None or not conversion.fits(trial.state):
            conversion = known[key] = _convert(trial, runtime, precision)
            _drop_oldest(known)
    return conversion


def _convert(trial: Trial, runtime: Runtime, precision: str) -> Conversion:
    """The converted network; or why it cannot be converted, so that it is not tried again."""
    network, image = trial.network, trial.probe.image
    if trial.state.random_modules:
        names = " and ".join(sorted(trial.state.random_modules))
        return Conversion(None, trial.state, f"its output may depend on {names}")
    own = image.to(getattr(torch, network.precision))
    example = own.expand(runtime.batch, *image.shape).contiguous()
    try:
        scores = runtime.convert(network, example, precision, state=trial.state)
        return Conversion(scores, trial.state)
    except (MissingExtra, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (runtimes raise errors of any kind)
        return Conversion(None, trial.state, cause(error))


def _key(network: Network, runtime: Runtime, precision: str, probe: Probe) -> Key:
    """What a conversion depends on, apart from the network's state."""
    kind, size, threads = network.device.type, tuple(probe.image.shape), torch.get_num_threads()
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    floats = torch.get_default_dtype()
    return runtime.name, precision, network.readout_key, size, threads, autocast, floats


def _forget(network: Network, made: Conversion) -> None:
    known = _CONVERSIONS.get(network.module, {})
    for key in [key for key, conversion in list(known.items()) if conversion is made]:
        known.pop(key, None)


def _drop_oldest(entries: dict[Key, Any]) -> None:
    for oldest in list(entries)[:-KEPT]:
        del entries[oldest]


def _in_turn(scores: Scores, batch: int) -> Scores:
    """The same function for any number of images, one caller at a time."""

    def run(images: Images) -> BatchedScores:
        with _RUNNING:
            return torch.cat([scores(part) for part in images.split(batch)])

    return run
