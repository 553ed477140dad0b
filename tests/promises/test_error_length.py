"""Every error is one short paragraph of printable characters, whatever it quotes."""

from __future__ import annotations

import ast
import inspect
import json
import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

import scorecam as package
import toy_models
from command_line import EXPLAIN_OPTIONS, MODEL, Answer
from command_line import scorecam as command
from scorecam import ScorecamError, SettingError
from scorecam.base.wording import LONGEST_PARAGRAPH, quoted, reason
from scorecam.cli.app import COMMANDS
from scorecam.cli.groups import with_option_groups
from scorecam.errors import LONGEST_ADVICE, did_you_mean

LONG_WORD = "x" * 38_000
LONG_TEXT = "Sentences of a foreign library.\n\tThey go on.\r\n" * 900


def check_paragraph(text: str) -> None:
    """A message is short, one paragraph, and has no control characters."""
    assert 0 < len(text) <= LONGEST_PARAGRAPH
    assert text.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f]", text)
    assert "\n" not in text


# ── the error itself ─────────────────────────────────────────────────────────────────────────

parts = st.one_of(st.text(max_size=60), st.text().map(lambda text: text * 500))


@given(what=st.text(min_size=1).map(lambda text: f"What: {text * 300}"), likely=parts, do=parts)
@example(what=LONG_WORD, likely=LONG_WORD, do=LONG_WORD)
@example(what=LONG_TEXT, likely=LONG_TEXT, do=LONG_TEXT)
@example(what="Short.", likely="", do=LONG_WORD)
@example(what=LONG_WORD, likely="", do="Do this.")
def test_an_error_is_a_short_paragraph_whatever_it_quotes(what: str, likely: str, do: str) -> None:
    error = SettingError(what, likely=likely, do=do)
    check_paragraph(str(error))
    check_paragraph(str(pickle.loads(pickle.dumps(error))))  # as from another process


@given(what=parts, likely=parts, do=st.text("abc -", min_size=1, max_size=LONGEST_ADVICE))
def test_the_advice_is_never_shortened(what: str, likely: str, do: str) -> None:
    advice = " ".join(do.split())
    assert advice in str(SettingError(f"It: {what}", likely=likely, do=do))


def test_a_short_error_is_not_shortened() -> None:
    error = SettingError("What happened.", likely="Why it did.", do="What to try.")
    assert str(error) == "What happened. Why it did. What to try."


def test_a_long_sentence_keeps_its_beginning_and_end() -> None:
    message = str(SettingError(f"The path /first/{LONG_WORD}/last.png is too long.", do="Move it."))
    assert message.startswith("The path /first/xxx")
    assert message.endswith("xxx/last.png is too long. Move it.")


class Unprintable:
    """Its `repr` and `str` fail."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


@pytest.mark.parametrize(
    "value",
    [
        LONG_WORD,
        LONG_WORD.encode(),
        [LONG_WORD] * 9,
        {LONG_WORD: LONG_WORD},
        10**9000,
        Unprintable(),
        [Unprintable()],
        torch.zeros(99, 99),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_quoted_value_is_short_and_never_fails(value: object) -> None:
    assert len(quoted(value)) <= 80
    assert did_you_mean(value, ["exact", "fast"]) == ""


def test_a_foreign_exception_is_quoted_in_one_short_line() -> None:
    class WithoutText(ValueError):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert reason(ValueError(LONG_TEXT)).startswith("Sentences of a foreign library. They go on.")
    assert len(reason(ValueError(LONG_TEXT))) <= 200
    assert reason(ValueError()) == "ValueError"
    assert reason(WithoutText()) == "WithoutText"


# ── where errors come from ───────────────────────────────────────────────────────────────────


class Failing(nn.Module):
    """Fails, with a message of 40,000 characters."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.convolution(images)
        raise ValueError(LONG_TEXT)


def test_the_message_of_a_networks_exception_is_shortened() -> None:
    with pytest.raises(ScorecamError) as caught:
        package.explain(Failing(), torch.zeros(1, 3, 16, 16))
    check_paragraph(str(caught.value))
    assert "Sentences of a foreign library." in str(caught.value)
    assert "Check that model(x) itself works" in str(caught.value)


def _longest_name(folder: Path, text: str) -> str:
    """A path as long as the system allows."""
    return os.fspath(folder / "/".join([text[:200]] * 8))


@pytest.fixture
def folder(photo_folder: Path) -> Path:
    """Photos, and class names of 38,000 characters."""
    names = [f"{i}{LONG_WORD}" for i in range(5)]
    (photo_folder / "names.json").write_text(json.dumps(names), "utf-8")
    return photo_folder


