"""Which way of running a network scores masked images fastest, and still agrees with it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from scorecam.backends.copies import copied
from scorecam.backends.locks import exclusively, inside
from scorecam.backends.runtimes import chance, compiled, openvino
from scorecam.backends.runtimes.state import State, read_state
from scorecam.base.forks import ForkLock
from scorecam.base.once import cached_property
from scorecam.base.wording import quoted
from scorecam.errors import MemoryShortage, MissingExtra, SettingError
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.shapes import BatchedScores, Images

SAME = 1e-4
"""Float32 runtimes agree when the probe's scaled heatmap moves by at most this."""

CLOSE = 0.05
"""So far may it move in the precision that "auto" takes."""

WILD = 0.25
"""A precision asked for by name is refused beyond this: something is broken."""

CONVERTING = 0.8, 1.25e-8
"""Converting takes about so many seconds, and so many more per weight. "auto" does it once the
network's own passes, those of earlier images included, would have cost as much: then it never takes
twice the time of the better choice."""

HALF = 0.45
"""What a network's own pass in half precision costs, of one in float32."""


class Network(Protocol):
    """What is needed of a model: a network, and how its scores are read."""

    @property
    def module(self) -> nn.Module: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def precision(self) -> str: ...
    @property
    def reading(self) -> object: ...
    def layout(self, images: Images) -> torch.memory_format: ...
    def scores(self, images: Images) -> BatchedScores: ...
    def prepared(self) -> contextlib.AbstractContextManager[Callable[[Tensor], Tensor]]: ...


def choose(model: Network, speed: Speed, probe: Probe) -> Engine:
    """The engine for `speed`: the fastest that agrees on the probe, or one that says why not.

    Raises:
        SettingError: a precision was asked for that the network cannot be run in.
        MissingExtra: a runtime was asked for by name that is not installed.
    """
    plain = Engine(model.scores, "eager", model.precision, layout=model.layout(probe.image[None]))
    trial = _Trial(model, probe, plain)
    remarks: list[str] = []
    for runtime, precision in _candidates(model, speed):
        if (runtime, precision) == ("eager", model.precision):
            break
        try:
            if speed.runtime == "auto" and not _pays(model, runtime, precision, trial):
                continue
            engine, moved = _tried(model, (runtime, precision), plain, trial, speed)
        except MissingExtra:
            raise
        except Exception as error:  # noqa: BLE001  (runtimes raise what they happen to)
            remarks.append(f"{runtime} cannot run this network ({_cause(error)})")
            continue
        if moved <= _limit(speed, precision):
            said = _sentences(remarks, speed, engine)
            return _guarded(dataclasses.replace(engine, probed=trial.passes, remarks=said), plain)
        remarks.append(f"{runtime} in {precision} moves the heatmap by {moved:.2g}")
    said = _sentences(remarks, speed, plain)
    return dataclasses.replace(plain, probed=trial.passes, remarks=said)


class _Trial:
    """The probe's images, the network's own answers to them, and how long those took.

    Attributes:
        probe: where they come from.
        passes: images put to the network, so far.
        draws: whether Python's or NumPy's random numbers were drawn meanwhile, by any thread.
        doubtful: whether any random numbers were.
    """

    def __init__(self, model: Network, probe: Probe, plain: Engine) -> None:
        self.probe = probe
        self.passes = 0
        self.draws = self.doubtful = False
        self._model = model
        self._plain = plain

    def distance(self, engine: Engine) -> float:
        """How far another engine moves the heatmap."""
        said = self._said[0]
        self.passes += len(self._images)
        return self.probe.distance(said, _halving(engine.scores, self._images))

    @cached_property
    def state(self) -> State:
        """What the network's answers depend on, before it was asked anything."""
        return self._read()

    def shifting(self) -> frozenset[str]:
        """What of its state the network itself has changed, by being asked."""
        return self.state.changed(self._read())

    def _read(self) -> State:
        with exclusively(self._model.module):  # not while another thread has a hook in it
            return read_state(self._model.module, self._model.reading)

    def repeats(self) -> bool:
        """Whether the network gives the probe's images the same answers once more, as it must.

        It is asked where there is reason to doubt it: that costs the probe's passes.
        """
        said = self._said[0]
        self.passes += len(self._images)
        before = chance.stands()
        with chance.Watch(self._model.device) as watch:
            again = _halving(self._plain.scores, self._images)
        if watch.drew or (self.draws and before != chance.stands()):
            return False
        return torch.allclose(said, again, rtol=1e-5, atol=1e-6, equal_nan=True)

    @property
    def seconds(self) -> float:
        """What one image takes the network itself."""
        return self._said[1]

    @cached_property
    def _images(self) -> Images:
        images = torch.cat([self.probe.masked(), self.probe.image[None]])
        return images.contiguous(memory_format=self._plain.layout)

    @cached_property
    def _said(self) -> tuple[BatchedScores, float]:
        self.passes += len(self._images)
        began = time.perf_counter()
        before, of_torch = chance.stands(), chance.stands_of_torch(self._model.device)
        said = _halving(self._plain.scores, self._images)
        seconds = (time.perf_counter() - began) / len(said)
        self.draws = before != chance.stands()
        self.doubtful = self.draws or of_torch != chance.stands_of_torch(self._model.device)
        return said, seconds


