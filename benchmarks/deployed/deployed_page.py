"""Write the tables of docs/deployed.md from the results of measure.py and throughput.py.

python -m benchmarks.deployed.deployed_page
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from benchmarks.common.markdown import table, with_interval
from benchmarks.common.paths import DOCS, RESULTS
from benchmarks.deployed.measure import BUDGETS, REFERENCE

PAGE = DOCS / "deployed.md"
NOT_MEASURED = "Not measured yet.\n"
LEAST_RATIO = 0.85
"""The target of the throughput."""

Results = Mapping[str, Any]


def page() -> str:
    """The page with the tables of the results; its text stays as it is."""
    text = PAGE.read_text("utf-8")
    parts = {budget: forms_part(results(budget)) for budget in BUDGETS}
    parts["throughput"] = throughput_part(results("throughput"))
    for name, content in parts.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        part = begin + content + end
        text, count = pattern.subn(lambda _, part=part: part, text)
        if count != 1:
            raise ValueError(f"{PAGE.name} has {count} places for the table {name}, not one.")
    return text


def results(name: str) -> Results | None:
    """The results of one file; None if that was not measured."""
    file = RESULTS / f"deployed/{name}.json"
    return json.loads(file.read_text("utf-8")) if file.exists() else None


def forms_part(found: Results | None) -> str:
    """The tables of one budget: the similarity of the maps, and what else changed."""
    if found is None:
        return f"\n{NOT_MEASURED}\n"
    forms: dict[str, Results] = found["forms"]
    others = {name: form for name, form in forms.items() if name != REFERENCE}
    similarities = _similarities(others, with_targets=found["budget"] == "exact")
    return f"\n{similarities}\n{_changes(forms)}\n"


def throughput_part(found: Results | None) -> str:
    """The table of masks per second over plain images per second."""
    if found is None:
        return f"\n{NOT_MEASURED}\n"
    rows = [
        [
            name,
            _spread(form["ratio"], 3),
            "met" if form["ratio"]["median"] >= LEAST_RATIO else "**not met**",
            _spread(form["exact"], 2),
            _spread(form["fast"], 2),
        ]
        for name, form in found["forms"].items()
    ]
    head = ["form", "ratio", f"≥ {LEAST_RATIO:g}", "all masks, s", "`fast`, s"]
    threads = f"{found['threads']} threads" if found["threads"] > 1 else "one thread"
    rounds = next(iter(found["forms"].values()))["ratio"]["rounds"]
    return f"\n{threads.capitalize()}, {rounds} rounds.\n\n{table(head, rows)}\n"


def _spread(numbers: Results, digits: int) -> str:
    median, least, most = (f"{numbers[key]:.{digits}f}" for key in ("median", "least", "most"))
    return f"{median} [{least}, {most}]"


def _similarities(forms: Mapping[str, Results], *, with_targets: bool) -> str:
    """The similarity of the maps. The targets are for maps of all masks."""
    rows = [
        [
            name,
            f"`{form['source']}`",
            str(form["similarity"]["n"]),
            _fine(form["similarity"]),
            f"{form['worst']:.5f}",
            *([_target(form)] if with_targets else []),
        ]
        for name, form in forms.items()
    ]
    head = ["form", "file", "photos", "mean Pearson to PyTorch", "worst photo"]
    return table([*head, *(["target"] if with_targets else [])], rows)


def _changes(forms: Mapping[str, Results]) -> str:
    rows = [
        [
            name,
            _flips(form["flips"]),
            with_interval(form["energy"]),
            "–" if name == REFERENCE else with_interval(form["energy gained"], "+"),
            "–" if name == REFERENCE else with_interval(form["iou"]),
            "–" if form["bytes"] is None else f"{form['bytes'] / 1e6:.1f}",
        ]
        for name, form in forms.items()
    ]
    head = ["form", "flips", "energy in the mask", "gained", "overlap of the regions", "MB"]
    return table(head, rows)


def _fine(mean: Mapping[str, float | None]) -> str:
    """A mean with its interval, to five digits: float32 forms differ in the sixth."""
    middle, low, high = (mean[key] for key in ("mean", "low", "high"))
    if middle is None or low is None or high is None:
        return "–" if middle is None else f"{middle:.5f}"
    return f"{middle:.5f} [{low:.5f}, {high:.5f}]"


def _target(form: Results) -> str:
    """The target and whether it is met."""
    least = [f"mean ≥ {form['least mean']:g}"] if form["least mean"] else []
    least += [f"worst ≥ {form['least worst']:g}"] if form["least worst"] else []
    met = form["similarity"]["mean"] >= form["least mean"] and form["worst"] >= form["least worst"]
    return f"{', '.join(least)}: {'met' if met else '**not met**'}"


def _flips(flips: Results) -> str:
    ends = f"{100 * flips['low']:.1f} to {100 * flips['high']:.1f} %"
    return f"{flips['photos']} of {flips['n']} ({ends})"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
