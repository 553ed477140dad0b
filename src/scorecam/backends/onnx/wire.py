"""The number of fields in an ONNX file, counted before they are parsed.

A parsed message takes up to a hundred times the memory of its bytes in the file: an empty node
takes two bytes there. So the fields are counted first, along the rules of Protocol Buffers. Strings
and packed numbers count once, whatever their length: they take no more memory than in the file.
"""

from __future__ import annotations

from typing import Any, Final

MOST_FIELDS: Final = 2_000_000
"""Enough for 100,000 nodes. A network of a thousand layers has fewer than 50,000 fields."""

Fields = dict[int, "Fields | None"]
"""The fields of a message that contain messages or texts: number → their fields; None for texts."""


class Malformed(ValueError):
    """The bytes are not Protocol Buffers."""


class TooMany(ValueError):
    """There are more than `MOST_FIELDS` fields."""


def messages(descriptor: Any, known: dict[str, Fields] | None = None) -> Fields:
    """The messages in a kind of message, by field number; kinds may contain themselves."""
    known = {} if known is None else known
    if descriptor.full_name in known:
        return known[descriptor.full_name]
    fields = known[descriptor.full_name] = {}
    for field in descriptor.fields:
        if field.message_type is not None:
            fields[field.number] = messages(field.message_type, known)
        elif field.type == field.TYPE_STRING:
            fields[field.number] = None
    return fields


def count_fields(content: bytes, fields: Fields) -> int:
    """The number of fields in a message and all messages in it.

    Raises:
        Malformed: the content is damaged or truncated.
        TooMany: there are more than `MOST_FIELDS`.
    """
    count = place = 0
    view = memoryview(content)
    open_messages = [(len(content), fields)]
    while open_messages:
        end, inside = open_messages[-1]
        if place == end:
            open_messages.pop()
            continue
        count += 1
        if count > MOST_FIELDS:
            raise TooMany
        key, place = _varint(content, place, end)
        kind = key & 7
        if kind == 2:  # bytes, a text, a message or packed numbers
            length, place = _varint(content, place, end)
            if place + length > end:
                raise Malformed
            inner = inside.get(key >> 3, {})
            if inner:
                open_messages.append((place + length, inner))
                continue
            if inner is None:
                _check_text(view[place : place + length])
            place += length
        else:
            place = _after_number(content, place, end, kind)
    return count


def _check_text(text: memoryview) -> None:
    """Refuse text that is not UTF-8: reading its field would raise an error at any later time."""
    try:
        str(text, "utf-8")
    except UnicodeDecodeError as error:
        raise Malformed from error


def _after_number(content: bytes, place: int, end: int, kind: int) -> int:
    """The place after a single number."""
    if kind == 0:
        return _varint(content, place, end)[1]
    size = {1: 8, 5: 4}.get(kind)
    if size is None or place + size > end:
        raise Malformed
    return place + size


def _varint(content: bytes, place: int, end: int) -> tuple[int, int]:
    """A number of variable length, and the place after it."""
    value = shift = 0
    while place < end and shift < 70:
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise Malformed
