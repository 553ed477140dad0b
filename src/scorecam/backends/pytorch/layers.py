"""The layers of a network by the names of its modules."""

from __future__ import annotations

import torch
from torch import nn

from scorecam.backends.tracing.layers import candidates
from scorecam.backends.tracing.trace import Trace
from scorecam.base.wording import quoted
from scorecam.errors import LayerError, did_you_mean


def module_name(layer: str, module: nn.Module) -> str:
    """The name of a layer's module, without the number of the call."""
    names = dict(module.named_modules(remove_duplicate=False))
    name = layer.rpartition("#")[0]
    return layer if layer in names or not name else name


def can_have_hooks(name: str, module: nn.Module) -> bool:
    """Whether there is a module of this name that runs in Python."""
    named = dict(module.named_modules(remove_duplicate=False)).get(name)
    return named is not None and not isinstance(named, torch.jit.ScriptModule)


def unknown_layer(name: str, module: nn.Module, trace: Trace | None = None) -> LayerError:
    """The error for a layer name that does not exist.

    Args:
        trace: of the network; it tells whether its layers are operations.
    """
    names = [known for known, _ in module.named_modules() if known]
    likely = did_you_mean(name, names)
    if trace is not None and trace.in_operations:
        names = [layer.name for layer in candidates(trace)]
        likely = (
            "Its modules do not run in Python (TorchScript, an exported program): its layers are "
            f"operations, such as {', '.join(map(quoted, names[-3:]))}."
        )
    return LayerError(
        f"The model has no layer called {quoted(name)}.",
        likely=likely,
        do="`scorecam layers` (or scorecam.layers) lists the layers that can be explained.",
    )
