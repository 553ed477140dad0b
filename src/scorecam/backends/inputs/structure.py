"""Inputs in dicts, tuples and lists, perhaps nested: their tensors by name, and back again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

from torch import Tensor

Key = int | str
"""The name of an input: its place or its name; of a nested one, all names with dots: `images.0`."""


@dataclass(frozen=True)
class Slot:
    """The place of an input in a structure."""

    key: Key


def holds_tensors(value: Any) -> TypeGuard[Mapping[Any, Any] | Sequence[Any]]:
    """Whether this is a container with a tensor in it."""
    if isinstance(value, Mapping):
        inner: Iterator[Any] = iter(cast("Mapping[Any, Any]", value).values())
    elif isinstance(value, list | tuple):
        inner = iter(cast("Sequence[Any]", value))
    else:
        return False
    return any(isinstance(each, Tensor) or holds_tensors(each) for each in inner)


def entries(value: Any, prefix: str = "") -> Iterator[tuple[Key, Any]]:
    """The inputs in a structure, by name."""
    for key, each in _items(value):
        if holds_tensors(each):
            yield from entries(each, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}" if prefix else key, each


def template(value: Any, prefix: str = "") -> Any:
    """The same structure with a slot for each input."""

    def inside(key: Key, each: Any) -> Any:
        name = f"{prefix}{key}" if prefix else key
        return template(each, f"{name}.") if holds_tensors(each) else Slot(name)

    slots = {key: inside(key, each) for key, each in _items(value)}
    return slots if isinstance(value, Mapping) else _sequence(value, list(slots.values()))


def filled(structure: Any, inputs: Mapping[Key, Any]) -> Any:
    """The structure with the inputs in its slots."""
    if isinstance(structure, Slot):
        return inputs[structure.key]
    if isinstance(structure, Mapping):
        slots = cast("Mapping[Any, Any]", structure)
        return {key: filled(slot, inputs) for key, slot in slots.items()}
    return _sequence(structure, [filled(slot, inputs) for slot in structure])


def _items(value: Any) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, Mapping):
        yield from cast("Mapping[Key, Any]", value).items()
    else:
        yield from enumerate(value)


def _sequence(like: Any, values: list[Any]) -> Any:
    """A list, tuple or named tuple of these values."""
    if isinstance(like, tuple):
        return type(like)(*values) if hasattr(like, "_fields") else tuple(values)
    return values
