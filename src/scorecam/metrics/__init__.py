"""How good a heatmap is: faithfulness, localisation, similarity, and their statistics."""

from scorecam.metrics.metric import Measured, Metric, Outcome, Seen, Truth
from scorecam.metrics.names import METRICS, PRESETS, parse_metrics

__all__ = [
    "Measured",
    "METRICS",
    "Metric",
    "Outcome",
    "parse_metrics",
    "PRESETS",
    "Seen",
    "Truth",
]
