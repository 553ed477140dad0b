"""Deep copies of networks, where `copy.deepcopy` alone would refuse."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from scorecam.errors import ModelError


def copied(module: nn.Module) -> nn.Module:
    """A copy of a network that shares nothing with it.

    Tensors that hang in an autograd graph, such as the weights that `weight_norm` computes in every
    pass, are copied as plain numbers.

    Raises:
        ModelError: it cannot be copied.
    """
    try:
        with torch.inference_mode(mode=False), torch.no_grad(), _Leaves():
            return copy.deepcopy(module)
    except Exception as error:  # whatever the network's own attributes raise
        raise ModelError(
            f"The network cannot be copied: {type(error).__name__}: {str(error)[:200]}",
            likely="It holds something that belongs to one process, such as a lock or a file.",
            do="Give a network that copy.deepcopy can copy.",
        ) from error


class _Leaves(TorchFunctionMode):
    """Lets tensors be copied that autograd computed, and that inference mode made."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__deepcopy__:
            tensor, memo = args
            if not tensor.is_leaf or tensor.is_inference():
                return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))
