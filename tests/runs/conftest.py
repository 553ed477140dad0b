"""Fixtures of several tests of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from small_runs import photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photos(tmp_path / "photos", 6)
