"""The command that checks the files of a run, or a bank."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from scorecam.cli.options import SOME_FAILED, JsonOption
from scorecam.cli.output import answer, answer_json, say


def verify(
    path: Annotated[
        str, typer.Argument(metavar="RUN|BANK", help="A run's folder, or a .safetensors file.")
    ],
    as_json: JsonOption = False,
) -> int:
    """Check that every file of a run, or a bank, is as it was written; nothing is changed.

    The exit code is 0 where everything is sound, and 1 where something is damaged, edited, missing
    or out of date. Left-over temporary files are listed, and harmless.
    """
    from dataclasses import asdict

    import scorecam
    from scorecam.cli import saving

    found = scorecam.verify(path)
    for remark in found.remarks:
        say(remark)
    if as_json:
        items = [asdict(fault) for fault in found.faults]
        answer_json(saving.document(items, sys.stdout.encoding))
    else:
        for fault in found.faults:
            answer(f"{saving.named(fault.file)}: {fault.state}. {fault.sentence}")
        what = "file" if found.checked == 1 else "files"
        sound = "all sound" if found.sound else "not all sound"
        answer(f"{saving.named(path)}: {found.checked:,} {what} checked, {sound}.")
    return 0 if found.sound else SOME_FAILED
