"""Products of float32 tensors, exact whatever precision the user allows the network."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


@contextlib.contextmanager
def exact_products(device: torch.device) -> Generator[None]:
    """Products exact in float32, whatever the user has set for the network's sake.

    Their settings stay as they are: they are the whole process's.
    """
    with torch.autocast(device.type, enabled=False):
        if device.type == "mps" or _products_are_exact():  # it has no float64, and no such setting
            yield
            return
        with _InDouble():
            yield


def _products_are_exact() -> bool:
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # settings of torch's older and newer kinds, mixed
        return False


_PRODUCTS = frozenset(
    f"aten::{name}"
    for name in (
        *("mm", "bmm", "mv", "dot", "matmul", "einsum", "tensordot", "inner", "linear", "bilinear"),
        *("addmm", "addmm_", "addmv", "addmv_", "addbmm", "addbmm_", "baddbmm", "baddbmm_"),
        *("cdist", "_cdist_forward", "_euclidean_dist"),
        *("cholesky_solve", "cholesky_inverse", "linalg_cholesky", "linalg_cholesky_ex"),
        "linalg_solve_triangular",
    )
)
"""Products and what is made of products. In inference mode, operations come whole."""


class _InDouble(TorchDispatchMode):
    """Computes products of float32 in float64, in this thread alone: no setting reaches those."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.name().partition(".")[0], kwargs or {}
        if name not in _PRODUCTS or "out" in kwargs:
            return func(*args, **kwargs)
        found = func(*tree_map(_doubled, args), **tree_map(_doubled, kwargs))
        if name.endswith("_"):
            return args[0].copy_(found)
        return tree_map(_halved, found) if _holds_float32(args) else found


def _doubled(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


def _halved(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float64 else value


def _holds_float32(args: Any) -> bool:
    return any(
        isinstance(each, Tensor) and each.dtype == torch.float32 for each in tree_leaves(args)
    )
