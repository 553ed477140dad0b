"""`scorecam audit`: output, files and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import scorecam
from audit_runs import Photo, id_of, mixed, on_box, right, spot, write
from command_line import refused
from command_line import scorecam as command
from scorecam import MissingExtra, OutputError
from scorecam.audit import report
from scorecam.audit.auditing import audit
from scorecam.audit.rules import RULES
from small_runs import opened, photos

pytestmark = pytest.mark.needs("audit")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A class recognised by a corner, and one wrong prediction."""
    corner = mixed((0.7, spot((0, 0), (0, 1))), (0.3, on_box()))
    wrong = Photo(0, on_box(), taken=1, contrast=spot((7, 7)), prediction=spot((7, 7)))
    clean = [photo for label in (1, 2) for photo in right(label, on_box(), 10)]
    marked = right(0, corner, 10)
    return write(tmp_path / "run", [*marked, *clean, wrong], methods=("scorecam", "gradcam"))


# ── the command ──────────────────────────────────────────────────────────────────────────────


def test_findings_are_printed_and_written(run: Path, tmp_path: Path) -> None:
    answer = command("audit", run, "--out", tmp_path / "out" / "report.html")
    assert answer.code == 0
    assert answer.out.startswith("1 problem")
    assert "!! problem: 'ant' is recognised by the upper left corner: 70 %" in answer.out
    assert "scorecam audit --explain corner" in answer.out
    assert "1 wrong prediction: " in answer.out
    html = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "the upper left corner" in html
    document = json.loads((tmp_path / "out" / "audit.json").read_text("utf-8"))
    assert document["schema"] == 1
    assert document["items"][0]["rule"] == "corner"
    assert document["items"][0]["class"] == "ant"
    assert document["wrong"][0]["id"] == id_of(30)
    assert "For 'bee' the model looked at" in document["wrong"][0]["words"][1]


def test_json_is_one_document(run: Path) -> None:
    answer = command("audit", run, "--json")
    assert answer.code == 0
    assert answer.items[0]["rule"] == "corner"
    assert set(answer.items[0]) == {
        "rule", "level", "sentence", "evidence", "effect", "size", "p", "class", "region", "photos",
    }  # fmt: skip


