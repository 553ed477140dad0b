"""Import matplotlib so that it writes to our cache folder only and starts no program.

Call `prepare` before importing matplotlib or a library that imports it. By default, matplotlib
creates folders in the user's home and runs `fc-list` to find fonts. If the program has already
imported matplotlib, nothing changes.
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
from scorecam.base.fork_lock import ForkLock
from scorecam.base.process_state import environment_variable

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
FONT_FILES = {".ttf", ".otf", ".ttc"}
_IMPORT = ForkLock()


def prepare() -> None:
    """Import the part of matplotlib that writes files, if installed and not imported yet."""
    with _IMPORT, contextlib.ExitStack() as environment:
        if "matplotlib.font_manager" in sys.modules or not importlib.util.find_spec("matplotlib"):
            return
        if "MPLCONFIGDIR" not in os.environ:
            environment.enter_context(
                environment_variable("MPLCONFIGDIR", str(cache.cache_folder() / "matplotlib"))
            )
            own = _users_settings()
            if own is not None and "MATPLOTLIBRC" not in os.environ:
                environment.enter_context(environment_variable("MATPLOTLIBRC", str(own)))
        environment.enter_context(_fonts_found_without_a_program())
        importlib.import_module("matplotlib.font_manager")


def _users_settings() -> Path | None:
    """The user's matplotlibrc; matplotlib does not find it once its folder is changed."""
    shared = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for folder in (shared / "matplotlib", Path.home() / ".matplotlib"):
        if (settings := folder / "matplotlibrc").is_file():
            return settings
    return None


@contextlib.contextmanager
def _fonts_found_without_a_program() -> Generator[None]:
    """Answer matplotlib's calls of `fc-list` with the fonts in the usual folders."""
    original = subprocess.check_output

    def answer(command: Any, *rest: Any, **named: Any) -> Any:
        if command == ["fc-list", "--help"]:
            return b"--format"  # matplotlib looks for this option
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
