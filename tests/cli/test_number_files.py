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


def test_an_archive_of_several_arrays_holds_several_inputs() -> None:
    rgb, depth = values(1, 3, 16, 16), values(1, 1, 16, 16, seed=1)
    np.savez("both.npz", rgb=rgb, depth=depth)
    np.savez("in_order.npz", rgb, depth)
    model = ("--model", "toy_models:two_streams", "--runtime", "eager")

    by_name = scorecam("explain", "both.npz", *model, "--masked-input", "rgb", "--json")
    in_order = scorecam("explain", "in_order.npz", *model, "--masked-input", "0", "--json")
    other = scorecam(
        "explain", "both.npz", *model, "--masked-input", "depth", "--out", "o", "--json"
    )

    assert by_name.code == in_order.code == other.code == 0, by_name
    assert by_name.items[0]["score"] == pytest.approx(in_order.items[0]["score"])
    assert by_name.items[0]["layer"] == "rgb"
    assert other.items[0]["layer"] == "depth"


def test_output_names_the_scores_of_a_dict() -> None:
    np.save("x.npy", values(3, 16, 16))
    model = ("--model", "toy_models:two_answers", "--runtime", "eager")

    named = scorecam("explain", "x.npy", *model, "--output", "second", "--json")
    unnamed = scorecam("explain", "x.npy", *model, "--out", "o")

    assert named.code == 0, named
    assert unnamed.code == 2
    assert "--output" in unnamed.err


def test_windows_of_a_larger_picture_are_explained_as_one() -> None:
    np.save("x.npy", values(3, 40, 56))

    answer = scorecam("explain", "x.npy", *MODEL, "--windows", "16", "--json")

    assert answer.code == 0, answer
    assert "in windows of 16×16" in answer.items[0]["model"]
    assert package.ScoreBank.load("out/x.safetensors").size == (40, 56)


@pytest.mark.needs("tiff")
def test_a_tiff_of_five_bands_keeps_its_corner() -> None:
    import tifffile

    stored = np.zeros((5, 60, 100), np.uint16)
    stored[:, 45:, 75:] = 4000
    tifffile.imwrite("five.tif", stored, photometric="minisblack", planarconfig="separate")
    flat = {**FLAT, "size": [30, 50], "mean": [0] * 5, "std": [1] * 5}
    Path("p.json").write_text(json.dumps(flat), "utf-8")

    answer = scorecam(
        "explain", "five.tif", "--model", "toy_models:brightness_of_five", "--preprocess", "p.json",
        "--window", "0,4000", "--head", "value", "--runtime", "eager", "--variant", "official",
    )  # fmt: skip

    assert answer.code == 0, answer
    heatmap = package.ScoreBank.load("out/five.safetensors").heatmap(0, "official")
    assert heatmap[22:, 37:].sum() > 0.98 * heatmap.sum()


@pytest.mark.needs("medical")
def test_a_nifti_volume_keeps_its_corner_and_its_spacing() -> None:
    import nibabel

    stored = np.zeros((10, 12, 14), np.float32)
    stored[:3, 8:, 10:] = 1
    affine = np.diag([-2.0, 1.0, 1.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(stored, affine), "head.nii.gz")

    answer = scorecam(
        "explain", "head.nii.gz", "--model", "toy_models:brightness_of_volume", "--head", "value",
        "--runtime", "eager", "--variant", "official",
    )  # fmt: skip

    assert answer.code == 0, answer
    heatmap = package.ScoreBank.load("out/head.safetensors").heatmap(0, "official")
    assert heatmap.shape == (10, 12, 14)
    assert heatmap[:4, 7:, 9:].sum() > 0.98 * heatmap.sum()
    assert len(list(Path("out").glob("head.*.png"))) == 1


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
