"""How good a heatmap is: the measures of the paper, and the ones it is criticised with."""

from __future__ import annotations

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.metrics.faithfulness import ADCC, Deletion, Insertion, Recognition
from scorecam.metrics.localisation import Energy, Overlap, Pointing
from scorecam.metrics.metric import Metric, Outcome

LONGEST = 10_000
"""Characters of a list of measures."""

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Recognition(),
        Recognition(
            "recognition-binary",
            soft=False,
            outcomes=(
                Outcome("average_drop_binary", "lower", "Average Drop, binary mask"),
                Outcome("average_increase_binary", "higher", "Average Increase, binary mask"),
                Outcome("average_gain_binary", "higher", "Average Gain, binary mask"),
            ),
            source="as recognition, but the pixels that are left are shown whole",
        ),
        Deletion(),
        Insertion(),
        Insertion(
            "insertion-blurred",
            start="blurred",
            outcomes=(Outcome("insertion_blurred", "higher", "Insertion, from a blurred image"),),
            source="Petsiuk et al. 2018: 1 % steps from the image blurred by 11 × 11, σ = 5",
        ),
        Energy(),
        Pointing(),
        Overlap(),
        ADCC(),
    )
}
"""By name."""

PRESETS: dict[str, tuple[str, ...]] = {
    "paper": ("recognition", "deletion", "insertion", "energy"),
    "quick": ("recognition", "energy", "pointing", "iou"),
    "localisation": ("energy", "pointing", "iou"),
    "all": tuple(METRICS),
}
"""Several at once. `paper`: Tables 1, 2 and 3 of Wang et al. 2020, by its own protocol; the others
are ours: `quick` costs a few passes a map, `localisation` none."""


def parse_metrics(text: str) -> list[Metric]:
    """The measures in a comma-separated list of names and presets, such as `paper,pointing`.

    Raises:
        SettingError: there is no such measure, or none is named.
    """
    found: dict[str, Metric] = {}
    known = (*PRESETS, *METRICS)
    if len(text) > LONGEST:
        raise SettingError(
            f"The list of measures has {len(text):,} characters; at most {LONGEST:,} are read.",
            likely="Something else may have been given.",
            do=f"There are {', '.join(known)}.",
        )
    for name in (part.strip() for part in text.split(",") if part.strip()):
        if name not in known:
            raise SettingError(
                f"There is no measure {quoted(name)}.",
                likely=did_you_mean(name, known),
                do=f"There are {', '.join(METRICS)}; together: {', '.join(PRESETS)}.",
            )
        for each in PRESETS.get(name, (name,)):
            found[each] = METRICS[each]
    if not found:
        raise SettingError("No measures were named.", do=f"There are {', '.join(known)}.")
    return list(found.values())
