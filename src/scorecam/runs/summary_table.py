"""The results of a run as Markdown, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from scorecam.metrics.metric import Outcome
from scorecam.metrics.statistics import Interval
from scorecam.runs import markdown
from scorecam.runs.config import Config, chosen_variants, left_out
from scorecam.runs.markdown import Markdown, words
from scorecam.runs.tables import Row, in_words
from scorecam.runs.tally import Tally

ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}
_HEADINGS = {"all": "All photos", "small": "Small objects", "large": "Large objects"}


def outcome_title(outcome: Outcome) -> str:
    """The title of an outcome, with an arrow towards better values."""
    return f"{outcome.title}{ARROWS[outcome.better]}"


def introduction(config: Config, photos: int, done: int) -> Markdown:
    """The heading, and a paragraph that says what was measured."""
    return markdown.document(
        markdown.heading(1, "{}, layer {}", config["model"], config["layer"]),
        markdown.paragraph(
            "{} of {} photos; target: the {} class; budget {}; {} on {}. Means over photos with "
            "95 % bootstrap intervals; (n) where not every photo has a value.",
            done,
            photos,
            *(config[key] for key in ("target", "budget", "precision used", "runtime used")),
        ),
        *(markdown.paragraph("{}", each) for each in chosen_variants(config) + left_out(config)),
    )


def summary_table(
    rows: Sequence[Row],
    tallies: Mapping[str, Tally],
    outcomes: Sequence[Outcome],
    about: Markdown,
) -> Markdown:
    """All results of a run: means by group of photos, differences, failures."""
    groups = dict.fromkeys(row.group for row in rows)
    parts = [about]
    for group in groups:
        parts += _means(group, rows, tallies, outcomes)
    parts += _differences(rows, tallies, outcomes)
    not_found = set[str]().union(*(tally.not_found for tally in tallies.values()))
    if not_found:
        parts.append(
            markdown.paragraph("Photos in which the object was not found: {}.", len(not_found))
        )
    failures = [record for tally in tallies.values() for record in tally.failures.values()]
    kinds = Counter(record.failure.kind for record in failures)
    if kinds:
        counted = ", ".join(f"{count} × {kind}" for kind, count in sorted(kinds.items()))
        parts.append(markdown.paragraph("Failures (photo and method): {}.", counted))
    return markdown.document(*parts)


def _means(
    group: str, rows: Sequence[Row], tallies: Mapping[str, Tally], outcomes: Sequence[Outcome]
) -> list[Markdown]:
    """The table of one group of photos."""
    lines: list[list[str]] = []
    for method, tally in tallies.items():
        own = {
            row.outcome: row
            for row in rows
            if (row.method, row.group, row.against) == (method, group, None)
        }
        photos = len(tally.photos) if group == "all" else _size(group, tallies)
        lines.append([method, *(_cell(own[outcome.name], photos) for outcome in outcomes)])
    titles = [outcome_title(outcome) for outcome in outcomes]
    heading = markdown.heading(2, "{}", _HEADINGS[group])
    return [heading, markdown.table(["method", *titles], lines)]


def _size(group: str, tallies: Mapping[str, Tally]) -> int:
    """The number of photos in a group."""
    members = (tally.groups.items() for tally in tallies.values())
    return len({photo for groups in members for photo, own in groups if own == group})


def _differences(
    rows: Sequence[Row], tallies: Mapping[str, Tally], outcomes: Sequence[Outcome]
) -> list[Markdown]:
    """The table of the differences from the first method."""
    gaps = {(row.method, row.outcome): row.found for row in rows if row.against}
    if not gaps:
        return []
    first, *others = tallies
    judged = [outcome for outcome in outcomes if outcome.better != "neither"]
    lines = [
        [method, *(_gap(gaps.get((method, outcome.name)), outcome) for outcome in judged)]
        for method in others
    ]
    titles = [outcome_title(outcome) for outcome in judged]
    return [
        markdown.heading(2, "Differences from {}, photo by photo", first),
        markdown.table(["method", *titles], lines),
        markdown.paragraph(
            "A final + or − means that the interval excludes 0: + is better, − is worse."
        ),
    ]


def _cell(row: Row, photos: int) -> Markdown:
    text = in_words(row.found)
    return words("{} ({})", text, row.found.n) if 0 < row.found.n < photos else text


def _gap(difference: Interval | None, outcome: Outcome) -> Markdown:
    if difference is None or not difference.n:
        return words("–")
    text = in_words(difference, "+")
    if not difference.excludes(0.0):
        return text
    better = (difference.mean > 0) == (outcome.better == "higher")
    return words("{} {}", text, "+" if better else "−")
