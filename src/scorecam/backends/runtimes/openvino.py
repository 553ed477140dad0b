"""OpenVINO as a fast way to run a network on a CPU."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Generator
from functools import cache
from types import ModuleType
from typing import cast

import torch
from torch import Tensor, nn

from scorecam.base.forks import ForkLock
from scorecam.base.process import quietly
from scorecam.errors import MissingExtra
from scorecam.io.extras import require
from scorecam.shapes import BatchedScores, Images

BATCH = 8
"""Images per pass: larger batches are no faster, and chosen masks come eight at a time."""

BESIDE = 1
"""Torch's threads spin for a while after their work, on the cores that OpenVINO's want."""

HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def installed() -> bool:
    """Whether OpenVINO can be imported."""
    with contextlib.suppress(MissingExtra):
        return bool(precisions())
    return False


def precisions() -> list[str]:
    """What this processor computes fast in, the fastest first.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    load()  # may be missing, whatever is remembered
    can = _capabilities()
    words = {"bfloat16": "BF16", "float16": "FP16", "float32": "FP32"}
    return [name for name, word in words.items() if word in can]


@cache
def _capabilities() -> list[str]:
    """What OpenVINO reports about this processor. Finding out takes a tenth of a second."""
    return load().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def convert(
    network: nn.Module, ask: Callable[[Tensor], Tensor], example: Images, precision: str
) -> Callable[[Images], BatchedScores]:
    """Convert a network once, for batches of the example's size.

    Args:
        network: in evaluation mode; its weights are copied.
        ask: how its scores are read, `b c *i` → `b n`.
        example: as many images as every pass will have.
        precision: "float32", "bfloat16" or "float16".

    Returns:
        A function of at most as many images as the example has. Whatever OpenVINO raises while
        converting or running passes through.
    """
    openvino = load()
    check_process()
    _USED_IN.add(os.getpid())
    with (
        quietly(),
        torch.no_grad(),
    ):  # tracing warns of every shape that it fixes, which is intended
        # Tracing here, unchecked, is four times as fast as leaving it to convert_model.
        asking = _Asking(network, ask)
        traced = torch.jit.freeze(torch.jit.trace(asking, example, check_trace=False))
        converted = openvino.convert_model(traced, example_input=example)
    converted.reshape(list(example.shape))
    settings = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
    }
    request = openvino.Core().compile_model(converted, "CPU", settings).create_infer_request()
    rows = len(example)

    def scores(images: Images) -> BatchedScores:
        check_process()
        given = images.contiguous()
        if len(images) < rows:  # it takes exactly that many; surplus answers are dropped
            given = example.new_zeros(example.shape)
            given[: len(images)] = images
        found = request.infer({0: openvino.Tensor(given.numpy(), shared_memory=True)})[0]
        return torch.from_numpy(found[: len(images)].copy())

    return scores


_USED_IN: set[int] = set()
"""The process, and those that it was forked from, in which OpenVINO has run."""


def check_process() -> None:
    """Refuse to run in a child that was forked after OpenVINO has run: its threads are not there.

    Raises:
        RuntimeError: it is such a child.
    """
    if _USED_IN - {os.getpid()}:
        raise RuntimeError("it does not work in a process that was forked after it had run")


class _Asking(nn.Module):
    """The network and its readout as one module, as tracing and freezing want it."""

    def __init__(self, network: nn.Module, ask: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.ask = ask
        self.training = False  # its own flag only: `eval` would reach into the network

    def forward(self, images: Tensor) -> Tensor:
        return self.ask(images)


# ── importing it ─────────────────────────────────────────────────────────────────────────────

_IMPORT = ForkLock()
TELEMETRY = "openvino_telemetry"


def load() -> ModuleType:
    """The module `openvino`, which from then on reports nothing. Every import goes through here.

    On import and in every conversion, OpenVINO's converter sends an analytics host a client id,
    versions and parameters. It forks for that, and writes to the home folder. Where the package
    `openvino_telemetry` is missing, it takes a stub of its own instead. Here it never finds the
    package, or the stub takes its place. So conversions that the program makes itself report
    nothing either. `openvino_telemetry` stays as it is for everybody else.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    purpose = "run networks on it"
    with _IMPORT, _hidden(TELEMETRY):
        openvino = require("openvino", "openvino", purpose)
        stub = require("openvino.tools.ovc.telemetry_stub", "openvino", purpose)
    _silence(stub)
    return openvino


@contextlib.contextmanager
def _hidden(package: str) -> Generator[None]:
    """An import of this package fails, as if it were not installed; loaded modules are kept."""
    if "openvino.tools.ovc" in sys.modules:
        yield  # nothing is imported that would look for it
        return
    loaded = sys.modules.get(package)
    sys.modules[package] = cast("ModuleType", None)  # what makes `import` raise ImportError
    try:
        yield
    finally:
        if loaded is None:
            sys.modules.pop(package, None)
        else:
            sys.modules[package] = loaded


def _silence(stub: ModuleType) -> None:
    """Put the stub where OpenVINO's modules hold the package: it was imported before."""
    real = sys.modules.get(TELEMETRY)
    if real is None:
        return
    for name, module in list(sys.modules.items()):
        if name.startswith("openvino.tools."):
            for attribute, value in list(vars(module).items()):
                if value is real:
                    setattr(module, attribute, stub)
