"""The `scorecam` command line: collects the commands, each from its own file."""

from __future__ import annotations

import sys

import typer

from scorecam.cli.audit import audit
from scorecam.cli.cache import cache
from scorecam.cli.check import check
from scorecam.cli.compare import compare
from scorecam.cli.demo import demo
from scorecam.cli.doctor import doctor
from scorecam.cli.evaluate import evaluate
from scorecam.cli.exits import with_exit_codes
from scorecam.cli.explain import explain
from scorecam.cli.export import export
from scorecam.cli.freed_memory import keep_freed_memory
from scorecam.cli.groups import with_option_groups
from scorecam.cli.layers import layers
from scorecam.cli.sanity import sanity
from scorecam.cli.show import show
from scorecam.cli.usage import Commands
from scorecam.cli.verify import verify

COMMANDS = (
    demo,
    explain,
    show,
    layers,
    evaluate,
    sanity,
    compare,
    audit,
    check,
    export,
    verify,
    doctor,
    cache,
)
"""In the order of `scorecam --help`."""

app = typer.Typer(
    cls=Commands,
    help="Score-CAM: what an image classifier looked at, without gradients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for _command in COMMANDS:
    app.command()(with_exit_codes(with_option_groups(_command)))


def main() -> None:
    """The `scorecam` command."""
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    app()
