"""Every error is one short paragraph of visible characters, whatever is in it."""

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
from command_line import PREPROCESS, Answer, picture
from command_line import scorecam as command
from scorecam import ScorecamError, SettingError
from scorecam.base.wording import LONGEST_PARAGRAPH, quoted, reason
from scorecam.cli.app import COMMANDS
from scorecam.cli.groups import with_option_groups
from scorecam.errors import LONGEST_ADVICE, did_you_mean

LONG = "x" * 38_000
FILLER = "Sentences of a foreign library.\n\tThey go on.\r\n" * 900


def paragraph(text: str) -> None:
    """That a message can be read: short, in one piece, and shown as it is."""
    assert 0 < len(text) <= LONGEST_PARAGRAPH
    assert text.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f]", text)
    assert "\n" not in text


# ── the error itself ─────────────────────────────────────────────────────────────────────────

parts = st.one_of(st.text(max_size=60), st.text().map(lambda text: text * 500))


@given(what=st.text(min_size=1).map(lambda text: f"What: {text * 300}"), likely=parts, do=parts)
@example(what=LONG, likely=LONG, do=LONG)
@example(what=FILLER, likely=FILLER, do=FILLER)
@example(what="Short.", likely="", do=LONG)
@example(what=LONG, likely="", do="Do this.")
def test_an_error_is_a_short_paragraph_whatever_it_is_made_of(
    what: str, likely: str, do: str
) -> None:
    error = SettingError(what, likely=likely, do=do)
    paragraph(str(error))
    paragraph(str(pickle.loads(pickle.dumps(error))))  # as from another process


@given(what=parts, likely=parts, do=st.text("abc -", min_size=1, max_size=LONGEST_ADVICE))
def test_what_to_try_is_never_cut(what: str, likely: str, do: str) -> None:
    advice = " ".join(do.split())
    assert advice in str(SettingError(f"It: {what}", likely=likely, do=do))


def test_a_short_error_is_said_whole() -> None:
    error = SettingError("What happened.", likely="Why it did.", do="What to try.")
    assert str(error) == "What happened. Why it did. What to try."


def test_the_beginning_and_the_end_of_what_happened_stay() -> None:
    said = str(SettingError(f"The path /first/{LONG}/last.png is too long.", do="Move it."))
    assert said.startswith("The path /first/xxx")
    assert said.endswith("xxx/last.png is too long. Move it.")


class Rude:
    """Everything about it fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


@pytest.mark.parametrize(
    "value",
    [
        LONG,
        LONG.encode(),
        [LONG] * 9,
        {LONG: LONG},
        10**9000,
        Rude(),
        [Rude()],
        torch.zeros(99, 99),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_quoted_value_is_short_and_never_fails(value: object) -> None:
    assert len(quoted(value)) <= 80
    assert did_you_mean(value, ["exact", "fast"]) == ""


def test_a_foreign_exception_is_quoted_on_one_short_line() -> None:
    class Silent(ValueError):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert reason(ValueError(FILLER)).startswith("Sentences of a foreign library. They go on.")
    assert len(reason(ValueError(FILLER))) <= 200
    assert reason(ValueError()) == "ValueError"
    assert reason(Silent()) == "Silent"


# ── where errors come from ───────────────────────────────────────────────────────────────────


class Loud(nn.Module):
    """Fails, with a message of 40,000 characters."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.convolution(images)
        raise ValueError(FILLER)


def test_what_a_network_raises_is_cut() -> None:
    with pytest.raises(ScorecamError) as caught:
        package.explain(Loud(), torch.zeros(1, 3, 16, 16))
    paragraph(str(caught.value))
    assert "Sentences of a foreign library." in str(caught.value)
    assert "Check that model(x) itself works" in str(caught.value)


