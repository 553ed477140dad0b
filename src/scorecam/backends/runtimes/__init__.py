"""Which way of running a network scores masked images fastest, and still agrees with it."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from scorecam.backends.runtimes import compiled, openvino
from scorecam.errors import MissingExtra, SettingError
from scorecam.model import Engine, Probe, Speed
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
    trial = _Trial(probe, plain)
    remarks: list[str] = []
    for runtime, precision in _candidates(model, speed):
        if (runtime, precision) == ("eager", model.precision):
            break
        if speed.runtime == "auto" and not _pays(model, runtime, precision, trial):
            continue
        try:
            engine, known = _engine(model, runtime, precision, plain, probe)
            if not known:
                known.append(trial.distance(engine))
        except MissingExtra:
            raise
        except Exception as error:  # noqa: BLE001  (runtimes raise what they happen to)
            remarks.append(f"{runtime} cannot run this network ({_first_line(error)})")
            continue
        if known[0] <= _limit(speed, precision):
            said = _sentences(remarks, speed, engine)
            return _guarded(dataclasses.replace(engine, probed=trial.passes, remarks=said), plain)
        remarks.append(f"{runtime} in {precision} moves the heatmap by {known[0]:.2g}")
    said = _sentences(remarks, speed, plain)
    return dataclasses.replace(plain, probed=trial.passes, remarks=said)


class _Trial:
    """The probe's images, what the network itself says of them, and how long that took it.

    Attributes:
        probe: where they come from.
        passes: images put to the network, so far.
    """

    def __init__(self, probe: Probe, plain: Engine) -> None:
        self.probe = probe
        self.passes = 0
        self._plain = plain

    def distance(self, engine: Engine) -> float:
        """How far another engine moves the heatmap."""
        said = self._said[0]
        self.passes += len(self._images)
        return self.probe.distance(said, engine.scores(self._images))

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
        said = self._plain.scores(self._images)
        return said, (time.perf_counter() - began) / len(said)


def _sentences(remarks: Sequence[str], speed: Speed, taken: Engine) -> list[str]:
    """Why the user's own choice was not followed; what "auto" passed over needs no word."""
    if speed.runtime in ("auto", taken.runtime) and speed.precision in ("auto", taken.precision):
        return []
    return [f"{why}: {taken.runtime} in {taken.precision} answers." for why in remarks]


def _limit(speed: Speed, precision: str) -> float:
    if precision == "float32":
        return SAME
    return CLOSE if speed.precision == "auto" else WILD


def _candidates(model: Network, speed: Speed) -> list[tuple[str, str]]:
    """Runtimes and precisions, the fastest first."""
    if model.precision != "float32":  # the user has chosen already
        if speed.precision not in ("auto", "float32", model.precision):
            raise SettingError(
                f"The network is in {model.precision}, and precision={speed.precision!r} was "
                "asked for.",
                do="Convert the network itself, or leave precision out.",
            )
        return [("compile", model.precision)] if speed.runtime == "compile" else []
    runtimes = [speed.runtime]
    if speed.runtime == "auto":
        runtimes = ["openvino", "eager"] if _convertible(model) else ["eager"]
    return [
        (runtime, precision)
        for precision in _precisions(model.device, speed)
        for runtime in runtimes
    ]


def _convertible(model: Network) -> bool:
    """Whether OpenVINO is there, and at home on the network's device."""
    with contextlib.suppress(MissingExtra):
        return model.device.type == "cpu" and bool(openvino.precisions())
    return False


def _pays(model: Network, runtime: str, precision: str, trial: _Trial) -> bool:
    """Whether a runtime is worth its price: converting, by the rule at `CONVERTING`."""
    known = any(key[:2] == (runtime, precision) for key in _CONVERTED.get(model.module, {}))
    if runtime == "eager" or known:
        return True
    weights = sum(weight.numel() for weight in model.module.parameters())
    price = CONVERTING[0] + CONVERTING[1] * weights
    passes = trial.probe.passes * (1.0 if precision == "float32" else HALF)
    spent = _SPENT.get(model.module, 0.0)
    # The first look at a photo warms the network up: it seems slower than it is.
    seconds = trial.probe.seconds
    if spent + passes * seconds > price:
        seconds = trial.seconds
    _SPENT[model.module] = spent + passes * seconds
    return spent + passes * seconds > price


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


def _engine(
    model: Network, runtime: str, precision: str, plain: Engine, probe: Probe
) -> tuple[Engine, list[float]]:
    """An engine of this runtime and precision, and how far it moved a probe's heatmap before.

    Whatever goes wrong is raised.
    """
    if runtime == "eager":
        cast = dataclasses.replace(plain, precision=precision)
        return dataclasses.replace(cast, scores=_cast(plain.scores, model.device, precision)), []
    if runtime == "openvino" and model.device.type != "cpu":
        raise ValueError(f"it runs on the processor, the network is on {model.device}")
    rows = openvino.BATCH if runtime == "openvino" else compiled.BATCH
    example = probe.image.expand(rows, *probe.image.shape).contiguous()
    key = (runtime, precision, tuple(example.shape), model.reading, torch.get_num_threads())
    known, state = _CONVERTED.setdefault(model.module, {}), _state(model.module)
    found = known.get(key)
    if found is None or found.state != state:
        with model.prepared() as ask:
            if runtime == "openvino":
                scores = openvino.convert(model.module, ask, example, precision)
            else:
                scores = compiled.convert(_cast(ask, model.device, precision), example)
        found = known[key] = _Converted(scores, state)
        for oldest in list(known)[:-KEPT]:
            del known[oldest]
    return Engine(_in_turn(found.scores), runtime, precision, rows), found.distances


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
    if engine.runtime == "eager":
        return engine
    failed = False

    def scores(images: Images) -> BatchedScores:
        nonlocal failed
        if not failed:
            try:
                return engine.scores(images)
            except Exception as error:  # noqa: BLE001  (runtimes raise what they happen to)
                failed = True
                engine.remarks.append(
                    f"{engine.runtime} failed on the way ({_first_line(error)}): from there on, "
                    f"eager in {plain.precision} answers."
                )
        return plain.scores(images)

    return dataclasses.replace(engine, scores=scores)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


@dataclass(frozen=True)
class _Converted:
    """A converted network, the weights' state it was made from, and how it did on its probe."""

    scores: Callable[[Images], BatchedScores]
    state: tuple[Any, ...]
    distances: list[float] = field(default_factory=list[float])


_CONVERTED: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], _Converted]] = WeakKeyDictionary()
_SPENT: WeakKeyDictionary[nn.Module, float] = WeakKeyDictionary()
"""Seconds of a network's own passes that were, or would have been, spent in this process."""

_TURN = threading.Lock()

KEPT = 8
"""Conversions of one network that are kept."""


def _state(module: nn.Module) -> tuple[Any, ...]:
    """What changes when weights do: where they lie, and what each begins with."""
    tensors = [*module.parameters(), *module.buffers()]
    return tuple(
        (tensor.data_ptr(), float(tensor.detach()[(0,) * tensor.ndim]) if tensor.numel() else 0.0)
        for tensor in tensors
    )


def _in_turn(scores: Callable[[Images], BatchedScores]) -> Callable[[Images], BatchedScores]:
    """A converted network has one set of buffers: one caller at a time."""

    def ask(images: Images) -> BatchedScores:
        with _TURN:
            return scores(images)

    return ask
