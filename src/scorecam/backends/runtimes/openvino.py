"""OpenVINO as a fast way to run a network on a CPU."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Generator
from functools import cache

import torch
from torch import Tensor, nn

from scorecam.errors import MissingExtra
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
    _openvino()  # may be missing, whatever is remembered
    can = _capabilities()
    words = {"bfloat16": "BF16", "float16": "FP16", "float32": "FP32"}
    return [name for name, word in words.items() if word in can]


@cache
def _capabilities() -> list[str]:
    """What OpenVINO says of this processor: it takes a tenth of a second to find out."""
    return _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


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
        A function of up to so many images. Whatever OpenVINO raises while converting or running
        passes through.
    """
    openvino = _openvino()
    with _quietly(), torch.no_grad():
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
        given = images.contiguous()
        if len(images) < rows:  # it takes just so many; the others' answers are dropped
            given = example.new_zeros(example.shape)
            given[: len(images)] = images
        found = request.infer({0: openvino.Tensor(given.numpy(), shared_memory=True)})[0]
        return torch.from_numpy(found[: len(images)].copy())

    return scores


class _Asking(nn.Module):
    """The network and its readout as one module, as tracing and freezing want it."""

    def __init__(self, network: nn.Module, ask: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.ask = ask
        self.training = False  # its own flag only: `eval` would reach into the network

    def forward(self, images: Tensor) -> Tensor:
        return self.ask(images)


@contextlib.contextmanager
def _quietly() -> Generator[None]:
    """Tracing warns of every shape it fixes; shapes are fixed on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _openvino():
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra(
            "OpenVINO is not installed.", do="pip install 'scorecam[openvino]'"
        ) from error
    return openvino
