"""What a network's answers depend on, as far as it can be read off the network.

Everything that its code can reach is read: weights and buffers by content, attributes, containers
and objects, hooks, the code itself, what functions remember, and the globals they name. What can
neither be read nor be ruled out makes a state that is not `whole`.
"""

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
import sys
import threading
import types
import uuid
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from scorecam.backends.runtimes import code

MOST = 100_000
"""Values that are read at most; a state of more is not whole."""

DEEPEST = 50
"""Containers and objects inside one another that are read at most."""


@dataclass(frozen=True)
class State:
    """What was read.

    Args:
        parts: a digest of every part, by where it lies.
        unread: what was met that may change and cannot be read.
    """

    parts: Mapping[str, bytes]
    unread: frozenset[str]

    @property
    def whole(self) -> bool:
        """Whether a change of the answers is a change of the state."""
        return not self.unread

    @property
    def random_modules(self) -> frozenset[str]:
        """Modules in use that may make the output differ from one pass to the next."""
        return code.RANDOM_MODULES & {name.partition(".")[0] for name in self.unread}

    def changed(self, other: State) -> frozenset[str]:
        """Where two states differ."""
        places = self.parts.keys() | other.parts.keys()
        return frozenset(
            place for place in places if self.parts.get(place) != other.parts.get(place)
        )


def read_state(module: nn.Module, reading: object) -> State:
    """The state of a network, and of what reads its output."""
    reader = _Reader(module)
    for name, child in module.named_modules():
        reader.kinds[type(child)] = None
        for attribute, value in _attributes(child):
            reader.part(f"{name}:{attribute}", value)
    reader.part("readout", reading)
    hooks: Any = torch.nn.modules.module
    for name in ("_global_forward_hooks", "_global_forward_pre_hooks"):
        reader.part(name, list(getattr(hooks, name).values()))
    reader.finish()
    return State(reader.parts, frozenset(reader.unread))


_HOOKS = ("_forward_hooks", "_forward_pre_hooks")

_CONTENTS = ("_parameters", "_buffers", "_modules")

_BOOKKEEPING = frozenset(vars(nn.Module())) - {*_CONTENTS, *_HOOKS}
"""Attributes by which torch keeps a module, among them its mode: conversions are in evaluation."""


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """What a module holds; of hooks the functions, since their numbers are new each time."""
    for name, value in list(vars(module).items()):
        if name in _HOOKS:
            own = [hook for hook in value.values() if not _is_ours(hook)]
            if own:
                yield name, own
        elif name not in _BOOKKEEPING and (name not in _CONTENTS or value):
            yield name, value


