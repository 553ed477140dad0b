"""The network itself takes over when a faster engine fails in use."""

from __future__ import annotations

import dataclasses

import torch

from scorecam.errors import MemoryShortage
from scorecam.model.engine import Engine
from scorecam.shapes import BatchedScores, Images


def with_fallback(engine: Engine, plain: Engine) -> Engine:
    """The engine; after its first failure, `plain` scores that batch and all later ones.

    Threads may share the result. `failed` never returns to false. A batch that runs while it
    changes may be scored by either engine.
    """
    failed = False
    same_range = (engine.runtime, engine.precision) == (plain.runtime, "bfloat16")  # as float32's

    def give_up(why: str) -> None:
        nonlocal failed
        failed = True
        engine.remarks.append(
            f"{engine.runtime} in {engine.precision} failed in use ({why}). From then on, "
            f"{plain.runtime} in {plain.precision} was used."
        )

    def scores(images: Images) -> BatchedScores:
        if failed:
            return plain.scores(images)
        try:
            result = engine.scores(images)
        except Exception as error:  # runtimes raise errors of any kind
            if engine.batch is None and isinstance(error, MemoryShortage):
                raise  # a smaller batch will do
            give_up(cause(error))
            return plain.scores(images)
        if same_range or result.isfinite().all():
            return result
        own = plain.scores(images)
        if torch.equal(own.isfinite(), result.isfinite()):
            return result  # the network itself overflows in the same places
        give_up("it returned NaN or infinity")
        return own

    return dataclasses.replace(engine, scores=scores)


def cause(error: Exception) -> str:
    """The first words of an error, without places in source code and headings that end in ":"."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    informative = [line for line in lines if line and line[-1] != ":"] or [type(error).__name__]
    return " ".join(informative[:2])[:200]
