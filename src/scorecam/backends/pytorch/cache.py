"""Facts about a network that a model keeps for later calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from scorecam.backends.pytorch.trace import Build, Trace
from scorecam.backends.pytorch.views import Views

TRACES = 16
"""Dry runs that are kept: a target function may be another object in every call."""


@dataclass(eq=False)
class NetworkCache:
    """Facts about a network, shared by models of the same network and by threads.

    It needs no lock: entries are replaced as a whole, and two threads that compute the same entry
    get the same value.

    Attributes:
        views: the network's views that are not in use.
        traces: the last dry runs, by image size and readout, with the network's structure.
        channels_last: whether the network accepts the memory layout channels last.
    """

    views: Views = field(default_factory=Views)
    traces: dict[object, tuple[Build, Trace]] = field(
        default_factory=dict[object, tuple[Build, Trace]]
    )
    channels_last: bool = True

    def keep_trace(self, key: object, build: Build, trace: Trace) -> None:
        """Keep a dry run; of many, only the last."""
        traces = {**self.traces, key: (build, trace)}
        self.traces = dict(list(traces.items())[-TRACES:])