def _is_ours(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("scorecam.backends")


# ── the walk ─────────────────────────────────────────────────────────────────────────────────

_PLAIN = frozenset((bool, int, float, complex, str, bytes, type(None), type(...), slice, range))
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
"""Kinds whose text is all they hold."""


class _Named(NamedTuple):
    field: int


_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_INERT = (
    *_TORCH,
    re.Pattern,
    logging.Logger,
    type(threading.Lock()),
    type(threading.RLock()),
    torch.fx.Graph,  # its module keeps the code that it made of it, and runs that
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    type(vars(_Named)["field"]),
)
"""Kinds whose text says all that matters, or that nothing depends on."""


class _Reader:
    """Reads the parts of one state.

    Attributes:
        parts: as in `State`.
        unread: as in `State`.
        kinds: classes that were met, whose methods may be called.
        any_name: whether code was met that reads attributes of any name.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parts: dict[str, bytes] = {}
        self.unread: set[str] = set()
        self.kinds: dict[type, None] = {}
        self._places = {id(child): name for name, child in module.named_modules()}
        self.any_name = False
        self._names: set[str] = set()
        self._owners: dict[int, tuple[str, types.ModuleType]] = {}
        self._globals: dict[tuple[int, str], tuple[str, Any]] = {}
        self._sums: dict[int, tuple[Tensor, bytes]] = {}
        self._left = MOST

    def part(self, place: str, value: Any) -> None:
        """Read one value, and whatever it leads to."""
        if type(value) in _PLAIN:
            self._left -= 1
            self.parts[place] = _text(value)
            return
        walk = _Walk(self)
        walk.value(value)
        self.parts[place] = walk.digest()

    def finish(self) -> None:
        """Read the methods and globals by which what was read so far is used."""
        done: set[tuple[str, str]] = set()
        while todo := [each for each in self._uses() if each[:2] not in done]:
            for owner, name, value in todo:
                done.add((owner, name))
                self.part(f"{owner}.{name}", value)

    def _uses(self) -> Iterator[tuple[str, str, Any]]:
        for kind in list(self.kinds):
            for base in kind.__mro__:
                if base is object or code.trusted(base.__module__):
                    continue
                owner = f"{base.__module__}.{base.__qualname__} {id(base)}"
                own = vars(base)
                for name in [*self._named(own), *filter(_is_operator, own)]:
                    yield owner, name, own[name]
        for label, module in list(self._owners.values()):
            for name in self._named(vars(module)):
                yield label, name, vars(module)[name]
        for (number, name), (label, value) in list(self._globals.items()):
            yield f"{label} {number}", name, value

    def _named(self, own: Mapping[str, Any]) -> list[str]:
        """Of these attributes, those that code names."""
        found = own.keys() if self.any_name else own.keys() & self._names
        return [name for name in found if name not in _LEFT_OUT]

    # ── what a walk meets ────────────────────────────────────────────────────────────────────

    def spend(self, values: int) -> bool:
        """Whether this many more values may be read."""
        self._left -= values
        if self._left < 0:
            self.unread.add(f"more than {MOST:,} values")
        return self._left >= 0

    def place_of(self, module: nn.Module) -> str | None:
        return self._places.get(id(module))

    def sum_of(self, tensor: Tensor) -> bytes:
        """Of a tensor's content; computed once, however often the tensor is met."""
        found = self._sums.get(id(tensor))
        if found is None:
            found = self._sums[id(tensor)] = tensor, _checksum(tensor)
        return found[1]

    def uses(self, function: types.FunctionType, found: code.Reads) -> None:
        """Note what a function reads beside its arguments."""
        self._names |= found.attributes
        scope = function.__globals__
        for name in found.globals:
            value = scope.get(name, _ABSENT)
            if value is _ABSENT:
                built_in: Any = scope.get("__builtins__", {})
                known = built_in if isinstance(built_in, dict) else vars(built_in)
                value = known.get(name)
            self._globals[id(scope), name] = str(scope.get("__name__")), value
        for name in found.imports:
            self.module(sys.modules.get(name or ""))

    def module(self, module: types.ModuleType | None) -> None:
        """A module: of it, the attributes that code names."""
        if module is None or code.impure(module.__name__):
            self.unread.add(getattr(module, "__name__", "an import"))
        elif not code.trusted(module.__name__):
            self._owners[id(module)] = module.__name__, module


_ABSENT = object()


def _text(value: Any) -> bytes:
    return f"{type(value).__name__} {value!r}".encode("utf-8", "backslashreplace")


def _checksum(tensor: Tensor) -> bytes:
    """Of the numbers themselves: torch's count of changes misses writes through `.data`."""
    numbers = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    total = zlib.crc32(cast("Any", numbers.view(torch.uint8).numpy()))
    return f"{tensor.dtype} {tuple(tensor.shape)} {total}".encode()


_LEFT_OUT = frozenset(
    f"__{name}__"
    for name in [
        "init",
        "new",
        "del",
        "repr",
        "str",
        "eq",
        "ne",
        "hash",
        "module",
        "doc",
        "qualname",
        "dict",
        "weakref",
        "annotations",
        "init_subclass",
        "class_getitem",
        "subclasshook",
        "orig_bases",
        "parameters",
        "abstractmethods",
        "slots",
        "match_args",
        "dataclass_fields",
        "dataclass_params",
        "reduce",
        "reduce_ex",
        "getstate",
        "setstate",
        "setattr",
        "delattr",
        "sizeof",
        "dir",
        "format",
        "copy",
        "deepcopy",
        "firstlineno",
        "static_attributes",
    ]
)


def _is_operator(name: str) -> bool:
    """Whether a method is called without being named."""
    return name == "forward" or (name[:2] == name[-2:] == "__" and name not in _LEFT_OUT)


class _Walk:
    """Reads one part: a value and what hangs on it, each object once."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._hash = hashlib.blake2b(digest_size=16)
        self._seen: dict[int, tuple[int, Any]] = {}
        self._depth = 0

    def digest(self) -> bytes:
        return self._hash.digest()

    def value(self, value: Any) -> None:
        if type(value) in _PLAIN:
            self._add(_text(value))
            return
        if id(value) in self._seen:
            self._add(f"again {self._seen[id(value)][0]}")
            return
        if self._depth == DEEPEST or not self._reader.spend(1):
            self._unreadable(value)
            return
        self._seen[id(value)] = len(self._seen), value
        self._depth += 1
        for kinds, how in _HOW:
            if isinstance(value, kinds):
                how(self, value)
                break
        else:
            self.thing(value)
        self._depth -= 1

    def _add(self, text: str | bytes) -> None:
        own = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
        self._hash.update(f"{len(own)} ".encode() + own)

    def _unreadable(self, value: Any) -> None:
        self._add(_name(type(value)))
        self._reader.unread.add(_name(type(value)))

    def _each(self, label: str, values: Iterable[Any]) -> None:
        values = list(values)
        self._add(f"{label} {len(values)}")
        if self._reader.spend(len(values)):
            for value in values:
                self.value(value)

    # ── kinds of values ──────────────────────────────────────────────────────────────────────

    def tensor(self, tensor: Tensor) -> None:
        try:
            self._add(self._reader.sum_of(tensor))
        except Exception:  # noqa: BLE001  (tensors without ordinary storage raise what they like)
            self._unreadable(tensor)

    def array(self, array: np.ndarray) -> None:
        if array.dtype.hasobject:
            self._each(f"array {array.shape}", array.reshape(-1).tolist())
        else:
            self._add(f"array {array.dtype} {array.shape} {zlib.crc32(array.tobytes())}")

    def inert(self, value: Any) -> None:
        self._add(_text(value) if isinstance(value, (*_TORCH, re.Pattern)) else _name(type(value)))

    def written(self, value: Any) -> None:
        self._add(_text(value))

    def member(self, member: enum.Enum) -> None:
        self._each(_name(type(member)), (member.name, member.value))

    def mapping(self, mapping: Any) -> None:
        self._each(_name(type(mapping)), (each for pair in mapping.items() for each in pair))
        self.extras(mapping)

    def sequence(self, sequence: Any) -> None:
        self._each(_name(type(sequence)), sequence)
        self.extras(sequence)

    def members(self, members: Any) -> None:
        if all(type(member) in _PLAIN for member in members):
            self._each(_name(type(members)), sorted(map(repr, members)))
        else:
            self._unreadable(members)  # they have no order of their own

    def extras(self, container: Any) -> None:
        """What a container of the user's own has beside its entries."""
        if not code.trusted(type(container).__module__):
            self._reader.kinds[type(container)] = None
            self._each("attributes", getattr(container, "__dict__", {}).items())

    def function(self, function: types.FunctionType) -> None:
        cells = function.__closure__ or ()
        self._each(f"function {function.__module__}.{function.__qualname__}", map(_content, cells))
        self._each("defaults", (function.__defaults__, function.__kwdefaults__))
        self.value(vars(function))
        if not code.trusted(function.__module__):
            found = code.reads(function.__code__)
            self._add(found.digest)
            self._reader.uses(function, found)
            if code.impure(function.__module__):
                self._reader.unread.add(f"{function.__module__}.{function.__qualname__}")

    def built_in(self, function: Any) -> None:
        owner = getattr(function, "__self__", None)
        self._add(f"built in {function.__qualname__}")
        if not isinstance(owner, types.ModuleType | type(None)):
            self.value(owner)
        if code.impure(function.__module__) or function in code.UNREADABLE:
            self._reader.unread.add(f"{function.__module__}.{function.__qualname__}")
        if function in code.BY_ANY_NAME:
            self._reader.any_name = True

    def method(self, method: types.MethodType) -> None:
        self._each("method", (method.__func__, method.__self__))

    def partial(self, partial: functools.partial[Any]) -> None:
        self._each("partial", (partial.func, partial.args, partial.keywords))

    def remembering(self, wrapper: Any) -> None:
        self._each("cached", (wrapper.__wrapped__,))
        self._reader.unread.add("functools.cache")  # what it remembers

    def wrapped(self, wrapper: Any) -> None:
        self._each(_name(type(wrapper)), (wrapper.__func__,))

    def property_(self, wrapper: property) -> None:
        self._each("property", (wrapper.fget,))

    def computed(self, wrapper: Any) -> None:
        self._each("cached property", (wrapper.func,))

    def kind(self, kind: type) -> None:
        self._add(" ".join(map(_name, kind.__mro__)))
        self._reader.kinds[kind] = None
        if code.impure(kind.__module__):
            self._reader.unread.add(_name(kind))

    def python_module(self, module: types.ModuleType) -> None:
        self._add(f"module {module.__name__}")
        self._reader.module(module)

    def reference(self, reference: weakref.ref[Any]) -> None:
        self._each("reference", (reference(),))

    def variable(self, variable: contextvars.ContextVar[Any]) -> None:
        self._each(f"variable {variable.name}", (variable.get(None),))

    def network(self, module: nn.Module) -> None:
        place = self._reader.place_of(module)
        if place is not None:
            self._add(f"at {place}")
            return
        self._reader.kinds[type(module)] = None
        self._add(_name(type(module)))
        self._each("attributes", (each for pair in _attributes(module) for each in pair))

    def local(self, local: threading.local) -> None:
        self._reader.kinds[type(local)] = None
        self._each(_name(type(local)), (vars(local),))

    def thing(self, thing: Any) -> None:
        kind = type(thing)
        if kind is object:
            self._add("object")
            return
        attributes = getattr(thing, "__dict__", None)
        slots = [
            name
            for base in kind.__mro__
            for name in _words(vars(base).get("__slots__", ()))
            if name not in ("__dict__", "__weakref__")
        ]
        if not code.written_in_python(kind) or (attributes is None and not slots):
            self._unreadable(thing)
            return
        self._reader.kinds[kind] = None
        self._each(_name(kind), (getattr(thing, name, None) for name in slots))
        self._each("attributes", dict(attributes or {}).items())


def _words(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it has none yet
        return None


_HOW: tuple[tuple[Any, Callable[[_Walk, Any], None]], ...] = (
    (Tensor, _Walk.tensor),
    (nn.Module, _Walk.network),
    (np.ndarray, _Walk.array),
    (_VALUES, _Walk.written),
    (enum.Enum, _Walk.member),
    (_INERT, _Walk.inert),
    (types.FunctionType, _Walk.function),
    (types.MethodType, _Walk.method),
    ((types.BuiltinFunctionType, types.MethodWrapperType), _Walk.built_in),
    (functools.partial, _Walk.partial),
    (type(functools.cache(len)), _Walk.remembering),
    (type, _Walk.kind),
    (types.ModuleType, _Walk.python_module),
    ((staticmethod, classmethod), _Walk.wrapped),
    (property, _Walk.property_),
    (functools.cached_property, _Walk.computed),
    (weakref.ref, _Walk.reference),
    (contextvars.ContextVar, _Walk.variable),
    (threading.local, _Walk.local),
    ((dict, types.MappingProxyType), _Walk.mapping),
    ((list, tuple, collections.deque), _Walk.sequence),
    ((set, frozenset), _Walk.members),
)
"""How each kind of value is read; anything else is an object with attributes."""
