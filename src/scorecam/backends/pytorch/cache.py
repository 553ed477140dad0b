"""Facts about a network that a model keeps for later calls."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from scorecam.backends.pytorch.layers import Build
from scorecam.backends.pytorch.views import Views


@dataclass(eq=False)
class NetworkCache:
    """Facts about a network, shared by models of the same network and by threads.

    It needs no lock: entries are replaced as a whole, and two threads that compute the same entry
    get the same value.

    Attributes:
        views: the network's views that are not in use.
        default_layers: for each image size, the network's structure and its default layer.
        channels_last: whether the network accepts the memory layout channels last.
    """

    views: Views = field(default_factory=Views)
    default_layers: dict[torch.Size, tuple[Build, str]] = field(
        default_factory=dict[torch.Size, tuple[Build, str]]
    )
    channels_last: bool = True
