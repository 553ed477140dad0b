"""Processing photos one by one: failures become items, and Ctrl-C keeps the results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scorecam.cli.exits import INTERRUPTED, code_for
from scorecam.cli.output import print_document, print_message
from scorecam.cli.records import Item, failure_item, json_document, path_text
from scorecam.errors import OutputError, ScorecamError
from scorecam.io.files import affects_next_files


@dataclass(frozen=True)
class PhotosOutcome:
    """The items of the photos that were processed.

    Args:
        items: results and failures, in order.
        skipped: the number of photos not tried, because no more files can be written.
        interrupted: whether the user ended the command.
    """

    items: list[Item]
    skipped: int = 0
    interrupted: bool = False

    def finish(self, *, as_json: bool, saved_in: str = "") -> int:
        """Print the JSON document if requested, and each error once; returns the exit code."""
        if as_json:
            print_document(json_document(self.items, sys.stdout.encoding))
        errors = [item["failure"]["message"] for item in self.items if "failure" in item]
        for error in dict.fromkeys(errors):
            print_message(f"scorecam: {error}")
        if self.interrupted:
            saved = f" The finished photos are saved in {saved_in}." if saved_in else ""
            print_message(f"scorecam: interrupted.{saved}")
            return INTERRUPTED
        if self.skipped:
            print_message(
                f"Photos that were not tried, because nothing can be written: {self.skipped:,}."
            )
        return code_for(len(errors), len(self.items))


def process_photos(
    photos: Sequence[str],
    model: str,
    process: Callable[[str], list[Item]],
    report: Callable[[list[Item]], None],
) -> PhotosOutcome:
    """Process each photo, and report its items at once.

    Args:
        photos: file names.
        model: its name, for failures.
        process: makes the items of one photo.
        report: prints them.
    """
    items: list[Item] = []
    try:
        for photo in photos:
            cannot_write = False
            try:
                new = process(photo)
            except ScorecamError as error:
                new = [failure_item(error, photo, model)]
                cannot_write = isinstance(error, OutputError) and affects_next_files(error)
            items += new
            report(new)
            if cannot_write:
                break
    except KeyboardInterrupt:
        return PhotosOutcome(items, interrupted=True)
    tried = {item["image"] for item in items}
    skipped = sum(path_text(photo) not in tried for photo in photos)
    return PhotosOutcome(items, skipped)
