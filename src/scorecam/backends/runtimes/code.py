"""What code reads besides its arguments: globals, attributes, imports."""

from __future__ import annotations

import dis
import functools
import hashlib
import sys
import types
from dataclasses import dataclass
from typing import Any

_GLOBALS = frozenset(("LOAD_GLOBAL", "LOAD_NAME"))
_ATTRIBUTES = frozenset(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"))

PURE = frozenset(
    (
        "__future__",
        "abc",
        "argparse",
        "builtins",
        "cmath",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "enum",
        "fractions",
        "functools",
        "heapq",
        "inspect",
        "itertools",
        "logging",
        "math",
        "numbers",
        "operator",
        "re",
        "statistics",
        "string",
        "types",
        "typing",
        "warnings",
        "weakref",
    )
)
"""Standard modules whose functions give the same result for the same arguments, or a result that
no network uses."""

UNREADABLE = frozenset((eval, exec, globals, input, locals, open, __import__))
"""Built-in functions with which code can read anything."""

BY_ANY_NAME = frozenset((getattr, vars, dir))
"""Built-in functions with which code can read any attribute of an object."""

RANDOM_MODULES = frozenset(("datetime", "random", "secrets", "time", "uuid"))
"""Modules that may make the result of code differ each time."""


@dataclass(frozen=True)
class Reads:
    """What code reads, including functions inside it.

    Args:
        digest: equal for equal code.
        globals: names that are looked up in its module, and then among the built-ins.
        attributes: names that are looked up in objects; strings count, as `getattr` may get them.
        imports: modules that it imports; None for a relative import.
    """

    digest: bytes
    globals: frozenset[str]
    attributes: frozenset[str]
    imports: frozenset[str | None]


@functools.lru_cache(maxsize=4096)
def reads(code: types.CodeType) -> Reads:
    """What this code reads."""
    digest = hashlib.blake2b(digest_size=16)
    names: dict[str, set[Any]] = {"globals": set(), "attributes": set(), "imports": set()}
    before: list[Any] = [0, 0]  # an import loads its level (packages up) and its names first
    for step in dis.get_instructions(code):
        digest.update(f"{step.opcode} {step.arg}".encode())
        if step.opname in _GLOBALS:
            names["globals"].add(step.argval)
        elif step.opname in _ATTRIBUTES:
            names["attributes"].add(step.argval)
        elif step.opname == "IMPORT_NAME":
            names["imports"].add(None if before[0] else step.argval)
        before = [before[1], step.argval]
    for constant in _flat(code.co_consts):
        if isinstance(constant, types.CodeType):
            inner = reads(constant)
            digest.update(inner.digest)
            for name, collected in names.items():
                collected.update(getattr(inner, name))
            continue
        digest.update(f"{type(constant)} {constant!r}".encode("utf-8", "backslashreplace"))
        if isinstance(constant, str) and constant.isidentifier():
            names["attributes"].add(constant)
    digest.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
    return Reads(digest.digest(), *(frozenset(collected) for collected in names.values()))


def _flat(constants: tuple[Any, ...]) -> list[Any]:
    """Constants, with the members of sets in sorted order, as it differs between processes."""
    return [
        sorted(map(repr, constant))
        if isinstance(constant, frozenset)
        else _flat(constant)
        if isinstance(constant, tuple)
        else constant
        for constant in constants
    ]


def trusted(module: str | None) -> bool:
    """Whether code of this module reads nothing that changes, so that it need not be read."""
    top = (module or "").partition(".")[0]
    return top in ("torch", "numpy", "scorecam") or top in PURE


def impure(module: str | None) -> bool:
    """Whether it is a standard module whose functions may give different results each time."""
    top = (module or "").partition(".")[0]
    return not trusted(module) and (
        top in sys.stdlib_module_names or top in sys.builtin_module_names
    )


def written_in_python(kind: type) -> bool:
    """Whether instances of a class have only state that Python can read."""
    return all(_in_python(base) for base in kind.__mro__ if base is not object)


def _in_python(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    if module is None or kind.__module__ == "__main__":
        return True
    return str(getattr(module, "__file__", None) or "").endswith((".py", ".pyc"))
