"""The last step of every format: sort the samples, refuse duplicates, and count remarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from scorecam.base.wording import excerpt
from scorecam.datasets.sample import Dataset, Label, Sample
from scorecam.errors import DatasetError

Tally = Counter[str]
"""How often each remark applies, by its text."""

UNUSABLE = "Photos whose annotation cannot be used"
MISSING = "Photos without an annotation"


def finish(
    root: Path, kind: str, samples: Iterable[Sample], tally: Tally, remarks: Sequence[str] = ()
) -> Dataset:
    """The data set, its samples sorted by name.

    Args:
        remarks: further remarks, which come first.

    Raises:
        DatasetError: there is no photo, or two photos have the same name.
    """
    ordered = tuple(sorted(samples, key=lambda sample: sample.name))
    if not ordered:
        raise DatasetError(
            f"There is no photo in {excerpt(root, 200)}.",
            likely="The photos are in another folder, or have other suffixes.",
            do="Name the folder that holds them. Names must end in .jpg, .png, .webp or the like.",
        )
    refuse_repeated(
        f"The data set {excerpt(root, 150)}", "photos", [sample.name for sample in ordered]
    )
    failed = sum(sample.failure is not None for sample in ordered)
    if failed:
        tally[UNUSABLE] = failed
    counted = tuple(f"{what}: {count:,}." for what, count in sorted(tally.items()) if count)
    return Dataset(root, kind, ordered, classes_of(ordered), remarks=(*remarks, *counted))


def classes_of(samples: Iterable[Sample]) -> tuple[Label, ...]:
    """Every label of the samples: the numbers sorted, then the texts sorted."""
    labels = {sample.label for sample in samples if sample.label is not None}
    return tuple(sorted(labels, key=_order))


def refuse_repeated(where: str, what: str, keys: Iterable[object]) -> None:
    """Raises DatasetError, naming the keys that occur more than once."""
    repeated = [str(key) for key, count in Counter(keys).items() if count > 1]
    if repeated:
        raise DatasetError(
            f"{where} names {what} more than once: {listed(repeated)}.",
            likely="Two lists were merged, or a file was edited by hand.",
            do="Keep one of each.",
        )


def listed(words: Sequence[str], most: int = 5) -> str:
    """The first words, quoted, and the number of the others."""
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(excerpt(repr(word), 32) for word in words[:most]) + more


def _order(label: Label) -> tuple[bool, int, str]:
    return (True, 0, label) if isinstance(label, str) else (False, label, "")
