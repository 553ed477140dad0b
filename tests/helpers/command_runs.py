"""A small data set for runs on the command line, and the contents of run folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from command_line import PREPROCESS
from small_runs import photos


def furnish(folder: Path, count: int = 6) -> Path:
    """Write a data set for the toy models, and their preprocessing, into a folder."""
    (folder / "preprocess.json").write_text(json.dumps(PREPROCESS), "utf-8")
    photos(folder / "photos", count, side=16)
    return folder


def words(folder: Path, out: Path, *more: str, command: str = "evaluate") -> list[str]:
    """The arguments of a command on that data set."""
    return [
        command, str(folder / "photos"), "--out", str(out), "--model", "toy_models:tiny",
        "--preprocess", str(folder / "preprocess.json"), "--runtime", "eager", *more,
    ]  # fmt: skip


def contents(out: Path) -> dict[str, Any]:
    """The content of every file in a folder, without times; of banks only the tensors."""
    by_name: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        content: Any = path.read_bytes()
        if path.suffix == ".json":
            content = json.loads(content)
            if isinstance(content, dict):
                content.pop("timings", None)
        if path.suffix == ".safetensors":
            content = content[8 + int.from_bytes(content[:8], "little") :]
        by_name[str(path.relative_to(out))] = content
    return by_name
