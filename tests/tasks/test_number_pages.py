"""The pages on values and labels: examples run, and every option and recipe is real."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from scorecam.tasks import TASKS
from scorecam.tasks.regress import RECIPES
from scorecam.tasks.regress.recipes import find_recipe

PAGES = Path(__file__).parents[2] / "docs/tasks"


def blocks(page: str, language: str) -> list[str]:
    text = (PAGES / f"{page}.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["regress", "multilabel"])
def test_the_python_examples_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), {"__name__": page})
    said = capsys.readouterr().out
    assert ("(why low)" if page == "regress" else "colour: red") in said


@pytest.mark.parametrize("page", ["regress", "multilabel"])
def test_options_after_the_task_are_its_fields(page: str) -> None:
    fields = {field.name for field in dataclasses.fields(TASKS[page])}  # type: ignore[arg-type]
    commands = "".join(blocks(page, "console"))
    given = {name for line in re.findall(r"--task (.*)", commands) for name in options(line)}
    assert given
    assert given <= fields


def options(line: str) -> list[str]:
    return re.findall(r"--([a-z]+)", line)


def test_every_recipe_on_the_page_is_read() -> None:
    text = (PAGES / "regress.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[a-z]+[^|]*) \| [^|]+ \| [^|]+ \| [^|]+ \|$", text, re.MULTILINE)
    written = [recipe for row in rows for recipe in re.findall(r"`([^`]+)`", row)]
    assert {find_recipe(recipe).name for recipe in written} == set(RECIPES)
