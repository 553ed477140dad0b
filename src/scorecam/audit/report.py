"""An audit as files: an HTML page for people, and `audit.json` for programs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from scorecam import page
from scorecam.audit.auditing import Audit
from scorecam.audit.finding import LEVELS, Finding
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
    """Write the page, and `audit.json` next to it.

    Args:
        audit: the audit to write.
        path: of the page.
        force: overwrite existing files.

    Returns:
        The two files.

    Raises:
        OutputError: one of them exists already, or cannot be written.
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
    """Raises OutputError if the files cannot be written there, before anything is read."""
    final = Path(as_path("out", path, OutputError))
    if final.name == DOCUMENT:
        raise OutputError(
            f"{final} is the name of the JSON file that is written next to the page.",
            do="Give the page another name, such as --out report.html.",
        )
    for file in (final, final.with_name(DOCUMENT)):
        if file.is_dir():
            raise OutputError(f"{file} is a folder.", do="Give a file, such as --out report.html.")
        if file.exists() and not force:
            raise OutputError(f"{file} already exists.", do="Use --force, or another --out.")


# ── the page ─────────────────────────────────────────────────────────────────────────────────


def content(audit: Audit) -> page.Page:
    """The audit as a page: findings, then every photo, wrong predictions first."""
    tags: dict[str, list[str]] = {}
    for finding in audit.findings:
        for photo in finding.photos:
            tags.setdefault(photo, []).append(f"example of {finding.rule}")
    ordered = sorted(audit.items, key=lambda item: item.right is not False)
    pictures = tuple(_picture(audit, item, tags.get(item.id, [])) for item in ordered)
    kept = sum(item.entry is not None and item.entry.jpeg is not None for item in ordered)
    lost = kept - sum(picture.jpeg is not None for picture in pictures)
    remarks = (f"Thumbnails that cannot be decoded, shown in grey: {lost:,}.",) if lost else ()
    return page.Page(
        title=f"Audit of {audit.folder.resolve().name}",
        lead=lead(audit),
        about=_about(audit),
        findings=tuple(map(_card, audit.findings)),
        pictures=pictures,
        remarks=audit.remarks + remarks,
    )


def _card(finding: Finding) -> page.FindingCard:
    rule = RULES[finding.rule]
    return page.FindingCard(
        rule=finding.rule,
        level=finding.level,
        sentence=finding.sentence,
        evidence=(*finding.evidence, f"Source: {rule.source}."),
        effect=finding.effect,
        pictures=finding.photos,
        role=rule.role,
    )


def lead(audit: Audit) -> str:
    """The audit in one sentence."""
    counts = Counter(finding.level for finding in audit.findings)
    photos = counted(len(audit.items), "photo")
    if not counts:
        return f"No findings in {photos}. This does not prove that the model is sound."
    levels = [counted(counts[level], level) for level in LEVELS if counts[level]]
    return f"{', '.join(levels)} in {photos}."


def _about(audit: Audit) -> tuple[tuple[str, str], ...]:
    config = audit.reading.config
    known = [item.right for item in audit.items if item.right is not None]
    labels = any(item.label is not None for item in audit.items)
    correct = (
        f"{sum(known):,} of {len(known):,} ({percent(sum(known) / len(known))})" if known else ""
    )
    rows = (
        ("model", excerpt(config.get("model") or "", 300)),
        ("layer", excerpt(config.get("layer") or "", 300)),
        ("method", audit.reading.method),
        ("explained", f"the {excerpt(config['target'])} class" if config.get("target") else ""),
        ("budget", excerpt(config.get("budget") or "", 300)),
        ("photos", f"{len(audit.items):,} of {audit.reading.photos:,}"),
        ("correct", correct or ("the model knows none of the labels" if labels else "no labels")),
        ("failures", ", ".join(f"{n} × {kind}" for kind, n in audit.reading.failures.items())),
    )
    return tuple((name, value) for name, value in rows if value)


def _picture(audit: Audit, item: Item, rules: list[str]) -> page.Picture:
    entry = item.entry
    contrast = None
    if entry is not None and entry.contrast is not None:
        predicted, label = audit.classes.named(item.predicted), audit.classes.title(item.label)
        contrast = f"{predicted} rather than {label}", page.grid8(entry.contrast)
    unknown = "unlabelled" if item.label is None else "unknown label"
    state = {True: "right", False: "wrong", None: unknown}[item.right]
    health = () if entry is None else entry.health
    return page.Picture(
        id=item.id,
        name=item.name,
        jpeg=None if entry is None else page.decodable(entry.jpeg),
        classes=_classes(audit, item),
        contrast=contrast,
        facts=_facts(item),
        tags=(state, *dict.fromkeys(rules)),
        words=(*audit.wrong.get(item.id, ()), *health),
    )


def _classes(audit: Audit, item: Item) -> tuple[page.Shown, ...]:
    own = {audit.reading.method: item.map} | dict(item.others)
    if item.entry is None or not item.entry.class_maps:
        maps = {name: page.grid8(heat) for name, heat in own.items()}
        return (
            page.Shown(audit.classes.named(item.target), item.target.probability, "target", maps),
        )
    return tuple(
        page.Shown(
            audit.classes.named(each.model_class),
            each.model_class.probability,
            ", ".join(each.roles),
            _views(each, own if "target" in each.roles else {}, audit),
        )
        for each in item.entry.class_maps[:5]
    )


def _views(own: ClassMaps, methods: Mapping[str, Map], audit: Audit) -> dict[str, page.Grid8]:
    """A class's maps: the audited method's first, then the variants', then other methods'."""
    variants = audit.reading.variants
    others = {name: heat for name, heat in methods.items() if variants.get(name) not in own.maps}
    first = {name: heat for name, heat in others.items() if name == audit.reading.method}
    return {name: page.grid8(heat) for name, heat in (first | dict(own.maps) | others).items()}


def _facts(item: Item) -> dict[str, float | None]:
    facts: dict[str, float | None] = {"probability": item.predicted.probability}
    if item.energy is not None:
        facts["energy on the object"] = item.energy[0]
    if (agreement := lowest_agreement(item)) is not None:
        facts["agreement of variants"] = agreement[0]
    if item.entry is not None and item.entry.error:
        facts["estimated error"] = item.entry.error
    titles = _titles()
    return facts | {titles.get(name, name): value for name, value in item.values.items()}


@cache
def _titles() -> dict[str, str]:
    """Titles of the measurements by their names in records."""
    outcomes = [outcome for metric in parse_metrics("all") for outcome in metric.outcomes]
    return {outcome.name: outcome.title for outcome in outcomes}
