"""Importing optional libraries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scorecam.errors import MissingExtra
from scorecam.io.extras import require


def test_an_installed_library_is_returned() -> None:
    assert require("numpy.linalg", "eval", "compute") is sys.modules["numpy.linalg"]


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtra) as raised:
        require("sklearn.cluster", "audit", "group maps")
    assert str(raised.value) == (
        "scikit-learn is not installed. It is needed to group maps. pip install 'scorecam[audit]'."
    )


def test_a_library_that_cannot_be_imported_is_not_called_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "half_built.py").write_text("import no_such_dependency\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"half_built cannot be imported \(.*no_such_dependency"):
        require("half_built", "eval", "compute")
