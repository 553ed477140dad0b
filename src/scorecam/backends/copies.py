"""Deep copies of networks, also of those that `copy.deepcopy` alone cannot copy."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from scorecam.errors import ModelError


def copied(module: nn.Module) -> nn.Module:
    """A copy of a network that shares nothing with it.

    Tensors in an autograd graph, such as the weights that `weight_norm` computes in every pass, are
    copied without their graph.

    Raises:
        ModelError: it cannot be copied.
    """
    try:
        with torch.inference_mode(mode=False), torch.no_grad(), _Leaves():
            return copy.deepcopy(module)
    except Exception as error:  # the network's own attributes can raise any error
        raise ModelError(
            f"The network cannot be copied: {type(error).__name__}: {str(error)[:200]}",
            likely="It has an attribute that cannot be copied, such as a lock or an open file.",
            do="Pass a network that copy.deepcopy can copy.",
        ) from error


class _Leaves(TorchFunctionMode):
    """Makes tensors from autograd and from inference mode copyable."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__deepcopy__:
            tensor, memo = args
            if type(tensor).__name__ == "FakeTensor":  # the shapes in an exported program
                return tensor
            if not tensor.is_leaf or tensor.is_inference():
                return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))
