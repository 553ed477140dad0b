"""Check the shapes in signatures while the tests run.

The package annotates tensors as `Annotated[Tensor, "k *i"]` and does not import jaxtyping. Here the
annotations are replaced by jaxtyping's, so every call in any test checks that one letter means one
length throughout the call. Other annotations are not checked: the package itself refuses invalid
values, with its own errors.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import operator
from collections.abc import Callable
from types import ModuleType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from beartype import beartype
from jaxtyping import Shaped, jaxtyped
from torch import Tensor


def install(module_name: str) -> None:
    """From now on, check the functions and methods of a module.

    Call this before anything imports names from the module; such names stay unchecked.
    """
    module = importlib.import_module(module_name)
    for owner in [module, *_classes(module)]:
        for name, value in list(vars(owner).items()):
            if inspect.isfunction(value) and value.__module__ == module_name:
                setattr(owner, name, checked(value))


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, raising jaxtyping's TypeCheckError where a shape contradicts its signature."""
    hints = get_type_hints(function, include_extras=True)
    shapes = {name: _shaped(hint) for name, hint in hints.items() if _shaped(hint) != hint}
    if not shapes:
        return function
    function.__annotations__ = shapes
    return jaxtyped(function, typechecker=beartype)


def _shaped(hint: Any) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Shaped[Tensor, args[1]] if args[0] is Tensor else hint
    if origin in (Union, UnionType):
        return functools.reduce(operator.or_, map(_shaped, args))
    if origin in (tuple, list):
        return origin[tuple(map(_shaped, args))]
    return hint


def _classes(module: ModuleType) -> list[type]:
    values = vars(module).values()
    return [v for v in values if inspect.isclass(v) and v.__module__ == module.__name__]
