"""What a network's code and objects refer to, collected while its state is read."""

from __future__ import annotations

import hashlib
import re
import sys
import types
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from scorecam.backends.runtimes import code

MOST_VALUES = 100_000
"""The most values that are read; a larger state is not whole."""

Use = tuple[str, str, Any]
"""An owner, the name of one of its attributes, and the attribute.

Owners with the same name differ by a number, which `ADDRESS` finds. It differs in every
process.
"""

ADDRESS = re.compile(r" #\d+(?=\.)")


Checksum = Callable[[Tensor], bytes]


class References:
    """Collects what the parts of one state refer to. One thread uses it.

    Args:
        network: the network whose state is read.
        checksum: of a tensor's content.

    Attributes:
        unread: names of objects that may change the output and cannot be read.
        kinds: classes in use, whose methods may be called.
        any_name: whether some code reads attributes of any name.
    """

    def __init__(self, network: nn.Module, checksum: Checksum) -> None:
        self.unread: set[str] = set()
        self.kinds: dict[type, None] = {}
        self.any_name = False
        self._paths = {id(child): name for name, child in network.named_modules()}
        self._names: set[str] = set()
        self._owners: dict[int, tuple[str, types.ModuleType]] = {}
        self._globals: dict[tuple[int, str], tuple[str, Any]] = {}
        self._sums: dict[int, tuple[Tensor, bytes]] = {}
        self._left = MOST_VALUES
        self._checksum = checksum

    def uses(self) -> Iterator[Use]:
        """The methods, attributes of modules and global variables that the code may use."""
        for kind in list(self.kinds):
            for base in kind.__mro__:
                if base is object or code.trusted(base.__module__):
                    continue
                owner = f"{base.__module__}.{base.__qualname__} #{id(base)}"
                own = vars(base)
                for name in [*self._named(own), *filter(_is_operator, own)]:
                    yield owner, name, own[name]
        for label, module in list(self._owners.values()):
            for name in self._named(vars(module)):
                yield label, name, vars(module)[name]
        for (number, name), (label, value) in list(self._globals.items()):
            yield f"{label} #{number}", name, value

    def _named(self, own: Mapping[str, Any]) -> list[str]:
        """The names of these attributes that the code uses."""
        names = own.keys() if self.any_name else own.keys() & self._names
        return [name for name in names if name not in _LEFT_OUT]

    def spend(self, values: int) -> bool:
        """Whether this many more values may be read."""
        self._left -= values
        if self._left < 0:
            self.unread.add(f"more than {MOST_VALUES:,} values")
        return self._left >= 0

    def count_plain(self) -> None:
        """Count a value that refers to nothing. It is read even beyond the limit."""
        self._left -= 1

    def path_of(self, module: nn.Module) -> str | None:
        """The module's name in the network; None if it is not part of it."""
        return self._paths.get(id(module))

    def sum_of(self, tensor: Tensor) -> bytes:
        """A checksum of a tensor's content, computed once however often the tensor occurs."""
        known = self._sums.get(id(tensor))
        if known is None:
            known = self._sums[id(tensor)] = tensor, self._checksum(tensor)
        return known[1]

    def add_function(self, function: types.FunctionType, reads: code.Reads) -> None:
        """Collect what a function reads besides its arguments."""
        self._names |= reads.attributes
        scope = function.__globals__
        for name in reads.globals:
            value = scope.get(name, _ABSENT)
            if value is _ABSENT:
                built_in: Any = scope.get("__builtins__", {})
                known = built_in if isinstance(built_in, dict) else vars(built_in)
                value = known.get(name)
            self._globals[id(scope), name] = str(scope.get("__name__")), value
        for name in reads.imports:
            self.add_module(sys.modules.get(name or ""))

    def add_module(self, module: types.ModuleType | None) -> None:
        """Collect a Python module, whose attributes are read where code names them."""
        if module is None or code.impure(module.__name__):
            self.unread.add(getattr(module, "__name__", "an import"))
        elif not code.trusted(module.__name__):
            self._owners[id(module)] = module.__name__, module


_ABSENT = object()


def checksum(tensor: Tensor) -> bytes:
    """Of the numbers themselves: torch's count of changes misses writes through `.data`."""
    return _described(tensor, str(zlib.crc32(_bytes(tensor))))


def sha256(tensor: Tensor) -> bytes:
    """The same, five times as slow, for other processes: it cannot be forged."""
    return _described(tensor, hashlib.sha256(_bytes(tensor)).hexdigest())


def _bytes(tensor: Tensor) -> Any:
    numbers = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    return numbers.view(torch.uint8).numpy()


def _described(tensor: Tensor, total: str) -> bytes:
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
    """Whether a method is called by operators and syntax, without its name."""
    return name == "forward" or (name[:2] == name[-2:] == "__" and name not in _LEFT_OUT)
