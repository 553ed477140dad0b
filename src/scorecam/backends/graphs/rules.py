"""What formats of graphs have in common: notes of their operations as those of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from scorecam.backends.graphs.graph import Graph, GraphNode
from scorecam.backends.graphs.walk import Walk

Rule = Callable[[GraphNode, Walk], Any]
"""Notes a node, with the axes of its outputs."""


def results(node: GraphNode, walk: Walk) -> list[Tensor]:
    """The tensors of a node's outputs; the optional ones that are left out have a stand-in."""
    return [walk.tensor(name) if name else walk.fresh(()) for name in node.outputs]


def elementwise(node: GraphNode, walk: Walk) -> None:
    """Each number of its result depends on the numbers at the same place."""
    arguments = {"tensors": walk.tensors(node.inputs)}
    walk.note(f"graph::{node.kind}", arguments, *results(node, walk))


def same_as(name: str, *names: str) -> Rule:
    """The rule of an operation that torch has with these tensors, in the order of its inputs."""

    def rule(node: GraphNode, walk: Walk) -> None:
        tensors = zip(names, node.inputs, strict=False)
        arguments = {key: walk.tensor(tensor) for key, tensor in tensors if tensor}
        walk.note(name, arguments, *results(node, walk))

    return rule


def lost(node: GraphNode, walk: Walk) -> None:
    """Positions are not followed through it."""
    walk.lose(node)


def constant(node: GraphNode, walk: Walk) -> None:
    """Its result depends on the shape of the image only."""


def sliced(
    walk: Walk, data: Tensor, axis: int, bounds: tuple[int | None, int | None, int]
) -> Tensor:
    """A tensor with a range of one axis."""
    size = data.shape[axis]
    kept = range(size)[slice(*bounds)]
    shape = [*data.shape[:axis], len(kept), *data.shape[axis + 1 :]]
    if kept.step < 0:
        name = "flip" if len(kept) == size else "gather"
        return walk.note(name, {"self": data, "dims": [axis]}, walk.fresh(shape))
    arguments = {"self": data, "dim": axis, "start": kept.start, "end": kept.stop}
    return walk.note("slice", {**arguments, "step": kept.step}, walk.fresh(shape))


def resampled(walk: Walk, data: Tensor, result: Tensor) -> None:
    """Note that positions are resampled along the axes whose size changes."""
    changed = [i for i in range(data.ndim) if data.shape[i] != result.shape[i]]
    if not changed:
        walk.note("clone", {"self": data}, result)
        return
    order = [i for i in range(data.ndim) if i not in changed] + changed
    moved = walk.note(
        "permute", {"self": data, "dims": order}, walk.fresh([data.shape[i] for i in order])
    )
    new = walk.note(
        f"upsample_nearest{min(len(changed), 3)}d",
        {"self": moved},
        walk.fresh([result.shape[i] for i in order]),
    )
    walk.note("permute", {"self": new, "dims": _inverse(order)}, result)


def _inverse(order: Sequence[int]) -> list[int]:
    return [order.index(axis) for axis in range(len(order))]


def einsum(node: GraphNode, walk: Walk) -> None:
    """A sum over letters, followed if it is a product of two matrices."""
    equation = node.attributes.get("equation", b"")
    text = equation.decode() if isinstance(equation, bytes) else str(equation)
    sides, _, result = text.replace(" ", "").partition("->")
    operands = sides.split(",")
    repeated = any(len(set(letters)) < len(letters) for letters in operands)
    if "." in text or not result or len(operands) != 2 or repeated:
        return lost(node, walk)
    one, other = operands
    summed = [c for c in one if c in other and c not in result]
    outer = [c for c in one if c in other and c in result]
    rows, columns = ([c for c in side if c not in (*summed, *outer)] for side in (one, other))
    if len(summed) != 1 or len(rows) != 1 or len(columns) != 1:
        return lost(node, walk)
    left = _arranged(walk, walk.tensor(node.inputs[0]), one, [*outer, *rows, *summed])
    right = _arranged(walk, walk.tensor(node.inputs[1]), other, [*outer, *summed, *columns])
    shape = [*left.shape[:-1], right.shape[-1]]
    product = walk.note("matmul", {"self": left, "other": right}, walk.fresh(shape))
    dims = [[*outer, *rows, *columns].index(letter) for letter in result]
    walk.note("permute", {"self": product, "dims": dims}, *results(node, walk))
    return None


def _arranged(walk: Walk, data: Tensor, letters: str, wanted: Sequence[str]) -> Tensor:
    dims = [letters.index(letter) for letter in wanted]
    shape = [data.shape[dim] for dim in dims]
    return walk.note("permute", {"self": data, "dims": dims}, walk.fresh(shape))


def settings(graph: Graph, places: Mapping[str, Sequence[int]]) -> list[str]:
    """The tensors whose numbers must be known: they decide what happens to positions.

    Args:
        graph: the network.
        places: for each operation, which of its inputs are such tensors.
    """
    found: list[str] = []
    for node in graph.nodes:
        inputs = places.get(node.kind, ())
        found += [node.inputs[i] for i in inputs if i < len(node.inputs) and node.inputs[i]]
    return found
