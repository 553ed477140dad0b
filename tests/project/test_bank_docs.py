"""docs/banks.md states the limits that the code sets."""

from __future__ import annotations

import math
from pathlib import Path

from scorecam.bank import file, parts, record, storage

PAGE = (Path(__file__).parents[2] / "docs" / "banks.md").read_text("utf-8")


def test_the_page_states_the_limits_of_the_code() -> None:
    for row in (
        f"{file.MEMORY_FACTOR} times the file's size, and {file.MEMORY_BASE >> 20} MiB",
        f"| file | {file.LARGEST_FILE >> 30} GiB |",
        f"{file.LARGEST_HEADER >> 20} MiB |",
        f"{record.MOST_PIXELS:,} pixels",
        f"{record.LONGEST_AXIS:,} along one axis",
        f"| channels | {storage.MOST_CHANNELS:,} |",
        f"| columns (classes) | {storage.MOST_COLUMNS:,} |",
        f"{storage.LONGEST_NAMES >> 20} MiB, and 4 times",
        f"{record.LONGEST_TEXT:,} characters",
        f"are predicted | {parts.MOST_PAIRS:,} |",
        f"more than {math.isqrt(parts.MOST_PAIRS):,} masks",
    ):
        assert row in PAGE, row
