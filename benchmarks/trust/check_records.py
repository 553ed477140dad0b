"""The records of check.py: reading them, and their total doubt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scorecam.trust.criteria import NOTE_DOUBTS, Criterion

Record = dict[str, Any]
Rules = Mapping[str, Criterion]

PROBABILITY = frozenset({"improbable"})
"""The note about the probability alone."""


def read(work: Path, part: str, variant: str = "official") -> list[Record]:
    """The records of one part and variant, of every family in the folder."""
    records: list[Record] = []
    for path in sorted(work.glob(f"*-{part}.json")):
        records += json.loads(path.read_text("utf-8"))
    return [record for record in records if record["variant"] == variant]


def is_sound(record: Record) -> bool:
    """Whether the network is sound, so that its map should be accepted."""
    return str(record["kind"]).startswith(("trained", "fine-tuned: correct"))


def is_fine_tuned(record: Record) -> bool:
    """Whether the network was fine-tuned on a few photos; these are reported separately."""
    return str(record["kind"]).startswith("fine-tuned")


def split(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The records of fine-tuned networks, after all others."""
    others = [record for record in records if not is_fine_tuned(record)]
    return others, [record for record in records if is_fine_tuned(record)]


def doubt(record: Record, rules: Rules, without: frozenset[str] = PROBABILITY) -> float:
    """The total doubt of a record's map, as `scorecam.check` computes it with these rules."""
    total = sum(NOTE_DOUBTS[note] for note in record["notes"] if note not in without)
    for code, value in record["values"].items():
        if code in rules and code not in without and not isinstance(value, str):
            total += rules[code].doubt(value)
    return total
