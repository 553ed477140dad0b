"""Where a branch that computes a heatmap is added to an ONNX file's network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from scorecam.backends.branches.site import MAP, Built, Site
from scorecam.backends.branches.weights import BranchWeights, WeightsOfClass
from scorecam.backends.graphs.model import GraphModel
from scorecam.backends.inputs.batches import full_batches
from scorecam.backends.onnx import library, quantised
from scorecam.backends.onnx.branch import FLOAT, Maps, Nodes, add_branch
from scorecam.backends.onnx.contents import tensors
from scorecam.backends.onnx.external import is_external, part_of
from scorecam.backends.onnx.head import LastLayer, last_layer
from scorecam.backends.onnx.program import OnnxProgram, onnx_program
from scorecam.backends.onnx.reading import bytes_in
from scorecam.backends.tracing.layer_maps import Given
from scorecam.backends.tracing.maps import Layout
from scorecam.base.wording import quoted
from scorecam.errors import LayerError, ModelError
from scorecam.model.model import Model
from scorecam.shapes import BatchedActivations, BatchedScores, Grids, Images

OLDEST: Final = 9
"""The first version of ONNX's operators with all operations of the branch."""

LARGEST: Final = 2**31 - 2**24
"""Bytes of a file, with a margin for the graph: Protocol Buffers allow 2 GiB."""

LIKENESS: Final = 0.99
"""The least cosine between changes of the scores, predicted from mean activations and real."""


@dataclass(frozen=True, eq=False)
class OnnxSite(Site):
    """A layer of an ONNX file's network.

    Args:
        model: the network.
        program: its graph.
        layer: its name.
        maps: the layer's activations.
        grid: of the activations.
        scores: the tensor of the scores, `b n`; empty if they are not one tensor of the graph.
        found: the last layer, if the scores are linear in the mean activations.
    """

    model: GraphModel
    program: OnnxProgram
    layer: str
    maps: Maps
    grid: tuple[int, ...]
    scores: str
    found: LastLayer | None

    @property
    def source(self) -> Path:
        return self.program.file.path

    @property
    def last_layer(self) -> WeightsOfClass | None:
        return None if self.found is None else WeightsOfClass(self.found.weights)

    @property
    def channels(self) -> int:
        return self.maps.channels

    def activations(self, images: Images) -> tuple[BatchedActivations, BatchedScores]:
        return self.model.activations(images, self.layer)

    def built(self, weights: BranchWeights) -> OnnxBuilt:
        file = self.program.file
        proto: Any = library.onnx().ModelProto()
        proto.CopyFrom(file.proto)
        proto.ir_version = max(proto.ir_version, 4)  # constants need not be inputs
        nodes = Nodes()
        add_branch(
            nodes,
            self.maps,
            weights,
            scores=self.scores,
            layer=self.found,
            output=MAP,
        )
        proto.graph.node.extend(nodes.part.graph.node)
        proto.graph.initializer.extend(nodes.part.graph.initializer)
        output = proto.graph.output.add(name=MAP)
        output.type.tensor_type.elem_type = FLOAT
        taken = next(each for each in proto.graph.input if each.name == self.model.call.masked)
        shape = output.type.tensor_type.shape
        shape.dim.extend(taken.type.tensor_type.shape.dim[:1])
        for _ in self.grid:
            shape.dim.add()
        changed = dataclasses.replace(file, proto=proto)
        program = onnx_program(changed, self.program.provider)
        return OnnxBuilt(self, program)


@dataclass(frozen=True, eq=False)
class OnnxBuilt(Built):
    """A network with a branch.

    Args:
        site: of the branch.
        program: with the branch.
    """

    site: OnnxSite
    program: OnnxProgram

    def run(self, images: Images) -> Grids:
        model = self.site.model
        maps: list[Grids] = []
        for batch, count in full_batches(images, model.batch):
            [found] = self.program.run(model.inputs(batch), [MAP])
            maps.append(torch.from_numpy(found)[:count])
        return torch.cat(maps)

    def changed(self, images: Images) -> float:
        model = self.site.model
        names = [value.name for value in self.site.program.graph.outputs]
        changes = [0.0]
        for batch, _ in full_batches(images, model.batch):
            inputs = model.inputs(batch)
            before = self.site.program.run(inputs, names)
            after = self.program.run(inputs, [*names, MAP])
            for one, other in zip(before, after, strict=False):
                if one.dtype.kind == "f" and one.size:
                    scale = max(float(np.abs(one).max()), 1e-30)
                    changes.append(float(np.abs(one - other).max()) / scale)
        return max(changes)

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        proto: Any = library.onnx().ModelProto()
        proto.CopyFrom(self.program.file.proto)
        kept = [entry for entry in proto.metadata_props if entry.key not in metadata]
        del proto.metadata_props[:]
        proto.metadata_props.extend(kept)
        for key, value in metadata.items():
            proto.metadata_props.add(key=key, value=value)
        parts = [
            (tensor, part_of(tensor, self.program.file.folder / "model"))
            for tensor in tensors(proto)
            if is_external(tensor)
        ]
        if proto.ByteSize() + sum(part.length for _, part in parts) > LARGEST:
            raise ModelError(
                f"{quoted(self.site.source.name)} has more than 2 GiB of weights, which one ONNX "
                "file cannot hold.",
                do="Export a smaller or quantised network.",
            )
        for tensor, part in parts:
            del tensor.external_data[:]
            tensor.data_location = 0
            tensor.raw_data = bytes_in(part)
        path.write_bytes(proto.SerializeToString())


