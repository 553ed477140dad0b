"""The steps of a pass: the tensors that may be layers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Step:
    """A tensor that a module's call returned during a dry run.

    Args:
        name: of the module.
        call: which call of the module it was, from 1.
        is_pool: whether the module is a pool, or ends with one.
        has_children: whether it has modules of its own.
        place: of the tensor among those that the call returned.
        node: its number in the record; None if it does not depend on the masked image.
        shape: of the tensor.
        returns_input: whether it is an input of the call, perhaps with its axes moved, as from
            dropout in evaluation mode.
        operation: whether it is an operation of torch, and no module.
        joins: the steps of which it is the sum: calls of the module with one entry of an axis each,
            such as one frame of a video, in the order of the entries.
    """

    name: str
    call: int
    is_pool: bool
    has_children: bool
    place: int
    node: int | None
    shape: tuple[int, ...]
    returns_input: bool
    operation: bool = False
    joins: tuple[Step, ...] = ()

    @property
    def parts(self) -> tuple[Step, ...]:
        """The steps that it joins; itself if it joins none."""
        return self.joins or (self,)

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes of its tensors."""
        return tuple(part.node for part in self.parts if part.node is not None)

    def contains(self, name: str) -> bool:
        return name == self.name or name.startswith(self.name + ".")
