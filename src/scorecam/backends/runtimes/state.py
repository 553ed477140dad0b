"""What a network's output depends on, as far as it can be read from the network.

Everything that its code can reach is read: weights and buffers by content, attributes, containers
and objects, hooks, the code itself, function caches, and the globals that code names. If something
can neither be read nor ruled out, the state is not `whole`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from scorecam.backends.runtimes import code, references
from scorecam.backends.runtimes.references import Checksum, References
from scorecam.backends.runtimes.walk import PLAIN, Walk, module_attributes, text_of


@dataclass(frozen=True)
class State:
    """What was read.

    Args:
        parts: a digest of every part, by its place.
        unread: names of objects that may change and cannot be read.
    """

    parts: Mapping[str, bytes]
    unread: frozenset[str]

    @property
    def whole(self) -> bool:
        """Whether everything that the output depends on was read."""
        return not self.unread

    @property
    def random_modules(self) -> frozenset[str]:
        """Modules in use that may make the output differ from one pass to the next."""
        return code.RANDOM_MODULES & {name.partition(".")[0] for name in self.unread}

    def digest(self) -> bytes | None:
        """The same in every process for the same state; None if the state is not suited to this.

        It is not if something could not be read, or if two owners have the same name and differ.
        """
        lasting: dict[str, bytes] = {}
        for place, part in self.parts.items():
            if lasting.setdefault(references.ADDRESS.sub("", place), part) != part:
                return None
        text = repr(sorted(lasting.items())).encode("utf-8", "backslashreplace")
        return hashlib.blake2b(text, digest_size=16).digest() if self.whole else None

    def changed(self, other: State) -> frozenset[str]:
        """The places where two states differ."""
        places = self.parts.keys() | other.parts.keys()
        return frozenset(
            place for place in places if self.parts.get(place) != other.parts.get(place)
        )


def read_state(
    network: nn.Module, readout: object, checksum: Checksum = references.checksum
) -> State:
    """The state of a network and of its readout.

    Args:
        network: the network.
        readout: what reads its output.
        checksum: of a tensor's content.
    """
    reader = _Reader(References(network, checksum))
    for name, child in network.named_modules():
        reader.references.kinds[type(child)] = None
        for attribute, value in module_attributes(child):
            reader.add(f"{name}:{attribute}", value)
    reader.add("readout", readout)
    hooks: Any = torch.nn.modules.module
    for name in ("_global_forward_hooks", "_global_forward_pre_hooks"):
        reader.add(name, list(getattr(hooks, name).values()))
    reader.add_uses()
    return State(reader.parts, frozenset(reader.references.unread))


class _Reader:
    """Reads the parts of one state.

    Attributes:
        references: what the parts refer to.
        parts: as in `State`.
    """

    def __init__(self, references: References) -> None:
        self.references = references
        self.parts: dict[str, bytes] = {}

    def add(self, place: str, value: Any) -> None:
        """Read one value, and whatever it refers to."""
        if type(value) in PLAIN:
            self.references.count_plain()
            self.parts[place] = text_of(value)
            return
        walk = Walk(self.references)
        walk.value(value)
        self.parts[place] = walk.digest()

    def add_uses(self) -> None:
        """Read the methods and globals that the code uses, and those that these use in turn."""
        done: set[tuple[str, str]] = set()
        while todo := [use for use in self.references.uses() if use[:2] not in done]:
            for owner, name, value in todo:
                done.add((owner, name))
                self.add(f"{owner}.{name}", value)
