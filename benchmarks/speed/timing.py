"""Where the time goes: seconds of named functions, measured from outside.

`Timers.patched` replaces functions by wrappers that measure them, and puts them back. The product
needs no timers of its own. The time of a wrapped function that another one calls counts for the
inner one only, so the stages add up to the whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from torch import Tensor

from scorecam import Model
from scorecam.model.engine import Engine

PACKAGE = "scorecam"
PASSES = "passes"
"""The stage of the runtime's own passes of masked images."""

CHOICE = "choice of runtime"
"""The stage in which the model chooses what scores masked images."""

Stages = Mapping[str, Sequence[str]]
"""Functions as "package.module:function" or "package.module:Class.method", by stage."""


class Timers:
    """Seconds per stage, without those of stages inside.

    Attributes:
        seconds: so far, by stage. Stages in threads that run at the same time add up.
        batches: images and seconds of each batch of masked images.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.batches: list[tuple[int, float]] = []
        self._threads = threading.local()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which counts for the stage."""

        @functools.wraps(function)
        def run(*arguments: Any, **keywords: Any) -> Any:
            with self.measuring(stage):
                return function(*arguments, **keywords)

        return run

    @contextlib.contextmanager
    def measuring(self, stage: str) -> Generator[None]:
        """Count the time in this context for the stage."""
        inner: list[float] = vars(self._threads).setdefault("inner", [])
        inner.append(0.0)
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self.seconds[stage] += seconds - inner.pop()
            if inner:
                inner[-1] += seconds

    @contextlib.contextmanager
    def patched(self, model: Model, stages: Stages | None = None) -> Generator[None]:
        """Measure the model's choice of an engine, the engine's passes, and these stages."""
        with contextlib.ExitStack() as stack:
            owner = next(kind for kind in type(model).__mro__ if "engine" in vars(kind))
            choose = self.timed(CHOICE, vars(owner)["engine"])
            stack.enter_context(_replaced(owner, "engine", self._with_timed_passes(choose)))
            for stage, names in (stages or {}).items():
                for name in names:
                    for place, attribute, original in places(name):
                        timed = self.timed(stage, original)
                        stack.enter_context(_replaced(place, attribute, timed))
            yield

    def _with_timed_passes(self, choose: Callable[..., Engine]) -> Callable[..., Engine]:
        def engine(*arguments: Any, **keywords: Any) -> Engine:
            chosen = choose(*arguments, **keywords)
            return dataclasses.replace(chosen, scores=self._timed_passes(chosen.scores))

        return engine

    def _timed_passes(self, scores: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def run(images: Tensor) -> Tensor:
            began = time.perf_counter()
            with self.measuring(PASSES):
                found = scores(images)
            self.batches.append((len(images), time.perf_counter() - began))
            return found

        return run


def places(name: str) -> list[tuple[Any, str, Callable[..., Any]]]:
    """Where a function is found by name: its class, or every module that has imported it.

    Raises:
        LookupError: there is no such function.
    """
    module_name, _, path = name.partition(":")
    owner: Any = importlib.import_module(module_name)
    *classes, attribute = path.split(".")
    for each in classes:
        owner = getattr(owner, each, None)
    original = getattr(owner, "__dict__", {}).get(attribute)
    if original is None:
        raise LookupError(f"There is no {name}. Was it renamed or moved?")
    if classes:
        return [(owner, attribute, original)]
    return [
        (module, known, original)
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").partition(".")[0] == PACKAGE
        for known, value in list(vars(module).items())
        if value is original
    ]


@contextlib.contextmanager
def _replaced(owner: Any, attribute: str, value: object) -> Generator[None]:
    """In this context, the attribute has another value."""
    original = vars(owner)[attribute]
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        setattr(owner, attribute, original)
