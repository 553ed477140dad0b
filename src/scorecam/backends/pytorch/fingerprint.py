"""A network's fingerprint: a hash of everything in its state dict."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of the weights, and of everything else in the network's state dict."""
    digest = hashlib.sha256()
    for name, value in [*module.state_dict().items(), *_constants(module)]:
        for label, tensor in _leaves(name, value):
            digest.update(label.encode(errors="replace"))
            if tensor is not None:
                digest.update(_bytes(tensor))
    return digest.hexdigest()


def _constants(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The constants of TorchScript: a frozen network has its weights among them."""
    for name, child in module.named_modules():
        if isinstance(child, torch.jit.ScriptModule):
            try:
                code, constants = child.code_with_constants
            except (RuntimeError, AttributeError):  # it has no method forward
                continue
            if child is module and not child.state_dict():
                yield f"{name} code", re.sub(r"___torch_mangle_\d+\.", "", code)
            for key, value in constants.const_mapping.items():
                yield f"{name} {key}", value


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Tensor | None]]:
    """The tensors in a value of a state dict, and a text for other values."""
    if isinstance(value, Tensor):
        yield from _tensors(name, value)
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():
            yield from _leaves(f"{name}[{key}]", item)
    elif isinstance(value, tuple | list):
        for place, item in enumerate(cast("list[Any]", value)):
            yield from _leaves(f"{name}[{place}]", item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _leaves(f"{name} {type(value).__name__}", vars(value))
    elif isinstance(value, bool | int | float | str | bytes | torch.dtype | None):
        yield f"{name} {value!r}\n", None
    else:  # its text may contain an address
        yield f"{name} {type(value).__name__}\n", None


def _tensors(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor | None]]:
    """A tensor as dense numbers, and a line with its type and shape."""
    if is_lazy(tensor):
        yield f"{name} not initialised\n", None
        return
    line = f"{name} {tensor.dtype} {tuple(tensor.shape)}\n"
    plain = tensor.detach()
    flatten = getattr(plain, "__tensor_flatten__", None)
    if flatten is not None:  # a subclass that holds tensors, such as torchao's
        inner, context = flatten()
        yield line, None
        yield from _leaves(f"{name} context", context)
        for part in inner:
            yield from _tensors(f"{name}.{part}", getattr(plain, part))
    elif plain.is_meta:
        yield line, None
    elif plain.layout == torch.sparse_coo:
        plain = plain.coalesce()
        yield line, plain.indices()
        yield "", plain.values()
    elif plain.layout != torch.strided:
        yield line, plain.to_dense()
    elif plain.is_quantized:
        yield f"{line}{_scale(plain)}", plain.int_repr()
    else:
        yield line, plain


def _scale(tensor: Tensor) -> str:
    """The scale and zero point of a quantised tensor."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return f"{tensor.q_scale()} {tensor.q_zero_point()}\n"
    return (
        f"{tensor.q_per_channel_scales().tolist()} {tensor.q_per_channel_zero_points().tolist()}\n"
    )


def _bytes(tensor: Tensor) -> Any:
    numbers = tensor.detach().cpu().contiguous().reshape(-1)
    return numbers.view(torch.uint8).numpy().data
