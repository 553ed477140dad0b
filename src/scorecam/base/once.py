"""Values that an object computes once, when they are first wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class cached_property(Generic[T]):  # noqa: N801  (it is used as the standard library's is)
    """As `functools.cached_property`, without its lock.

    Until Python 3.12 that is one lock for all objects of a class. Threads with nothing in common
    wait for each other, and a child that is forked while another thread holds it waits for ever.
    Here, two threads that want a value at once may both compute it; both get the first one.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> Self | T:
        if instance is None:
            return self
        return vars(instance).setdefault(self._name, self._compute(instance))
