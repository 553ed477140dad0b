"""Copies of containers, functions and methods that refer to other objects."""

from __future__ import annotations

import functools
import types
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch

LONG = 10_000
"""Containers with more entries than this are not searched for modules."""

SCALARS = (bool, int, float, str, types.NoneType)

INERT = frozenset(
    (*SCALARS, bytes, complex, type, torch.dtype, torch.device, torch.Size, torch.memory_format)
)
"""Kinds of values that refer to no module and no tensor."""


class Rewiring:
    """Replaces objects, and whatever refers to them.

    `replace` registers an object and its replacement. Calling a `Rewiring` with a value returns the
    value with every such object replaced; containers, functions and methods that refer to none of
    them are returned unchanged. Each pass of each thread has its own `Rewiring`.
    """

    def __init__(self) -> None:
        self._replacements: dict[int, Any] = {}
        self._alive: list[Any] = []  # ids are unique only among living objects
        self._open: set[int] = set()

    def replace(self, old: object, new: object) -> None:
        self._alive.append(old)
        self._replacements[id(old)] = new

    def knows(self, value: object) -> bool:
        return id(value) in self._replacements

    def __call__(self, value: Any) -> Any:
        kind = type(value)
        if kind in INERT:
            return value
        key = id(value)
        if key in self._replacements:
            return self._replacements[key]
        rewire = _REWIRED.get(kind)
        if rewire is None or key in self._open:
            return value
        self._open.add(key)
        rewired = rewire(self, value)
        self._open.discard(key)
        self.replace(value, rewired)
        return rewired

    def sequence(self, value: Any) -> Any:
        """A list, tuple or set."""
        if len(value) > LONG:
            return value
        before = list(value)
        after = [self(item) for item in before]
        same = all(old is new for old, new in zip(before, after, strict=True))
        return value if same else type(value)(after)

    def mapping(self, value: Any) -> Any:
        """A dict, by keys and values."""
        if len(value) > LONG:
            return value
        before = list(value.items())
        after = [(self(key), self(item)) for key, item in before]
        if all(a[0] is b[0] and a[1] is b[1] for a, b in zip(before, after, strict=True)):
            return value
        copy = value.copy()
        copy.clear()
        copy.update(after)
        return copy

    def method(self, value: types.MethodType) -> Any:
        """A bound method."""
        owner, function = self(value.__self__), self(value.__func__)
        if owner is value.__self__ and function is value.__func__:
            return value
        return types.MethodType(function, owner)

    def partial(self, value: functools.partial[Any]) -> Any:
        """A function with some of its arguments."""
        before = (value.func, value.args, value.keywords)
        after = tuple(self(part) for part in before)
        if all(old is new for old, new in zip(before, after, strict=True)):
            return value
        return functools.partial(after[0], *after[1], **after[2])

    def reference(self, value: weakref.ref[Any]) -> Any:
        """A weak reference."""
        target = value()
        rewired = self._replacements.get(id(target), target)
        return value if rewired is target else weakref.ref(rewired)

    def cell(self, value: types.CellType) -> types.CellType:
        """A variable of an enclosing function."""
        try:
            content = value.cell_contents
        except ValueError:  # not set yet
            return value
        rewired = self(content)
        return value if rewired is content else types.CellType(rewired)

    def function(self, value: types.FunctionType) -> Any:
        """A function: its closure, its defaults, and the global variables that it names."""
        closure = value.__closure__ and tuple(self(cell) for cell in value.__closure__)
        defaults, keywords = self(value.__defaults__), self(value.__kwdefaults__)
        known = value.__globals__
        named = {name: self._replacements[id(known[name])] for name in self._globals(value)}
        same = (
            not named
            and defaults is value.__defaults__
            and keywords is value.__kwdefaults__
            and all(a is b for a, b in zip(closure or (), value.__closure__ or (), strict=True))
        )
        if same:
            return value
        scope = {**known, **named} if named else known
        copy = types.FunctionType(value.__code__, scope, value.__name__, defaults, closure)
        copy.__kwdefaults__ = keywords
        copy.__dict__.update(vars(value))
        return copy

    def _globals(self, function: types.FunctionType) -> Iterator[str]:
        codes = [function.__code__]
        while codes:
            code = codes.pop()
            codes += [inner for inner in code.co_consts if isinstance(inner, types.CodeType)]
            for name in code.co_names:
                if id(function.__globals__.get(name)) in self._replacements:
                    yield name


_REWIRED: dict[type, Callable[[Rewiring, Any], Any]] = {
    list: Rewiring.sequence,
    tuple: Rewiring.sequence,
    set: Rewiring.sequence,
    dict: Rewiring.mapping,
    OrderedDict: Rewiring.mapping,
    defaultdict: Rewiring.mapping,
    types.MethodType: Rewiring.method,
    types.FunctionType: Rewiring.function,
    types.CellType: Rewiring.cell,
    functools.partial: Rewiring.partial,
    weakref.ref: Rewiring.reference,
}
