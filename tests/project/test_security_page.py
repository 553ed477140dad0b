"""SECURITY.md: every sentence of the threat model names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def sentences() -> list[str]:
    """The items of the threat model."""
    page = (PROJECT / "SECURITY.md").read_text("utf-8")
    model = page.partition("## Threat model")[2].partition("## What is not promised")[0]
    return [line for line in model.splitlines() if line.startswith("- ")]


def test_every_sentence_of_the_threat_model_names_one_test() -> None:
    assert len(sentences()) > 25
    for sentence in sentences():
        assert re.fullmatch(r"- .+[.] `tests/[\w/]+\.py::test_\w+`", sentence), sentence


def test_every_named_test_exists() -> None:
    for sentence in sentences():
        file, _, name = sentence.rpartition("`tests/")[2].rstrip("`").partition("::")
        tree = ast.parse((PROJECT / "tests" / file).read_text("utf-8"))
        tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in tests, sentence
