"""The answer: its token ids, the names of its tokens, and its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from torch import Tensor

from scorecam.base.wording import excerpt, quoted
from scorecam.errors import SettingError
from scorecam.io.ranges import parse_wholes
from scorecam.tasks.tokens.tokenizer import GIVE, Texts

LONGEST_NAME: Final = 200
"""Characters of the name of the whole answer."""


@dataclass(frozen=True)
class Answer:
    """An answer in tokens.

    Args:
        ids: its tokens.
        pieces: the text of each token, with its spaces.
        text: the text of all.
    """

    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    text: str

    @property
    def words(self) -> list[tuple[int, ...]]:
        """The tokens of each word: a space begins a new one."""
        found: list[tuple[int, ...]] = []
        for i, piece in enumerate(self.pieces):
            begins = piece[:1].isspace() and not piece.isspace()
            if not i or begins or self.pieces[i - 1][-1:].isspace():
                found.append((i,))
            else:
                found[-1] = (*found[-1], i)
        return found

    def names(self, sums: Iterable[Sequence[int]]) -> list[str]:
        """The printable text of some of its tokens together."""
        return [printable("".join(self.pieces[i] for i in own)) for own in sums]


def answer_of(ids: Sequence[int], texts: Texts | None) -> Answer:
    """An answer with the text of each token."""
    if texts is None:
        pieces = [f" token {token}" for token in ids]
        return Answer(tuple(ids), tuple(pieces), "answer")
    pieces: list[str] = []
    before = ""
    for i, token in enumerate(ids):
        whole = texts.decoded(list(ids[: i + 1]))
        # Decoding may change what came before, for example at a character of several tokens.
        kept = whole.startswith(before)
        piece = whole[len(before) :] if kept else texts.decoded([token])
        pieces.append(piece or f" (token {token})")
        before = whole
    return Answer(tuple(ids), tuple(pieces), before.strip() or "answer")


def printable(piece: str) -> str:
    """A piece of text without spaces around it, and with hidden characters written out."""
    shown = piece.strip() or piece.replace(" ", "␣")
    escaped = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown
    )
    return excerpt(escaped, LONGEST_NAME)


def different(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with a number after those that occur again; upper and lower case are alike."""
    taken = Counter(name.casefold() for name in names)
    found: list[str] = []
    used: set[str] = set()
    for name in names:
        number, candidate = 1, name
        while candidate.casefold() in used or (number > 1 and taken[candidate.casefold()]):
            number += 1
            candidate = f"{name} {number}"
        used.add(candidate.casefold())
        found.append(candidate)
    return tuple(found)


def ids_of(given: Any, texts: Texts | None, option: str) -> list[int]:
    """The token ids of an answer: of a text, or as they are.

    Args:
        given: a text, or ids; without a tokenizer, a text may also hold the ids.
        option: its name, such as "answer".

    Raises:
        SettingError: it is neither, is empty, or is a text without a tokenizer.
    """
    called = f"{option}= (--{option})"
    if isinstance(given, str):
        ids = texts.ids(given) if texts is not None else _numbers(given, called)
    else:
        ids = _as_ids(given, called)
    if not ids:
        raise SettingError(
            f"{called} has no tokens: {quoted(given)}.",
            do="Give a text with at least one token, or None for the model's own answer.",
        )
    return ids


def _numbers(text: str, called: str) -> list[int]:
    found = parse_wholes(text) if text.strip() else ()
    if found is None:
        raise SettingError(
            f"{called} is the text {quoted(text)}, and there is no tokenizer.",
            likely="The model is a network alone, which knows numbers and no text.",
            do=f"{GIVE} Or give token ids: answer=[5, 7]. On the command line, a folder hf:FOLDER "
            "with a tokenizer brings its own.",
        )
    return list(found)


def _as_ids(given: Any, called: str) -> list[int]:
    values: Any = given
    if isinstance(given, Tensor):
        values = given.squeeze(0).tolist() if given.ndim == 2 else given.tolist()
    whole = isinstance(values, list | tuple) and all(
        isinstance(value, int) and not isinstance(value, bool) and value >= 0
        for value in cast("Sequence[Any]", values)
    )
    if not whole:
        raise SettingError(
            f"{called} is {quoted(given)}, which is neither a text nor token ids.",
            do='Give a text, "a cat", or whole numbers from 0 on, [5, 7].',
        )
    return list(values)
