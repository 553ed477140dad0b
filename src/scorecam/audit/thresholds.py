"""Thresholds that several rules share, and the sources of their tests.

They were chosen on networks trained with other seeds than those in the reported results; see
`docs/audit.md`.
"""

from __future__ import annotations

ALPHA = 0.01
"""The significance level of a rule's family of tests: the chance of any false finding."""

MIN_PHOTOS = 5
"""The least number of photos on each side of a comparison between classes."""

MIN_PHOTOS_ALONE = 7
"""With fewer photos, no signed-rank test can be significant: 0.5 to the power of 7 < ALPHA."""

MOST_CLASSES = 0.5
"""A finding in all photos counts for the whole model if it holds in more than this share of the
classes."""

LARGE_DELTA = 0.474
"""Cliff's delta from which a difference counts as large (Romano et al. 2006)."""

EXAMPLES = 12
"""The largest number of example photos of a finding."""

SPRAY = "Lapuschkin et al. 2019 (Clever Hans predictors, SpRAy)"
RANK_TESTS = "Mann and Whitney 1947; Holm 1979; Cliff 1993; Romano et al. 2006 (0.474 is large)"
