"""A graph in ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch

from scorecam.backends.graphs import rules
from scorecam.backends.graphs.graph import Graph, GraphNode, Numbers, Shape
from scorecam.backends.graphs.program import Program, Weight
from scorecam.backends.graphs.walk import Facts, Walk
from scorecam.backends.onnx import constants, library, operations, quantised
from scorecam.backends.onnx.graph import graph_of, sequences
from scorecam.backends.onnx.providers import Provider
from scorecam.backends.onnx.reading import OnnxFile
from scorecam.backends.onnx.shapes import Inferred, inferred
from scorecam.base.fork_lock import ForkLock
from scorecam.base.wording import excerpt, reason
from scorecam.errors import ModelError, ScorecamError
from scorecam.model.shortage import memory_errors_translated

CPU: Final[Provider] = ("CPUExecutionProvider", {})

SESSIONS: Final = 4
"""Sessions that are kept, each for a set of outputs: they hold copies of the weights."""

FLOATS: Final = frozenset({1, 10, 11, 16})
"""ONNX's types float32, float16, float64 and bfloat16."""

TYPES: Final = {
    "tensor(float)": 1,
    "tensor(float16)": 10,
    "tensor(double)": 11,
    "tensor(bfloat16)": 16,
}
"""How ONNX Runtime calls them."""


def onnx_program(file: OnnxFile, provider: Provider = CPU) -> OnnxProgram:
    """The program of an ONNX file.

    Args:
        file: that was read and checked.
        provider: the execution provider, with its options.
    """
    graph = graph_of(file.proto)
    return OnnxProgram(file, graph, quantised.precision(file.proto), provider)


@dataclass(frozen=True, eq=False)
class OnnxProgram(Program):
    """An ONNX file in ONNX Runtime. The file is never changed."""

    file: OnnxFile
    graph: Graph
    precision: str
    provider: Provider
    runtime: str = "onnxruntime"
    _sessions: dict[object, Any] = field(default_factory=dict[object, Any], repr=False)
    _lock: ForkLock = field(default_factory=ForkLock, repr=False)

    @property
    def versions(self) -> Mapping[str, str]:
        return {"onnxruntime": library.onnxruntime().__version__}

    def fingerprint(self) -> str:
        return self.file.fingerprint()

    def translate(self, node: GraphNode, walk: Walk) -> None:
        operations.translate(node, walk)

    # ── shapes ───────────────────────────────────────────────────────────────────────────────────

    def facts(self, shapes: Mapping[str, Shape]) -> Facts:
        known = inferred(self.file.proto, shapes)
        graph = self.graph
        values = dict(graph.constants)
        unknown = {name for name in graph.labels if name not in known.shapes} - sequences(graph)
        settings = dict.fromkeys(
            n for n in rules.settings(graph, operations.SETTINGS) if n not in values
        )
        if unknown or settings:
            inputs = {each.name: np.zeros(shapes[each.name], each.dtype) for each in graph.inputs}
            known, more = self._completed(known, inputs, unknown, tuple(settings))
            values.update(more)
        real = {name for name, kind in known.types.items() if kind in FLOATS}
        return Facts(known.shapes, values, frozenset(real | quantised.scales(graph).keys()))

    def _completed(
        self,
        known: Inferred,
        inputs: Mapping[str, Numbers],
        unknown: Collection[str],
        settings: Sequence[str],
    ) -> tuple[Inferred, dict[str, Numbers]]:
        """The shapes and types that could not be inferred, and the values of settings.

        They come from a pass of the network.
        """
        shaped = {name: f"{name}/shape" for name in unknown}
        untyped = [name for name in unknown if name not in known.types]
        session = self._opened([*settings, *untyped], shaped, optimised=False)
        declared = {value.name: value.type for value in session.get_outputs()}
        types = {name: TYPES.get(declared[_exposed(name, self.graph)], 0) for name in untyped}
        try:
            numbers = _run(session, inputs, [*shaped.values(), *settings])
        except ModelError:  # it may not take zeros
            return known, {}
        sizes = {
            name: tuple(map(int, size))
            for name, size in zip(shaped, numbers[: len(shaped)], strict=True)
        }
        found = Inferred({**known.shapes, **sizes}, {**known.types, **types})
        return found, dict(zip(settings, numbers[len(shaped) :], strict=True))

    # ── running ──────────────────────────────────────────────────────────────────────────────────

    def run(self, inputs: Mapping[str, Numbers], wanted: Sequence[str]) -> list[Numbers]:
        session = self._session(tuple(wanted))
        return _run(session, inputs, [_exposed(name, self.graph) for name in wanted])

    def _session(self, wanted: tuple[str, ...]) -> Any:
        """The session with these outputs. Its threads do not survive a fork."""
        key = os.getpid(), torch.get_num_threads(), wanted
        with self._lock:
            if key not in self._sessions:
                kept = list(self._sessions.items())[1 - SESSIONS :]
                self._sessions.clear()
                self._sessions.update(kept)
                self._sessions[key] = self._opened(wanted)
            return self._sessions[key]

    def _opened(
        self,
        wanted: Sequence[str],
        shaped: Mapping[str, str] = MappingProxyType({}),
        *,
        optimised: bool = True,
    ) -> Any:
        """A session with these outputs.

        Args:
            wanted: tensors.
            shaped: tensors whose shapes are returned, and the names of these outputs.
            optimised: whether the graph is optimised, which takes time.
        """
        onnxruntime = library.onnxruntime()
        options = onnxruntime.SessionOptions()
        if not optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        for key, value in self.file.session_entries().items():
            options.add_session_config_entry(key, value)
        content = self.file.proto.SerializeToString()
        # Messages of Protocol Buffers that follow each other are merged.
        content += _additions(self.graph, wanted, shaped).SerializeToString()
        try:
            return onnxruntime.InferenceSession(content, options, providers=[self.provider])
        except Exception as error:
            raise ModelError(
                f"ONNX Runtime cannot open the network: {reason(error)}",
                likely="It may use an operator that this version or device does not have.",
                do=f"Check that onnxruntime.InferenceSession({excerpt(self.file.path.name)!r}) "
                "opens it.",
            ) from error

    # ── weights ──────────────────────────────────────────────────────────────────────────────────

    def weights(self) -> Iterator[Weight]:
        return constants.weights(self.graph)

    def with_weights(
        self, names: Sequence[str], change: Callable[[Numbers], Numbers]
    ) -> OnnxProgram:
        return onnx_program(constants.changed(self.file, names, change), self.provider)


