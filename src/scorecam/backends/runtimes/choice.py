"""Choosing the runtime that scores masked images fastest and still gives the same heatmap."""

from __future__ import annotations

import dataclasses

import torch

from scorecam.backends.runtimes import casting
from scorecam.backends.runtimes.known import EAGER, RUNTIMES, Candidate
from scorecam.backends.runtimes.runtime import Network, Runtime
from scorecam.base.wording import quoted
from scorecam.errors import MissingExtra, SettingError
from scorecam.model.engine import Engine, Probe, Speed


def choose_for(network: Network, speed: Speed, probe: Probe, outside: str | None) -> Engine:
    """The engine for a network of which a part may be computed outside PyTorch.

    Args:
        outside: the name of that part; None if there is none.
    """
    if outside is None or speed.runtime == EAGER:
        return choose(network, speed, probe)
    calibrated = bool(_calibrated(speed.precision))
    plain = Speed(EAGER, "float32" if calibrated else speed.precision)
    engine = choose(network, plain, probe)
    if speed.runtime == "auto" and not calibrated:
        return engine
    why = f"{outside} computes outside PyTorch, so it cannot be part of a converted network; "
    return dataclasses.replace(engine, remarks=[*engine.remarks, f"{why}{EAGER} was used."])


def choose(network: Network, speed: Speed, probe: Probe) -> Engine:
    """The engine for `speed`: the fastest that agrees on the probe, or the network itself.

    Raises:
        SettingError: the network cannot be run in the precision that the user names.
        MissingExtra: the runtime that the user names is not installed.
    """
    speed = _with_runtime(speed)
    plain = plain_engine(network, probe)
    options = candidates(network, speed)
    if options in ([], [(EAGER, network.precision)]):
        return plain
    from scorecam.backends.runtimes.search import search  # not before masked images are scored

    return search(network, speed, probe, plain, options=options)


def plain_engine(network: Network, probe: Probe) -> Engine:
    """The engine that runs the network itself."""
    layout = network.memory_format(probe.image[None])
    return Engine(network.scores, EAGER, network.precision, layout=layout)


def _calibrated(precision: str) -> list[str]:
    """The runtimes that calibrate networks on masked images for this precision."""
    return [name for name, runtime in RUNTIMES.items() if precision in runtime.calibrated]


def _with_runtime(speed: Speed) -> Speed:
    """The same with a runtime that computes in its precision, if only some do.

    Raises:
        SettingError: the runtime that the user names does not.
    """
    runtimes = _calibrated(speed.precision)
    if not runtimes or speed.runtime in runtimes:
        return speed
    if speed.runtime != "auto":
        raise SettingError(
            f"runtime={quoted(speed.runtime)} does not compute in {speed.precision}.",
            do=f"Leave out runtime= (--runtime), or give {' or '.join(runtimes)}.",
        )
    return dataclasses.replace(speed, runtime=runtimes[0])


def candidates(network: Network, speed: Speed) -> list[Candidate]:
    """What may score the masked images, in the order in which a named choice is tried."""
    if network.precision != "float32":  # the user has chosen already
        if speed.precision not in ("auto", "float32", network.precision):
            raise SettingError(
                f"The network is in {network.precision}, and "
                f"precision={quoted(speed.precision)} was requested.",
                do="Convert the network itself, or leave precision out.",
            )
        named = speed.runtime not in ("auto", EAGER)
        return [Candidate(speed.runtime, network.precision)] if named else []
    runtimes = [speed.runtime]
    if speed.runtime == "auto":
        fit = (name for name, runtime in RUNTIMES.items() if runtime.automatic(network.device))
        runtimes = [*fit, EAGER]
    return [
        Candidate(runtime, precision)
        for precision in _precisions(network.device, speed)
        for runtime in runtimes
    ]


def _precisions(device: torch.device, speed: Speed) -> list[str]:
    if _calibrated(speed.precision):
        return [speed.precision, "float32"]
    if speed.precision != "auto":
        return [speed.precision]
    half = casting.half_precision(device)
    return [half, "float32"] if half else ["float32"]


# ── for doctor ───────────────────────────────────────────────────────────────────────────────


def advice() -> list[str]:
    """The runtimes of this machine, and what "auto" takes and why: one line each."""
    half = casting.half_precision(torch.device("cpu"))
    lines = [f"runtime {name:<10}{_status(runtime)}" for name, runtime in RUNTIMES.items()]
    lines += [
        f"runtime auto      {_automatic_runtimes()}",
        f"precision auto    {half or 'float32'} on the processor"
        + ("" if half else ", which has no bfloat16 instructions"),
    ]
    lines += [
        f"                  {casting.half_precision(torch.device('cuda', index)) or 'float32'} "
        f"on cuda:{index}, {EAGER}"
        for index in range(torch.cuda.device_count())
    ]
    return lines


def _status(runtime: Runtime) -> str:
    try:
        return f"{runtime.version()}: {runtime.help}"
    except MissingExtra as error:
        return f"no: {error}"


def _automatic_runtimes() -> str:
    """The runtimes that "auto" considers on the processor, or why there are none."""
    from scorecam.backends.runtimes.agreement import SAME

    reasons: list[str] = []
    for runtime in RUNTIMES.values():
        if not runtime.automatic(torch.device("cpu")):
            continue
        try:
            runtime.precisions()
        except MissingExtra as error:
            reasons.append(str(error))
            continue
        base, more = runtime.seconds_to_convert(0), runtime.seconds_to_convert(10**8)
        return (
            f"{runtime.name}, once converting the network pays off (about {base:.3g} s, plus "
            f"{more - base:.3g} s per 100 million weights), if its maps agree to {SAME:g}; "
            f"until then {EAGER}"
        )
    return f"{EAGER}: {' '.join(reasons)}"
