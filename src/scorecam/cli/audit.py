"""The command that reads a run and says what is wrong with the model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from scorecam.base.wording import quoted
from scorecam.cli.options import ForceOption, JsonOption
from scorecam.cli.output import answer, answer_json, answer_text, say
from scorecam.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    from scorecam.audit.auditing import Audit

SIGNS = {"problem": "!!", "warning": " !", "note": "  "}


def audit(  # noqa: PLR0917  (typer calls it by keyword)
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The folder of scorecam evaluate.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="The page to write, such as report.html.")
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", help="Whose maps. [default: the run's first]")
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option("--explain", metavar="RULE", help="Print a rule, or all; needs no RUN."),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> int:
    """Look for shortcuts, distractors and fragile maps in a run; one HTML page shows them."""
    if rule is not None:
        answer_text(_explained(rule))
        return 0
    if run is None:
        raise SettingError(
            "No run was given.",
            do="scorecam audit RUN --out report.html; RUN is the folder of scorecam evaluate.",
        )
    from scorecam.audit import auditing, report

    if out is not None:
        report.check(out, force=force)
    found = auditing.audit(run, method)
    if out is not None:
        files = report.write(found, out, force=force)
        say(f"Written: {', '.join(map(str, files))}.")
    _answer(found, as_json=as_json)
    return 0


def _explained(code: str) -> str:
    from scorecam.audit.rules import RULES

    if code == "all":
        return "\n".join(rule.text for rule in RULES.values()).rstrip()
    if code not in RULES:
        raise SettingError(
            f"There is no rule {quoted(code)}.",
            likely=did_you_mean(code, RULES),
            do=f"There are {', '.join(RULES)}; all prints every one.",
        )
    return RULES[code].text.rstrip()


def _answer(found: Audit, *, as_json: bool) -> None:
    """Print what was found."""
    from scorecam.audit.report import lead
    from scorecam.cli import saving

    for remark in found.remarks:
        say(remark)
    if as_json:
        items = [finding.plain() for finding in found.findings]
        answer_json(saving.document(items, sys.stdout.encoding))
        return
    answer(lead(found))
    for finding in found.findings:
        answer("", f"{SIGNS[finding.level]} {finding.level}: {finding.sentence}")
        answer(f"   {finding.effect}", *(f"   {sentence}" for sentence in finding.evidence))
        answer(f"   scorecam audit --explain {finding.rule}")
    if found.wrong:
        what = "wrong prediction" if len(found.wrong) == 1 else "wrong predictions"
        answer("", f"{len(found.wrong):,} {what}: the page says where the model looked instead.")
