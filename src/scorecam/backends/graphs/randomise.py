"""A graph's stages, and copies of it in which some are re-initialised.

Graphs do not state how their weights were initialised. So the numbers of each constant are put in
random order: the layer keeps the scale of its weights and loses what it learned. This works for
numbers of any type, integers of quantised layers too.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from scorecam.backends.graphs.graph import Numbers
from scorecam.backends.graphs.program import Program
from scorecam.backends.stages import SEED_OFFSET
from scorecam.errors import ModelError


def stages(program: Program) -> list[str]:
    """The layers with weights, from the output to the input."""
    names = [weight.stage for weight in program.weights()]
    return list(dict.fromkeys(reversed(names)))


def randomised(program: Program, chosen: Collection[str], seed: int) -> Program:
    """A copy in which the weights of these stages are in random order.

    Raises:
        ModelError: nothing changes.
    """
    names = [weight.name for weight in program.weights() if weight.stage in chosen]
    random = np.random.default_rng(SEED_OFFSET + seed)
    changed: list[bool] = []

    def shuffled(numbers: Numbers) -> Numbers:
        new = random.permutation(numbers.reshape(-1)).reshape(numbers.shape)
        changed.append(bool((new != numbers).any()))
        return new

    copy = program.with_weights(names, shuffled)
    if not any(changed):
        raise ModelError(
            "The network cannot be re-initialised: all weights of these layers are equal.",
            do="Choose another part of the network.",
        )
    return copy