def _halving(scores: Callable[[Images], BatchedScores], images: Images) -> BatchedScores:
    """The scores of all the images, of fewer at a time where memory runs out."""
    try:
        return scores(images)
    except MemoryShortage:
        if len(images) == 1:
            raise
    halves = images.split((len(images) + 1) // 2)
    return torch.cat([_halving(scores, half) for half in halves])


def _sentences(remarks: Sequence[str], speed: Speed, taken: Engine) -> list[str]:
    """Why the user's own choice was not followed; what "auto" passed over needs no word."""
    if speed.runtime in ("auto", taken.runtime) and speed.precision in ("auto", taken.precision):
        return []
    return [f"{why}: {taken.runtime} in {taken.precision} answers." for why in remarks]


def _limit(speed: Speed, precision: str) -> float:
    if precision in ("float32", "float64"):
        return SAME
    return CLOSE if speed.precision == "auto" else WILD


def _candidates(model: Network, speed: Speed) -> list[tuple[str, str]]:
    """Runtimes and precisions, the fastest first."""
    if model.precision != "float32":  # the user has chosen already
        if speed.precision not in ("auto", "float32", model.precision):
            raise SettingError(
                f"The network is in {model.precision}, and precision={quoted(speed.precision)} was "
                "asked for.",
                do="Convert the network itself, or leave precision out.",
            )
        named = speed.runtime not in ("auto", "eager")
        return [(speed.runtime, model.precision)] if named else []
    runtimes = [speed.runtime]
    if speed.runtime == "auto":
        runtimes = ["openvino", "eager"] if model.device.type == "cpu" else ["eager"]
    return [
        (runtime, precision)
        for precision in _precisions(model.device, speed)
        for runtime in runtimes
    ]


def _pays(model: Network, runtime: str, precision: str, trial: _Trial) -> bool:
    """Whether a runtime is there and worth its price: converting, by the rule at `CONVERTING`."""
    key = _key(model, runtime, precision, trial.probe)
    made = _CONVERTED.get(model.module, {}).get(key)
    if runtime == "eager" or (made is not None and made.fits(trial.state)):
        return True
    weights = sum(weight.numel() for weight in model.module.parameters())
    price = CONVERTING[0] + CONVERTING[1] * weights
    passes = trial.probe.passes * (1.0 if precision == "float32" else HALF)
    accounts = _SPENT.setdefault(model.module, {})
    state, spent = accounts.pop(key, (trial.state, 0.0))
    spent = 0.0 if state.changed(trial.state) else spent
    # The first look at a photo warms the network up: it seems slower than it is.
    seconds = trial.probe.seconds
    if (pays := spent + passes * seconds > price) and (pays := openvino.installed()):
        seconds = trial.seconds
        pays = spent + passes * seconds > price
    accounts[key] = trial.state, spent + passes * seconds
    for oldest in list(accounts)[:-KEPT]:
        del accounts[oldest]
    return pays


def _precisions(device: torch.device, speed: Speed) -> list[str]:
    if speed.precision != "auto":
        return [speed.precision]
    half = half_precision(device)
    return [half, "float32"] if half else ["float32"]


def half_precision(device: torch.device) -> str | None:
    """The half precision that this device computes fast in; None where it has none."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001
        instructions: bool = torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
        return "bfloat16" if instructions else None
    return None


def advice() -> list[str]:
    """What "auto" would take on this machine, and why: a line each."""
    half = half_precision(torch.device("cpu"))
    try:
        openvino.precisions()
        runtime = (
            f"openvino, if its maps agree to {SAME:g}, and once a network's own passes would "
            f"take as long as converting it (some {CONVERTING[0]} s, and {CONVERTING[1] * 1e8:.3g} "
            "s for every 100 million weights); until then eager"
        )
    except MissingExtra as error:
        runtime = f"eager: {error}"
    lines = [
        f"runtime auto    {runtime}",
        f"precision auto  {half or 'float32'} on the processor"
        + ("" if half else ", which has no bfloat16 instructions"),
    ]
    lines += [
        f"                {half_precision(torch.device('cuda', index))} on cuda:{index}, eager"
        for index in range(torch.cuda.device_count())
    ]
    return lines


# ── engines ──────────────────────────────────────────────────────────────────────────────────


def _tried(
    model: Network, how: tuple[str, str], plain: Engine, trial: _Trial, speed: Speed
) -> tuple[Engine, float]:
    """An engine of this runtime and precision, and how far it moves the probe's heatmap.

    A conversion that is kept, and no longer agrees, is made again if its runtime was asked for by
    name. Whatever goes wrong is raised.
    """
    runtime, precision = how
    if runtime == "eager":
        asked = _cast(plain.scores, model.device, precision)
        engine = dataclasses.replace(plain, scores=asked, precision=precision)
        return engine, trial.distance(engine)
    made = _conversion(model, runtime, precision, trial)
    kept = bool(made.distances)
    moved = _moved(made, _running(made, how), trial)
    if kept and not made.sure and moved > _limit(speed, precision):
        _forget(model, made)
        if speed.runtime != "auto":
            made = _conversion(model, runtime, precision, trial)
            moved = _moved(made, _running(made, how), trial)
    return _running(made, how), moved


def _moved(made: _Converted, engine: Engine, trial: _Trial) -> float:
    """How far a conversion moves the heatmap: as known, where its network's state is all known.

    Raises:
        ValueError: the network's answers cannot be held against it: they are never the same.
    """
    if made.distances and made.sure:
        return made.distances[0]
    first = not made.distances
    made.distances[:] = [trial.distance(engine)]
    if first:
        made.shifting.update(trial.shifting())
        if (trial.doubtful or not made.sure) and not trial.repeats():
            made.refusals.append("it answers the same images differently each time")
            raise ValueError(made.refusals[0])
    return made.distances[0]


def _forget(model: Network, made: _Converted) -> None:
    known = _CONVERTED.get(model.module, {})
    for key in [key for key, each in list(known.items()) if each is made]:
        known.pop(key, None)


def _running(made: _Converted, how: tuple[str, str]) -> Engine:
    if made.scores is None or made.refusals:
        raise ValueError(made.refusals[0])
    threads = openvino.BESIDE if how[0] == "openvino" else None
    return Engine(_in_turn(made.scores, made.rows), *how, made.rows, mask_threads=threads)


def _conversion(model: Network, runtime: str, precision: str, trial: _Trial) -> _Converted:
    """The network as converted before, or else now.

    Raises:
        ValueError: this runtime does not run such networks.
    """
    if inside():
        raise ValueError("it is asked for in the middle of a network's pass")
    if runtime == "openvino":
        openvino.check_process()
    if runtime == "openvino" and model.device.type != "cpu":
        raise ValueError(f"it runs on the processor, the network is on {model.device}")
    if runtime == "openvino" and precision not in openvino.precisions():
        raise ValueError(f"this processor does not compute in {precision}")
    if runtime == "openvino" and model.precision != "float32":
        raise ValueError(f"it takes networks in float32, this one is in {model.precision}")
    key = _key(model, runtime, precision, trial.probe)
    known = _CONVERTED.setdefault(model.module, {})
    with _CONVERSION:
        found = known.get(key)
        if found is None or not found.fits(trial.state):
            found = known[key] = _converted(model, runtime, precision, trial)
            for oldest in list(known)[:-KEPT]:
                del known[oldest]
    return found


def _key(model: Network, runtime: str, precision: str, probe: Probe) -> tuple[Any, ...]:
    """What a conversion is good for, as long as the network's state is the same."""
    kind, size, threads = model.device.type, tuple(probe.image.shape), torch.get_num_threads()
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    floats = torch.get_default_dtype()
    return runtime, precision, model.reading, size, threads, autocast, floats


def _converted(model: Network, runtime: str, precision: str, trial: _Trial) -> _Converted:
    """The network, converted; or why it cannot be, so that it is not tried over and over."""
    rows = openvino.BATCH if runtime == "openvino" else compiled.BATCH
    if trial.state.chance:
        why = f"what it answers may depend on {' and '.join(sorted(trial.state.chance))}"
        return _Converted(None, trial.state, rows, refusals=[why])
    image = trial.probe.image
    example = image.to(getattr(torch, model.precision)).expand(rows, *image.shape).contiguous()
    try:
        with model.prepared() as ask:
            if runtime == "openvino":
                scores = openvino.convert(cast("Any", ask).network, ask, example, precision)
            else:
                # Compiled code runs the network's own modules: a copy's stay in evaluation mode.
                own: Any = dataclasses.replace(cast("Any", model), module=copied(model.module))
                half = "float32" if precision == model.precision else precision
                with own.prepared() as ask_own:
                    asked = _cast(ask_own, model.device, half)
                    scores = compiled.convert(asked, example)
    except (MissingExtra, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (runtimes raise what they happen to)
        return _Converted(None, trial.state, rows, refusals=[_cause(error)])
    return _Converted(scores, trial.state, rows)


def _cast(
    ask: Callable[[Tensor], Tensor], device: torch.device, precision: str
) -> Callable[[Tensor], Tensor]:
    """`ask`, computed in `precision` by autocast: the network's weights stay as they are."""
    if precision == "float32":
        return ask
    dtype = getattr(torch, precision)

    def cast(images: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=dtype):
            return ask(images)

    return cast


def _guarded(engine: Engine, plain: Engine) -> Engine:
    """The engine; once it fails on a batch, the network itself answers that and all others."""
    failed = False
    same_range = (engine.runtime, engine.precision) == ("eager", "bfloat16")  # as float32's

    def give_up(why: str) -> None:
        nonlocal failed
        failed = True
        engine.remarks.append(
            f"{engine.runtime} in {engine.precision} failed on the way ({why}): from there on, "
            f"{plain.runtime} in {plain.precision} answers."
        )

    def scores(images: Images) -> BatchedScores:
        if failed:
            return plain.scores(images)
        try:
            found = engine.scores(images)
        except Exception as error:  # (runtimes raise what they happen to)
            if engine.batch is None and isinstance(error, MemoryShortage):
                raise  # fewer images will do
            give_up(_cause(error))
            return plain.scores(images)
        if same_range or found.isfinite().all():
            return found
        own = plain.scores(images)
        if torch.equal(own.isfinite(), found.isfinite()):
            return found  # the network's own answer
        give_up("it answered with NaN or infinity")
        return own

    return dataclasses.replace(engine, scores=scores)


def _cause(error: Exception) -> str:
    """What an error says first, but for places in source code and headings, which end in colons."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    telling = [line for line in lines if line and line[-1] != ":"] or [type(error).__name__]
    return " ".join(telling[:2])[:200]


@dataclass(frozen=True)
class _Converted:
    """A converted network, or why there is none, and what it was made from.

    Args:
        scores: `rows c *i` → `rows n`, or fewer; None where it cannot be converted.
        state: of the network, when it was made.
        rows: images per pass, at most.
        refusals: why it cannot be converted, or must not be.
        distances: how it did on its last probe, once it has been put to one.
        shifting: what of its state the network changes itself, by answering.
    """

    scores: Callable[[Images], BatchedScores] | None
    state: State
    rows: int
    refusals: list[str] = field(default_factory=list[str])
    distances: list[float] = field(default_factory=list[float])
    shifting: set[str] = field(default_factory=set[str])

    @property
    def sure(self) -> bool:
        """Whether nothing can change the network's answers unseen. If not, it is probed again."""
        return self.state.whole and not self.shifting

    def fits(self, state: State) -> bool:
        """Whether the network is still what was converted, as far as its state tells."""
        return self.state.changed(state) <= self.shifting


_CONVERTED: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], _Converted]] = WeakKeyDictionary()
_SPENT: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], tuple[State, float]]] = (
    WeakKeyDictionary()
)
"""Seconds of a network's own passes that were spent in this process instead of each conversion, and
the network's state meanwhile."""

_CONVERSION = ForkLock()
_TURN = ForkLock()

KEPT = 8
"""Conversions of one network, and accounts of what they would have saved, that are kept."""


def _in_turn(
    scores: Callable[[Images], BatchedScores], rows: int
) -> Callable[[Images], BatchedScores]:
    """A converted network has one set of buffers: one caller at a time, `rows` images."""

    def ask(images: Images) -> BatchedScores:
        with _TURN:
            return torch.cat([scores(part) for part in images.split(rows)])

    return ask
