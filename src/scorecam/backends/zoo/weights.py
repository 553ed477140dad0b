"""Shared by the openers of specs: the user's weights, and class names that fit them."""

from __future__ import annotations

import dataclasses

from scorecam.backends.checkpoints import read_state
from scorecam.backends.opener import Path
from scorecam.backends.pytorch.opening import Built
from scorecam.backends.state import State


def state_of(weights: Path) -> State:
    """The tensors of a file; empty for "random", which keeps the network's initialisation."""
    return {} if weights == "random" else read_state(weights)


def rows_of(state: State, name: str) -> int | None:
    """The rows of the weight of this name under any prefix, such as "module."; None without one."""
    found = sorted((key for key in state if f".{key}".endswith(f".{name}")), key=len)
    return len(state[found[0]]) if found and state[found[0]].ndim > 1 else None


def with_fitting_names(built: Built, classes: int) -> Built:
    """The same without class names, if the weights have another number of classes."""
    if built.names is None or classes == len(built.names):
        return built
    remark = (
        f"The weights have {classes} classes, so the model was built with {classes}, without names."
    )
    return dataclasses.replace(built, names=None, remarks=(*built.remarks, remark))
