"""The command that looks for problems of a model in a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from scorecam.base.wording import quoted
from scorecam.cli.exits import DONE
from scorecam.cli.options import ForceOption, JsonOption
from scorecam.cli.output import print_document, print_lines, print_message, print_text
from scorecam.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    from scorecam.audit.auditing import Audit

MARKS = {"problem": "!!", "warning": " !", "note": "  "}
"""Printed before each finding, by level."""


def audit(
    *,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run folder: the --out of `scorecam evaluate`."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="HTML page to write, such as report.html.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", help="Method to audit. [default: the first of the run]"),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="RULE",
            help="Explain a rule by its code, or all rules. Needs no RUN.",
        ),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> int:
    """Look for shortcuts, distractors and fragile maps in a run; can write one HTML page."""
    if rule is not None:
        print_text(_rule_text(rule))
        return DONE
    if run is None:
        raise SettingError(
            "No run was given.",
            do="Use scorecam audit RUN --out report.html; RUN is the --out of `scorecam evaluate`.",
        )
    from scorecam.audit import auditing, report

    if out is not None:
        report.check(out, force=force)
    result = auditing.audit(run, method)
    if out is not None:
        files = report.write(result, out, force=force)
        print_message(f"Wrote {', '.join(map(str, files))}.")
    _print_audit(result, as_json=as_json)
    return DONE


def _rule_text(code: str) -> str:
    from scorecam.audit.rules import RULES

    if code == "all":
        return "\n".join(rule.text for rule in RULES.values()).rstrip()
    if code not in RULES:
        raise SettingError(
            f"There is no rule {quoted(code)}.",
            likely=did_you_mean(code, RULES),
            do=f"The rules are {', '.join(RULES)}; `all` prints every one.",
        )
    return RULES[code].text.rstrip()


def _print_audit(result: Audit, *, as_json: bool) -> None:
    from scorecam.audit.report import lead
    from scorecam.cli.records import json_document

    for remark in result.remarks:
        print_message(remark)
    if as_json:
        items = [finding.plain() for finding in result.findings]
        print_document(json_document(items, sys.stdout.encoding))
        return
    print_lines(lead(result))
    for finding in result.findings:
        print_lines("", f"{MARKS[finding.level]} {finding.level}: {finding.sentence}")
        print_lines(f"   {finding.effect}", *(f"   {sentence}" for sentence in finding.evidence))
        print_lines(f"   scorecam audit --explain {finding.rule}")
    if result.wrong:
        noun = "wrong prediction" if len(result.wrong) == 1 else "wrong predictions"
        print_lines("", f"{len(result.wrong):,} {noun}: the page shows where the model looked.")
