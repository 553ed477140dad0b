"""Running a compiled model, with several requests in flight."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from scorecam.backends.graphs.graph import Numbers
from scorecam.backends.runtimes.openvino import FORMATS, load, use_process
from scorecam.base.process_state import torch_threads
from scorecam.errors import ModelError

Inputs = Sequence[Numbers]


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled model.

    Args:
        model: compiled by OpenVINO.
        in_flight: requests that run at the same time.
        tensor: OpenVINO's class of tensors. Importing it for every request takes time.
    """

    model: Any
    in_flight: int
    tensor: type[Any]
    _idle: list[Any] = field(default_factory=list[Any], repr=False)

    def run_each(self, many: Iterable[Inputs]) -> Iterator[list[Numbers]]:
        """The outputs for each of several inputs, in order. RuntimeErrors pass through."""
        running: deque[tuple[Any, Inputs]] = deque()
        waiting = iter(many)
        try:
            while (inputs := _next(waiting)) is not None:
                if len(running) == self.in_flight:
                    yield self._finished(*running.popleft())
                running.append((self._started(inputs), inputs))
            while running:
                yield self._finished(*running.popleft())
        finally:  # requests use the memory of their inputs until they end
            for request, _ in running:
                with contextlib.suppress(RuntimeError):
                    request.wait()

    def _started(self, inputs: Inputs) -> Any:
        _use_process()
        try:
            request = self._idle.pop()
        except IndexError:
            request = self.model.create_infer_request()
        for i, numbers in enumerate(inputs):
            request.set_input_tensor(i, self.tensor(numbers, shared_memory=numbers.ndim > 0))
        request.start_async()
        return request

    def _finished(self, request: Any, inputs: Inputs) -> list[Numbers]:
        request.wait()
        del inputs  # the request used their memory until here
        count = len(self.model.outputs)
        found = [request.get_output_tensor(i).data.copy() for i in range(count)]
        self._idle.append(request)
        return found


def _next(waiting: Iterator[Inputs]) -> Inputs | None:
    """The next inputs. Idle threads of torch would keep spinning on cores that OpenVINO needs."""
    with torch_threads(1):
        return next(waiting, None)


def compiled(model: Any, precision: str, *, several: bool) -> Compiled:
    """Compile a model for this processor.

    Args:
        model: of OpenVINO.
        precision: the format of the numbers that it computes with. OpenVINO would choose bfloat16
            by itself where the processor has it.
        several: whether several requests share the threads, or each has all of them.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": FORMATS.get(precision, FORMATS["float32"])[1],
        "PERFORMANCE_HINT": "THROUGHPUT" if several else "LATENCY",
        "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
    }
    _use_process()
    openvino = load()
    made = openvino.Core().compile_model(model, "CPU", settings)
    count = made.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") if several else 1
    return Compiled(made, count, openvino.Tensor)


def _use_process() -> None:
    try:
        use_process()
    except RuntimeError as error:
        raise ModelError(
            "OpenVINO does not work in a process that was forked after it ran.",
            do="Start the process in another way, such as "
            'multiprocessing.get_context("spawn"), or open the model in the new process only.',
        ) from error
