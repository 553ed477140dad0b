"""The output folder of `scorecam explain`: overlays, banks and records."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from scorecam.cli.records import Item, explanation_item, json_document, path_text
from scorecam.errors import OutputError
from scorecam.explanation.explanation import Explanation
from scorecam.io.arguments import path as as_path
from scorecam.io.files import Batch, check_writable, sweep, together

DrawMethods = Callable[[Explanation], Image.Image]


class OutputFolder:
    """A folder for results. Existing files are kept unless `force` is set.

    Args:
        path: created if missing.
        force: overwrite existing files.

    Raises:
        OutputError: the folder is not writable.
    """

    def __init__(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        self.path = Path(as_path("out", path, OutputError))
        self.force = force
        self._stems: set[str] = set()
        check_writable(self.path)
        sweep(self.path.glob(".*.tmp"))

    def claim_stem(self, image: str) -> str:
        """The stem of an image's files: its own, with a number if another image has the same.

        Raises:
            OutputError: files with that stem exist.
        """
        own = Path(image).stem.removesuffix(".nii") or "image"  # of .nii.gz
        stem, number = own, 1
        while stem in self._stems:
            number += 1
            stem = f"{own}-{number}"
        self._stems.add(stem)
        pattern = re.compile(
            re.escape(stem) + r"\.(json|safetensors|[^.]+(\.(methods|sheet))?\.png)"
        )
        existing = [path for path in self.path.iterdir() if pattern.fullmatch(path.name)]
        if existing and not self.force:
            raise OutputError(
                f"{min(existing)} already exists.",
                do="Use --force to overwrite it, or --out for another folder.",
            )
        return stem

    def save(
        self,
        explanations: Sequence[Explanation],
        image: str,
        stem: str,
        draw_methods: DrawMethods | None = None,
    ) -> list[Item]:
        """Write the explanations of one image, which share a bank; returns one item each.

        All files of the image appear together, or none does.

        Args:
            explanations: at least one.
            image: the photo's name, for the record.
            stem: from `claim_stem`.
            draw_methods: draws several methods side by side: one more picture per explanation.

        Raises:
            OutputError: a file cannot be written.
        """
        bank = self.path / f"{stem}.safetensors"
        overlays = self._overlay_paths(explanations, stem)
        with together() as batch:
            items = [
                _save_overlay(
                    batch, explanation, image, overlay=overlay, bank=bank, draw_methods=draw_methods
                )
                for explanation, overlay in zip(explanations, overlays, strict=True)
            ]
            _save_sheet(batch, explanations, items, self.path / f"{stem}.targets.sheet.png")
            with batch.replacing(bank) as temporary:
                explanations[0].bank.save(temporary)
            with batch.replacing(self.path / f"{stem}.json") as temporary:
                temporary.write_text(json_document(items) + "\n", "utf-8")
        return items

    def _overlay_paths(self, explanations: Sequence[Explanation], stem: str) -> list[Path]:
        """A path per explanation; classes whose names look alike in a file name get their index."""
        indices: dict[str, int] = {}
        paths: list[Path] = []
        for explanation in explanations:
            target = explanation.target
            name = slug(target.name or str(target.index))
            if indices.setdefault(name, target.index) != target.index:
                name = f"{name}-{target.index}"
            paths.append(self.path / f"{stem}.{name}.png")
        return paths


def _save_overlay(
    batch: Batch,
    explanation: Explanation,
    image: str,
    *,
    overlay: Path,
    bank: Path,
    draw_methods: DrawMethods | None,
) -> Item:
    with batch.replacing(overlay) as temporary:
        explanation.overlay().save(temporary, "PNG")
    item = explanation_item(explanation, image, overlay, bank)
    if draw_methods is not None:
        methods = overlay.with_suffix(".methods.png")
        with batch.replacing(methods) as temporary:
            draw_methods(explanation).save(temporary, "PNG")
        item["files"]["methods"] = path_text(methods)
    return item


def _save_sheet(
    batch: Batch, explanations: Sequence[Explanation], items: Sequence[Item], path: Path
) -> None:
    """Draw several targets together, or every token of a text; nothing for a single target."""
    first = explanations[0]
    indices = list(dict.fromkeys(explanation.target.index for explanation in explanations))
    if first.provenance.task != "tokens" and len(indices) == 1:
        return
    with batch.replacing(path) as temporary:
        first.overlays(indices if len(indices) > 1 else None).save(temporary, "PNG")
    for item in items:
        item["files"]["targets"] = path_text(path)


def slug(name: str) -> str:
    """A class name as part of a file name."""
    return re.sub(r"\W+", "-", name).strip("-")[:60] or "target"
