"""Thresholds and rates from the records of check.py. No model runs here.

    python -m benchmarks.trust.check_report WORK --fit   # thresholds, from the fitting set alone
    python -m benchmarks.trust.check_report WORK         # rates, table and figure

The rates use the thresholds of scorecam itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.paths import IMAGES, RESULTS
from benchmarks.trust.check_fit import fitted, shares
from benchmarks.trust.check_plot import draw
from benchmarks.trust.check_rates import ablation, summary
from benchmarks.trust.check_records import PROBABILITY, Record, doubt, read, split
from benchmarks.trust.check_trials import trials, trials_table
from scorecam.trust.criteria import CRITERIA


def table(off: Mapping[str, Any], on: Mapping[str, Any] | None = None) -> str:
    """The rates in Markdown, without the rule about probability and, if given, with it."""
    lines = ["| maps | n | rule off | 95 % interval | rule on |", "|---|---|---|---|---|"]
    for name, rate in off["rates"].items():
        with_rule = "" if on is None else f"{on['rates'][name]['mean']:.1%}"
        lines.append(
            f"| {name} | {rate['n']} | {rate['mean']:.1%} | {rate['low']:.1%} to "
            f"{rate['high']:.1%} | {with_rule} |"
        )
    return "\n".join([*lines, "", f"AUC {off['auc']:.3f}"])


def _by_kind(records: Sequence[Record]) -> dict[str, list[float]]:
    """The doubt of each map, by the kind of its network."""
    doubts: dict[str, list[float]] = {}
    for record in records:
        doubts.setdefault(record["kind"], []).append(round(doubt(record, CRITERIA), 2))
    return doubts


def _rounded(value: Any) -> Any:
    """Plain values with numbers rounded to four digits."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


def _centred(work: Path) -> dict[str, Any]:
    """The judged centred maps, with the thresholds that were fitted on official maps."""
    records, few = split(read(work, "judge", "centred"))
    off = summary(records, PROBABILITY)
    print(f"\n## centred, judged\n\n{table(off)}")
    fine_tuned = summary(few, PROBABILITY)
    print(f"\nfine-tuned:\n\n{table(fine_tuned)}")
    return {**off, "records": records, "fine-tuned": {**fine_tuned, "records": few}}


def main() -> None:
    """Fit the thresholds, and report the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="the folder that check.py wrote")
    parser.add_argument("--fit", action="store_true", help="thresholds only")
    parser.add_argument("--out", type=Path, default=RESULTS / "trust/check.json")
    parser.add_argument("--figure", type=Path, default=IMAGES / "trust.png")
    options = parser.parse_args()
    fitting, _ = split(read(options.work, "fit"))
    rules, settings = fitted(fitting)
    print(f"quantile {settings[0]}, farther {settings[1]}, stretch {settings[2]}")
    for code, rule in rules.items():
        print(f"    {code}: good {rule.good:.3f}, bad {rule.bad:.3f}")
    print("refused {:.1%}, accepted {:.1%} on the fitting set".format(*shares(fitting, rules)))
    if options.fit:
        return
    parts: dict[str, Any] = {"centred": _centred(options.work)}
    if confident := read(options.work, "confident"):
        parts["confident"] = {"records": confident, "doubts": _by_kind(confident)}
        print("\nbroken, and made confident:", json.dumps(parts["confident"]["doubts"]))
    for part in ("fit", "judge"):
        records, few = split(read(options.work, part))
        off, on = summary(records, PROBABILITY), summary(records, frozenset())
        print(f"\n## {part}\n\n{table(off, on)}")
        parts[part] = {"rule off": off, "rule on": on, "records": records}
        parts[part]["fine-tuned"] = {**summary(few, PROBABILITY), "records": few}
        print(f"\nfine-tuned:\n\n{table(parts[part]['fine-tuned'])}")
    judged = parts["judge"]["records"]
    parts["judge"]["one evidence"] = ablation(judged)
    for name, row in parts["judge"]["one evidence"].items():
        print(f"{name:20} " + "  ".join(f"{key} {value:.3f}" for key, value in row.items()))
    tried = trials(*split(read(options.work, "fit")), *split(read(options.work, "judge")))
    print("\n## trials\n\n" + trials_table(tried))
    report = {
        "command": "python -m benchmarks.trust.check --photos DIR --work WORK, "
        "then python -m benchmarks.trust.check_report WORK",
        "thresholds": {code: [rule.good, rule.bad] for code, rule in CRITERIA.items()},
        "fit": {"near": settings[0], "far": settings[1], "stretch": settings[2]},
        "trials": tried,
        "parts": parts,
    }
    options.out.write_text(json.dumps(_rounded(report)) + "\n", "utf-8")
    draw(judged, parts["judge"]["fine-tuned"]["records"], options.figure)


if __name__ == "__main__":
    main()
