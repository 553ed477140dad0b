"""Matplotlib, imported so that it writes to our cache folder alone and starts no program.

Whatever imports matplotlib, ourselves or another library, calls `prepare` first. Left alone,
matplotlib makes folders in the user's home and runs `fc-list` to find the system's fonts. Where
the user's program has imported it already, its own choice stays.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from scorecam.base import cache
from scorecam.base.forks import ForkLock
from scorecam.base.process import environment

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
FONT_FILES = {".ttf", ".otf", ".ttc"}
_IMPORT = ForkLock()


def prepare() -> None:
    """Import matplotlib's part that touches the system, if it is installed and not yet imported."""
    with _IMPORT, contextlib.ExitStack() as held:
        if "matplotlib.font_manager" in sys.modules or not importlib.util.find_spec("matplotlib"):
            return
        if "MPLCONFIGDIR" not in os.environ:
            held.enter_context(environment("MPLCONFIGDIR", str(cache.folder() / "matplotlib")))
            own = _users_settings()
            if own is not None and "MATPLOTLIBRC" not in os.environ:
                held.enter_context(environment("MATPLOTLIBRC", str(own)))
        held.enter_context(_fonts_found_without_a_program())
        importlib.import_module("matplotlib.font_manager")


def _users_settings() -> Path | None:
    """The user's own matplotlibrc, which matplotlib would find were its folder not moved."""
    shared = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for folder in (shared / "matplotlib", Path.home() / ".matplotlib"):
        if (settings := folder / "matplotlibrc").is_file():
            return settings
    return None


@contextlib.contextmanager
def _fonts_found_without_a_program() -> Generator[None]:
    """Answer matplotlib's calls of `fc-list` by looking into the usual folders; pass on others."""
    original = subprocess.check_output

    def answer(command: Any, *rest: Any, **named: Any) -> Any:
        if command == ["fc-list", "--help"]:
            return b"--format"  # what matplotlib looks for in it
        if isinstance(command, list) and command[:1] == ["fc-list"]:
            return b"\n".join(map(os.fsencode, _font_files()))
        return original(command, *rest, **named)

    subprocess.check_output = answer
    try:
        yield
    finally:
        subprocess.check_output = original


def _font_files() -> list[Path]:
    return [
        file
        for folder in FONT_FOLDERS
        for file in sorted(Path(folder).expanduser().rglob("*"))
        if file.suffix.lower() in FONT_FILES
    ]
