"""Inputs that a user's function computes from the masked input, such as its scalogram."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from scorecam.backends.inputs.structure import Key
from scorecam.backends.tracing.recording import Recorder
from scorecam.base.wording import quoted, reason
from scorecam.errors import ScorecamError, SettingError

Derived = Mapping[Key, Callable[[Any], Any]]
"""By the index or name of the input: a function of a batch of the masked input."""


def check_derived(value: Any) -> Derived:
    """The user's functions.

    Raises:
        SettingError: they are no functions by name.
    """
    do = 'Give a dict: scorecam.open_model(net, derived={"scalogram": function}).'
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SettingError(f"derived= is a {type(value).__name__}, not a dict.", do=do)
    functions = cast("Mapping[Any, Any]", value)
    for key, function in functions.items():
        if not isinstance(key, int | str) or not callable(function):
            raise SettingError(
                f"derived= has {quoted(function)} for the input {quoted(key)}; it needs a function "
                "of the masked input, by the index or name of an input.",
                do=do,
            )
    return dict(functions)


def unseen(derived: Derived, masked: Tensor) -> str | None:
    """A function that does not compute with PyTorch's operations, in words; None if all do.

    A converted network would keep its result for the first batch as a constant.
    """
    for key, function in derived.items():
        with torch.inference_mode(), Recorder(masked) as recorder:
            followed = recorder.node(derived_input(key, function, masked))
        if followed is None:
            return _called(key)
    return None


def _called(key: Key) -> str:
    return f"The function derived[{quoted(key)}]"


def derived_input(key: Key, function: Callable[[Any], Any], masked: Tensor) -> Tensor:
    """An input that is computed from a batch of the masked input.

    Raises:
        SettingError: the function fails, or returns no batch of the same length.
    """
    called = _called(key)
    shape = tuple(masked.shape)
    try:
        value = function(masked)
    except ScorecamError:
        raise
    except Exception as error:
        raise SettingError(
            f"{called} failed on a batch of the masked input, of shape {shape}: "
            f"{type(error).__name__}: {reason(error)}",
            likely="It may expect a single image, or a NumPy array.",
            do="It gets the masked input as the network does, with the batch axis first, and "
            "returns the other input for the whole batch.",
        ) from error
    if not isinstance(value, Tensor):
        raise SettingError(
            f"{called} returned a {type(value).__name__}.",
            do="It returns the other input for the whole batch, as a tensor.",
        )
    if value.ndim == 0 or value.shape[0] != masked.shape[0]:
        raise SettingError(
            f"{called} returned the shape {tuple(value.shape)} for a batch of shape {shape}.",
            likely="It may have lost the batch axis, or computed one result for the whole batch.",
            do=f"It returns one row per image: {masked.shape[0]} rows here.",
        )
    return value
