"""A `torch.nn.Module` opened as a model."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from scorecam.backends.copies import copied
from scorecam.backends.inputs.call import tensor_call
from scorecam.backends.inputs.derived import check_derived
from scorecam.backends.opener import Opener, Options, preprocessing_of
from scorecam.backends.pytorch.diagnosis import diagnosis
from scorecam.backends.pytorch.fixed_batch import batch_remark
from scorecam.backends.pytorch.model import TorchModel
from scorecam.backends.tracing.layer_maps import check_layout
from scorecam.backends.weights import load_weights
from scorecam.base.wording import LONGEST_PARAGRAPH, one_line, quoted, reason
from scorecam.errors import SettingError
from scorecam.images.preprocessing import Preprocessing
from scorecam.io.arguments import instance
from scorecam.model.columns import check_head
from scorecam.model.labels import read_labels
from scorecam.model.readout import readout_for
from scorecam.model.text_tower import Tokenizer

WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
    "AveragedModel": "module",
}
"""Torch's wrappers around a network, and the attribute in which each keeps it."""


@dataclass(frozen=True)
class Built:
    """A network, and what comes with it.

    Args:
        module: the network.
        preprocess: how a photo becomes its input, where known.
        names: of its classes, where known.
        remarks: what the user should know about it.
        tokenizer: loads the tokenizer of its text tower, where there is one.
    """

    module: nn.Module
    preprocess: Preprocessing | None = None
    names: tuple[str, ...] | None = None
    remarks: tuple[str, ...] = ()
    tokenizer: Callable[[], Tokenizer] | None = None


def torch_model(built: Built, spec: str, options: Options, *, shared: bool = False) -> TorchModel:
    """The model of a network that was just built, with the user's options.

    Args:
        spec: the model's name in records.
        shared: the network belongs to the user: it is copied to another device, never moved.
    """
    preprocess, labels = options.preprocess, options.labels
    return TorchModel(
        _on_device(built.module, options.device, shared=shared),
        spec=spec,
        preprocess=built.preprocess if preprocess is None else preprocessing_of(preprocess),
        reading=options.reading,
        names=built.names if labels is None else read_labels(labels),
        head=check_head(options.head),
        readout=readout_for(options.output),
        masked_input=options.masked_input,
        call=tensor_call(built.module, options.masked_input, check_derived(options.derived)),
        layout=check_layout(options.layout),
        reshape=options.reshape,
        tokenizer=built.tokenizer,
        remarks=tuple(one_line(remark, LONGEST_PARAGRAPH) for remark in built.remarks),
    )


def open_network(value: nn.Module, spec: str, options: Options) -> TorchModel:
    """The model of a user's network, which is never changed.

    Args:
        spec: the model's name in records; empty for that of its class.
    """
    module, remarks = _unwrapped(value)
    spec = spec or type(module).__name__
    remarks += batch_remark(module)
    if options.weights is not None:
        module = copied(module)
        remarks += load_weights(module, options.weights)
    built = Built(module, remarks=tuple(remarks))
    return torch_model(built, spec, options, shared=options.weights is None)


def _open(value: nn.Module, options: Options) -> TorchModel:
    return open_network(value, "", options)


def _takes(value: Any) -> bool:
    return isinstance(value, nn.Module)


OPENER = Opener("", _takes, _open, diagnosis=diagnosis)


def _unwrapped(module: nn.Module) -> tuple[nn.Module, list[str]]:
    """The network inside DataParallel, DDP and torch.compile, and a remark per wrapper."""
    remarks: list[str] = []
    while isinstance(inner := getattr(module, _attribute(module), None), nn.Module):
        remarks.append(f"The {type(module).__name__} around the network was removed.")
        module = inner
    return module, remarks


def _attribute(module: nn.Module) -> str:
    """The attribute in which torch's wrapper keeps its network; empty for any other module."""
    by_torch = type(module).__module__.startswith("torch.")
    return WRAPPERS.get(type(module).__name__, "") if by_torch else ""


def _on_device(module: nn.Module, device: str | torch.device | None, *, shared: bool) -> nn.Module:
    """The module on the device; one that belongs to the user is copied there."""
    if device is None:
        return module
    do = "Pass a name such as 'cpu' or 'cuda:0', or a torch.device."
    device = instance("device", device, (str, torch.device), do)
    try:
        target = torch.device(device)
        tensors = itertools.chain(module.parameters(), module.buffers())
        current = next((tensor.device for tensor in tensors), target)
        if torch.empty(0, device=target).device == torch.empty(0, device=current).device:
            return module
        return (copied(module) if shared else module).to(target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError(
            f"The device {quoted(str(device))} cannot be used: {reason(error)}",
            do="`scorecam doctor` lists the devices of this machine.",
        ) from error
