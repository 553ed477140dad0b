"""What is wrong with a model, read from a run."""

from scorecam.audit.auditing import Audit, audit
from scorecam.audit.finding import Finding

__all__ = ["Audit", "audit", "Finding"]