def _run(session: Any, inputs: Mapping[str, Numbers], names: Sequence[str]) -> list[Numbers]:
    try:
        with memory_errors_translated():
            return session.run(list(names), dict(inputs))
    except ScorecamError:
        raise
    except Exception as error:
        raise _failed(error, inputs) from error


def _additions(graph: Graph, wanted: Sequence[str], shaped: Mapping[str, str]) -> Any:
    """The nodes and outputs that a model needs to return these tensors, as a part of a model."""
    onnx = library.onnx()
    part = onnx.ModelProto()
    for name, output in shaped.items():
        part.graph.node.append(onnx.helper.make_node("Shape", [name], [output]))
        part.graph.output.append(onnx.ValueInfoProto(name=output))
    scales = quantised.scales(graph)
    for name in wanted:
        if any(name == output.name for output in graph.outputs):
            continue
        exposed = _exposed(name, graph)
        if name in scales:
            inputs = [name, *filter(None, scales[name])]
            part.graph.node.append(onnx.helper.make_node("DequantizeLinear", inputs, [exposed]))
        part.graph.output.append(onnx.ValueInfoProto(name=exposed))
    return part


def _exposed(name: str, graph: Graph) -> str:
    """The name of the output that returns a tensor."""
    outputs = {output.name for output in graph.outputs}
    hidden = name in quantised.scales(graph) and name not in outputs
    return f"{name}/dequantized by scorecam" if hidden else name


def _failed(error: Exception, inputs: Mapping[str, Numbers]) -> ModelError:
    shapes = ", ".join(f"{excerpt(name, 60)} {value.shape}" for name, value in inputs.items())
    return ModelError(
        f"The network failed in ONNX Runtime on inputs of the shapes {shapes}: {reason(error)}",
        likely="It may expect another number of colours or another image size.",
        do="Give inputs of the shapes that the network was exported for.",
    )
