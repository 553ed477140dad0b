"""Class names in a text that is a Python literal, or JSON: {0: 'cat', 1: 'dog'} or ['cat', 'dog'].

The text is foreign. It is read by a pattern, entry by entry, so that it can neither nest deeply nor
name anything to run.
"""

from __future__ import annotations

import re

from scorecam.model.labels import check_names

_ENTRY = re.compile(
    r"""\s*(?:["']?(?P<index>\d{1,9})["']?\s*:\s*)?"""
    r"""(?P<text>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")\s*(?P<end>,|$)"""
)

_ESCAPE = re.compile(
    r"""\\(?:(?P<plain>[\\'"/bfnrt])|x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})"""
    r"""|U(?P<U>000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|(?P<other>.))"""
)

_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def sequence_of(text: str) -> tuple[str, ...] | None:
    """The names in a literal, in the order of their indices; None if it has no entries.

    Raises:
        ValueError: it is not such a literal, or the indices are not 0, 1, 2, ….
    """
    body = text.strip()
    if len(body) < 2 or body[0] + body[-1] not in ("{}", "[]", "()"):
        raise ValueError("its class names are neither a list nor a dict")
    indices, names = _entries(body[1:-1].strip())
    if any(index is not None for index in indices) != (body[0] == "{" and bool(names)):
        raise ValueError("its class names are neither a list nor a dict from index to name")
    found = _by_index(indices, names) if body[0] == "{" else tuple(names)
    check_names(found)
    return found or None


def _entries(body: str) -> tuple[list[int | None], list[str]]:
    """The indices and the names."""
    indices: list[int | None] = []
    names: list[str] = []
    place = 0
    while place < len(body):
        entry = _ENTRY.match(body, place)
        if entry is None:
            raise ValueError(f"its class name {len(names)} cannot be read")
        indices.append(None if entry["index"] is None else int(entry["index"]))
        names.append(_ESCAPE.sub(_character, entry["text"][1:-1]))
        place = entry.end()
    return indices, names


def _by_index(indices: list[int | None], names: list[str]) -> tuple[str, ...]:
    by_index = {
        index: name for index, name in zip(indices, names, strict=True) if index is not None
    }
    for place in range(len(names)):
        if place not in by_index:
            raise ValueError(f"its {len(names)} class names lack the index {place}")
    return tuple(by_index[place] for place in range(len(names)))


def _character(escape: re.Match[str]) -> str:
    """The character of an escape, such as that of a quote or of a line end."""
    if escape["other"] is not None:
        raise ValueError(f"its class names have the unknown escape {escape[0]}")
    code = escape["x"] or escape["u"] or escape["U"]
    return chr(int(code, 16)) if code else _PLAIN.get(escape["plain"], escape["plain"])
