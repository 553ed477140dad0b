"""The messages of OpenVINO's errors."""

from __future__ import annotations

import re
from typing import Final

from scorecam.base.wording import one_line

PLACE: Final = re.compile(r"(Exception from |Check '[^']*' failed at )\S+:\d+:?\s*")
"""Where an error was raised in the source of OpenVINO."""


def why(error: Exception) -> str:
    """The message on one short line, without places in the source of OpenVINO."""
    return one_line(PLACE.sub("", str(error)), 200) or type(error).__name__
