"""Exact products of float32 tensors, whatever precision the user allows for the network."""

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
    """Make products exact in float32 in this block, whatever precision the user has set.

    The user's settings apply to the whole process, so they are not changed.
    """
    with torch.autocast(device.type, enabled=False):
        if (
            device.type == "mps" or _products_are_exact()
        ):  # MPS has neither float64 nor such settings
            yield
            return
        with _InFloat64():
            yield


def _products_are_exact() -> bool:
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # torch's old and new settings are mixed
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
"""Operations that are products or use them; in inference mode they are not decomposed."""


class _InFloat64(TorchDispatchMode):
    """Computes products of float32 in float64, which no setting affects, in this thread."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.name().partition(".")[0], kwargs or {}
        if name not in _PRODUCTS or "out" in kwargs:
            return func(*args, **kwargs)
        result = func(*tree_map(_to_float64, args), **tree_map(_to_float64, kwargs))
        if name.endswith("_"):
            return args[0].copy_(result)
        return tree_map(_to_float32, result) if _holds_float32(args) else result


def _to_float64(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


def _to_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float64 else value


def _holds_float32(args: Any) -> bool:
    return any(
        isinstance(leaf, Tensor) and leaf.dtype == torch.float32 for leaf in tree_leaves(args)
    )
