"""The command that shows, and clears, the cache of converted networks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from scorecam.cli.exits import DONE
from scorecam.cli.options import JsonOption
from scorecam.cli.output import print_document, print_lines, print_message

if TYPE_CHECKING:
    from scorecam.backends.runtimes.stored_files import StoredFile


def cache(
    *,
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all converted networks from the cache.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Show the converted networks that are kept on disk, or remove them.

    They save the seconds of a conversion in later processes. SCORECAM_CACHE is the folder, and
    SCORECAM_CACHE_SIZE the limit, such as 500MiB; with 0 no network is kept.
    """
    from scorecam.backends.runtimes import stored_files
    from scorecam.cli.records import json_document
    from scorecam.images.memory import amount

    if clear:
        files, size = stored_files.clear()
        noun = "network" if files == 1 else "networks"
        print_message(f"{files} converted {noun} removed ({amount(size)}).")
    kept = sorted(stored_files.listed(), key=lambda file: file.used, reverse=True)
    if why := stored_files.why_unused():
        print_message(f"No converted networks are kept: {why}.")
    if as_json:
        print_document(json_document([_item(file) for file in kept], sys.stdout.encoding))
    else:
        print_lines(*_lines(kept))
    return DONE


def _lines(kept: list[StoredFile]) -> list[str]:
    from scorecam.backends.runtimes import stored_files
    from scorecam.base import cache as places
    from scorecam.cli.records import path_text
    from scorecam.images.memory import amount

    try:
        lines = [f"folder    {path_text(stored_files.folder())}"]
        lines += [f"limit     {amount(places.size_limit())}"]
    except (RuntimeError, ValueError):  # the reason has been printed
        lines = []
    lines += [f"networks  {len(kept)}, {amount(sum(file.size for file in kept))}"]
    for file in kept:
        item = _item(file)
        lines.append(f"{amount(file.size):>10}  {item['used']}  {item['network'] or 'damaged'}")
    return lines


def _item(file: StoredFile) -> dict[str, str | int]:
    from datetime import datetime

    from scorecam.backends.runtimes.stored import describe
    from scorecam.cli.records import path_text

    used = datetime.fromtimestamp(file.used).astimezone().isoformat(" ", "minutes")
    return {
        "file": path_text(file.path),
        "network": describe(file.path),
        "bytes": file.size,
        "used": used,
    }
