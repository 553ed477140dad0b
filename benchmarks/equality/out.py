"""What one case found, and how it runs a command."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

import scorecam

VARIANTS = tuple(scorecam.VARIANTS)


class Out:
    """What one case found; its folder is the working directory while the case runs."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.values: dict[str, Any] = {}

    def write(self) -> None:
        if self.tensors:
            plain = {name: each.detach().clone() for name, each in self.tensors.items()}
            save_file(plain, "found.safetensors")
        Path("found.json").write_text(json.dumps(self.values, indent=1), "utf-8")

    def explanation(self, name: str, found: scorecam.Explanation) -> None:
        """A map with all that is said of it."""
        self.tensors[f"{name} heatmap"] = found.heatmap
        self.tensors[f"{name} scaled"] = found.scaled
        self.tensors[f"{name} weights"] = found.bank.weights(found.target.index, found.variant)
        target, made = found.target, found.provenance
        self.values[name] = {
            "target": [target.index, target.name, target.score, target.probability],
            "layer": found.layer,
            "variant": found.variant.name,
            "formula": found.formula,
            "error": found.error,
            "health": [[note.code, note.value, note.threshold] for note in found.health],
            "made": [made.model, made.precision, made.runtime, made.budget, made.device],
            "passes": [made.forward_passes, made.batch_size, made.unrepeated, made.mixed],
        }

    def bank(self, name: str, bank: scorecam.ScoreBank) -> None:
        """A bank: every variant's map of the prediction, and the tensors themselves."""
        for variant in VARIANTS:
            self.tensors[f"{name} {variant}"] = bank.heatmap(variant=variant)
            self.values[f"{name} {variant} error"] = bank.error(variant=variant)
        self.tensors[f"{name} scores"] = bank.scores
        self.tensors[f"{name} asked"] = bank.asked
        self.values[f"{name} head"] = bank.head

    def command(self, name: str, *argv: str) -> tuple[int, str]:
        """What a command prints as JSON is kept; its exit code and errors are returned."""
        printed, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        before, sys.argv = sys.argv, ["scorecam", *argv]
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
                runpy.run_module("scorecam", run_name="__main__", alter_sys=False)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            sys.argv = before
        self.values[f"{name} code"] = code
        if "--json" in argv and code in {0, 1, 3}:
            self.values[f"{name} printed"] = json.loads(_text(printed))
        return code, _text(errors)

    def expect(self, name: str, code: int, *argv: str) -> None:
        """A command that must end with this code, or the case fails."""
        found, errors = self.command(name, *argv)
        if found != code:
            command = " ".join(argv)
            raise AssertionError(f"{name} ended with {found}, not {code}: {command}\n{errors}")


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8")
