"""Nothing above the backends names what runs a network."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from scorecam.backends.runtimes.known import EAGER, RUNTIMES

ROOT = Path(__file__).parents[2] / "src/scorecam"
BELOW = ("backends", "io", "errors", "base", "images", "photo")
"""The backends, and rooms below them, which may know the names of libraries."""

NAMES = {EAGER, *RUNTIMES, "onnxruntime", "onnx", "tensorrt", "tflite"} - {"compile"}
"""`compile` is also a function of `re`."""


def texts(file: Path) -> set[str]:
    """The strings, names and attributes in a file's code, in lower case, without docstrings."""
    tree = ast.parse(file.read_text("utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set() if id(node) in docstrings else {node.value.lower()}
        elif isinstance(node, ast.Attribute):
            found.add(node.attr.lower())
        elif isinstance(node, ast.alias):
            found |= set(node.name.lower().split("."))
    return found


def test_no_code_above_the_backends_names_a_runtime() -> None:
    files = [
        file
        for file in ROOT.rglob("*.py")
        if file.relative_to(ROOT).parts[0].removesuffix(".py") not in BELOW
    ]
    named = {
        (str(file.relative_to(ROOT)), word)
        for file in files
        for text in texts(file)
        for word in NAMES.intersection(re.findall(r"[a-z0-9]+", text))
    }

    assert len(files) > 100
    assert not named


def test_the_search_finds_names_in_code_and_not_in_docstrings(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""About eager."""\nimport a.openvino\nuse("Eager", x.onnx)\n', "utf-8")

    assert texts(file) == {"a", "openvino", "eager", "onnx"}
