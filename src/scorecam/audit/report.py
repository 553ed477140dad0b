"""An audit as files: one page for people, and `audit.json` for programs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from scorecam import page
from scorecam.audit.auditing import Audit
from scorecam.audit.finding import LEVELS
from scorecam.audit.geometry import Map
from scorecam.audit.item import ClassMaps, Item
from scorecam.audit.rules import RULES
from scorecam.audit.sentences import counted, percent
from scorecam.audit.variant_agreement import lowest_agreement
from scorecam.base.wording import excerpt
from scorecam.errors import OutputError
from scorecam.io.arguments import path as as_path
from scorecam.io.files import sweep, together
from scorecam.metrics.names import parse_metrics
from scorecam.runs.store import as_json

DOCUMENT = "audit.json"


def write(audit: Audit, path: str | os.PathLike[str], *, force: bool = False) -> tuple[Path, Path]:
    """Write the page, and `audit.json` beside it.

    Args:
        path: of the page.
        force: overwrite what is there.

    Returns:
        The two files.

    Raises:
        OutputError: one of them is there already, or cannot be written.
        MissingExtra: jinja2 is not installed.
    """
    check(path, force=force)
    final = Path(path)
    document = final.with_name(DOCUMENT)
    sweep(final.parent.glob(".*.tmp"))
    texts = {final: page.html(content(audit)), document: as_json(audit.plain())}
    with together() as batch:
        for file, text in texts.items():
            with batch.replacing(file) as temporary:
                temporary.write_text(text, "utf-8", newline="\n")
    return final, document


def check(path: str | os.PathLike[str], *, force: bool) -> None:
    """Raises OutputError, before anything is read, where a file would be overwritten."""
    final = Path(as_path("out", path, OutputError))
    if final.name == DOCUMENT:
        raise OutputError(
            f"{final} would hold the page, and the plain values go under that name beside it.",
            do="Give the page another name, such as --out report.html.",
        )
    for file in (final, final.with_name(DOCUMENT)):
        if file.is_dir():
            raise OutputError(f"{file} is a folder.", do="Give a file, such as --out report.html.")
        if file.exists() and not force:
            raise OutputError(f"{file} is there already.", do="Use --force, or another --out.")


# ── the page ─────────────────────────────────────────────────────────────────────────────────


def content(audit: Audit) -> page.Page:
    """The audit as a page's content: findings, then every photo, wrong ones first."""
    tags: dict[str, list[str]] = {}
    for finding in audit.findings:
        for photo in finding.photos:
            tags.setdefault(photo, []).append(f"example of {finding.rule}")
    ordered = sorted(audit.items, key=lambda item: item.right is not False)
    pictures = tuple(_picture(audit, item, tags.get(item.id, [])) for item in ordered)
    kept = sum(item.entry is not None and item.entry.jpeg is not None for item in ordered)
    lost = kept - sum(picture.jpeg is not None for picture in pictures)
    said = (f"Thumbnails that cannot be decoded, shown as grey tiles: {lost:,}.",) if lost else ()
    return page.Page(
        f"Audit of {audit.folder.resolve().name}",
        lead(audit),
        _about(audit),
        tuple(
            page.Finding(
                found.rule,
                found.level,
                found.sentence,
                (*found.evidence, f"Source: {RULES[found.rule].source}."),
                found.effect,
                found.photos,
                RULES[found.rule].role,
            )
            for found in audit.findings
        ),
        pictures,
        audit.remarks + said,
    )


def lead(audit: Audit) -> str:
    """The whole in a sentence."""
    counts = Counter(finding.level for finding in audit.findings)
    photos = counted(len(audit.items), "photo")
    if not counts:
        return f"Nothing was found in {photos}; that is no proof."
    told = [counted(counts[level], level) for level in LEVELS if counts[level]]
    return f"{', '.join(told)} in {photos}."


def _about(audit: Audit) -> tuple[tuple[str, str], ...]:
    config = audit.reading.config
    known = [item.right for item in audit.items if item.right is not None]
    labels = any(item.label is not None for item in audit.items)
    right = (
        f"{sum(known):,} of {len(known):,} ({percent(sum(known) / len(known))})" if known else ""
    )
    rows = (
        ("model", excerpt(config.get("model") or "", 300)),
        ("layer", excerpt(config.get("layer") or "", 300)),
        ("method", audit.reading.method),
        ("explained", f"the {excerpt(config['target'])} class" if config.get("target") else ""),
        ("budget", excerpt(config.get("budget") or "", 300)),
        ("photos", f"{len(audit.items):,} of {audit.reading.photos:,}"),
        ("right", right or ("no label is one of the model's classes" if labels else "no labels")),
        ("failures", ", ".join(f"{n} × {kind}" for kind, n in audit.reading.failures.items())),
    )
    return tuple((name, value) for name, value in rows if value)


def _picture(audit: Audit, item: Item, rules: list[str]) -> page.Picture:
    entry = item.entry
    contrast = None
    if entry is not None and entry.contrast is not None:
        taken, label = audit.classes.named(item.predicted), audit.classes.title(item.label)
        contrast = f"{taken} rather than {label}", page.grid8(entry.contrast)
    unknown = "unlabelled" if item.label is None else "unknown label"
    state = {True: "right", False: "wrong", None: unknown}[item.right]
    health = () if entry is None else entry.health
    return page.Picture(
        item.id,
        item.name,
        None if entry is None else page.decodable(entry.jpeg),
        _shown(audit, item),
        contrast,
        _facts(item),
        (state, *dict.fromkeys(rules)),
        (*audit.wrong.get(item.id, ()), *health),
    )


def _shown(audit: Audit, item: Item) -> tuple[page.Shown, ...]:
    own = {audit.reading.method: item.map} | dict(item.others)
    if item.entry is None or not item.entry.class_maps:
        column = item.target
        maps = {name: page.grid8(heat) for name, heat in own.items()}
        return (page.Shown(audit.classes.named(column), column.probability, "target", maps),)
    return tuple(
        page.Shown(
            audit.classes.named(seen.model_class),
            seen.model_class.probability,
            ", ".join(seen.roles),
            _views(seen, own if "target" in seen.roles else {}, audit),
        )
        for seen in item.entry.class_maps[:5]
    )


def _views(seen: ClassMaps, methods: Mapping[str, Map], audit: Audit) -> dict[str, page.Grid8]:
    """A class's maps by view: the audited method's, the variants', those of other methods."""
    variants = audit.reading.variants
    others = {name: heat for name, heat in methods.items() if variants.get(name) not in seen.maps}
    first = {name: heat for name, heat in others.items() if name == audit.reading.method}
    return {name: page.grid8(heat) for name, heat in (first | dict(seen.maps) | others).items()}


def _facts(item: Item) -> dict[str, float | None]:
    facts: dict[str, float | None] = {"probability": item.predicted.probability}
    if item.energy is not None:
        facts["energy on the object"] = item.energy[0]
    if (found := lowest_agreement(item)) is not None:
        facts["agreement of variants"] = found[0]
    if item.entry is not None and item.entry.error:
        facts["estimated error"] = item.entry.error
    titles = _titles()
    return facts | {titles.get(name, name): value for name, value in item.values.items()}


@cache
def _titles() -> dict[str, str]:
    """What people call what was measured, by the names of records."""
    outcomes = [outcome for metric in parse_metrics("all") for outcome in metric.outcomes]
    return {outcome.name: outcome.title for outcome in outcomes}