EVALUATE_OPTIONS = (
    "methods",
    "metrics",
    "annotations",
    "split",
    "shard",
    "target",
    "fill",
    "budget",
)


def check_short_errors(answer: Answer) -> None:
    """Every line on stderr is short, and there is no traceback."""
    assert answer.code in (0, 1, 2), answer.err[:2000]
    for line in answer.err.splitlines():
        check_paragraph(line.removeprefix("scorecam: ") or "-")


@pytest.mark.parametrize(
    "text", [LONG_WORD, "word " * 8000, "a/" * 2000], ids=["x", "words", "path"]
)
class TestLongValues:
    @pytest.mark.parametrize("option", EXPLAIN_OPTIONS)
    def test_in_an_option_of_explain(self, folder: Path, text: str, option: str) -> None:
        check_short_errors(command("explain", folder / "cat.png", *MODEL, f"--{option}={text}"))

    @pytest.mark.needs("eval")
    @pytest.mark.parametrize("option", EVALUATE_OPTIONS)
    def test_in_an_option_of_evaluate(self, folder: Path, text: str, option: str) -> None:
        check_short_errors(
            command("evaluate", folder, "--out", "run", *MODEL, f"--{option}={text}")
        )

    def test_as_a_file_name(self, folder: Path, text: str) -> None:
        for path in (text, _longest_name(folder, text)):
            for words in (
                *(
                    ["explain", path],
                    ["check", path],
                    ["show", path],
                    ["audit", path],
                    ["verify", path],
                ),
                ["evaluate", path, "--out", "run"],
                ["evaluate", f"list:{path}", "--out", "run"],
                ["sanity", path, "--out", "run"],
                ["explain", "cat.png", *MODEL, "--out", path],
                ["compare", path, path, path, "--out", "both"],
            ):
                check_short_errors(command(*words))

    def test_as_an_unknown_command_or_option(self, folder: Path, text: str) -> None:
        del folder
        for words in (
            [text],
            ["explain", f"--{text}"],
            ["explain", "--seed", text],
            ["demo", text],
        ):
            check_short_errors(command(*words))


def test_long_class_names_make_short_errors(folder: Path) -> None:
    for target in ("0x", "x", "tabby"):
        check_short_errors(command("explain", folder / "cat.png", *MODEL, "--target", target))


# ── advice ───────────────────────────────────────────────────────────────────────────────────

SOURCES = sorted(Path(package.__file__).parent.rglob("*.py"))
PYTHON_ONLY = {"masking", "progress", "image", "explanation"}


def options() -> set[str]:
    """The options of all commands, spelt as Python names."""
    commands = [inspect.signature(with_option_groups(command)) for command in COMMANDS]
    return {name for command in commands for name in command.parameters}


def advice() -> Iterator[tuple[str, str]]:
    """Every piece of advice in the package: file and line, source text."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "do":
                text = ast.unparse(node.value)
                yield f"{path.name}:{node.value.lineno}", text


def test_advice_that_names_an_argument_names_the_option_too() -> None:
    """Where no such option exists, the advice says that it is for Python."""
    parameters = set(inspect.signature(package.explain).parameters)
    parameters |= set(inspect.signature(package.open_model).parameters)
    for where, text in advice():
        for name in set(re.findall(r"\b([a-z_]+)=", text)) & parameters:
            # The command line writes settings of a model like this too: lite0,head=value.
            in_python = "scorecam." in text or "In Python" in text or f",{name}=" in text
            as_option = name in options() and f"--{name.replace('_', '-')}" in text
            assert in_python or as_option, f"{where}: {text}"
            if name in PYTHON_ONLY:
                assert in_python, f"{where}: {text}"


def test_an_ambiguous_output_has_advice_for_the_command_line(folder: Path) -> None:
    answer = command("explain", folder / "cat.png", "--model", "toy_models:detects", *MODEL[2:4])
    assert answer.code == 2
    assert "--output takes an index or a name" in answer.err


def test_the_advice_for_a_video_names_its_axes() -> None:
    with pytest.raises(SettingError) as caught:
        package.explain(toy_models.tiny(), torch.zeros(1, 5, 3, 16, 16))
    message = str(caught.value)
    assert "x[None]" not in message
    assert "the shape (1, 5, 3, 16, 16), so 5 axes" in message
    assert "video (b t c h w)" in message


def test_an_image_without_batch_axis_is_told_to_add_one() -> None:
    with pytest.raises(SettingError, match=r"Give x\[None\]"):
        package.ScoreCAM(toy_models.tiny())(torch.zeros(3, 16, 16))
