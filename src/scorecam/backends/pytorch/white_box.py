"""What PyTorch offers every network: runtimes, precisions, and its version for the records."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping

import torch

from scorecam.backends.runtimes.casting import PRECISIONS
from scorecam.backends.runtimes.known import CALIBRATED, EAGER, RUNTIMES
from scorecam.model.model import WhiteBox


class TorchWhiteBox(WhiteBox, ABC):
    """A model that PyTorch runs, with its weights and gradients."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        return EAGER, *RUNTIMES

    @property
    def precisions(self) -> tuple[str, ...]:
        own = self.precision
        more = CALIBRATED if own == "float32" and self.device.type == "cpu" else ()
        return tuple(dict.fromkeys([own, *PRECISIONS, *more]))

    def versions(self) -> Mapping[str, str]:
        return {"torch": str(torch.__version__)}
