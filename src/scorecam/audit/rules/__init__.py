"""The rules of an audit, one file each.

To add a rule, write a file with its `RULE` and add it to the list below.
"""

from __future__ import annotations

from collections.abc import Mapping

from scorecam.audit.rule import Rule
from scorecam.audit.rules import (
    border,
    confused,
    corner,
    fragile,
    other_object,
    same_region,
    subgroup,
    wrong_reason,
)

_ALL = (
    other_object.RULE,
    corner.RULE,
    border.RULE,
    same_region.RULE,
    wrong_reason.RULE,
    subgroup.RULE,
    confused.RULE,
    fragile.RULE,
)

RULES: Mapping[str, Rule] = {rule.code: rule for rule in _ALL}
"""By code. Among findings of the same level, those of earlier rules come first."""
