"""The last operation of a graph: a softmax or a sigmoid says what kind the scores are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scorecam.backends.graphs.graph import Graph, GraphValue

PASSES = frozenset({"Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Convert", "Result"})
"""Operations that may follow it, with the same numbers in another format."""


@dataclass(frozen=True)
class Ending:
    """How an output ends.

    Args:
        output: its name.
        scores: the tensor before its last operation.
        head: the kind of these scores.
        kind: the last operation, as the format calls it.
    """

    output: str
    scores: str
    head: Literal["logits", "sigmoid"]
    kind: str


HEADS: dict[str, Literal["logits", "sigmoid"]] = {
    "Softmax": "logits",
    "SoftMax": "logits",
    "Sigmoid": "sigmoid",
}


def ending(graph: Graph, output: GraphValue) -> Ending | None:
    """The ending of an output, `b n`, with a softmax over the columns or a sigmoid; else None.

    The scores before it are logits: nothing has to be guessed, and no precision is lost.
    """
    if output.shape is None or len(output.shape) != 2:
        return None
    last = next(reversed(list(graph.before(output.name, PASSES))), None)
    head = HEADS.get(last.kind) if last else None
    if last is None or head is None or not last.inputs:
        return None
    over_columns = int(last.attributes.get("axis", -1)) in (1, -1)
    if head == "logits" and not over_columns:
        return None
    return Ending(output.name, last.inputs[0], head, last.kind)
