"""A network's stages, and copies of it in which some were drawn anew.

Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018: an explanation that does not change
when the weights are random does not explain the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scorecam.errors import ModelError
from scorecam.wording import quoted, reason

OTHERWISE = 0x5A17
"""Added to seeds: a network that was made from seed 0 must not be drawn the same again."""

DEEP = 2
"""Names of a stage's path at most."""


def with_weights(module: nn.Module) -> dict[str, nn.Module]:
    """The modules that have parameters of their own, by name."""
    return {
        name: child
        for name, child in module.named_modules()
        if next(child.parameters(recurse=False), None) is not None
    }


def stage_of(module: nn.Module, name: str) -> str:
    """The stage that a module belongs to: the deepest block of a sequence above it."""
    parts = name.split(".")
    kept = parts[:1]
    for depth in range(1, min(len(parts), DEEP)):
        if not isinstance(module.get_submodule(".".join(kept)), nn.Sequential | nn.ModuleList):
            break
        kept = parts[: depth + 1]
    return ".".join(kept)


def stages(module: nn.Module, run: Callable[[], Any]) -> list[str]:
    """The stages, from the output to the input.

    Args:
        run: one pass of the network, by which the order is told; what does not run comes last.
    """
    leaves = with_weights(module)
    order: list[str] = []

    def noting(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda _module, _inputs: order.append(name)

    handles = [child.register_forward_pre_hook(noting(name)) for name, child in leaves.items()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    ran = list(dict.fromkeys(order))
    idle = [name for name in leaves if name not in set(ran)]
    return list(dict.fromkeys(stage_of(module, name) for name in [*reversed(ran), *idle]))


def randomised(module: nn.Module, chosen: Sequence[str], seed: int) -> nn.Module:
    """A copy in which the weights of these stages were drawn anew; the module itself is only read.

    Raises:
        ModelError: it cannot be copied, or a layer has no initialiser.
    """
    try:
        copied = copy.deepcopy(module)
    except Exception as error:
        raise ModelError(
            f"The network cannot be copied: {type(error).__name__}: {reason(error)}",
            likely="It holds something that belongs to one process, such as a lock or a file.",
            do="Randomising needs a copy: give a network that copy.deepcopy can copy.",
        ) from error
    wanted = set(chosen)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed((OTHERWISE + seed) % 2**63)
        for name, child in with_weights(copied).items():
            if stage_of(copied, name) in wanted:
                _draw(name, child)
    return copied


def _draw(name: str, layer: nn.Module) -> None:
    """A layer's own initialiser; statistics that it has gathered are forgotten too."""
    for method in ("reset_parameters", "_reset_parameters"):
        reset = getattr(layer, method, None)
        if callable(reset):
            reset()
            return
    own = [tensor for tensor in layer.parameters(recurse=False) if isinstance(tensor, Tensor)]
    raise ModelError(
        f"The layer {quoted(name)}, a {type(layer).__name__}, has {len(own)} weights and no "
        "initialiser.",
        likely="It is the network's own, without a method reset_parameters().",
        do="Give it one that draws its weights anew.",
    )
