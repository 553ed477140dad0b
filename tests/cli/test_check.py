"""`scorecam check`: output, cost estimate, and exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import NAMES, PREPROCESS, SIDE
from command_line import scorecam as command
from scorecam.trust.criteria import CRITERIA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "preprocess.json").write_text(json.dumps(PREPROCESS))
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    random = np.random.default_rng(0)
    for name in ("one", "two"):
        pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def options(folder: Path, model: str = "toy_models:tiny") -> list[str]:
    return [
        *["--model", model, "--preprocess", str(folder / "preprocess.json")],
        *["--labels", str(folder / "labels.txt"), "--layer", "body.3", "--budget", "exact"],
    ]


def test_every_photo_has_a_verdict_and_a_line_per_evidence(folder: Path) -> None:
    photo = folder / "one.png"
    answer = command("check", photo, *options(folder))
    assert answer.code == 0, answer
    first, *lines = answer.out.splitlines()
    assert first.startswith(f"{photo}: ")
    assert any(f": {verdict}" in first for verdict in ("usable", "weak", "don't show"))
    assert any(name in first for name in NAMES)
    assert lines.pop(0).startswith("  = class-free: ")
    codes = [line.split()[1] for line in lines]
    assert codes[-len(CRITERIA) :] == [f"{code}:" for code in CRITERIA]
    assert all(line.startswith(("  + ", "  ~ ", "  ! ", "  ? ")) for line in lines)


def test_the_cost_is_printed_on_stderr_before_the_check(folder: Path) -> None:
    answer = command("check", folder / "one.png", *options(folder), "--json")
    [item] = answer.items
    phrase = answer.err.split("one.png: the check takes up to ")[1]
    assert item["forward_passes"]["check"] <= int(phrase.split()[0])
    assert "more passes, about " in phrase


def test_json_is_one_document_with_failures_as_items(folder: Path) -> None:
    answer = command(
        "check", folder / "one.png", folder / "missing.png", *options(folder), "--json"
    )
    assert answer.code == 1
    good, bad = answer.items
    assert answer.document["schema"] == 1
    assert good["verdict"] in ("usable", "weak", "don't show")
    assert good["target"]["name"] in NAMES
    assert [evidence["code"] for evidence in good["evidence"]][-len(CRITERIA) :] == list(CRITERIA)
    keys = {"code", "value", "good", "bad", "state", "doubt", "sentence"}
    assert all(set(evidence) == keys for evidence in good["evidence"])
    assert good["doubt"] == pytest.approx(sum(evidence["doubt"] for evidence in good["evidence"]))
    assert 0 <= good["class_free"] <= 1
    assert bad["failure"]["kind"] == "PhotoError"


def test_a_map_that_should_not_be_shown_exits_with_0(folder: Path) -> None:
    # The maps of a black photo are flat, and so are all maps of a constant network.
    Image.new("RGB", (SIDE, SIDE)).save(folder / "black.png")
    answer = command("check", folder / "black.png", *options(folder), "--json", "--layer", "body.0")
    assert answer.code == 0
    assert answer.items[0]["verdict"] == "don't show"


def test_evidence_can_be_left_out(folder: Path) -> None:
    words = [folder / "one.png", *options(folder), "--json", "--without", "head"]
    answer = command("check", *words)
    assert "head" not in [evidence["code"] for evidence in answer.items[0]["evidence"]]
    refused = command("check", *words, "--without", "hed")
    assert refused.code == 2
    assert "evidence code 'hed'" in refused.err
    assert not refused.out


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        (["--target", "tiger"], "No class is called 'tiger'"),
        (["--variant", "best"], "no variant 'best'"),
        (["--budget", "some"], "budget='some'"),
        (["--layer", "body.9"], "body.9"),
    ],
)
def test_an_invalid_option_exits_with_2_and_a_message(
    folder: Path, words: list[str], phrase: str
) -> None:
    answer = command("check", folder / "one.png", *options(folder), *words)
    assert answer.code == 2
    assert phrase in answer.err
    assert "Traceback" not in answer.err


def test_the_help_explains_the_exit_code() -> None:
    answer = command("check", "--help")
    assert 'it is 0 for "don\'t show"' in " ".join(answer.out.split())


def test_the_thresholds_in_the_documentation_equal_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs/trust.md").read_text("utf-8").replace("−", "-")
    for code, rule in CRITERIA.items():
        [row] = re.findall(
            rf"^\| `{code}` \| (?:up|down) to (\S+) \| ([-0-9.]+)", page, re.MULTILINE
        )
        assert tuple(map(float, row)) == (rule.good, rule.bad), code
