"""`scorecam explain`: files, JSON, options."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import scorecam as package
import toy_models
from command_line import (
    NAMES,
    listing,
    options,
    picture,
    scorecam,
    strict_json,
    whole,
)
from scorecam.cli import opening, progress

ITEM = {
    "image": str,
    "model": str,
    "layer": str,
    "variant": str,
    "formula": str,
    "head": str,
    "target": dict,
    "score": float,
    "budget": str,
    "precision": str,
    "runtime": str,
    "device": str,
    "forward_passes": int,
    "channels": dict,
    "seconds": float,
    "error": float,
    "health": list,
    "files": dict,
}
"""An item of `explain --json`, key by key."""

pytestmark = pytest.mark.usefixtures("photo_folder")


def item_of(target: str) -> dict[str, Any]:
    """The JSON item of `explain cat.png` for a target, with its own output folder."""
    out = f"out-{target}"
    [item] = scorecam(
        "explain", "cat.png", *options(), "--target", target, "--out", out, "--json"
    ).items
    return item


# ── explain: files ───────────────────────────────────────────────────────────────────────────


def test_explain_writes_only_an_overlay_a_bank_and_a_record() -> None:
    answer = scorecam("explain", "cat.png", *options(), "--target", "tiger cat")

    assert answer.code == 0, answer
    assert listing(Path("out")) == {"cat.tiger-cat.png", "cat.safetensors", "cat.json"}
    assert whole("out/cat.tiger-cat.png").size > (100, 100)
    assert package.ScoreBank.load("out/cat.safetensors").names == NAMES
    assert strict_json(Path("out/cat.json").read_text("utf-8"))["schema"] == 1


def test_results_and_file_names_are_printed_on_stdout() -> None:
    answer = scorecam("explain", "cat.png", *options(), "--target", "lynx")

    assert "cat.png: lynx" in answer.out
    assert "out/cat.lynx.png" in answer.out
    assert "%" in answer.out


def test_without_a_target_the_prediction_is_explained() -> None:
    [item] = scorecam("explain", "cat.png", *options(), "--json").items
    bank = package.ScoreBank.load("out/cat.safetensors")

    assert item["target"]["index"] == int(bank.image_scores.argmax())
    assert item["target"]["name"] == NAMES[item["target"]["index"]]


def test_a_target_is_a_name_in_any_case_or_an_index() -> None:
    for word in ("Egyptian cat", "egyptian CAT", "2"):
        assert item_of(word)["target"]["name"] == "Egyptian cat"


def test_without_labels_a_class_is_named_by_its_number() -> None:
    answer = scorecam("explain", "cat.png", *options(labels=None), "--target", "3")
    [item] = strict_json(Path("out/cat.json").read_text("utf-8"))["items"]

    assert answer.out.startswith("cat.png: class 3")
    assert item["target"]["index"] == 3
    assert item["target"]["name"] is None
    assert Path("out/cat.3.png").is_file()


def test_every_target_has_an_overlay_and_an_item_but_one_bank() -> None:
    targets = ["--target", "lynx", "--target", "0", "--target", "Egyptian cat"]
    items = scorecam("explain", "cat.png", *options(), *targets, "--json").items

    assert [item["target"]["name"] for item in items] == ["lynx", "tabby", "Egyptian cat"]
    assert len({item["files"]["bank"] for item in items}) == 1
    assert listing(Path("out")) == {
        "cat.lynx.png",
        "cat.tabby.png",
        "cat.Egyptian-cat.png",
        "cat.targets.sheet.png",
        "cat.safetensors",
        "cat.json",
    }


def test_several_targets_cost_no_more_passes_than_one() -> None:
    scorecam("explain", "cat.png", *options(), "--target", "top5", "--out", "five")
    scorecam("explain", "cat.png", *options(), "--target", "0", "--out", "one")

    five, one = (len(spy.images) for spy in toy_models.SPIES)
    assert five == one


def test_top5_explains_the_five_largest_scores_largest_first() -> None:
    items = scorecam("explain", "cat.png", *options(), "--target", "top5", "--json").items

    scores = [item["score"] for item in items]
    assert len({item["target"]["index"] for item in items}) == 5
    assert scores == sorted(scores, reverse=True)
    assert all(Path(item["files"]["overlay"]).is_file() for item in items)
    assert {item["files"]["targets"] for item in items} == {"out/cat.targets.sheet.png"}
    assert Path("out/cat.targets.sheet.png").is_file()


def test_top5_of_two_classes_explains_both() -> None:
    words = options("two_classes", labels=None)
    items = scorecam("explain", "cat.png", *words, "--target", "top5", "--json").items

    assert sorted(item["target"]["index"] for item in items) == [0, 1]


def test_photos_with_equal_names_do_not_overwrite_each_other() -> None:
    """Even if the suffixed name is the name of another photo."""
    for seed, name in enumerate(("a/cat.png", "b/cat.png", "b/cat-2.png")):
        Path(name).parent.mkdir(exist_ok=True)
        picture(seed).save(name)

    answer = scorecam(
        "explain", "a/cat.png", "b/cat.png", "b/cat-2.png", *options(), "--target", "0", "--json"
    )
    banks = [Path(item["files"]["bank"]) for item in answer.items]

    assert answer.code == 0
    assert [item["image"] for item in answer.items] == ["a/cat.png", "b/cat.png", "b/cat-2.png"]
    assert len(set(banks)) == 3
    maps = [package.ScoreBank.load(bank).activations for bank in banks]
    assert not torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[1], maps[2])
    for item, bank in zip(answer.items, banks, strict=True):
        assert strict_json(bank.with_suffix(".json").read_text("utf-8"))["items"] == [item]


def test_classes_with_similar_names_have_separate_overlays() -> None:
    """ImageNet, for example, has two cranes; other names differ only in punctuation."""
    Path("names.txt").write_text("crane\ncrane\nC++\nC#\n?\n", "utf-8")
    items = scorecam("explain", "cat.png", *options(), "--target", "top5", "--json").items

    overlays = {item["files"]["overlay"] for item in items}
    assert len(overlays) == 5
    assert all(Path(overlay).is_file() for overlay in overlays)


def test_a_class_that_stdout_cannot_encode_does_not_fail() -> None:
    Path("names.txt").write_text("\n".join(["猫", *NAMES[1:]]), "utf-8")
    answer = scorecam("explain", "cat.png", *options(), "--target", "0", encoding="latin-1")

    assert answer.code == 0, answer
    assert "out/cat." in answer.out


def test_a_photo_given_twice_is_reported_twice() -> None:
    answer = scorecam("explain", "cat.png", "cat.png", *options(), "--target", "0")

    assert answer.out.count("cat.png: tabby") == 2
    assert answer.out.count("out/cat.tabby.png") == 1


# ── explain: the JSON document ───────────────────────────────────────────────────────────────


def test_json_is_one_document_and_items_have_every_key() -> None:
    document = scorecam("explain", "cat.png", "dog.png", *options(), "--json").document

    assert set(document) == {"schema", "items"}
    assert document["schema"] == 1
    assert [item["image"] for item in document["items"]] == ["cat.png", "dog.png"]
    for item in document["items"]:
        assert {key: type(value) for key, value in item.items()} == ITEM
        assert set(item["target"]) == {"index", "name", "probability"}
        assert set(item["channels"]) == {"total", "flat", "asked"}
        assert set(item["files"]) == {"overlay", "bank"}
        for note in item["health"]:
            assert set(note) == {"code", "value", "threshold", "sentence"}


def test_json_agrees_with_the_bank() -> None:
    [item] = scorecam("explain", "cat.png", *options(), "--target", "lynx", "--json").items
    bank = package.ScoreBank.load(item["files"]["bank"])

    assert item["model"] == "toy_models:spied"
    assert item["layer"] == "network.body"
    assert item["variant"] == "official"
    assert item["head"] == "logits"
    assert item["score"] == pytest.approx(float(bank.image_scores[3]))
    assert item["target"]["probability"] == pytest.approx(float(bank.image_scores.softmax(0)[3]))
    assert item["channels"] == {"total": 6, "flat": 6 - len(bank.asked), "asked": len(bank.asked)}
    assert (item["budget"], item["precision"], item["runtime"]) == ("exact", "float32", "eager")
    assert (item["device"], item["error"]) == ("cpu", 0.0)
    assert len(bank.asked) > 1


def test_json_counts_the_forward_passes() -> None:
    """One mask per live channel; the pass that finds the default layer is not counted."""
    [item] = scorecam("explain", "cat.png", *options(), "--layer", "network.body", "--json").items
    [spy] = toy_models.SPIES

    assert item["forward_passes"] == len(spy.images) == 3 + item["channels"]["asked"]


def test_the_saved_record_equals_the_printed_item() -> None:
    items = scorecam("explain", "cat.png", "dog.png", *options(), "--json").items

    for item in items:
        record = Path(item["files"]["bank"]).with_suffix(".json").read_text("utf-8")
        assert strict_json(record) == {"schema": 1, "items": [item]}


def test_output_of_the_model_does_not_mix_with_json() -> None:
    answer = scorecam("explain", "cat.png", *options("talkative"), "--json")

    assert answer.items[0]["image"] == "cat.png"


@pytest.mark.parametrize("variant", ["official", "algorithm1", "increase", "literal"])
def test_json_is_strict_if_the_empty_image_scores_nan(variant: str) -> None:
    words = ["--variant", variant, "--json"]
    [item] = scorecam("explain", "cat.png", *options("standardising"), *words).items

    assert item["variant"] == variant


def test_json_escapes_names_that_stdout_cannot_encode() -> None:
    """As on Windows, where a pipe uses the old code page of the system."""
    Path("cat.png").rename("котик.png")
    words = ["--target", "0", "--json"]
    answer = scorecam("explain", "котик.png", *options(), *words, encoding="latin-1")

    assert answer.code == 0, answer
    assert answer.items == strict_json(Path("out/котик.json").read_text("utf-8"))["items"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode here")
def test_a_photo_with_a_non_unicode_name_is_explained() -> None:
    """Old archives contain such names."""
    Path("cat.png").rename(os.fsdecode(b"caf\xe9.png"))
    answer = scorecam("explain", os.fsdecode(b"caf\xe9.png"), *options(), "--json")

    assert answer.code == 0, answer
    assert len(listing(Path("out"))) == 3
    assert answer.items[0]["target"]["name"] in NAMES


# ── explain: options ─────────────────────────────────────────────────────────────────────────


def test_the_default_model_is_printed_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "DEFAULT_MODEL", "toy_models:tiny")
    words = options()[2:]  # all but --model
    by_default = scorecam("explain", "cat.png", *words, "--json")
    by_name = scorecam("explain", "cat.png", *options("tiny"), "--json", "--force")

    assert "toy_models:tiny" in by_default.err
    assert by_default.items[0]["model"] == "toy_models:tiny"
    assert by_name.err == ""


def test_options_reach_the_explanation() -> None:
    chosen = {
        "--variant": "algorithm1",
        "--layer": "network.body.1",
        "--head": "sigmoid",
        "--device": "cpu",
        "--batch-size": "2",
        "--target": "1",
    }
    words = [word for option in chosen.items() for word in option]
    [item] = scorecam("explain", "cat.png", *options(), *words, "--json").items
    bank = package.ScoreBank.load(item["files"]["bank"])

    assert item["variant"] == "algorithm1"
    assert "softmax over k" in item["formula"]
    assert item["layer"] == "network.body.1"
    assert item["channels"]["total"] == 4
    assert item["head"] == "sigmoid"
    assert item["target"]["probability"] == pytest.approx(float(bank.image_scores[1].sigmoid()))
    [spy] = toy_models.SPIES
    assert max(map(len, spy.seen)) == 2


def test_methods_side_by_side_cost_no_more_passes() -> None:
    words = ["--target", "0", "--json"]
    scorecam("explain", "cat.png", *options(), *words)
    several = ["--methods", "scorecam,scorecam:variant=increase", "--out", "several"]
    [item] = scorecam("explain", "cat.png", *options(), *words, *several).items

    assert item["files"]["methods"] == "several/cat.tabby.methods.png"
    assert whole(item["files"]["methods"]).width > whole(item["files"]["overlay"]).width / 2
    assert len(listing(Path("several"))) == 4
    one, two = (len(spy.images) for spy in toy_models.SPIES)
    assert one == two


def test_the_batch_size_does_not_change_results() -> None:
    for size in ("1", "4", "auto"):
        scorecam("explain", "cat.png", *options(), "--batch-size", size, "--out", size)
    one, *others = (
        package.ScoreBank.load(f"{size}/cat.safetensors") for size in ("1", "4", "auto")
    )

    for other in others:
        torch.testing.assert_close(one.scores, other.scores)


def test_weights_replace_those_of_the_model() -> None:
    torch.save({"state_dict": toy_models.tiny(seed=7).state_dict()}, "other.pt")
    words = options("tiny")
    [own] = scorecam("explain", "cat.png", *words, "--target", "0", "--json").items
    [other] = scorecam(
        "explain", "cat.png", *words, "--target", "0", "--json", "--weights", "other.pt", "--force"
    ).items
    with torch.inference_mode():
        photo = package.Preprocess.load("preprocess.json")(whole("cat.png"))
        expected = toy_models.tiny(seed=7)(photo[None])[0, 0]

    assert other["score"] == pytest.approx(float(expected), rel=1e-5)
    assert other["score"] != own["score"]


def test_the_cost_of_a_long_explanation_is_printed_on_stderr(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "LONG_SECONDS", 0.0)
    words = ["--batch-size", "2", "--json"]
    answer = scorecam("explain", "cat.png", *options(), *words)

    assert answer.document
    [line] = answer.err.splitlines()
    assert line.startswith("cat.png: 7 masked images for toy_models:spied on cpu, about ")
    assert answer.items[0]["channels"]["asked"] == 6, "and the empty image"


def test_a_network_can_be_named_without_a_function() -> None:
    assert scorecam("explain", "cat.png", *options("a_module")).code == 0


def test_a_model_in_the_current_folder_is_found() -> None:
    Path("my_net.py").write_text("from toy_models import tiny as build\n", "utf-8")
    words = [*options()[2:], "--model", "my_net:build"]
    answer = scorecam("explain", "cat.png", *words, "--json")
    sys.modules.pop("my_net", None)

    assert answer.code == 0, answer
    assert answer.items[0]["model"] == "my_net:build"
