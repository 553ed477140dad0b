"""Which way of running a network scores masked images fastest, and still agrees with it."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from scorecam.backends.runtimes import compiled, openvino
from scorecam.errors import MissingExtra, ModelError, SettingError
from scorecam.model import Engine, Probe, Speed
from scorecam.shapes import BatchedScores, Image, Images

SAME = 1e-4
"""Float32 runtimes agree when the probe's scaled heatmap moves by at most this."""

CLOSE = 0.05
"""So far may it move in the precision that "auto" takes."""

WILD = 0.25
"""A precision asked for by name is refused beyond this: something is broken."""

PAYS = 0.6
"""Converting a network takes about so many seconds. "auto" does it once the network's own passes,
those of earlier images included, would have cost as much: never twice the best choice's time."""


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
    def scores(self, images: Images) -> BatchedScores: ...
    def prepared(self) -> contextlib.AbstractContextManager[Callable[[Tensor], Tensor]]: ...


def choose(model: Network, speed: Speed, probe: Probe) -> Engine:
    """The engine for `speed`: the fastest that agrees on the probe, or one that says why not.

    Raises:
        SettingError: a precision was asked for that the network cannot be run in.
        MissingExtra: a runtime was asked for by name that is not installed.
    """
    plain = _plain(model, probe.image)
    remarks: list[str] = []
    images: Images | None = None
    said: BatchedScores | None = None
    probed = 0
    for runtime, precision in _candidates(model, speed, probe):
        if (runtime, precision) == ("eager", model.precision):
            break
        try:
            engine, known = _engine(model, runtime, precision, plain, probe)
            if not known:
                if images is None or said is None:
                    images = torch.cat([probe.masked(), probe.image[None]])
                    images = images.contiguous(memory_format=plain.layout)
                    said = plain.scores(images)
                    probed += len(images)
                probed += len(images)
                known.append(probe.distance(said, engine.scores(images)))
            distance = known[0]
        except MissingExtra:
            raise
        except Exception as error:  # noqa: BLE001  (runtimes raise what they happen to)
            remarks.append(f"{runtime} cannot run this network ({_first_line(error)})")
            continue
        if distance <= _limit(speed, precision):
            said_so = _sentences(remarks, speed, engine)
            engine = dataclasses.replace(engine, probed=probed, remarks=said_so)
            return _guarded(engine, plain)
        remarks.append(f"{runtime} in {precision} moves the heatmap by {distance:.2g}")
    return dataclasses.replace(plain, probed=probed, remarks=_sentences(remarks, speed, plain))


def _sentences(remarks: Sequence[str], speed: Speed, taken: Engine) -> list[str]:
    """Why the user's own choice was not followed; what "auto" passed over needs no word."""
    if speed.runtime in ("auto", taken.runtime) and speed.precision in ("auto", taken.precision):
        return []
    return [f"{why}: {taken.runtime} in {taken.precision} answers." for why in remarks]


def _limit(speed: Speed, precision: str) -> float:
    if precision == "float32":
        return SAME
    return CLOSE if speed.precision == "auto" else WILD


def _candidates(model: Network, speed: Speed, probe: Probe) -> list[tuple[str, str]]:
    """Runtimes and precisions, the fastest first."""
    if model.precision != "float32":  # the user has chosen already
        if speed.precision not in ("auto", "float32", model.precision):
            raise SettingError(
                f"The network is in {model.precision}, and precision={speed.precision!r} was "
                "asked for.",
                do="Convert the network itself, or leave precision out.",
            )
        return [("compile", model.precision)] if speed.runtime == "compile" else []
    runtimes = [speed.runtime] if speed.runtime != "auto" else _runtimes(model, probe)
    return [
        (runtime, precision)
        for precision in _precisions(model.device, speed)
        for runtime in runtimes
    ]


def _runtimes(model: Network, probe: Probe) -> list[str]:
    """What "auto" tries: conversion only where it is installed and pays."""
    known = any(key[0] == "openvino" for key in _CONVERTED.get(model.module, {}))
    spent = _SPENT.get(model.module, 0.0) + probe.passes * probe.seconds
    _SPENT[model.module] = spent
    pays = known or spent > PAYS
    if model.device.type == "cpu" and pays:
        with contextlib.suppress(MissingExtra):
            openvino.precisions()
            return ["openvino", "eager"]
    return ["eager"]


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
            f"openvino, once a network's own passes would take {PAYS} s (about what converting it "
            f"takes) and if its maps agree to {SAME:g}; until then eager"
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


def _plain(model: Network, image: Image) -> Engine:
    """The network itself. Photos lie channels last, as convolutions like it, if it takes them."""
    convolves = any(isinstance(child, nn.Conv2d) for child in model.module.modules())
    if image.ndim != 3 or not convolves:
        return Engine(model.scores, "eager", model.precision)
    refused = False

    def scores(images: Images) -> BatchedScores:
        nonlocal refused
        if not refused:
            try:
                return model.scores(images)
            except ModelError as error:
                if "view size is not compatible" not in str(error):
                    raise
                refused = True  # it flattens maps by `view`, which wants the usual order
        return model.scores(images.contiguous())

    return Engine(scores, "eager", model.precision, layout=torch.channels_last)


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
