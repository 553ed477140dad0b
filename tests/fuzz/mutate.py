"""Hypothesis strategies that damage valid files or put malicious values into them."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 255, 2**31, 2**63, -(2**63), 10**30, 10**400,
    0.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf"),
    "", "a", "\0", "\ud800", "\x1b]0;title\x07", "\u202e", "../../outside", "/dev/zero", "a\nb",
    "<script>alert(1)</script>", "$\\frac{", "x" * 5000, "9" * 5000,
    [], [[]], {}, {"": None}, [None] * 3, [1e308] * 4, ["a"] * 4,
)  # fmt: skip
"""Unexpected values for any entry."""

NUMBERS = (b"0", b"-1", b"1", b"4294967296", b"9" * 30, b"9" * 5000, b"nan", b"inf", b"1e308", b"")
INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63)

_fractions = st.floats(0, 1, exclude_max=True)


# ── bytes ────────────────────────────────────────────────────────────────────────────────────


def _flip(data: bytearray, place: int, number: int) -> None:
    if data:
        data[place] ^= 1 << (number % 8)


def _integer(data: bytearray, place: int, number: int) -> None:
    value, width = INTEGERS[number % len(INTEGERS)], (1, 2, 4, 8)[number % 4]
    order = "little" if number % 2 else "big"
    data[place : place + width] = (value % 256**width).to_bytes(width, order)


def _delete(data: bytearray, place: int, number: int) -> None:
    del data[place : place + 1 + number % 64]


def _repeat(data: bytearray, place: int, number: int) -> None:
    piece = bytes(data[place : place + 1 + number % 64])
    data[place:place] = piece * (1 + number % 17)


def _truncate(data: bytearray, place: int, _number: int) -> None:
    del data[place:]


def _zero(data: bytearray, place: int, number: int) -> None:
    length = min(1 + number % 256, len(data) - place)
    data[place : place + length] = bytes(length)


def _number(data: bytearray, place: int, number: int) -> None:
    """Replace the next decimal number in a text."""
    match = re.compile(rb"-?\d+(\.\d+)?").search(data, place)
    if match:
        data[match.start() : match.end()] = NUMBERS[number % len(NUMBERS)]


def _word(data: bytearray, place: int, number: int) -> None:
    """Replace the next word in a text."""
    match = re.compile(rb"[A-Za-z_]{2,}").search(data, place)
    if match:
        text = str(HOSTILE[number % len(HOSTILE)]) if number % 3 else "é\u202e"
        data[match.start() : match.end()] = text.encode("utf-8", "surrogatepass")


_CHANGES = (_flip, _integer, _delete, _repeat, _truncate, _zero, _number, _word)
_changes = st.tuples(st.sampled_from(_CHANGES), _fractions, st.integers(0, 2**16))


@st.composite
def damaged_bytes(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """One of the valid contents with one to four changes."""
    data = bytearray(draw(st.sampled_from(valid)))
    for change, fraction, number in draw(st.lists(_changes, min_size=1, max_size=4)):
        change(data, int(fraction * len(data)), number)
    return bytes(data)


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every entry in a JSON value: the container, and the key or index."""
    entries = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list)
        else ()
    )  # fmt: skip
    places = [(value, key) for key, _ in entries]
    return places + [place for container, key in places for place in _places(container[key])]


@st.composite
def changed_json(draw: st.DrawFn, valid: Any) -> Any:
    """A JSON value with one to three entries replaced, removed, moved or added."""
    document = {"": copy.deepcopy(valid)}
    for _ in range(draw(st.integers(1, 3))):
        places = _places(document)
        container, key = places[draw(st.integers(0, len(places) - 1))]
        action = draw(st.sampled_from(["replace", "replace", "replace", "remove", "move", "add"]))
        if action == "replace" or container is document:
            container[key] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
        elif action == "remove":
            del container[key]
        elif action == "move":
            other, place = places[draw(st.integers(0, len(places) - 1))]
            container[key] = copy.deepcopy(other[place])
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[f"{key}2"] = copy.deepcopy(container[key])
    return document[""]


def json_text(value: Any) -> bytes:
    """A value as JSON, also with lone surrogates and NaN."""
    return json.dumps(value).encode()


@st.composite
def damaged_json(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """A JSON text with changed entries or damaged bytes."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged_bytes(valid))
    return json_text(draw(changed_json(json.loads(draw(st.sampled_from(valid))))))


# ── containers with a JSON header ────────────────────────────────────────────────────────────


@st.composite
def damaged_safetensors(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """A safetensors file with a changed header or damaged bytes."""
    if draw(st.integers(0, 2)) == 0:
        return draw(damaged_bytes(valid))
    content = draw(st.sampled_from(valid))
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    record = header.get("__metadata__", {}).get("scorecam")
    if record is not None and draw(st.booleans()):
        changed = draw(changed_json(json.loads(record)))
        header["__metadata__"]["scorecam"] = json_text(changed).decode()
    else:
        header = draw(changed_json(header))
    packed = json_text(header)
    return len(packed).to_bytes(8, "little") + packed + content[8 + length :]


Damage = Callable[[list[bytes]], st.SearchStrategy[bytes]]
