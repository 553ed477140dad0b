"""Thresholds that several rules share, and the sources of the tests behind them.

They were chosen on networks trained with other seeds than the reported ones; see `docs/audit.md`.
"""

from __future__ import annotations

ALPHA = 0.01
"""The chance that a rule's family of tests finds anything when there is nothing to find."""

MIN_PHOTOS = 5
"""Photos needed on each side of a comparison between classes."""

MIN_PHOTOS_ALONE = 7
"""Photos from which a signed-rank test can be significant: 0.5 to the power of 7 is below ALPHA."""

MOST_CLASSES = 0.5
"""A finding in all photos counts for the whole model if it holds in more than this share of the
classes."""

LARGE_DELTA = 0.474
"""Cliff's delta from which a difference counts as large (Romano et al. 2006)."""

EXAMPLES = 12
"""Example photos of a finding, at most."""

SPRAY = "Lapuschkin et al. 2019 (Clever Hans predictors, SpRAy)"
RANK_TESTS = "Mann and Whitney 1947; Holm 1979; Cliff 1993; Romano et al. 2006 (0.474 is large)"
