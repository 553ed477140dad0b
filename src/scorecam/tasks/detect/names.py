"""The names of boxes."""

from __future__ import annotations

from collections.abc import Sequence


def class_name(index: int, names: Sequence[str] | None) -> str:
    """The name of a class, or for example "class 3"."""
    return names[index] if names is not None and index < len(names) else f"class {index}"


def fitting_names(names: Sequence[str] | None, classes: int | None, largest: int) -> bool:
    """Whether class names can be those of the detector.

    Args:
        classes: the number of its classes; None if it returns labels only.
        largest: the largest class of a box.
    """
    if names is None:
        return False
    return largest < len(names) if classes is None else classes == len(names)


def box_names(kinds: Sequence[str]) -> tuple[str, ...]:
    """A name for each box: that of its class, with a number from the second of its class on.

    They are for example "person", "person 2", or "class 3", "class 3 (2)".

    Args:
        kinds: the class names of the boxes, in order.
    """
    taken: dict[str, None] = {}
    for kind in kinds:
        number, name = 1, kind
        while name in taken or (number > 1 and name in kinds):
            number += 1
            name = f"{kind} ({number})" if kind[-1:].isdigit() else f"{kind} {number}"
        taken[name] = None
    return tuple(taken)
