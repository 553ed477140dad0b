"""Reading one value of a network's state, and everything that it refers to."""

from __future__ import annotations

import collections
import contextvars
import datetime as dt
import decimal
import enum
import fractions
import functools
import hashlib
import logging
import pathlib
import re
import threading
import types
import uuid
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from scorecam.backends.runtimes import code
from scorecam.backends.runtimes.references import References

DEEPEST = 50
"""The deepest nesting of containers and objects that is read."""

PLAIN = frozenset((bool, int, float, complex, str, bytes, type(None), type(...), slice, range))
_VALUES = (
    np.generic,
    bytearray,
    dt.date,
    dt.time,
    dt.timedelta,
    decimal.Decimal,
    fractions.Fraction,
    pathlib.PurePath,
    uuid.UUID,
)
"""Kinds that their text describes completely."""


class _Named(NamedTuple):
    field: int


_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_INERT = (
    *_TORCH,
    re.Pattern,
    logging.Logger,
    type(threading.Lock()),
    type(threading.RLock()),
    torch.fx.Graph,  # its module keeps and runs the code made from it
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    type(vars(_Named)["field"]),
)
"""Kinds for which the text or the class is enough."""


# ── modules ──────────────────────────────────────────────────────────────────────────────────────

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")

_CONTENTS = ("_parameters", "_buffers", "_modules")

_BOOKKEEPING = frozenset(vars(nn.Module())) - {*_CONTENTS, *_HOOKS}
"""Attributes that torch manages, and its mode: a conversion is always in evaluation mode."""


def module_attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """A module's attributes; of its hooks only the functions, as their keys differ each time."""
    for name, value in list(vars(module).items()):
        if name in _HOOKS:
            own = [hook for hook in value.values() if not _is_ours(hook)]
            if own:
                yield name, own
        elif name not in _BOOKKEEPING and (name not in _CONTENTS or value):
            yield name, value


