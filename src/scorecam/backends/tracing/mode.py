"""What everything that watches torch's operations has in common."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class QuietMode(TorchDispatchMode):
    """A dispatch mode that does not import torch's compiler.

    The compiler starts processes and writes files.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
