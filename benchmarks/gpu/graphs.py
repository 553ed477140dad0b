"""Two runtimes that the package does not have yet: both replay CUDA graphs.

A network's pass starts hundreds of small operations on the card, and starting them from Python can
take longer than running them. A CUDA graph is one recorded pass, which is started in one step. Its
input and its output are always in the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from scorecam.backends.runtimes import compile as torch_compile
from scorecam.backends.runtimes.casting import PRECISIONS, autocast
from scorecam.backends.runtimes.known import RUNTIMES
from scorecam.backends.runtimes.runtime import Network, Runtime
from scorecam.backends.runtimes.state import State
from scorecam.shapes import BatchedScores, Images

BATCH = 128
"""Images per recorded pass: the first batch size on a card."""

WARM_UP = 3
"""Passes before the recording: libraries choose and load their algorithms in the first ones."""


class Graph(Runtime):
    """The network's own operations, recorded as a CUDA graph."""

    name = "cuda-graph"
    help = "PyTorch's own operations, replayed as a CUDA graph."

    def __init__(self, batch: int) -> None:
        self.batch = batch  # type: ignore[misc]  (the benchmark's small size differs)

    def version(self) -> str:
        return str(torch.__version__)

    def precisions(self) -> Sequence[str]:
        return PRECISIONS

    def check(self, network: Network, precision: str) -> None:
        """It records whatever PyTorch runs; the recording itself refuses what waits for a card."""

    def convert(
        self,
        network: Network,
        example: Images,
        precision: str,
        *,
        state: State,  # noqa: ARG002
    ) -> Callable[[Images], BatchedScores]:
        layout = network.memory_format(example)
        with network.prepared():
            own = network.copied()
            with own.prepared() as scores:
                half = "float32" if precision == network.precision else precision
                run = autocast(scores, network.device, half)
                return replayed(run, example.contiguous(memory_format=layout))


class CompiledGraph(torch_compile.Compile):
    """`torch.compile`, replayed as a CUDA graph: the mode "reduce-overhead"."""

    name = "compile-graph"
    help = "torch.compile, replayed as a CUDA graph."

    def __init__(self, batch: int) -> None:
        self.batch = batch  # type: ignore[misc]

    def convert(
        self, network: Network, example: Images, precision: str, *, state: State
    ) -> Callable[[Images], BatchedScores]:
        with compiler_graphs(on=network.device.type == "cuda"):
            run = super().convert(network, example, precision, state=state)

        def replay(images: Images) -> BatchedScores:
            with compiler_graphs(on=images.is_cuda):  # it records in one of the first passes
                return run(images)

        return replay


@contextmanager
def compiler_graphs(*, on: bool) -> Generator[None]:
    """The compiler's own CUDA graphs, in this block."""
    import torch._inductor.config as inductor

    with inductor.patch({"triton.cudagraphs": on}):
        yield


def replayed(run: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Images], BatchedScores]:
    """A function of at most as many images as the example has, which replays one recorded pass."""
    memory = example.clone()  # keeps the layout
    replay = recorded(lambda: run(memory), example.device)

    def scores(images: Images) -> BatchedScores:
        # Rows after these keep images of an earlier batch; their scores are dropped.
        memory[: len(images)].copy_(images, non_blocking=True)
        return replay()[: len(images)].clone()

    return scores


def recorded(run: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """The same function as a CUDA graph, whose result is always in the same memory.

    Without a card it is returned as it is, so that everything else can be tested.
    """
    if device.type != "cuda":
        return torch.no_grad()(run)
    stream = torch.cuda.Stream(device)  # recording on the default stream is not allowed
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            run()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        result = run()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


@contextmanager
def offered(batch: int = BATCH) -> Generator[None]:
    """Both runtimes under their names, in this block."""
    added: list[Runtime] = [Graph(batch), CompiledGraph(batch)]
    RUNTIMES.update({runtime.name: runtime for runtime in added})
    try:
        yield
    finally:
        for runtime in added:
            del RUNTIMES[runtime.name]
