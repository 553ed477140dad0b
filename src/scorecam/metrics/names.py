"""The metrics by name: those of the paper, and those of later papers that criticise it."""

from __future__ import annotations

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.metrics import adcc, faithfulness, localisation
from scorecam.metrics.metric import Metric

LONGEST_LIST = 10_000
"""The most characters of a list of metrics."""

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (*faithfulness.METRICS, *localisation.METRICS, *adcc.METRICS)
}
"""By name. To add a metric, add it to the `METRICS` of its file."""

PRESETS: dict[str, tuple[str, ...]] = {
    "paper": ("recognition", "deletion", "insertion", "energy"),
    "quick": ("recognition", "energy", "pointing", "iou"),
    "localisation": ("energy", "pointing", "iou"),
    "all": tuple(METRICS),
}
"""Groups of metrics. `paper`: Tables 1, 2 and 3 of Wang et al. 2020, by its own protocol. The other
presets are ours: `quick` needs a few passes per map, `localisation` needs none."""


def parse_metrics(text: str) -> list[Metric]:
    """The metrics in a comma-separated list of names and presets, such as `paper,pointing`.

    Raises:
        SettingError: there is no such metric, or the list is empty.
    """
    metrics: dict[str, Metric] = {}
    known = (*PRESETS, *METRICS)
    if len(text) > LONGEST_LIST:
        raise SettingError(
            f"The list of metrics has {len(text):,} characters; the limit is {LONGEST_LIST:,}.",
            likely="Another text may have been passed.",
            do=f"Use {', '.join(known)}.",
        )
    for name in (part.strip() for part in text.split(",") if part.strip()):
        if name not in known:
            raise SettingError(
                f"There is no metric {quoted(name)}.",
                likely=did_you_mean(name, known),
                do=f"The metrics are {', '.join(METRICS)}; the presets are {', '.join(PRESETS)}.",
            )
        for metric in PRESETS.get(name, (name,)):
            metrics[metric] = METRICS[metric]
    if not metrics:
        raise SettingError("No metric was named.", do=f"Use {', '.join(known)}.")
    return list(metrics.values())
