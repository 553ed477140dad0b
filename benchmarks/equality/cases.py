"""Runs the fixed cases with the version of scorecam that comes first on PYTHONPATH.

    python cases.py make|open WORKSPACE TREE [CASE ...]

`make` writes WORKSPACE/made/CASE; `open` reads WORKSPACE/made and WORKSPACE/other, which may come
from other versions, and writes WORKSPACE/opened/CASE. Only public names of scorecam are used.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import commands
import library
import reopening
import torch
from out import Out

import scorecam

MAKE: tuple[Callable[[Out], None], ...] = (
    library.lite0_exact,
    library.lite0_fast,
    library.lite0_budgets,
    library.lite0_layers,
    library.axes,
    library.heads,
    library.maskings,
    library.readouts,
    library.openvino,
    library.several_inputs,
    library.batches,
    library.known_answers,
    library.compat,
    library.later,
    commands.explain,
    commands.explain_small,
    commands.show,
    commands.layers,
    commands.check,
    commands.evaluate,
    commands.evaluate_lite0,
    commands.sanity,
    commands.compare,
    commands.audit,
    commands.verify,
    commands.exit_codes,
)
OPEN: tuple[Callable[[Out], None], ...] = (
    reopening.banks,
    reopening.run,
    reopening.unfinished,
    reopening.folders,
)


def main(stage: str, workspace: str, tree: str, *names: str) -> None:
    source = Path(scorecam.__file__).resolve()
    if not source.is_relative_to(Path(tree).resolve()):
        sys.exit(f"scorecam was imported from {source}, not from {tree}.")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    times: dict[str, float] = {}
    for case in MAKE if stage == "make" else OPEN:
        if names and case.__name__ not in names:
            continue
        folder = Path(workspace) / ("made" if stage == "make" else "opened") / case.__name__
        folder.mkdir(parents=True)
        os.chdir(folder)
        began, out = time.perf_counter(), Out()
        try:
            case(out)
        except Exception:  # noqa: BLE001  (the other cases go on; compare.py reports this one)
            Path("failed.log").write_text(traceback.format_exc(), "utf-8")
        out.write()
        times[case.__name__] = time.perf_counter() - began
    # Written last, so that a process which died is noticed.
    (Path(workspace) / f"{stage}.json").write_text(json.dumps(times), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