def test_nothing_is_overwritten_without_force(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("mine", "utf-8")
    refused(command("audit", run, "--out", out), "already exists", "--force")
    assert out.read_text("utf-8") == "mine"
    assert not (tmp_path / "audit.json").exists()
    out.unlink()
    (tmp_path / "audit.json").write_text("mine", "utf-8")
    refused(command("audit", run, "--out", out), "already exists")
    assert not out.exists()
    assert command("audit", run, "--out", out, "--force").code == 0
    assert "mine" not in out.read_text("utf-8")[:4]


def test_unwritable_paths_are_refused(run: Path, tmp_path: Path) -> None:
    refused(command("audit", run, "--out", tmp_path), "is a folder")
    refused(command("audit", run, "--out", tmp_path / "audit.json"), "another name")
    (tmp_path / "file").write_text("", "utf-8")
    refused(command("audit", run, "--out", tmp_path / "file" / "report.html"))
    with pytest.raises(OutputError):
        report.write(audit(run), tmp_path)


@pytest.mark.parametrize("code", RULES)
def test_every_rule_explains_itself_without_a_run(code: str) -> None:
    answer = command("audit", "--explain", code)
    rule = RULES[code]
    assert answer.code == 0
    assert answer.out.startswith(f"{code}: {rule.title}")
    for words in (rule.source, rule.statistic, rule.levels, rule.looks_for):
        assert words in answer.out
    for name, value in rule.thresholds.items():
        assert f"{name} {value:g}" in answer.out


def test_all_rules_are_explained_and_unknown_ones_refused() -> None:
    answer = command("audit", "--explain", "all")
    assert [f"{code}: " in answer.out for code in RULES] == [True] * len(RULES)
    refused(command("audit", "--explain", "cornr"), "Did you mean 'corner'?")


def test_a_run_folder_is_required(tmp_path: Path) -> None:
    refused(command("audit"), "No run was given")
    refused(command("audit", tmp_path / "nowhere"), "isn't a run folder")
    refused(
        command("audit", tmp_path / "nowhere", "--out", tmp_path / "r.html"), "isn't a run folder"
    )
    assert not (tmp_path / "r.html").exists()


def test_another_method_can_be_audited(run: Path) -> None:
    assert command("audit", run, "--method", "gradcam").code == 0
    refused(command("audit", run, "--method", "lime"), "no maps of lime")


# ── the page ─────────────────────────────────────────────────────────────────────────────────


def test_the_page_has_every_photo_wrong_predictions_first(run: Path) -> None:
    page = report.content(audit(run))
    assert len(page.pictures) == 31
    first = page.pictures[0]
    assert first.id == id_of(30)
    assert first.tags[0] == "wrong"
    assert first.words[0] == "This is 'ant', predicted as 'bee' (50 %)."
    assert first.contrast is not None
    assert first.contrast[0] == "bee rather than ant"
    assert first.contrast[1][7, 7] == 255
    assert {shown.role for shown in first.classes} == {"label, target", "predicted"}
    [marked] = [picture for picture in page.pictures if picture.id == id_of(0)]
    assert marked.tags == ("right", "example of corner", "example of wrong-reason")
    assert list(marked.classes[0].maps) == [
        "official", "algorithm1", "increase", "centred", "consensus", "gradcam",
    ]  # fmt: skip
    assert marked.facts["energy on the object"] == pytest.approx(0.3, abs=1e-3)
    assert marked.jpeg is not None
    assert page.findings[0].pictures == audit(run).findings[0].photos
    assert page.findings[0].evidence[-1].startswith("Source: Lapuschkin")


def test_a_run_without_a_gallery_has_a_page(tmp_path: Path) -> None:
    run = write(tmp_path / "run", right(0, on_box(), 2), gallery=False)
    [first, _] = report.content(audit(run)).pictures
    assert first.jpeg is None
    assert list(first.classes[0].maps) == ["scorecam"]
    assert first.classes[0].maps["scorecam"].max() == 255


def test_an_undecodable_thumbnail_becomes_a_grey_tile(run: Path) -> None:
    file = run / "gallery" / id_of(3)[:2] / f"{id_of(3)}.json"
    entry = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(entry | {"jpeg": entry["jpeg"][:80]}), "utf-8")
    page = report.content(audit(run))
    assert [picture.id for picture in page.pictures if picture.jpeg is None] == [id_of(3)]
    assert page.remarks[-1] == "Thumbnails that cannot be decoded, shown in grey: 1."


def test_an_audit_without_findings_claims_no_proof(tmp_path: Path) -> None:
    run = write(tmp_path / "run", right(0, on_box(), 6) + right(1, on_box(), 6))
    answer = command("audit", run)
    assert answer.out.startswith("No findings in 12 photos.")


@pytest.mark.needs("eval")
def test_a_run_of_evaluate_can_be_audited(tmp_path: Path) -> None:
    dataset = photos(tmp_path / "photos", 12)
    scorecam.evaluate(
        opened(), dataset, "scorecam,random", "quick", out=tmp_path / "run", runtime="eager"
    )
    result = audit(tmp_path / "run")
    assert len(result.items) == 12
    assert not [remark for remark in result.remarks if "gallery" in remark]
    assert all(item.entry is not None and len(item.entry.class_maps) == 3 for item in result.items)
    page, document = report.write(result, tmp_path / "report.html")
    assert page.stat().st_size > 0
    assert json.loads(document.read_text("utf-8"))["read"] == 12


# ── optional libraries ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("library", ["scipy", "sklearn", "jinja2"])
def test_a_missing_library_is_named_with_the_remedy(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    for name in [*sys.modules]:
        if name == library or name.startswith(f"{library}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"pip install 'scorecam\[audit\]'"):
        report.write(audit(run), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_importing_the_audit_loads_no_optional_library() -> None:
    code = (
        "import sys, scorecam, scorecam.audit, scorecam.audit.report;"
        "print(sorted({'scipy', 'sklearn', 'jinja2'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert answer.stdout.strip() == b"[]"


def test_the_documentation_states_the_rules() -> None:
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text("utf-8")
    for rule in RULES.values():
        limits = ", ".join(f"{name} {value:g}" for name, value in rule.thresholds.items())
        assert f"### `{rule.code}`: {rule.title}\n" in text
        for words in (rule.looks_for, rule.statistic, limits, rule.levels, rule.source):
            assert f"** {words}.\n" in text
