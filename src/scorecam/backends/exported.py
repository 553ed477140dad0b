"""Programs of `torch.export`, as modules with the names of the network that was exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, cast

from torch import nn

from scorecam.backends.opener import Opener, Options
from scorecam.backends.pytorch.opening import open_network
from scorecam.model.model import Model

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def is_program(value: object) -> TypeGuard[ExportedProgram]:
    """Whether it is an `ExportedProgram`. Importing `torch.export` only for this takes time."""
    kind = type(value)
    return kind.__name__ == "ExportedProgram" and kind.__module__.startswith("torch.export")


def network_of(program: ExportedProgram) -> nn.Module:
    """The program as a network. Its modules have their names if the program kept them."""
    from torch.export import unflatten

    try:
        return unflatten(program)
    except Exception:  # noqa: BLE001  (programs that share modules in unusual ways raise any error)
        return program.module()


def _open(program: Any, options: Options) -> Model:
    return open_network(network_of(cast("ExportedProgram", program)), "ExportedProgram", options)


OPENER = Opener("", is_program, _open)
