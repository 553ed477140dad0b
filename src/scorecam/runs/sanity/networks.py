"""The other networks of a sanity check: randomised copies, and one trained on shuffled labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scorecam.io.ranges import NETWORKS

MODES = ("cascading", "independent")
DATA, SHUFFLED = "data", "trained on shuffled labels"
"""The mode and stage of the network that the user trained on shuffled labels."""


@dataclass(frozen=True)
class Job:
    """One other network.

    Args:
        mode: "cascading": this stage and all later ones are re-initialised; "independent": this
            stage only; "data": no stage, because the network was trained on shuffled labels.
        stage: by name.
        seed: of the new weights.
        chosen: the stages that are re-initialised.
    """

    mode: str
    stage: str
    seed: int
    chosen: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name under which records are stored."""
        return f"{self.mode} {self.stage} {self.seed}"


def all_jobs(stages: Sequence[str], modes: Sequence[str], seeds: int) -> Iterator[Job]:
    """The randomised networks.

    Args:
        stages: from the output to the input.
        seeds: networks per mode and stage.

    Raises:
        SettingError: there are too many seeds.
    """
    NETWORKS.check("seeds", seeds)
    for mode in modes:
        for place, stage in enumerate(stages):
            chosen = tuple(stages[: place + 1]) if mode == "cascading" else (stage,)
            for seed in range(seeds):
                yield Job(mode, stage, seed, chosen)