def _is_ours(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("scorecam.backends")


# ── values ───────────────────────────────────────────────────────────────────────────────────────


def text_of(value: Any) -> bytes:
    """A text for a value of a `PLAIN` kind; equal values of other kinds get other texts."""
    return f"{type(value).__name__} {value!r}".encode("utf-8", "backslashreplace")


class Walk:
    """Reads one part of a state: a value and everything that it refers to, each object once."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._hash = hashlib.blake2b(digest_size=16)
        self._seen: dict[int, tuple[int, Any]] = {}
        self._depth = 0

    def digest(self) -> bytes:
        return self._hash.digest()

    def value(self, value: Any) -> None:
        if type(value) in PLAIN:
            self._add(text_of(value))
            return
        if id(value) in self._seen:
            self._add(f"again {self._seen[id(value)][0]}")
            return
        if self._depth == DEEPEST or not self._references.spend(1):
            self._unreadable(value)
            return
        self._seen[id(value)] = len(self._seen), value
        self._depth += 1
        for kinds, read in _READERS:
            if isinstance(value, kinds):
                read(self, value)
                break
        else:
            self.instance(value)
        self._depth -= 1

    def _add(self, text: str | bytes) -> None:
        own = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
        self._hash.update(f"{len(own)} ".encode() + own)

    def _unreadable(self, value: Any) -> None:
        self._add(_name(type(value)))
        self._references.unread.add(_name(type(value)))

    def _add_values(self, label: str, values: Iterable[Any]) -> None:
        values = list(values)
        self._add(f"{label} {len(values)}")
        if self._references.spend(len(values)):
            for value in values:
                self.value(value)

    # ── kinds of values ──────────────────────────────────────────────────────────────────────

    def tensor(self, tensor: Tensor) -> None:
        try:
            self._add(self._references.sum_of(tensor))
        except Exception:  # noqa: BLE001  (tensors without ordinary storage raise any error)
            self._unreadable(tensor)

    def array(self, array: np.ndarray) -> None:
        if array.dtype.hasobject:
            self._add_values(f"array {array.shape}", array.reshape(-1).tolist())
        else:
            self._add(f"array {array.dtype} {array.shape} {zlib.crc32(array.tobytes())}")

    def inert(self, value: Any) -> None:
        self._add(
            text_of(value) if isinstance(value, (*_TORCH, re.Pattern)) else _name(type(value))
        )

    def as_text(self, value: Any) -> None:
        self._add(text_of(value))

    def member(self, member: enum.Enum) -> None:
        self._add_values(_name(type(member)), (member.name, member.value))

    def mapping(self, mapping: Any) -> None:
        # Its own `items` may import a library's every network, as that of transformers does.
        pairs = dict.items(mapping) if isinstance(mapping, dict) else mapping.items()
        self._add_values(_name(type(mapping)), (item for pair in pairs for item in pair))
        self.extras(mapping)

    def sequence(self, sequence: Any) -> None:
        self._add_values(_name(type(sequence)), sequence)
        self.extras(sequence)

    def members(self, members: Any) -> None:
        if all(type(member) in PLAIN for member in members):
            self._add_values(_name(type(members)), sorted(map(repr, members)))
        else:
            self._unreadable(members)  # they have no order

    def extras(self, container: Any) -> None:
        """The attributes of a container whose class is the user's own."""
        if not code.trusted(type(container).__module__):
            self._references.kinds[type(container)] = None
            self._add_values("attributes", getattr(container, "__dict__", {}).items())

    def function(self, function: types.FunctionType) -> None:
        cells = function.__closure__ or ()
        self._add_values(
            f"function {function.__module__}.{function.__qualname__}", map(_content, cells)
        )
        self._add_values("defaults", (function.__defaults__, function.__kwdefaults__))
        self.value(vars(function))
        if not code.trusted(function.__module__):
            reads = code.reads(function.__code__)
            self._add(reads.digest)
            self._references.add_function(function, reads)
            if code.impure(function.__module__):
                self._references.unread.add(f"{function.__module__}.{function.__qualname__}")

    def built_in(self, function: Any) -> None:
        owner = getattr(function, "__self__", None)
        self._add(f"built in {function.__qualname__}")
        if not isinstance(owner, types.ModuleType | type(None)):
            self.value(owner)
        if code.impure(function.__module__) or function in code.UNREADABLE:
            self._references.unread.add(f"{function.__module__}.{function.__qualname__}")
        if function in code.BY_ANY_NAME:
            self._references.any_name = True

    def method(self, method: types.MethodType) -> None:
        self._add_values("method", (method.__func__, method.__self__))

    def partial(self, partial: functools.partial[Any]) -> None:
        self._add_values("partial", (partial.func, partial.args, partial.keywords))

    def cached(self, wrapper: Any) -> None:
        self._add_values("cached", (wrapper.__wrapped__,))
        self._references.unread.add("functools.cache")  # its cached results

    def wrapped(self, wrapper: Any) -> None:
        self._add_values(_name(type(wrapper)), (wrapper.__func__,))

    def property_(self, wrapper: property) -> None:
        self._add_values("property", (wrapper.fget,))

    def computed(self, wrapper: Any) -> None:
        self._add_values("cached property", (wrapper.func,))

    def kind(self, kind: type) -> None:
        self._add(" ".join(map(_name, kind.__mro__)))
        self._references.kinds[kind] = None
        if code.impure(kind.__module__):
            self._references.unread.add(_name(kind))

    def python_module(self, module: types.ModuleType) -> None:
        self._add(f"module {module.__name__}")
        self._references.add_module(module)

    def reference(self, reference: weakref.ref[Any]) -> None:
        self._add_values("reference", (reference(),))

    def variable(self, variable: contextvars.ContextVar[Any]) -> None:
        self._add_values(f"variable {variable.name}", (variable.get(None),))

    def network(self, module: nn.Module) -> None:
        path = self._references.path_of(module)
        if path is not None:
            self._add(f"at {path}")
            return
        self._references.kinds[type(module)] = None
        self._add(_name(type(module)))
        self._add_values(
            "attributes", (item for pair in module_attributes(module) for item in pair)
        )

    def local(self, local: threading.local) -> None:
        self._references.kinds[type(local)] = None
        self._add_values(_name(type(local)), (vars(local),))

    def instance(self, value: Any) -> None:
        kind = type(value)
        if kind is object:
            self._add("object")
            return
        attributes = getattr(value, "__dict__", None)
        slots = [
            name
            for base in kind.__mro__
            for name in _words(vars(base).get("__slots__", ()))
            if name not in ("__dict__", "__weakref__")
        ]
        if not code.written_in_python(kind) or (attributes is None and not slots):
            self._unreadable(value)
            return
        self._references.kinds[kind] = None
        self._add_values(_name(kind), (getattr(value, name, None) for name in slots))
        self._add_values("attributes", dict(attributes or {}).items())


def _words(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None


_READERS: tuple[tuple[Any, Callable[[Walk, Any], None]], ...] = (
    (Tensor, Walk.tensor),
    (nn.Module, Walk.network),
    (np.ndarray, Walk.array),
    (_VALUES, Walk.as_text),
    (enum.Enum, Walk.member),
    (_INERT, Walk.inert),
    (types.FunctionType, Walk.function),
    (types.MethodType, Walk.method),
    ((types.BuiltinFunctionType, types.MethodWrapperType), Walk.built_in),
    (functools.partial, Walk.partial),
    (type(functools.cache(len)), Walk.cached),
    (type, Walk.kind),
    (types.ModuleType, Walk.python_module),
    ((staticmethod, classmethod), Walk.wrapped),
    (property, Walk.property_),
    (functools.cached_property, Walk.computed),
    (weakref.ref, Walk.reference),
    (contextvars.ContextVar, Walk.variable),
    (threading.local, Walk.local),
    ((dict, types.MappingProxyType), Walk.mapping),
    ((list, tuple, collections.deque), Walk.sequence),
    ((set, frozenset), Walk.members),
)
"""How each kind of value is read; anything else is an object with attributes."""
