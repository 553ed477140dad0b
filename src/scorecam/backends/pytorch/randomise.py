"""A network's stages, and copies of it in which some are re-initialised.

Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018: an explanation that does not change
when the weights are random does not explain the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scorecam.backends.copies import copied
from scorecam.backends.pytorch import computed_weights
from scorecam.backends.stages import SEED_OFFSET
from scorecam.base.seeding import SeededDraws
from scorecam.base.wording import quoted, reason
from scorecam.errors import ModelError

LONGEST_PATH = 2
"""The most names in a stage's path."""


def with_weights(module: nn.Module) -> dict[str, nn.Module]:
    """The modules that have parameters of their own, by name.

    The parameters of a parametrisation belong to the layer whose weights it computes.
    """
    return {
        name: child
        for name, child in module.named_modules()
        if "parametrizations" not in name.split(".")
        and (
            computed_weights.parametrised(child)
            or next(child.parameters(recurse=False), None) is not None
        )
    }


def check(module: nn.Module) -> None:
    """Refuse networks with weights that cannot be re-initialised.

    Raises:
        ModelError: it holds TorchScript or quantised layers.
    """
    for name, child in module.named_modules():
        if isinstance(child, torch.jit.ScriptModule):
            what = "is TorchScript"
        elif any(isinstance(value, torch.ScriptObject) for value in vars(child).values()):
            what = "is quantised: its weights are packed"
        else:
            continue
        raise ModelError(
            f"The network cannot be re-initialised: "
            f"{f'its part {quoted(name)}' if name else 'it'} {what}.",
            do="Use the torch.nn.Module that it was made from.",
        )


def stage_of(module: nn.Module, name: str) -> str:
    """The stage of a module: the deepest block that contains it and is an entry of a sequence."""
    parts = name.split(".")
    kept = parts[:1]
    for depth in range(1, min(len(parts), LONGEST_PATH)):
        if not isinstance(module.get_submodule(".".join(kept)), nn.Sequential | nn.ModuleList):
            break
        kept = parts[: depth + 1]
    return ".".join(kept)


def stages(
    module: nn.Module, run: Callable[[], Any], ours: Callable[[], bool] = lambda: True
) -> list[str]:
    """The stages, from the output to the input.

    Args:
        module: the network.
        run: makes one pass of the network, which gives the order; stages that do not run come last.
        ours: whether the current call belongs to that pass; other threads may call the network too.
    """
    check(module)
    leaves = with_weights(module)
    order: list[str] = []

    def recording(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda _module, _inputs: order.append(name) if ours() else None

    handles = [child.register_forward_pre_hook(recording(name)) for name, child in leaves.items()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    ran = list(dict.fromkeys(order))
    idle = [name for name in leaves if name not in set(ran)]
    return list(dict.fromkeys(stage_of(module, name) for name in [*reversed(ran), *idle]))


def randomised(module: nn.Module, chosen: Sequence[str], seed: int) -> nn.Module:
    """A copy in which these stages are re-initialised; the module itself is only read.

    Raises:
        ModelError: it cannot be copied, or a layer has no initialiser.
    """
    copy = copied(module)
    selected = set(chosen)
    with torch.no_grad(), SeededDraws(SEED_OFFSET + seed):
        for name, child in with_weights(copy).items():
            if stage_of(copy, name) in selected:
                _reinitialise(name, child)
    return copy


def _reinitialise(name: str, layer: nn.Module) -> None:
    """Call a layer's own initialiser, which also resets running statistics.

    Raises:
        ModelError: it has none, or it failed.
    """
    for method in ("reset_parameters", "_reset_parameters"):
        reset = getattr(layer, method, None)
        if callable(reset):
            try:
                computed_weights.reinitialise(layer, method)
            except Exception as error:  # quantised tensors and the user's own classes raise any
                raise ModelError(
                    f"The layer {quoted(name)}, a {type(layer).__name__}, cannot be "
                    f"re-initialised: {type(error).__name__}: {reason(error)}",
                    likely="Its weights may be quantised, or computed in a way that has no "
                    "inverse.",
                    do="Use the network as it was before.",
                ) from error
            return
    own = [tensor for tensor in layer.parameters(recurse=False) if isinstance(tensor, Tensor)]
    raise ModelError(
        f"The layer {quoted(name)}, a {type(layer).__name__}, has {len(own)} parameters and no "
        "initialiser.",
        likely="Its class defines no method reset_parameters(), as in exported programs.",
        do="Add one that re-initialises its parameters, or use the network's own class.",
    )
