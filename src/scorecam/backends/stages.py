"""The stages of a network that are re-initialised for the sanity check."""

from __future__ import annotations

from collections.abc import Sequence

from scorecam.base.wording import quoted
from scorecam.errors import LayerError, did_you_mean

SEED_OFFSET = 0x5A17
"""Added to seeds, so that a network that was made from seed 0 gets other weights from seed 0."""


def check_stages(stages: Sequence[str], known: Sequence[str]) -> None:
    """Refuse stages that the network does not have.

    Raises:
        LayerError: there is no such stage.
    """
    for stage in stages:
        if stage not in known:
            raise LayerError(
                f"The network has no stage {quoted(stage)}.",
                likely=did_you_mean(stage, known),
                do=f"It has {', '.join(known)}.",
            )
