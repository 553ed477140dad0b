"""A user's own function from the output to boxes and probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from scorecam.base.wording import quoted, reason
from scorecam.errors import ScorecamError, TargetError
from scorecam.tasks.detect.decoder import Decoder, RawOutput
from scorecam.tasks.detect.detections import Detections

DecodeFunction = Callable[[Any], tuple[Tensor, Tensor]]
"""A model's output → boxes `b m 4` (x1 y1 x2 y2 in pixels of the input), probabilities `b m n`."""


@dataclass(frozen=True)
class OwnFunction(Decoder):
    """The decoder of a user's function."""

    function: DecodeFunction

    def decode(self, output: Any) -> Detections:
        try:
            returned = cast("Any", self.function(output))
        except ScorecamError:
            raise
        except Exception as error:
            raise TargetError(
                f"The function of decode= failed: {type(error).__name__}: {reason(error)}",
                likely=f"The output is {RawOutput(output, (1, 1)).described}.",
                do="Try it on the output for a batch of two images.",
            ) from error
        pair = returned if isinstance(returned, tuple | list) else ()
        if len(pair) != 2 or not all(isinstance(each, Tensor) for each in pair):
            raise _refused(quoted(returned))
        boxes, probabilities = pair
        if boxes.ndim != 3 or boxes.shape[2] != 4 or probabilities.ndim != 3:
            raise _refused(f"the shapes {tuple(boxes.shape)} and {tuple(probabilities.shape)}")
        if boxes.shape[:2] != probabilities.shape[:2] or 0 in probabilities.shape:
            raise _refused(f"the shapes {tuple(boxes.shape)} and {tuple(probabilities.shape)}")
        return Detections(boxes.float(), probabilities.float())

    @property
    def found(self) -> str:
        return f"the function {getattr(self.function, '__name__', 'of decode=')}"


def _refused(returned: str) -> TargetError:
    return TargetError(
        f"The function of decode= returned {returned}.",
        do="Return a tuple of two tensors: boxes b m 4, x1 y1 x2 y2 in pixels of the input, and "
        "probabilities b m n.",
    )
