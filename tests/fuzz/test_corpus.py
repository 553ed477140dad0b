"""Inputs that once failed are handled, and the fuzzer accepts valid files."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

import scorecam
from child import Fault, Fuzzer, check_message
from kinds import KINDS

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(CORPUS.glob("*/*"))

pytestmark = pytest.mark.needs("eval", "audit", "onnx")


@pytest.mark.parametrize("file", FILES, ids=[f"{file.parent.name}-{file.stem}" for file in FILES])
def test_an_input_that_once_failed_is_read_or_refused(file: Path, tmp_path: Path) -> None:
    kind = KINDS[file.parent.name]
    copy = tmp_path / f"input{kind.suffix}"
    copy.write_bytes(file.read_bytes())
    try:
        kind.read(copy)
    except scorecam.ScorecamError as error:
        check_message(str(error))


@pytest.mark.parametrize("name", KINDS)
def test_valid_files_of_every_kind_are_accepted(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    for content in kind.valid():
        (tmp_path / f"input{kind.suffix}").write_bytes(content)
        kind.accepts(tmp_path / f"input{kind.suffix}")


def test_the_fuzzer_finds_an_input_that_crashes_the_reader(tmp_path: Path) -> None:
    valid = KINDS["labels"].valid()

    def crash(file: Path) -> None:
        if file.read_bytes() not in valid:
            raise ZeroDivisionError

    kind = dataclasses.replace(KINDS["labels"], read=crash)
    fuzzer = Fuzzer("labels", kind, tmp_path, tmp_path / "corpus")
    fuzzer.round(0)
    (traceback,) = fuzzer.tally.faults.values()
    assert "ZeroDivisionError" in traceback
    assert len(list((tmp_path / "corpus" / "labels").iterdir())) == 1


def test_an_error_that_is_too_long_is_a_fault() -> None:
    with pytest.raises(Fault, match="601 characters"):
        check_message("x" * 601)


def test_the_fuzzer_starts_from_a_shell() -> None:
    """pytest adds folders to the import path that a shell does not."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, str(CORPUS.parent / "run.py"), "--minutes", "0", "--kinds", "labels"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[1].startswith("labels")
