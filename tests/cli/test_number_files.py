"""Files of numbers on the command line: explained, measured, and refused with advice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import scorecam as package
from command_line import scorecam

MODEL = ("--model", "toy_models:tiny", "--runtime", "eager")
FLAT = {"size": [16, 16], "fit": "squash", "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def test_explain_takes_an_array_as_it_is_stored() -> None:
    np.save("x.npy", values(3, 16, 16))

    answer = scorecam("explain", "x.npy", *MODEL, "--variant", "official")

    assert answer.code == 0, answer
    [overlay] = Path("out").glob("x.*.png")
    assert overlay.stat().st_size > 0
    bank = package.ScoreBank.load("out/x.safetensors")
    tensor = torch.as_tensor(values(3, 16, 16))
    expected = package.explain(_tiny(), tensor, variant="official", runtime="eager")
    assert torch.allclose(bank.heatmap(expected.target.index), expected.heatmap, rtol=1e-3)


def _tiny() -> package.Model:
    return package.open_model("toy_models:tiny")


def test_bands_and_window_choose_what_the_model_sees() -> None:
    Path("p.json").write_text(json.dumps(FLAT), "utf-8")
    five = values(5, 16, 16)
    np.save("five.npy", five * 4000)
    np.save("three.npy", five[[3, 2, 1]])
    options = (*MODEL, "--preprocess", "p.json", "--variant", "official")

    one = scorecam(
        "explain", "five.npy", *options, "--bands", "4,3,2", "--window", "0,4000", "--json"
    )
    other = scorecam("explain", "three.npy", *options, "--json")

    assert one.code == other.code == 0, one
    assert one.items[0]["score"] == pytest.approx(other.items[0]["score"], abs=1e-5)


def test_fill_is_the_value_of_hidden_pixels() -> None:
    np.save("x.npy", values(3, 16, 16))

    answer = scorecam("explain", "x.npy", *MODEL, "--fill", "0.5,0.25,0")

    assert answer.code == 0, answer
    assert package.ScoreBank.load("out/x.safetensors").masking.fill == (0.5, 0.25, 0.0)


def test_a_folder_of_arrays_is_a_data_set() -> None:
    for number in range(3):
        folder = Path("data/cat" if number else "data/lynx")
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number}.npy", values(3, 16, 16, seed=number))

    answer = scorecam(
        "evaluate", "data", "--out", "run", *MODEL, "--methods", "scorecam", "--metrics", "quick",
        "--target", "predicted", "--json",
    )  # fmt: skip

    assert answer.code == 0, answer
    assert len(list(Path("run/items").rglob("*.json"))) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--bands", "1,x"), "--bands"),
        (("--window", "5"), "--window"),
        (("--window", "9,1"), "lower"),
        (("--fill", "red"), "--fill"),
        (("--windows", "big"), "--windows"),
        (("--bands", "7"), "no band 7"),
    ],
)
def test_wrong_options_are_refused_in_one_paragraph(options, words) -> None:
    np.save("x.npy", values(3, 16, 16))

    answer = scorecam("explain", "x.npy", *MODEL, *options)

    assert answer.code == 2, answer
    assert words in answer.err
    assert "Traceback" not in answer.err
