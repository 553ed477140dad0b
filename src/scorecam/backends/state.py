"""Tensors by name, as a network's `state_dict` returns them and weights files hold them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

State = Mapping[str, Tensor]


class Weights(dict[str, Tensor]):
    """The tensors of a file by name.

    Attributes:
        remarks: what the user should know about where they were found.
    """

    remarks: tuple[str, ...] = ()
