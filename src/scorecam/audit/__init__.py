"""What is wrong with a model, read from a run."""

from scorecam.audit.finding import Finding
from scorecam.audit.findings import Audit, audit

__all__ = ["Audit", "audit", "Finding"]
