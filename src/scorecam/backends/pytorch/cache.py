"""Facts about a network that a model keeps for later calls."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import torch

from scorecam.backends.pytorch.trace import Build
from scorecam.backends.pytorch.views import Views
from scorecam.backends.tracing.trace import Trace

TRACES = 16
"""Dry runs that are kept: a target function may be another object in every call."""


@dataclass(frozen=True)
class TraceKey:
    """What a dry run depends on besides the network.

    Args:
        size: of the image, colours included.
        readout: identifies the readout and the other inputs.
        alive: keeps them alive, so that their ids stay unique.
    """

    size: torch.Size
    readout: tuple[Hashable, ...]
    alive: object = field(compare=False)

    @classmethod
    def of(cls, size: torch.Size, readout: tuple[object, ...]) -> TraceKey:
        """The key; what has no hash is told apart by identity."""
        return cls(size, tuple(map(_hashable, readout)), readout)


def _hashable(value: object) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


@dataclass(frozen=True)
class KnownTrace:
    """A dry run of a network.

    Args:
        build: the structure that the network had.
        trace: the record.
    """

    build: Build
    trace: Trace


@dataclass(eq=False)
class NetworkCache:
    """Facts about a network, shared by models of the same network and by threads.

    It needs no lock: entries are replaced as a whole, and two threads that compute the same entry
    get the same value.

    Attributes:
        views: the network's views that are not in use.
        traces: the last dry runs, by image size and readout, with the network's structure.
        channels_last: whether the network accepts the memory layout channels last.
        alone: the network failed on two images at once.
    """

    views: Views = field(default_factory=Views)
    traces: dict[TraceKey, KnownTrace] = field(default_factory=dict[TraceKey, "KnownTrace"])
    channels_last: bool = True
    alone: bool = False

    def keep_trace(self, key: TraceKey, build: Build, trace: Trace) -> None:
        """Keep a dry run; of many, only the last."""
        traces = {**self.traces, key: KnownTrace(build, trace)}
        self.traces = dict(list(traces.items())[-TRACES:])
