"""Invalid weights, models and banks are refused, and no code in them runs.

Refused means exit code 2, nothing on stdout, and one paragraph on stderr: what happened, the likely
cause, and what to try.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import scorecam as package
import toy_models
from command_line import (
    Answer,
    listing,
    options,
    refused,
    scorecam,
)

pytestmark = pytest.mark.usefixtures("photo_folder")


def explain(*words: str, model: str = "spied", **changes: str | None) -> Answer:
    """Explain cat.png with a toy model."""
    return scorecam("explain", "cat.png", *options(model, **changes), *words)


# ── weights ──────────────────────────────────────────────────────────────────────────────────


class Trap:
    """Creates the file `sprung` when unpickled carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


def with_weights(file: str, model: str = "spied") -> Answer:
    return explain("--weights", file, model=model)


def state() -> dict[str, torch.Tensor]:
    return toy_models.spied().state_dict()


def test_missing_weights_are_refused() -> None:
    Path("folder").mkdir()

    refused(with_weights("nowhere.safetensors"), "nowhere.safetensors", "no weights file")
    refused(with_weights("folder"), "folder is a folder, not a weights file")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.98])
def test_truncated_weights_are_refused(name: str, kept: float) -> None:
    if name.endswith("pt"):
        torch.save(state(), name)
    else:
        safetensors.torch.save_file(state(), name)
    content = Path(name).read_bytes()
    Path(name).write_bytes(content[: int(kept * len(content))])

    refused(with_weights(name), name, "truncated")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt", "weights"])
def test_a_file_without_weights_is_refused(name: str) -> None:
    Path(name).write_text("a git-lfs pointer, or an error page\n" * 20, "utf-8")

    refused(with_weights(name), name, "not a weights file")


def test_a_pickle_that_would_run_code_is_refused_and_nothing_runs() -> None:
    with Path("trap.pkl").open("wb") as file:
        pickle.dump({"weights": Trap()}, file)
    torch.save({"state_dict": state(), "epoch": Trap()}, "trap.pt")

    for name in ("trap.pkl", "trap.pt"):
        refused(with_weights(name), name, "run code", "save_file")
    assert not Path("sprung").exists()


def test_a_whole_model_in_a_file_is_refused() -> None:
    torch.save(toy_models.tiny(), "model.pt")

    refused(with_weights("model.pt"), "model.pt", "run code", "state_dict()")


@pytest.mark.parametrize(
    "content", [{}, {"epoch": 3, "loss": 0.5}, [1, 2], torch.zeros(3)], ids=str
)
def test_a_checkpoint_without_weights_is_refused(content: Any) -> None:
    torch.save(content, "checkpoint.pt")

    refused(with_weights("checkpoint.pt"), "checkpoint.pt", "no weights", "save_file")


def test_weights_for_another_number_of_classes_are_refused() -> None:
    torch.save(toy_models.tiny(classes=7).state_dict(), "weights.pt")

    refused(
        with_weights("weights.pt", "tiny"),
        "classifier.weight ((7, 6) for (5, 6))",
        "another number of classes",
    )


def test_weights_of_another_architecture_are_refused() -> None:
    foreign = {f"layer{i}.conv.weight": torch.zeros(2, 2) for i in range(20)}
    torch.save(foreign, "weights.pt")

    refused(with_weights("weights.pt"), "another architecture", "layer0.conv.weight")


def test_weights_without_one_tensor_are_refused() -> None:
    left = toy_models.tiny().state_dict()
    del left["body.2.bias"]
    safetensors.torch.save_file(left, "weights.safetensors")

    refused(with_weights("weights.safetensors", "tiny"), "1 missing: body.2.bias")


def test_weights_with_nan_are_refused_at_the_first_pass() -> None:
    refused(explain(model="with_nan"), "NaN", "weights")
    torch.save(toy_models.with_nan().state_dict(), "weights.pt")
    refused(with_weights("weights.pt", "tiny"), "NaN", "weights")
    assert listing(Path("out")) == set()


# ── models that fail ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "phrases"),
    [
        ("fails", ["mat1 and mat2", "another image size", "model(x)"]),
        ("grey", ["3 channels", "number of colours"]),
        ("detects", ["dict", "classes", "boxes"]),
        ("never_fits", ["Memory ran out", "smaller"]),
    ],
)
def test_an_exception_in_the_model_is_not_an_internal_error(model: str, phrases: list[str]) -> None:
    refused(explain(model=model), *phrases)


# ── banks ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "content", "phrases"),
    [
        ("nowhere.safetensors", None, ["no file", "nowhere.safetensors"]),
        ("empty.safetensors", b"", ["score bank", "scorecam explain"]),
        ("text.safetensors", b"not a bank at all, but long enough", ["score bank"]),
        ("cat.png", None, ["score bank", "another kind"]),
        (".", None, ["score bank"]),
    ],
)
def test_show_refuses_files_that_are_not_banks(
    name: str, content: bytes | None, phrases: list[str]
) -> None:
    if content is not None:
        Path(name).write_bytes(content)

    refused(scorecam("show", name), *phrases)


def test_show_refuses_a_models_weights() -> None:
    safetensors.torch.save_file(state(), "weights.safetensors")

    refused(scorecam("show", "weights.safetensors"), "weights.safetensors", "score bank")


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_show_refuses_a_truncated_bank(kept: float) -> None:
    explain()
    bank = Path("out/cat.safetensors")
    bank.write_bytes(bank.read_bytes()[: int(kept * bank.stat().st_size)])

    refused(scorecam("show", bank), "cat.safetensors", "cut short")


@pytest.mark.parametrize(
    ("words", "phrases"),
    [
        (["--target", "taby"], ["Did you mean 'tabby'"]),
        (["--target", "17"], ["0 to 4"]),
        (["--target", "top5"], ["top5"]),
        (["--variant", "litteral"], ["Did you mean 'literal'"]),
        (["--out", "cat.png/shown.png"], ["Could not write", "cat.png"]),
        (["--out", "folder"], ["folder"]),
    ],
    ids=" ".join,
)
def test_show_refuses_invalid_options(words: list[str], phrases: list[str]) -> None:
    Path("folder").mkdir()
    explain()

    refused(scorecam("show", "out/cat.safetensors", *words), *phrases)


def test_a_bank_with_another_schema_is_refused() -> None:
    explain()
    bank = package.ScoreBank.load("out/cat.safetensors")
    safetensors.torch.save_file(
        {"scores": bank.scores}, "later.safetensors", {"scorecam": json.dumps({"schema": 99})}
    )

    refused(scorecam("show", "later.safetensors"), "this version", "another version")
