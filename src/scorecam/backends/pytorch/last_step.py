"""Whether a network's output comes from a softmax or a sigmoid, found while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from scorecam.backends.tracing.mode import QuietMode
from scorecam.backends.tracing.operations import REARRANGES
from scorecam.errors import ModelError
from scorecam.shapes import BatchedScores

STEPS = {
    "softmax": "softmax",
    "_softmax": "softmax",
    "_safe_softmax": "softmax",
    "sigmoid": "sigmoid",
    "hardsigmoid": "sigmoid",
}
"""Operations of torch that return probabilities."""


def last_step(score: Callable[[], BatchedScores]) -> tuple[BatchedScores, str]:
    """The scores of a pass, and its last step; see `Model.last_step`."""
    try:
        with LastStepWatcher() as watch:
            scores = score()
    except ModelError:  # some networks cannot run while their operations are watched
        return score(), ""
    return scores, watch.step(scores)


class LastStepWatcher(QuietMode):
    """Within its context, remembers which tensors hold the results of a softmax or a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[Tensor, str]] = {}  # with the tensor: an id may be used again

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        step = self._step(func.overloadpacket.__name__.removesuffix("_"), args, kwargs or {})
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self._made.pop(id(tensor), None)  # it may have been changed in place
                if step:
                    self._made[id(tensor)] = tensor, step
        return result

    def _step(self, name: str, args: Any, kwargs: dict[str, Any]) -> str:
        """The kind of numbers that this operation returns; empty if it is neither kind."""
        if STEPS.get(name) == "softmax":
            axis = args[1] if len(args) > 1 else kwargs.get("dim", 0)
            # Over the batch axis, the numbers of one image do not add up to one.
            return "softmax" if axis % max(args[0].ndim, 1) != 0 or args[0].ndim < 2 else ""
        if name in STEPS:
            return STEPS[name]
        if name not in REARRANGES or not args:
            return ""
        parts = args[0] if isinstance(args[0], tuple | list) else [args[0]]
        steps = {self.step(part) for part in parts}
        return steps.pop() if len(steps) == 1 else ""

    def step(self, output: Any) -> str:
        """The kind of this tensor's numbers; empty if unknown."""
        return self._made.get(id(output), (None, ""))[1]
