"""OpenVINO as a runtime for networks on a processor."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scorecam.backends.runtimes import int8, telemetry
from scorecam.backends.runtimes.runtime import Network, Prepared, Runtime
from scorecam.base.fork_lock import ForkLock
from scorecam.base.free_memory import free_memory_returned
from scorecam.base.process_state import ignore_warnings
from scorecam.io.extras import require
from scorecam.shapes import BatchedScores, Images

if TYPE_CHECKING:  # what is about stored conversions is only imported when a network is converted
    from scorecam.backends.runtimes.state import State
    from scorecam.backends.runtimes.stored import Content, Slot

FORMATS = {"bfloat16": ("BF16", "bf16"), "float16": ("FP16", "f16"), "float32": ("FP32", "f32")}
"""Precisions, fastest first: OpenVINO's name for the capability, and for the setting."""

CONVERTING = 0.8, 1.25e-8
"""Converting takes about this many seconds, and this many more per weight."""


class OpenVINO(Runtime):
    """OpenVINO's CPU plugin."""

    name = "openvino"
    help = "OpenVINO, which takes seconds to convert a network; fast on processors."
    extra = "openvino"
    batch = 8  # larger batches are no faster, and chosen masks come eight at a time
    calibrated = (int8.NAME,)
    mask_threads = 1  # idle threads of torch keep spinning on cores that OpenVINO needs

    def version(self) -> str:
        return str(load().__version__).partition("-")[0]  # without the build

    def precisions(self) -> Sequence[str]:
        load()  # it may be missing even if its capabilities are cached
        return precisions()

    def automatic(self, device: torch.device) -> bool:
        return device.type == "cpu"

    def seconds_to_convert(self, weights: int) -> float:
        return CONVERTING[0] + CONVERTING[1] * weights

    def check(self, network: Network, precision: str) -> None:
        check_process()
        if network.device.type != "cpu":
            raise ValueError(f"it runs on the processor, but the network is on {network.device}")
        if precision in self.calibrated:
            int8.load()
            if "INT8" not in _capabilities():
                raise ValueError("this processor does not compute in int8")
        elif precision not in self.precisions():
            raise ValueError(f"this processor does not compute in {precision}")
        if network.precision != "float32":
            raise ValueError(
                f"it needs a network in float32, but this one is in {network.precision}"
            )

    def stored(self, network: Network, shape: Sequence[int], state: State) -> bool:
        place = _slot(network, shape, state)
        return place is not None and place.filled() and self.installed()

    def convert(
        self, network: Network, example: Images, precision: str, *, state: State
    ) -> Callable[[Images], BatchedScores]:
        place = _slot(network, _pass(example).shape, state)
        if place is not None and (known := loaded(place)) is not None:
            model, content, memory = known
            run = compiled(model, example, precision, memory)
            content.release()
            return run
        with network.prepared() as scores:
            return converted(scores, example, precision, place)


RUNTIME = OpenVINO()


def precisions() -> list[str]:
    """The precisions that this processor computes in, fastest first."""
    known = _capabilities()
    return [name for name, (capability, _) in FORMATS.items() if capability in known]


@cache
def _capabilities() -> list[str]:
    """What OpenVINO reports about this processor. The query takes a tenth of a second."""
    return load().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _slot(network: Network, shape: Sequence[int], state: State) -> Slot | None:
    """The place of a stored model. It does not depend on the precision, which compiling sets."""
    from importlib import metadata

    from scorecam.backends.runtimes.stored import slot

    return slot(network, shape, state, f"openvino {metadata.version('openvino')}")


def loaded(place: Slot) -> tuple[Any, Content, object] | None:
    """The stored model, its content and the memory that it uses; None if there is none to use."""
    from scorecam.backends.runtimes import openvino_files

    if not place.filled():
        return None
    openvino = load()
    use_process()
    try:
        content = place.load()
        model, memory = openvino_files.read(openvino, content, place.own_weights())
    except Exception:  # noqa: BLE001  (damaged files raise errors of any kind)
        return None
    return model, content, memory


def _pass(example: Images) -> Images:
    """As many images of the example as every pass will have."""
    return example[: RUNTIME.batch_for(example[0])]


