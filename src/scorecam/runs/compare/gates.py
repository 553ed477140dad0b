"""The gates of a comparison: the least accepted numbers of every side after the first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.io.arguments import instance
from scorecam.io.ranges import NUMBER
from scorecam.metrics.statistics import Interval
from scorecam.runs.compare.versus import FailedGate, Versus

GATES = ("similarity", "worst", "agreement", "focus", "accuracy")
"""Numbers that can be gated. The first three compare a side with the first side: the mean
similarity of the maps, the least similarity of a photo, and the share of equal predictions."""


def check_gates(gates: Mapping[str, float]) -> None:
    """Check the names and values of gates.

    Raises:
        SettingError: one is invalid.
    """
    do = "Give a dict from a gate to the least accepted value."
    for gate, least in instance("fail_under", gates, Mapping, do).items():
        NUMBER.check(f"fail_under[{quoted(gate)}]", least)
        if gate not in GATES:
            raise SettingError(
                f"There is no gate {quoted(gate)}.",
                likely=did_you_mean(gate, GATES),
                do=f"The gates are {', '.join(GATES)}.",
            )


def failed_gates(
    gates: Mapping[str, float],
    versus: Sequence[Versus],
    *,
    focus: Sequence[Interval],
    accuracy: Sequence[Interval],
) -> tuple[FailedGate, ...]:
    """The gates that failed: those of the second side, then those of the third, and so on.

    Args:
        gates: the least accepted value, by gate.
        versus: the first side compared with each other side.
        focus, accuracy: of the other sides.
    """
    failed: list[FailedGate] = []
    for side, own_focus, own_accuracy in zip(versus, focus, accuracy, strict=True):
        worst = side.by_similarity[:1]
        values = {
            "similarity": side.similarity.mean,
            "worst": worst[0].similarity if worst else None,
            "agreement": side.agreement.mean,
            "focus": own_focus.mean,
            "accuracy": own_accuracy.mean,
        }
        for gate, least in gates.items():
            value = values[gate]
            known = None if value is None or math.isnan(value) else value
            if known is None or known < least:
                photo = worst[0].name if worst and gate == "worst" else ""
                failed.append(FailedGate(side.other, gate, known, least, photo=photo))
    return tuple(failed)
