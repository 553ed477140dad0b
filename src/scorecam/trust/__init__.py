"""Whether one map can be trusted: evidence from the bank and the model, and a verdict."""

from scorecam.trust.checking import Cost, check, cost
from scorecam.trust.verdict import Evidence, Trust

__all__ = ["check", "Cost", "cost", "Evidence", "Trust"]
