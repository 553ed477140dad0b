"""The missing and damaged results that a resumed run still has to compute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scorecam.datasets.sample import Sample
from scorecam.errors import MemoryShortage
from scorecam.methods.method import Method
from scorecam.runs.record import FailureRecord, ItemRecord
from scorecam.runs.setup import Setup
from scorecam.runs.store import Store


@dataclass(frozen=True)
class Keep:
    """The files that a run keeps for every photo in addition to its records.

    Args:
        banks: the scores.
        gallery: what a page shows of the photo.
    """

    banks: bool
    gallery: bool


@dataclass(frozen=True)
class Todo:
    """A photo, and the methods that still have to explain it."""

    sample: Sample
    methods: list[Method]


def missing(
    store: Store[ItemRecord], setup: Setup, samples: Sequence[Sample], keep: Keep, *, retry: bool
) -> tuple[list[Todo], Counter[str]]:
    """The photos that lack a result; and the reasons to compute existing results again, counted.

    Args:
        retry: whether failures count as missing.
    """
    done = store.done([sample.id for sample in samples])
    again: Counter[str] = Counter()
    todo: list[Todo] = []
    for sample in samples:
        methods: list[Method] = []
        for method in setup.methods:
            if (method.name, sample.id) not in done:
                methods.append(method)
                continue
            record, why = _existing(store, method.name, sample.id)
            if why:
                again[why] += 1
            if why or (retry and isinstance(record, FailureRecord) and not record.not_found):
                methods.append(method)
        if len(methods) < len(setup.methods) and (why := _damaged(store, sample.id, keep)):
            again[why] += 1
            writer = setup.bank_method or setup.methods[-1]
            methods += [writer] if writer not in methods else []
        if methods:
            todo.append(Todo(sample, methods))
    return todo, again


def _existing(store: Store[ItemRecord], method: str, sample: str) -> tuple[ItemRecord | None, str]:
    """An existing record, and the reason to compute it again; "" if there is none."""
    record, state = store.judge(method, sample)
    if record is None:
        return None, f"Records that were {state}"
    state = store.judge_map(record)
    if state != "whole":
        return record, f"Maps that were {state}"
    if isinstance(record, FailureRecord) and record.failure.kind == MemoryShortage.__name__:
        return record, "Explanations that failed because memory ran out"
    return record, ""


def _damaged(store: Store[ItemRecord], sample: str, keep: Keep) -> str:
    """Which other file of the photo is damaged; missing files are not made again."""
    if keep.gallery and (state := store.judge_entry(sample)) in ("damaged", "edited"):
        return f"Gallery entries that were {state}"
    if keep.banks and store.judge_bank(sample) == "damaged":
        return "Banks that were damaged"
    return ""
