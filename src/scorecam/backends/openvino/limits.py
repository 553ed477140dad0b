"""Limits on what an OpenVINO model computes, checked before it runs."""

from __future__ import annotations

import math
from typing import Any

from scorecam.backends.onnx.sizes import MOST_CONSTANT, MOST_ELEMENTS
from scorecam.backends.openvino.graph import sizes
from scorecam.base.wording import quoted
from scorecam.errors import ModelError

STATES = frozenset({"ReadValue", "Assign"})


def check_model(model: Any, name: str) -> None:
    """Refuse a model without inputs or outputs, with huge tensors, or with a state.

    Args:
        model: of OpenVINO.
        name: of the file.

    Raises:
        ModelError: it is such a model.
    """
    if not model.inputs or not model.outputs:
        raise ModelError(
            f"The network in {quoted(name, 200)} has no input or no output.",
            likely="The file is damaged, or the export was interrupted.",
            do="Export the network again.",
        )
    operations = model.get_ordered_ops()
    if any(operation.get_type_name() in STATES for operation in operations):
        raise ModelError(
            f"The network in {quoted(name, 200)} keeps a state from one pass to the next, so "
            "the scores of masked images would depend on their order.",
            do="Export it with its states as inputs and outputs.",
        )
    _check_sizes(operations, name)


def _check_sizes(operations: Any, name: str) -> None:
    varying: set[str] = set()
    constant = 0
    for operation in operations:
        kind = operation.get_type_name()
        count = sum(_elements(output) for output in operation.outputs())
        sources = {each.get_source_output().get_node().get_name() for each in operation.inputs()}
        if kind == "Parameter" or not varying.isdisjoint(sources):
            varying.add(operation.get_name())
        elif kind != "Constant":
            constant += count
        if count > MOST_ELEMENTS or constant > MOST_CONSTANT:
            called = operation.get_friendly_name()
            raise ModelError(
                f"The network in {quoted(name, 200)} computes a tensor of {count:,} elements, "
                f"{quoted(called)}. The limit is {MOST_ELEMENTS:,}, and {MOST_CONSTANT:,} for all "
                "tensors that follow from constants alone.",
                likely="The file may be designed to exhaust memory.",
                do="Export the network for smaller inputs or a smaller batch.",
            )


def _elements(output: Any) -> int:
    """The least number of elements of a tensor."""
    return math.prod(size or 1 for size in sizes(output) or ())
