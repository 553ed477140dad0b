"""Exported programs that accept batches of one size only: the size for which they were exported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from scorecam.backends.inputs import batches
from scorecam.backends.inputs.structure import Key
from scorecam.backends.pytorch.activations import Watched
from scorecam.backends.tracing.recording import tensors_in
from scorecam.shapes import BatchedScores, Images


def fixed_batch(module: nn.Module, masked: Key = 0) -> int | None:
    """The only batch size that an exported program accepts; None for any other network.

    Args:
        module: the network.
        masked: the index or name of the images among its inputs.
    """
    graph = getattr(module, "graph", None)
    if not isinstance(graph, torch.fx.Graph):
        return None
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for place, node in enumerate(placeholders):
        shape = getattr(node.meta.get("val"), "shape", ())
        # A free size is a symbol, and no int.
        if masked in (place, node.name) and len(shape) > 0 and isinstance(shape[0], int):
            return shape[0]
    return None


def batch_remark(module: nn.Module) -> Iterator[str]:
    """A remark about the batch size of an exported program."""
    size = fixed_batch(module)
    if size is not None:
        yield batches.batch_remark(size, "program")


class Pass(Protocol):
    """One pass of a network; see `TorchModel._pass`."""

    def __call__(
        self, images: Images, watched: Watched | None, /, *, record: bool
    ) -> BatchedScores: ...


def in_batches(
    run: Pass, images: Images, size: int, *, watched: Watched | None, record: bool
) -> BatchedScores:
    """The scores of images, and the outputs of the watched layer, in batches of one size."""
    scores: list[BatchedScores] = []
    outputs: list[list[Any]] = []
    for batch, count in batches.full_batches(images, size):
        part = watched and replace(watched, outputs=[])
        scores.append(run(batch, part, record=record and not scores)[:count])
        outputs.append([_first_rows(call, count, size) for call in part.outputs] if part else [])
    if watched is not None:
        watched.outputs[:] = [_joined(calls) for calls in zip(*outputs, strict=True)]
    return torch.cat(scores)


def _first_rows(output: Any, count: int, size: int) -> Any:
    """What a layer returned for the first images of a batch: its tensors, or anything else."""
    if not isinstance(output, list):
        return output
    # A layer may split each image, such as into windows.
    return [t[: len(t) * count // size] if t.ndim else t for t in tensors_in(output)]


def _joined(outputs: Sequence[Any]) -> Any:
    """What a layer returned for several batches, as for one."""
    first = outputs[0]
    if not isinstance(first, list):
        return first
    return [
        torch.cat(tensors) if tensors[0].ndim else tensors[0]
        for tensors in zip(*(_tensors(output) for output in outputs), strict=True)
    ]


def _tensors(output: Any) -> list[Tensor]:
    return list(tensors_in(output))
