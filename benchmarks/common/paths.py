"""Folders of the repository that the scripts write to."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
RESULTS = ROOT / "benchmarks" / "results"
CACHE = ROOT / "benchmarks" / ".cache"
PHOTOS = ROOT.parent / "shared" / "data"
"""Where photographs are looked for by default."""
