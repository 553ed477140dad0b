"""What runs models, and how one is opened."""

from __future__ import annotations

import itertools
import os
from typing import Literal

import torch
from torch import nn

from scorecam.backends.copies import copied
from scorecam.backends.pytorch.model import TorchModel
from scorecam.backends.weights import load_weights
from scorecam.backends.zoo import build
from scorecam.base.wording import LONGEST_PARAGRAPH, one_line, quoted, reason
from scorecam.cam import Head
from scorecam.errors import ModelError, SettingError
from scorecam.images.preprocess import Preprocess
from scorecam.io.arguments import instance
from scorecam.model.columns import check_head
from scorecam.model.labels import Labels, read_labels
from scorecam.model.model import Model
from scorecam.model.readout import Readout, readout_for

__all__ = ["open_model"]

WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}
"""Wrappers around a network, and where each keeps it."""


def open_model(
    model: str | nn.Module,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocess: str | os.PathLike[str] | Preprocess | None = None,
    labels: Labels | None = None,
    head: Head | Literal["auto"] = "auto",
    output: int | str | Readout | None = None,
    masked_input: int | str | None = None,
    device: str | torch.device | None = None,
) -> Model:
    """Open a model.

    Args:
        model: a spec ("lite0", "lite1", "lite2", "torchvision:NAME", "package.module:factory"), or
            a `torch.nn.Module`, which is never altered: where weights or another device are given,
            a copy is used.
        weights: a safetensors file or a checkpoint. "random" for a spec's own initialisation.
            Nothing is ever downloaded.
        preprocess: how a photo becomes the input: "imagenet", a JSON file, or a `Preprocess`.
            Specs bring their own.
        labels: one name per column: a list, a dict from index to name or from name to index (as
            `class_to_idx`), a file (one per line, or JSON), or "imagenet". For a model of one
            logit: two names, of class 0 and of class 1, which a positive logit speaks for; or the
            name of the latter.
        head: what the output's numbers are: "logits", "probabilities", "sigmoid" or "value";
            "auto" tells them apart where it is certain, and otherwise takes them for logits. A
            single column is a yes-or-no answer, with the columns 0, "negative", and 1, "positive",
            unless it is a "value".
        output: which part of the output is the scores: a place in a tuple, a name in a dict or
            record, or a function of the whole output that returns `b` or `b n`. None to find them:
            `logits`, or the only matrix.
        masked_input: which of several inputs is masked, by place or name; None where only one can
            be images. The others are repeated beside it.
        device: where it runs; where it is, by default.

    Raises:
        ModelError: there is no such model, or it cannot be built.
        WeightsError: the weights are missing, cannot be read, or do not fit.
        MissingExtra: it needs a library that is not installed.
        SettingError: another argument makes no sense.
    """
    if isinstance(model, str):
        built = build(model, weights)
        module, remarks, ours = built.module, list(built.remarks), True
        spec, own_preprocess, names = model, built.preprocess, built.names
    elif isinstance(model, nn.Module):
        module, remarks = _unwrapped(model)
        spec, own_preprocess, names = type(module).__name__, None, None
        ours = weights is not None
        if weights is not None:
            module = copied(module)
            remarks += load_weights(module, weights)
    else:
        raise ModelError(
            f"A model is a spec or a torch.nn.Module, not a {type(model).__name__}.",
            do='For example scorecam.open_model("lite0") or scorecam.open_model(net).',
        )
    return TorchModel(
        _on_device(module, device, ours=ours),
        spec=spec,
        preprocess=_preprocess(preprocess, own_preprocess),
        names=names if labels is None else read_labels(labels),
        head=check_head(head),
        readout=readout_for(output),
        masked_input=masked_input,
        remarks=tuple(one_line(remark, LONGEST_PARAGRAPH) for remark in remarks),
    )


def _unwrapped(module: nn.Module) -> tuple[nn.Module, list[str]]:
    """The network inside DataParallel, DDP and torch.compile, and what was taken off."""
    remarks: list[str] = []
    while isinstance(inner := getattr(module, _kept_in(module), None), nn.Module):
        remarks.append(f"The {type(module).__name__} around the network was taken off.")
        module = inner
    return module, remarks


def _kept_in(module: nn.Module) -> str:
    """The attribute in which torch's wrapper keeps its network; empty for any other module."""
    torchs_own = type(module).__module__.startswith("torch.")
    return WRAPPERS.get(type(module).__name__, "") if torchs_own else ""


def _preprocess(
    given: str | os.PathLike[str] | Preprocess | None, own: Preprocess | None
) -> Preprocess | None:
    if given is None:
        return own
    return given if isinstance(given, Preprocess) else Preprocess.load(given)


def _on_device(module: nn.Module, device: str | torch.device | None, *, ours: bool) -> nn.Module:
    """The module on the device; the user's own is copied there, never moved."""
    if device is None:
        return module
    do = "Give a name such as 'cpu' or 'cuda:0', or a torch.device."
    device = instance("device", device, (str, torch.device), do)
    try:
        wanted = torch.device(device)
        tensors = itertools.chain(module.parameters(), module.buffers())
        here = next((tensor.device for tensor in tensors), wanted)
        if torch.empty(0, device=wanted).device == torch.empty(0, device=here).device:
            return module
        return (module if ours else copied(module)).to(wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError(
            f"The device {quoted(str(device))} cannot be used: {reason(error)}",
            do="`scorecam doctor` lists the devices of this machine.",
        ) from error
