"""Data sets of tiny photos, and runs as plain values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from command_line import PREPROCESS

COLOURS = ("red", "green", "blue")


def photos(folder: Path, count: int, side: int = 8) -> Path:
    """Photos of coloured noise in class folders, the class's colour the strongest."""
    random = np.random.default_rng(count)
    for number in range(count):
        label = number % 3
        pixels = random.integers(0, 120, (side, side, 3), dtype=np.uint8)
        pixels[: side // 2, : side // 2, label] += 120
        place = folder / COLOURS[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:03}.png")
    return folder


def furnish(folder: Path, count: int = 6) -> Path:
    """A data set for the toy models, and their preprocessing, in a folder."""
    (folder / "preprocess.json").write_text(json.dumps(PREPROCESS), "utf-8")
    photos(folder / "photos", count, side=16)
    return folder


def words(folder: Path, out: Path, *more: str, command: str = "evaluate") -> list[str]:
    """A command on that data set."""
    return [
        command, str(folder / "photos"), "--out", str(out), "--model", "toy_models:tiny",
        "--preprocess", str(folder / "preprocess.json"), "--runtime", "eager", *more,
    ]  # fmt: skip


def contents(out: Path) -> dict[str, Any]:
    """Every file of a folder, without what a clock says: of banks the tensors alone."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        content: Any = path.read_bytes()
        if path.suffix == ".json":
            content = json.loads(content)
            if isinstance(content, dict):
                content.pop("timings", None)
        if path.suffix == ".safetensors":
            content = content[8 + int.from_bytes(content[:8], "little") :]
        found[str(path.relative_to(out))] = content
    return found
