"""The page on similarity: its examples run, and its options are those of the task."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from scorecam.tasks import Similar

PAGE = (Path(__file__).parents[2] / "docs/tasks/similar.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_python_examples_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "similar.md", "exec"), names)
    assert re.fullmatch(r"cosine \d\.\d\d\n\d+\.\d%\n", capsys.readouterr().out)


def test_the_options_on_the_page_are_fields_of_the_task() -> None:
    fields = {field.name for field in dataclasses.fields(Similar)}
    commands = "".join(blocks("console"))
    given = set(re.findall(r"--([a-z]+)", "".join(re.findall(r"--task (.*)", commands))))
    assert {"reference", "text"} <= given <= fields
