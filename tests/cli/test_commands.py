"""The other commands, and behaviour common to all of them."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import scorecam as package
import toy_models
from command_line import (
    NAMES,
    PREPROCESS,
    listing,
    options,
    refused,
    scorecam,
    shell_environment,
    strict_json,
    whole,
)
from scorecam.cli.saving import OutputFolder
from scorecam.testing import Regions

pytestmark = pytest.mark.usefixtures("photo_folder")


# ── show ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def bank() -> Path:
    """A saved bank without its model."""
    scorecam("explain", "cat.png", *options(), "--target", "tabby")
    toy_models.SPIES.clear()
    return Path("out/cat.safetensors")


def test_show_draws_another_class_and_variant_without_the_model(bank: Path) -> None:
    answer = scorecam("show", bank, "--target", "lynx", "--variant", "algorithm1")

    assert answer.code == 0, answer
    assert "lynx" in answer.out
    [drawn] = listing(Path("out")) - {"cat.tabby.png", "cat.safetensors", "cat.json"}
    assert f"out/{drawn}" in answer.out
    assert whole(Path("out") / drawn)
    assert toy_models.SPIES == []


def test_show_draws_the_prediction_by_default(bank: Path) -> None:
    loaded = package.ScoreBank.load(bank)
    answer = scorecam("show", bank, "--out", "shown.png")

    assert NAMES[int(loaded.image_scores.argmax())] in answer.out
    assert Path("shown.png").is_file()


def test_show_creates_the_folder_of_the_picture(bank: Path) -> None:
    assert scorecam("show", bank, "--out", "new/folder/shown.png").code == 0
    assert Path("new/folder/shown.png").is_file()


def test_show_overwrites_nothing_without_force(bank: Path) -> None:
    Path("shown.png").write_text("mine", "utf-8")

    refused(scorecam("show", bank, "--out", "shown.png"), "shown.png", "already", "--force")
    assert Path("shown.png").read_text("utf-8") == "mine"
    assert scorecam("show", bank, "--out", "shown.png", "--force").code == 0
    assert whole("shown.png")


@pytest.mark.parametrize("image", [(2, 40), (1, 4, 6, 5), (3, 4, 6, 5)], ids=str)
def test_inputs_that_are_no_photos_are_saved_and_shown(image: tuple[int, ...]) -> None:
    """The folder that `explain` writes; then `show` draws from the bank, which has no values."""
    net = Regions(torch.rand(2, image[0]), axes=len(image) - 1)
    made = package.explain(net, torch.rand(image), 0, layer="maps")
    [item] = OutputFolder("out").save([made], "scan.npy", "scan")
    answer = scorecam("show", "out/scan.safetensors", "--target", "0", "--out", "shown.png")
    grey = dataclasses.replace(made, image=None).overlay()

    assert answer.code == 0, answer
    assert whole(item["files"]["overlay"]).tobytes() == made.overlay().tobytes()
    assert whole("shown.png").size == grey.size


def test_show_draws_the_same_picture_as_explain(bank: Path) -> None:
    """If the whole photo is input, the overlays differ only by the JPEG in the bank."""
    scorecam("show", bank, "--target", "tabby", "--out", "shown.png")
    shown, drawn = (
        np.asarray(whole(path), dtype=float) for path in ("shown.png", "out/cat.tabby.png")
    )

    assert shown.shape == drawn.shape
    assert np.abs(shown - drawn).mean() < 8


# ── layers, doctor, demo, help ───────────────────────────────────────────────────────────────


def test_layers_lists_names_for_explain_and_marks_the_default() -> None:
    words = options(labels=None)
    items = scorecam("layers", *words, "--json").items
    text = scorecam("layers", *words)

    assert [item["name"] for item in items if item["default"]] == ["network.body"]
    assert [line for line in text.out.splitlines() if line.startswith("→ network.body ")]
    for item in items:
        assert item["name"] in text.out
        words = [*options(), "--layer", item["name"], "--out", item["name"], "--json"]
        [explained] = scorecam("explain", "cat.png", *words).items
        assert explained["channels"]["total"] == item["channels"]
        assert explained["layer"] == item["name"]


def test_layers_json_is_one_document_with_all_layer_details() -> None:
    document = scorecam("layers", *options(labels=None), "--json").document

    assert document["schema"] == 1
    for item in document["items"]:
        assert set(item) == {"name", "grid", "channels", "layout", "default", "why", "on_path"}
    [body] = [item for item in document["items"] if item["default"]]
    assert (body["grid"], body["channels"], body["layout"]) == ([8, 8], 6, "channels first")


@pytest.mark.needs("torchvision")
def test_layers_of_a_torchvision_model_need_no_weights() -> None:
    items = scorecam("layers", "--model", "torchvision:resnet18", "--json").items

    [default] = [item for item in items if item["default"]]
    assert (default["name"], default["grid"], default["channels"]) == ("layer4", [7, 7], 512)


def test_doctor_lists_versions_devices_and_extras() -> None:
    answer = scorecam("doctor")

    assert answer.code == 0, answer
    for word in ("scorecam", "numpy", "safetensors", "cpu", "lite0", "torchvision"):
        assert word in answer.out
    assert torch.__version__.split("+")[0] in answer.out


SMALL = {"size": [64, 64], "fit": "squash", "mean": [0.5] * 3, "std": [0.5] * 3}
"""Preprocessing for Lite0 with a grid of four cells, to save time."""


@pytest.mark.needs("demo")
def test_demo_explains_the_bundled_photo_and_lists_its_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = package.Preprocess.from_dict(SMALL)
    monkeypatch.setattr(package.Preprocess, "lite", lambda _size: small)
    Path("out").mkdir()
    Path("out/chelsea.json").write_text("of an earlier demo", "utf-8")
    answer = scorecam("demo")

    assert answer.code == 0, answer
    assert strict_json(Path("out/chelsea.json").read_text("utf-8"))["items"]
    picture_line, record_line, then = answer.out.splitlines()[-3:]
    assert Path(picture_line.split()[1]).suffix == ".png"
    assert Path(record_line.split()[1]).suffix == ".json"
    assert Path(picture_line.split()[1]).is_file()
    assert Path(record_line.split()[1]).is_file()
    suggested = scorecam(*shlex.split(then)[2:])
    assert suggested.code == 0, suggested
    assert len(listing(Path("out"))) == 4


@pytest.mark.needs("demo")
def test_the_bundled_model_is_the_default_and_has_class_names() -> None:
    Path("small.json").write_text(json.dumps(SMALL), "utf-8")
    words = ["--preprocess", "small.json", "--batch-size", "64", "--target", "tabby", "--json"]
    answer = scorecam("explain", "cat.png", *words)
    [item] = answer.items

    assert answer.code == 0
    assert "lite0" in answer.err
    assert item["model"] == "lite0"
    assert item["layer"] == "head"
    assert item["target"]["index"] == 281
    assert item["channels"]["total"] == 1280


COMMANDS = ("explain", "show", "layers", "doctor", "cache", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    answer = scorecam(command, "--help")

    assert answer.code == 0
    assert answer.out.startswith("Usage: ")
    assert command in answer.out
    assert answer.err == ""


def test_help_names_every_command() -> None:
    answer = scorecam("--help")

    assert answer.code == 0
    assert all(command in answer.out for command in COMMANDS)


def test_the_command_without_arguments_shows_its_help() -> None:
    answer = scorecam()

    assert "explain" in answer.out + answer.err


def test_the_help_of_explain_names_every_documented_option() -> None:
    help_text = scorecam("explain", "--help").out
    names = (
        "model weights preprocess labels head device layer target variant batch-size out force json"
    )

    assert [name for name in names.split() if f"--{name}" not in help_text] == []


@pytest.mark.parametrize(
    "words", [["explain"], ["explain", "cat.png", "--modle", "lite0"], ["explian", "cat.png"]]
)
def test_a_misspelled_or_incomplete_command_is_refused(words: list[str]) -> None:
    answer = scorecam(*words)

    assert answer.code == 2
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert answer.err


# ── in a shell ───────────────────────────────────────────────────────────────────────────────


def test_the_bar_is_drawn_only_on_stderr_with_the_photo_name() -> None:
    """Square brackets are markup in the library that draws the bar."""
    Path("cat.png").rename("cat[copy].png")
    terminal, stderr = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "scorecam", "explain", "cat[copy].png", *options("tiny"), "--json"],
        env=shell_environment(TERM="xterm", COLUMNS="120"),
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    drawn = b"".join(_everything(terminal)).decode()
    out, _ = process.communicate(timeout=60)

    assert process.returncode == 0, drawn
    assert "cat[copy].png" in drawn
    assert "━" in drawn
    assert "\x1b" not in out.decode()
    assert strict_json(out.decode())["items"][0]["image"] == "cat[copy].png"


def _everything(terminal: int) -> Iterator[bytes]:
    """The output of a terminal until its last writer closes it."""
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        while True:
            try:
                written = screen.read(4096)
            except OSError as error:  # Linux raises this when the other side is closed
                if error.errno != errno.EIO:
                    raise
                return
            if not written:
                return
            yield written


def test_a_closed_pipe_is_not_reported_as_a_bug() -> None:
    """As in `scorecam layers | head -1`."""
    words = [sys.executable, "-m", "scorecam", "layers", *options("tiny", labels=None), "--json"]
    process = subprocess.Popen(
        words, env=shell_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()

    assert process.wait(timeout=60) != 70, err
    assert "our fault" not in err
    assert "Traceback" not in err


def test_preprocessing_files_of_the_tests_are_realistic() -> None:
    """The `preprocess.json` of the tests is one that a user could have."""
    assert package.Preprocess.from_dict(PREPROCESS).to_dict() == PREPROCESS | {"fraction": 0.875}