def _longest_name(folder: Path, text: str) -> str:
    """A path as long as the system allows."""
    return os.fspath(folder / "/".join([text[:200]] * 8))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    picture(1).save(tmp_path / "cat.png")
    (tmp_path / "preprocess.json").write_text(json.dumps(PREPROCESS), "utf-8")
    (tmp_path / "names.json").write_text(json.dumps([f"{i}{LONG}" for i in range(5)]), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


MODEL = ("--model", "toy_models:tiny", "--preprocess", "preprocess.json", "--labels", "names.json")
EXPLAIN = (
    *("model", "weights", "preprocess", "labels", "head", "device", "layer", "target", "variant"),
    *("budget", "precision", "runtime", "batch-size", "seed", "methods", "tolerance"),
)
EVALUATE = ("methods", "metrics", "annotations", "split", "shard", "target", "fill", "budget")


def said_shortly(answer: Answer) -> None:
    """Every line on stderr is short, and none is a traceback."""
    assert answer.code in (0, 1, 2), answer.err[:2000]
    for line in answer.err.splitlines():
        paragraph(line.removeprefix("scorecam: ") or "-")


@pytest.mark.parametrize("text", [LONG, "word " * 8000, "a/" * 2000], ids=["x", "words", "path"])
class TestLongValues:
    @pytest.mark.parametrize("option", EXPLAIN)
    def test_of_explain(self, desk: Path, text: str, option: str) -> None:
        said_shortly(command("explain", desk / "cat.png", *MODEL, f"--{option}={text}"))

    @pytest.mark.needs("eval")
    @pytest.mark.parametrize("option", EVALUATE)
    def test_of_evaluate(self, desk: Path, text: str, option: str) -> None:
        said_shortly(command("evaluate", desk, "--out", "run", *MODEL, f"--{option}={text}"))

    def test_of_names_of_files(self, desk: Path, text: str) -> None:
        for path in (text, _longest_name(desk, text)):
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
                said_shortly(command(*words))

    def test_of_words_that_are_no_command(self, desk: Path, text: str) -> None:
        del desk
        for words in (
            [text],
            ["explain", f"--{text}"],
            ["explain", "--seed", text],
            ["demo", text],
        ):
            said_shortly(command(*words))


def test_class_names_of_any_length_make_short_errors(desk: Path) -> None:
    for target in ("0x", "x", "tabby"):
        said_shortly(command("explain", desk / "cat.png", *MODEL, "--target", target))


# ── what errors advise ───────────────────────────────────────────────────────────────────────

SOURCES = sorted(Path(package.__file__).parent.rglob("*.py"))
OF_PYTHON_ALONE = {"output", "masked_input", "masking", "progress", "image", "explanation"}


def options() -> set[str]:
    """The options of all commands, as Python would name them."""
    commands = [inspect.signature(with_option_groups(command)) for command in COMMANDS]
    return {name for command in commands for name in command.parameters}


def advice() -> Iterator[tuple[str, str]]:
    """Every sentence of what to try in the package, and where it stands."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "do":
                text = ast.unparse(node.value)
                yield f"{path.name}:{node.value.lineno}", text


def test_advice_that_names_an_argument_names_the_option_too() -> None:
    """On a command line without such an option, it says that it is about Python."""
    parameters = set(inspect.signature(package.explain).parameters)
    parameters |= set(inspect.signature(package.open_model).parameters)
    for where, text in advice():
        for name in set(re.findall(r"\b([a-z_]+)=", text)) & parameters:
            # A setting of a model is written so on the command line too: lite0,head=value.
            in_python = "scorecam." in text or "In Python" in text or f",{name}=" in text
            as_option = name in options() and f"--{name.replace('_', '-')}" in text
            assert in_python or as_option, f"{where}: {text}"
            if name in OF_PYTHON_ALONE:
                assert in_python, f"{where}: {text}"


def test_where_the_scores_are_is_advised_for_the_command_line(desk: Path) -> None:
    answer = command("explain", desk / "cat.png", "--model", "toy_models:detects", *MODEL[2:4])
    assert answer.code == 2
    assert "On the command line, let the model's factory return" in answer.err


def test_advice_for_a_video_is_about_videos() -> None:
    with pytest.raises(SettingError) as caught:
        package.explain(toy_models.tiny(), torch.zeros(1, 5, 3, 16, 16))
    said = str(caught.value)
    assert "x[None]" not in said
    assert "the shape (1, 5, 3, 16, 16), so 5 axes" in said
    assert "video (b t c h w)" in said


def test_advice_for_an_image_without_a_batch_is_the_batch() -> None:
    with pytest.raises(SettingError, match=r"Give x\[None\]"):
        package.ScoreCAM(toy_models.tiny())(torch.zeros(3, 16, 16))
