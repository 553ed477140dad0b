"""Finished work is saved and complete whatever goes wrong, and the exit code shows the cause."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import scorecam as package
import toy_models
from command_line import (
    Answer,
    listing,
    options,
    paragraph,
    picture,
    refused,
    scorecam,
    shell_environment,
    strict_json,
    whole,
)
from scorecam.cli import explain, saving

pytestmark = pytest.mark.usefixtures("photo_folder")


def test_overwriting_without_force_is_refused_before_computing() -> None:
    scorecam("explain", "cat.png", *options())
    before = {name: (Path("out") / name).stat().st_mtime_ns for name in listing(Path("out"))}
    again = scorecam("explain", "cat.png", *options())

    refused(again, "out/cat.", "already", "--force", "--out")
    assert {name: (Path("out") / name).stat().st_mtime_ns for name in before} == before
    assert toy_models.SPIES[1].seen == []


def test_any_existing_output_file_is_kept() -> None:
    for name in ("cat.json", "cat.safetensors", "cat.tabby.png"):
        folder = Path(name.replace(".", "-"))
        folder.mkdir()
        (folder / name).write_text("mine", "utf-8")

        answer = scorecam("explain", "cat.png", *options(), "--target", "0", "--out", folder)

        refused(answer, name)
        assert listing(folder) == {name}
        assert (folder / name).read_text("utf-8") == "mine"


def test_force_overwrites() -> None:
    scorecam("explain", "cat.png", *options(), "--target", "0")
    picture(5).save("cat.png")
    answer = scorecam("explain", "cat.png", *options(), "--target", "0", "--force", "--json")
    bank = package.ScoreBank.load("out/cat.safetensors")

    assert answer.code == 0
    assert answer.items[0]["score"] == pytest.approx(float(bank.image_scores[0]))
    assert listing(Path("out")) == {"cat.tabby.png", "cat.safetensors", "cat.json"}


def test_other_files_in_the_folder_are_kept() -> None:
    Path("out").mkdir()
    for name in ("notes.txt", "cat.txt", "catalogue.json", "dog.json"):
        (Path("out") / name).write_text("mine", "utf-8")

    assert scorecam("explain", "cat.png", *options(), "--target", "0").code == 0
    assert {name for name in listing(Path("out")) if not name.startswith("cat.")} == {
        "notes.txt",
        "catalogue.json",
        "dog.json",
    }
    assert (Path("out") / "cat.txt").read_text("utf-8") == "mine"


def test_photos_may_be_in_the_output_folder() -> None:
    answer = scorecam("explain", "cat.png", "dog.png", *options(), "--target", "0", "--out", ".")

    assert answer.code == 0, answer
    assert Path("cat.tabby.png").is_file()
    np.testing.assert_array_equal(np.asarray(whole("cat.png")), np.asarray(picture(0)))


def test_a_bad_photo_does_not_stop_the_others() -> None:
    Path("bad.png").write_text("no photo", "utf-8")
    answer = scorecam("explain", "cat.png", "bad.png", "dog.png", *options(), "--json")
    good, bad, other = answer.items

    assert answer.code == 1
    assert [good["image"], bad["image"], other["image"]] == ["cat.png", "bad.png", "dog.png"]
    assert set(bad) == {"image", "model", "failure"}
    assert set(bad["failure"]) == {"kind", "message"}
    assert bad["failure"]["kind"] == "PhotoError"
    assert paragraph(answer, "bad.png") == f"scorecam: {bad['failure']['message']}"
    assert {Path(name).stem.split(".")[0] for name in listing(Path("out"))} == {"cat", "dog"}


def test_one_bad_photo_is_explained_and_the_others_are_reported() -> None:
    answer = scorecam("explain", "cat.png", "nowhere.png", *options())

    assert answer.code == 1
    assert answer.out.count("cat.png: ") == 1
    paragraph(answer, "nowhere.png")


def test_if_every_photo_is_bad_nothing_is_written() -> None:
    Path("bad.png").write_text("no photo", "utf-8")
    answer = scorecam("explain", "bad.png", "nowhere.png", *options(), "--json")

    assert answer.code == 2
    assert [item["failure"]["kind"] for item in answer.items] == ["PhotoError"] * 2
    assert listing(Path("out")) == set()


def test_finished_photos_do_not_stop_the_others() -> None:
    scorecam("explain", "cat.png", *options())
    answer = scorecam("explain", "cat.png", "dog.png", *options(), "--json")

    assert answer.code == 1
    assert [item.get("failure", {}).get("kind") for item in answer.items] == ["OutputError", None]


def complete(folder: Path, stem: str) -> None:
    """The three files of a photo exist and are complete."""
    [item] = strict_json((folder / f"{stem}.json").read_text("utf-8"))["items"]
    assert package.ScoreBank.load(item["files"]["bank"]).layer == item["layer"]
    assert whole(item["files"]["overlay"])


def test_ctrl_c_keeps_finished_photos() -> None:
    """Interrupted in the second of three photos: only the first has files, all complete."""
    Image.new("RGB", (16, 16), "white").save("white.png")
    words = ["explain", "cat.png", "white.png", "dog.png", *options("waits_on_white"), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "scorecam", *words],
        env=shell_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not Path("waiting").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    answer = Answer(process.returncode, out, err)

    assert answer.code == 130, answer
    assert answer.err.startswith("scorecam: interrupted")
    assert "saved in out" in answer.err
    assert len(answer.err.splitlines()) == 1, "no progress where stderr is no terminal"
    assert [item["image"] for item in answer.items] == ["cat.png"]
    assert {name.split(".")[0] for name in listing(Path("out"))} == {"cat"}
    assert len(listing(Path("out"))) == 3
    complete(Path("out"), "cat")


@pytest.mark.parametrize("moment", ["open_model", "explain_photo"])
def test_ctrl_c_at_any_time_exits_with_130(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(explain, moment, interrupt)
    answer = scorecam("explain", "cat.png", *options())

    assert answer.code == 130
    assert "interrupted" in answer.err


def test_ctrl_c_while_saving_leaves_no_half_written_file(monkeypatch: pytest.MonkeyPatch) -> None:
    save = package.ScoreBank.save

    def save_and_interrupt(bank: package.ScoreBank, path: str | os.PathLike[str]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", _interrupted)
            save(bank, path)

    monkeypatch.setattr(package.ScoreBank, "save", save_and_interrupt)
    answer = scorecam("explain", "cat.png", *options(), "--target", "0", "--json")

    assert answer.code == 130
    assert listing(Path("out")) <= {"cat.tabby.png"}
    assert answer.items == []


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_full_disk_keeps_results_and_leaves_no_partial_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = Image.Image.save
    room = iter(range(3))  # for two small pictures of the first photo, and no more

    def save_while_there_is_room(picture: Image.Image, file: Any, *rest: Any, **more: Any) -> None:
        if isinstance(file, Path) and next(room, None) is None:
            file.write_bytes(b"\x89PNG and so")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(picture, file, *rest, **more)

    monkeypatch.setattr(Image.Image, "save", save_while_there_is_room)
    words = ["--target", "0", "--target", "1", "--json"]
    answer = scorecam("explain", "cat.png", "dog.png", *options(), *words)

    assert answer.code == 1
    assert [item.get("failure", {}).get("kind") for item in answer.items] == [
        None,
        None,
        "OutputError",
    ]
    paragraph(answer, "No space left on device", "full")
    assert not [name for name in listing(Path("out")) if name.startswith(".")]
    for name in listing(Path("out")):
        if name.endswith(".png"):
            assert whole(Path("out") / name)


def test_a_folder_that_cannot_be_created_is_refused_at_once() -> None:
    for out in ("cat.png", "cat.png/deeper"):
        answer = scorecam("explain", "dog.png", *options(), "--out", out)

        refused(answer, "cat.png", "Could not write", "--out")
    assert sum(len(spy.seen) for spy in toy_models.SPIES) == 0


def test_an_internal_error_is_one_paragraph_a_log_and_exit_70(
    photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the innermost of bugs")

    monkeypatch.setattr(saving, "explanation_item", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(photo_folder))
    answer = scorecam("explain", "cat.png", *options(), "--json")
    [log] = photo_folder.glob("scorecam-*.log")

    assert answer.code == 70
    paragraph(answer, "our fault", "report", str(log))
    assert len(answer.err.splitlines()) == 1
    assert "the innermost of bugs" in log.read_text("utf-8")
    assert "Traceback" in log.read_text("utf-8")


def test_an_internal_error_in_the_second_photo_keeps_the_first(
    photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain = package.explain

    def broken_for_dogs(model: Any, image: str, *rest: Any, **more: Any) -> Any:
        if image == "dog.png":
            raise ZeroDivisionError
        return explain(model, image, *rest, **more)

    monkeypatch.setattr(package, "explain", broken_for_dogs)
    monkeypatch.setattr(tempfile, "tempdir", str(photo_folder))
    answer = scorecam("explain", "cat.png", "dog.png", *options())

    assert answer.code == 70
    complete(Path("out"), "cat")
