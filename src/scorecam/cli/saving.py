"""Explanations as files: the overlay, the bank, and a record a program can read."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from scorecam.errors import OutputError, ScorecamError
from scorecam.explanation import Explanation
from scorecam.io.arguments import path as as_path
from scorecam.io.files import check_writable, sweep, together

SCHEMA = 1
Item = dict[str, Any]


def document(items: Sequence[Item], encoding: str = "utf-8") -> str:
    """Items as the one JSON document that users of `--json` read.

    Args:
        items: plain values.
        encoding: of the stream it is written to; what it lacks is escaped.
    """
    text = json.dumps({"schema": SCHEMA, "items": list(items)}, ensure_ascii=False, indent=2)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps({"schema": SCHEMA, "items": list(items)}, indent=2)
    return text


def named(path: str | os.PathLike[str]) -> str:
    """A path as text; bytes in a file name that are not Unicode become question marks."""
    return os.fsencode(path).decode("utf-8", "replace")


def item(explanation: Explanation, image: str, overlay: Path, bank: Path) -> Item:
    """An explanation as a record of plain values."""
    target, made, asked = explanation.target, explanation.provenance, explanation.bank.asked
    activations = explanation.bank.activations.flatten(1)
    flat = int((activations.amax(dim=1) == activations.amin(dim=1)).sum())
    return {
        "image": named(image),
        "model": made.model,
        "layer": explanation.layer,
        "variant": explanation.variant.name,
        "formula": explanation.formula,
        "head": explanation.bank.head,
        "target": {
            "index": target.index,
            "name": target.name,
            "probability": target.probability,
        },
        "score": target.score,
        "budget": made.budget,
        "precision": made.precision,
        "runtime": made.runtime,
        "device": made.device,
        "forward_passes": made.forward_passes,
        "channels": {"total": len(activations), "flat": flat, "asked": len(asked)},
        "seconds": round(made.seconds, 3),
        "error": explanation.error,
        "health": [dataclasses.asdict(note) for note in explanation.health],
        "files": {"overlay": named(overlay), "bank": named(bank)},
    }


def failure(error: ScorecamError, image: str, model: str) -> Item:
    """An image that could not be explained, as a record."""
    return {
        "image": named(image),
        "model": model,
        "failure": {"kind": type(error).__name__, "message": str(error)},
    }


class Folder:
    """Where results go. Nothing in it is overwritten unless asked.

    Args:
        path: created when missing.
        force: overwrite what is there.

    Raises:
        OutputError: it cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        self.path = Path(as_path("out", path, OutputError))
        self.force = force
        self._stems: set[str] = set()
        check_writable(self.path)
        sweep(self.path.glob(".*.tmp"))

    def claim(self, image: str) -> str:
        """The stem of an image's files: its own, with a number where two images share one.

        Raises:
            OutputError: files of that stem are there already.
        """
        own = Path(image).stem or "image"
        stem, number = own, 1
        while stem in self._stems:
            number += 1
            stem = f"{own}-{number}"
        self._stems.add(stem)
        known = re.compile(re.escape(stem) + r"\.(json|safetensors|[^.]+(\.methods)?\.png)")
        taken = [path for path in self.path.iterdir() if known.fullmatch(path.name)]
        if taken and not self.force:
            raise OutputError(
                f"{min(taken)} is there already.",
                do="Use --force to overwrite it, or --out for another folder.",
            )
        return stem

    def save(
        self,
        explanations: Sequence[Explanation],
        image: str,
        stem: str,
        grid: Callable[[Explanation], Image.Image] | None = None,
    ) -> list[Item]:
        """Write one image's explanations, which share a bank; returns one record each.

        All files of the image appear together, or none does.

        Args:
            explanations: at least one.
            image: the photo's name, for the record.
            stem: as `claim` gave it.
            grid: draws several methods side by side, for one more picture of each explanation.

        Raises:
            OutputError: a file cannot be written.
        """
        bank = self.path / f"{stem}.safetensors"
        items: list[Item] = []
        names: dict[str, int] = {}
        with together() as batch:
            for explanation in explanations:
                target = explanation.target
                name = slug(target.name or str(target.index))
                if names.setdefault(name, target.index) != target.index:
                    name = f"{name}-{target.index}"  # another class of the same name in a file
                overlay = self.path / f"{stem}.{name}.png"
                with batch.replacing(overlay) as temporary:
                    explanation.overlay().save(temporary, "PNG")
                record = item(explanation, image, overlay, bank)
                if grid is not None:
                    methods = overlay.with_suffix(".methods.png")
                    with batch.replacing(methods) as temporary:
                        grid(explanation).save(temporary, "PNG")
                    record["files"]["methods"] = named(methods)
                items.append(record)
            with batch.replacing(bank) as temporary:
                explanations[0].bank.save(temporary)
            with batch.replacing(self.path / f"{stem}.json") as temporary:
                temporary.write_text(document(items) + "\n", "utf-8")
        return items


def slug(name: str) -> str:
    """A class name as part of a file name."""
    return re.sub(r"\W+", "-", name).strip("-")[:60] or "target"
