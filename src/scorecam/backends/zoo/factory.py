"""Networks that a user's function returns."""

from __future__ import annotations

import contextlib
import importlib
import pathlib
import sys
from collections.abc import Generator
from typing import Any

from torch import nn

from scorecam.backends.exported import is_program, network_of
from scorecam.backends.opener import Opener, Options, without_options
from scorecam.backends.pytorch.opening import Built, torch_model
from scorecam.backends.weights import load_state
from scorecam.backends.zoo.weights import state_of
from scorecam.base.wording import quoted, reason
from scorecam.errors import ModelError, ScorecamError, did_you_mean
from scorecam.model.model import Model


def _takes(given: Any) -> bool:
    if not isinstance(given, str):
        return False
    module_name, _, name = given.partition(":")
    return bool(module_name and name)


def _open(spec: str, options: Options) -> Model:
    made = _made(spec)
    if isinstance(made, Model):
        return without_options(made, options)
    network = network_of(made) if is_program(made) else made
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{spec} returned a {type(network).__name__}, not a torch.nn.Module.",
            do="Name a function without arguments that returns the network.",
        )
    weights = options.weights
    remarks = load_state(network, state_of(weights)) if weights is not None else []
    return torch_model(Built(network, remarks=tuple(remarks)), spec, options)


OPENER = Opener(
    "package.module:factory for your function that returns a torch.nn.Module", _takes, _open
)


def _made(spec: str) -> object:
    """What the user's function returns, or the network of this name."""
    module_name, _, name = spec.partition(":")
    with _from_here(), _user_code(spec):
        home = importlib.import_module(module_name)
    if not hasattr(home, name):
        raise ModelError(
            f"The module {module_name} has no {quoted(name)}.",
            likely=did_you_mean(name, vars(home)),
            do="Name a function of it that returns the network.",
        )
    network = getattr(home, name)
    if isinstance(network, nn.Module | Model) or is_program(network):
        return network
    with _user_code(spec):
        return network()


@contextlib.contextmanager
def _from_here() -> Generator[None]:
    """Let modules in the current folder be imported, as `python -m` does."""
    here = str(pathlib.Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


@contextlib.contextmanager
def _user_code(spec: str) -> Generator[None]:
    try:
        yield
    except ScorecamError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{spec} could not be built: {type(error).__name__}: {reason(error)}",
            do="Your own model is package.module:factory, importable from the current folder; "
            "factory() returns a torch.nn.Module.",
        ) from error
