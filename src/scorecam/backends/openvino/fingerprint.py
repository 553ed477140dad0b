"""SHA-256 of an OpenVINO model: its operations and weights, without names."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from scorecam.backends.graphs.graph import WITH_GRAPHS


def fingerprint(model: Any, identity: str) -> str:
    """SHA-256 of the graph and all weights. Names, and what the exporter noted, do not matter.

    Args:
        model: of OpenVINO.
        identity: SHA-256 of its files, used only if there are graphs inside operations.
    """
    digest = hashlib.sha256()
    operations = model.get_ordered_ops()
    positions = {operation.get_name(): i for i, operation in enumerate(operations)}
    for operation in operations:
        kind = operation.get_type_name()
        outputs = [each.get_source_output() for each in operation.inputs()]
        sources = [(positions[each.get_node().get_name()], each.get_index()) for each in outputs]
        attributes = sorted(operation.get_attributes().items())
        digest.update(repr((kind, attributes, sources)).encode())
        if kind == "Constant":
            digest.update(np.ascontiguousarray(operation.data).tobytes())
        if kind in WITH_GRAPHS:
            digest.update(identity.encode())
    return digest.hexdigest()
