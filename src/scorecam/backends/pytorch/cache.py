"""What a model has found out about its network, kept for later calls."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from scorecam.backends.pytorch.layers import Build
from scorecam.backends.pytorch.views import Views


@dataclass(eq=False)
class NetworkCache:
    """Kept between calls, and shared by models of one network and by threads.

    No lock is needed: entries are replaced whole, and threads that find something out at the same
    time find the same.

    Attributes:
        views: of the network, which are not in use.
        default_layers: by size of the image: how the network was built, and its default layer then.
        channels_last: whether the network takes images that lie channels last in memory.
    """

    views: Views = field(default_factory=Views)
    default_layers: dict[torch.Size, tuple[Build, str]] = field(
        default_factory=dict[torch.Size, tuple[Build, str]]
    )
    channels_last: bool = True
