"""Similarity on the command line: a reference, and texts for a folder of Hugging Face."""

from __future__ import annotations

from pathlib import Path

import pytest

import scorecam
import towers
from command_line import scorecam as command
from scorecam.tasks import Similar

pytestmark = pytest.mark.needs("families", "torchvision")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    towers.photo().save("cat.png")
    towers.photo().rotate(180).save("other.png")
    return towers.saved(towers.two_towers("CLIP"), tmp_path / "clip")


def test_texts_are_labels_with_the_models_own_probabilities(folder: Path) -> None:
    texts = [word for text in towers.TEXTS for word in ("--text", text)]
    answer = command(
        *("explain", "cat.png", "--model", f"hf:{folder}", "--task", "similar", *texts),
        *("--target", towers.TEXTS[2], "--out", "out", "--json"),
    )
    assert answer.code == 0, answer
    [item] = answer.items
    model = scorecam.open_model(f"hf:{folder}")
    expected = scorecam.explain(
        model, "cat.png", towers.TEXTS[2], task=Similar(text=towers.TEXTS)
    ).target
    assert item["target"]["name"] == towers.TEXTS[2]
    assert item["target"]["probability"] == pytest.approx(expected.probability, abs=1e-5)
    assert (item["head"], item["variant"]) == ("logits", "centred")
    assert len(list(Path("out").glob("cat*.png"))) == 1


def test_a_reference_photo_is_named_after_its_file(folder: Path) -> None:
    answer = command(
        *("explain", "cat.png", "--model", f"hf:{folder}", "--task", "similar"),
        *("--reference", "other.png", "--out", "out", "--json"),
    )
    assert answer.code == 0, answer
    [item] = answer.items
    assert item["target"]["name"] == "other"
    assert -1 <= item["score"] <= 1


def test_a_text_for_a_folder_without_a_tokenizer_ends_with_advice(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    answer = command(
        *("explain", "cat.png", "--model", f"hf:{folder}", "--task", "similar"),
        *("--text", "a cat", "--out", "out"),
    )
    assert answer.code == 2
    assert "tokenizer.save_pretrained" in answer.err.replace("\n", " ")
