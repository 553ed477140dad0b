"""The command that checks the files of a run, or a bank."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from scorecam.cli.exits import DONE, SOME_FAILED
from scorecam.cli.options import JsonOption
from scorecam.cli.output import print_document, print_lines, print_message


def verify(
    *,
    path: Annotated[
        str, typer.Argument(metavar="RUN|BANK", help="A run folder, or a .safetensors file.")
    ],
    as_json: JsonOption = False,
) -> int:
    """Check that the files of a run, or a bank, are unchanged. Nothing is modified.

    The exit code is 0 if all files are intact, and 1 if any is damaged, edited, missing or out of
    date. Leftover temporary files are listed; they are harmless.
    """
    from dataclasses import asdict

    import scorecam
    from scorecam.cli.records import json_document, path_text

    verification = scorecam.verify(path)
    for remark in verification.remarks:
        print_message(remark)
    if as_json:
        items = [asdict(fault) for fault in verification.faults]
        print_document(json_document(items, sys.stdout.encoding))
    else:
        for fault in verification.faults:
            print_lines(f"{path_text(fault.file)}: {fault.state}. {fault.sentence}")
        noun = "file" if verification.checked == 1 else "files"
        result = "all intact" if verification.sound else "not all intact"
        print_lines(f"{path_text(path)}: {verification.checked:,} {noun} checked, {result}.")
    return DONE if verification.sound else SOME_FAILED