def _save(place: Slot, model: Any) -> None:
    """Store a model for other processes, if possible. Nothing depends on it."""
    from scorecam.backends.runtimes import openvino_files

    weights, size = place.own_weights(), openvino_files.size(model)
    with contextlib.suppress(Exception):
        place.save(lambda path: openvino_files.write(load(), model, weights, path), size)


def converted(
    scores: Prepared, example: Images, precision: str, place: Slot | None
) -> Callable[[Images], BatchedScores]:
    """Convert a network for batches of the example's size; its weights are copied.

    Args:
        scores: `b c *i` → `b n`.
        example: as many images as every pass will have; more of them for int8.
        precision: one of `FORMATS`, or int8.
        place: where to store the model; None to store nothing.

    Returns:
        A function of at most as many images as one pass has. Exceptions of OpenVINO pass through.
    """
    openvino = load()
    use_process()
    batch = _pass(example)
    # Tracing warns about every shape that it fixes; that is intended here.
    with ignore_warnings(), torch.no_grad():
        # Tracing here, unchecked, is four times as fast as leaving it to convert_model.
        module = _Readout(scores)
        with free_memory_returned():
            traced = torch.jit.trace(module, batch, check_trace=False)
        traced = torch.jit.freeze(traced)
        model = openvino.convert_model(traced, example_input=batch)
    model.reshape(list(batch.shape))
    if place is not None:
        _save(place, model)
    return compiled(model, example, precision)


def compiled(
    model: Any, example: Images, precision: str, memory: object = None
) -> Callable[[Images], BatchedScores]:
    """A function that runs a model.

    Args:
        model: of OpenVINO, for batches of the size of a pass.
        example: as for `converted`.
        precision: one of `FORMATS`, or int8.
        memory: what the model uses; it is kept as long as the function.
    """
    openvino = load()
    if precision == int8.NAME:
        batch = _pass(example).clone()
        model, precision = int8.quantised(model, example, len(batch)), "float32"
        example = batch
    settings = {
        "INFERENCE_PRECISION_HINT": FORMATS[precision][1],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    rows = len(example)

    def run(images: Images, _memory: object = memory) -> BatchedScores:
        check_process()
        padded = images.contiguous()
        if len(images) < rows:  # it takes exactly this many; surplus scores are dropped
            padded = example.new_zeros(example.shape)
            padded[: len(images)] = images
        output = request.infer({0: openvino.Tensor(padded.numpy(), shared_memory=True)})[0]
        return torch.from_numpy(output[: len(images)].copy())

    return run


class _Readout(nn.Module):
    """A network and its readout as one module, which tracing and freezing need."""

    def __init__(self, scores: Prepared) -> None:
        super().__init__()
        self.network = scores.network
        self.scores = scores
        self.training = False  # its own flag only: `eval` would reach into the network

    def forward(self, images: Tensor) -> Tensor:
        return self.scores(images)


_USED_IN: set[int] = set()
"""Ids of processes in which OpenVINO has run: this one, and those that it was forked from."""


def check_process() -> None:
    """Refuse to run in a process that was forked after OpenVINO ran: its threads are missing there.

    Raises:
        RuntimeError: this is such a process.
    """
    if _USED_IN - {os.getpid()}:
        raise RuntimeError("it does not work in a process that was forked after it ran")


def use_process() -> None:
    """Note that OpenVINO runs in this process; refuse one that was forked after it ran.

    Raises:
        RuntimeError: this is such a process.
    """
    check_process()
    _USED_IN.add(os.getpid())


# ── importing it ─────────────────────────────────────────────────────────────────────────────

_IMPORT = ForkLock()


def load() -> ModuleType:
    """Import the module `openvino` with its telemetry off. Every import goes through here.

    On import and in every conversion, OpenVINO's converter sends a client id, versions and
    parameters to an analytics host. For that it forks, and writes to the home folder. Without the
    package `openvino_telemetry` it uses a stub. This function hides the package during the import,
    or replaces it by the stub if it was imported before. That also holds for conversions in the
    user's own program. Other libraries still see the package.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    purpose = "run networks on it"
    with _IMPORT, telemetry.hidden("openvino.tools.ovc"):
        openvino = require("openvino", "openvino", purpose)
        stub = require("openvino.tools.ovc.telemetry_stub", "openvino", purpose)
    telemetry.replace(stub)
    return openvino
