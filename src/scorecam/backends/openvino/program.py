"""A graph in OpenVINO."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch

from scorecam.backends.graphs import rules
from scorecam.backends.graphs.graph import Graph, GraphNode, Numbers, Shape
from scorecam.backends.graphs.program import Program, Weight
from scorecam.backends.graphs.walk import Facts, Walk
from scorecam.backends.openvino import constants, operations
from scorecam.backends.openvino.fingerprint import fingerprint
from scorecam.backends.openvino.graph import (
    Described,
    described,
    is_real,
    known_shape,
    reshaped,
)
from scorecam.backends.openvino.messages import why
from scorecam.backends.openvino.requests import Compiled, compiled
from scorecam.backends.runtimes.openvino import load, precisions
from scorecam.base.cached_property import cached_property
from scorecam.base.fork_lock import ForkLock
from scorecam.base.wording import excerpt
from scorecam.errors import ModelError, ScorecamError
from scorecam.model.shortage import memory_errors_translated

COMPILED: Final = 4
"""Compiled models that are kept, each for a set of outputs."""


def openvino_program(model: Any, identity: str, *, has_names: bool) -> OpenVinoProgram:
    """The program of a model.

    Args:
        model: of OpenVINO. It is not changed.
        identity: what the graph inside an operation is known by, such as a branch of an If; empty
            if there is none.
        has_names: whether the file names all operations.
    """
    found = described(model, has_names=has_names)
    graph = found.graph
    quantised = any(
        node.kind == "FakeQuantize" and node.outputs[0] in graph.computed for node in graph.nodes
    )
    precision = "int8" if quantised else "float32"
    return OpenVinoProgram(
        graph, precision, model=model, identity=identity, described=found, has_names=has_names
    )


@dataclass(frozen=True, eq=False)
class OpenVinoProgram(Program):
    """A model in OpenVINO's plugin for processors. Its file is never changed.

    Args:
        model: of OpenVINO.
        identity: what the graphs inside operations are known by.
        described: the graph, and where its tensors are in the model.
        has_names: whether the file names all operations.
    """

    graph: Graph
    precision: str
    model: Any
    identity: str
    described: Described
    has_names: bool
    runtime: str = "openvino"
    _compiled: dict[object, Compiled] = field(default_factory=dict[object, Compiled], repr=False)
    _lock: ForkLock = field(default_factory=ForkLock, repr=False)

    @property
    def versions(self) -> Mapping[str, str]:
        return {"openvino": str(load().__version__).partition("-")[0]}

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those of the processor. What is computed in integers stays so."""
        if self.precision == "int8":
            return ("int8",)
        offered = [name for name in precisions() if name != "float16"]
        return tuple(dict.fromkeys([self.precision, *offered]))

    def at(self, precision: str) -> OpenVinoProgram:
        return replace(self, precision=precision)

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model, self.identity)

    def translate(self, node: GraphNode, walk: Walk) -> None:
        operations.translate(node, walk)

    # ── shapes ───────────────────────────────────────────────────────────────────────────────────

    def facts(self, shapes: Mapping[str, Shape]) -> Facts:
        model = self._reshaped(shapes)
        found = model.get_ordered_ops()
        outputs = {name: found[i].output(port) for name, (i, port) in self.described.places.items()}
        sizes = {name: known_shape(output) for name, output in outputs.items()}
        known = {name: size for name, size in sizes.items() if size is not None}
        values = dict(self.graph.constants)
        unknown = [name for name in outputs if name not in known]
        settings = [
            name for name in rules.settings(self.graph, operations.SETTINGS) if name not in values
        ]
        if unknown or settings:
            more, numbers = self._computed(
                model, outputs, unknown, settings=settings, shapes=shapes
            )
            known.update(more)
            values.update(numbers)
        real = frozenset(name for name, output in outputs.items() if is_real(output))
        return Facts(known, values, real)

    def _reshaped(self, shapes: Mapping[str, Shape]) -> Any:
        """A copy of the model for inputs of these shapes.

        Raises:
            ModelError: the network does not take such inputs.
        """
        try:
            return reshaped(self.model, [shapes[each.name] for each in self.graph.inputs])
        except RuntimeError as error:
            raise _failed(error, shapes) from error

    def _computed(
        self,
        model: Any,
        outputs: Mapping[str, Any],
        unknown: Sequence[str],
        settings: Sequence[str],
        shapes: Mapping[str, Shape],
    ) -> tuple[dict[str, Shape], dict[str, Numbers]]:
        """Shapes that could not be inferred, and values of settings: from a pass of the network."""
        openvino = load()
        shape_of = openvino.opset13.shape_of
        wanted = [shape_of(outputs[name]).output(0) for name in unknown]
        names = list(dict.fromkeys(settings))
        wanted += [outputs[name] for name in names]
        part = openvino.Model(wanted, model.get_parameters())
        inputs = [np.zeros(shapes[each.name], each.dtype) for each in self.graph.inputs]
        with _errors_translated(shapes):
            [numbers] = compiled(part, "float32", several=False).run_each([inputs])
        sizes = {name: tuple(map(int, size)) for name, size in zip(unknown, numbers, strict=False)}
        return sizes, dict(zip(names, numbers[len(unknown) :], strict=True))

    # ── running ──────────────────────────────────────────────────────────────────────────────────

    def run(self, inputs: Mapping[str, Numbers], wanted: Sequence[str]) -> list[Numbers]:
        [found] = self.run_each([inputs], wanted)
        return found

    def run_each(
        self, inputs: Iterable[Mapping[str, Numbers]], wanted: Sequence[str]
    ) -> Iterator[list[Numbers]]:
        names = [each.name for each in self.graph.inputs]
        shapes: dict[str, Shape] = {}

        def arrays() -> Iterator[list[Numbers]]:
            for each in inputs:
                shapes.update((name, value.shape) for name, value in each.items())
                yield [each[name] for name in names]

        found = self._compiled_for(tuple(wanted)).run_each(arrays())
        while True:
            with _errors_translated(shapes):
                outputs = next(found, None)
            if outputs is None:
                return
            yield outputs

    def _compiled_for(self, wanted: tuple[str, ...]) -> Compiled:
        """The model compiled for these outputs. Its threads do not survive a fork."""
        key = os.getpid(), torch.get_num_threads(), self.precision, wanted
        with self._lock:
            if key not in self._compiled:
                kept = list(self._compiled.items())[1 - COMPILED :]
                self._compiled.clear()
                self._compiled.update(kept)
                self._compiled[key] = self._compile(wanted)
            return self._compiled[key]

    def _compile(self, wanted: Sequence[str]) -> Compiled:
        model = self.model.clone()
        found = model.get_ordered_ops()
        places = [self.described.places[name] for name in wanted]
        outputs = [found[i].output(port) for i, port in places]
        part = load().Model(outputs, model.get_parameters())
        with _errors_translated({}):
            return compiled(part, self.precision, several=self._fixed_batch)

    @property
    def _fixed_batch(self) -> bool:
        """Whether batches have one size, so that many of them run."""
        return all(each.shape and each.shape[0] is not None for each in self.graph.inputs)

    # ── weights ──────────────────────────────────────────────────────────────────────────────────

    def weights(self) -> Iterator[Weight]:
        return constants.weights(self.graph)

    def with_weights(
        self, names: Sequence[str], change: Callable[[Numbers], Numbers]
    ) -> OpenVinoProgram:
        model = constants.changed(self.model, self.described, names, change)
        return openvino_program(model, self.identity, has_names=self.has_names)


@contextlib.contextmanager
def _errors_translated(shapes: Mapping[str, Shape]) -> Generator[None]:
    """Raise a `ModelError` for errors of OpenVINO, on inputs of these shapes."""
    try:
        with memory_errors_translated():
            yield
    except ScorecamError:
        raise
    except RuntimeError as error:
        raise _failed(error, shapes) from error


def _failed(error: Exception, shapes: Mapping[str, Shape]) -> ModelError:
    if not shapes:
        return ModelError(
            f"OpenVINO cannot compile the network: {why(error)}",
            likely="It may use an operator, or a chain of operators, that this version does not "
            "run on this processor.",
            do="pip install --upgrade openvino, or run the ONNX file it was made from.",
        )
    inputs = ", ".join(f"{excerpt(name, 60)} {size}" for name, size in shapes.items())
    return ModelError(
        f"The network failed in OpenVINO on inputs of the shapes {inputs}: {why(error)}",
        likely="It may expect another number of colours or another image size.",
        do="Give inputs of the shapes that the network was exported for.",
    )