def is_onnx_file(model: Model) -> bool:
    """Whether a model is the network of an ONNX file in ONNX Runtime."""
    return isinstance(model, GraphModel) and isinstance(model.program, OnnxProgram)


def onnx_site(model: Model, images: Images, layer: str | None) -> OnnxSite | None:
    """The place for a branch in an ONNX file's network; None for another model."""
    if not isinstance(model, GraphModel) or not isinstance(model.program, OnnxProgram):
        return None
    program = model.program
    _check_graph(program)
    name = model.find_layer(layer, images)
    activations = model.activations(images, name)[0]
    maps = _maps(model, name, images, channels=activations.shape[1])
    scores = _scores(model, images)
    found = last_layer(program.file, program.graph, scores) if scores else None
    if found is not None and not _is_linear(model, name, images, found):
        found = None
    return OnnxSite(
        model,
        program,
        name,
        maps,
        grid=tuple(activations.shape[2:]),
        scores=scores,
        found=found,
    )


def _check_graph(program: OnnxProgram) -> None:
    """Raises ModelError if no branch can be added."""
    graph, file = program.graph, program.file
    called = quoted(file.path.name)
    if MAP in graph.makers or MAP in graph.weights or any(v.name == MAP for v in graph.inputs):
        raise ModelError(
            f"{called} has a tensor called {quoted(MAP)} already.",
            likely="A heatmap was added to it before.",
            do="Give the file without the heatmap, or rename the tensor.",
        )
    imported = {each.domain: each.version for each in file.proto.opset_import}
    version = imported.get("", imported.get("ai.onnx", 0))
    if version < OLDEST:
        raise ModelError(
            f"{called} uses version {version} of ONNX's operators (opset). A heatmap needs "
            f"{OLDEST} or later.",
            do="Export the network again with a later opset, such as 17; or convert it with "
            "onnx.version_converter.",
        )


def _maps(model: GraphModel, name: str, images: Images, *, channels: int) -> Maps:
    """Where the activations of a layer are.

    Raises:
        LayerError: it holds them in a way that the branch cannot read.
    """
    place = model.place(name, images)
    graph = model.program.graph
    tensor = graph.tensor_of(place.label) or ""
    scale = tuple(filter(None, quantised.scales(graph).get(tensor, ())))
    layout, given = place.layout, model.given
    axes = _axes(layout, given, images.ndim - 2)
    if axes is not None:
        return Maps(tensor, scale, channels, axes=axes, grid=())
    if layout is None or not _are_tokens(layout, given):
        raise LayerError(
            f"The layer {quoted(name)} holds its maps in an order that a branch cannot read.",
            do="Choose another layer; `scorecam layers` (or scorecam.layers) lists them with their "
            "layouts.",
        )
    skipped = layout.extras[1][0]
    return Maps(tensor, scale, channels, axes=(), grid=layout.grid, skipped=skipped)


def _axes(layout: Layout | None, given: Given, count: int) -> tuple[int, ...] | None:
    """The axes of the grid, `count` of them; None for tokens and other layouts."""
    first = tuple(range(2, count + 2))
    known = {"channels first": first, "channels last": tuple(axis - 1 for axis in first)}
    if given.reshape is not None or (given.layout is None and layout and layout.flipped):
        return None
    return known.get(given.layout or (layout.name if layout else ""))


def _are_tokens(layout: Layout, given: Given) -> bool:
    """Whether it is `b n k`, with the tokens of the grid row by row."""
    count = len(layout.grid)
    row_by_row = [len(axis) for axis in layout.axes] == [1, count, 1]
    row_by_row &= layout.order == (0, count + 1, *range(1, count + 1))
    return not given.any and not layout.flipped and layout.name.startswith("tokens") and row_by_row


def _scores(model: GraphModel, images: Images) -> str:
    """The tensor of the scores, `b n` with at least two classes; empty if there is none."""
    scores = model.scores(images).numpy()
    inputs = model.inputs(next(iter(full_batches(images, model.batch)))[0])
    names = model.read_tensors
    for name, values in zip(names, model.program.run(inputs, names), strict=True):
        fits = values.ndim == 2 and values.shape[1] > 1 and values.shape[1:] == scores.shape[1:]
        if fits and np.allclose(values[:1], scores, rtol=1e-3, atol=1e-5):
            return name
    return ""


def _is_linear(model: GraphModel, name: str, images: Images, layer: LastLayer) -> bool:
    """Whether changes of the scores are those of the mean activations times the weights."""
    both = torch.cat([images, torch.zeros_like(images)])
    maps, scores = model.activations(both, name)
    means = maps.flatten(2).mean(dim=2)
    if layer.weights.shape != (scores.shape[1], means.shape[1]):
        return False
    predicted = torch.from_numpy(layer.weights) @ (means[0] - means[1])
    real = scores[0] - scores[1]
    cosine = torch.nn.functional.cosine_similarity(predicted, real, dim=0)
    return bool(cosine > LIKENESS)
