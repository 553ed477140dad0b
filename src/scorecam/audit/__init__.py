"""Findings about a model, from the results of a run."""

from scorecam.audit.auditing import Audit, audit
from scorecam.audit.finding import Finding

__all__ = ["Audit", "audit", "Finding"]
