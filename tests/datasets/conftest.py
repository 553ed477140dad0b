"""Fixtures for tests of data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from small_datasets import photo, xml


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    for name in ("1", "2", "3"):
        photo(tmp_path / f"JPEGImages/{name}.jpg")
    easy, hard = ("cat", 3, 3, 9, 9), ("dog", 1, 1, 40, 30, "hard")
    xml(tmp_path / "Annotations/1.xml", ("bird", 1, 1, 2, 2), easy, hard)
    xml(tmp_path / "Annotations/2.xml", hard)
    lists = tmp_path / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2\n1\n")
    (lists / "cat_val.txt").write_text("1  1\n2 -1\n")
    return tmp_path
