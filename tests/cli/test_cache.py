"""`scorecam cache` shows and removes the converted networks that are kept on disk."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import options, scorecam
from scorecam.backends.runtimes import stored_files

pytestmark = pytest.mark.usefixtures("photo_folder")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SCORECAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SCORECAM_CACHE_SIZE", "30MiB")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield tmp_path / "cache" / "conversions"
    monkeypatch.undo()
    time.tzset()


def store(folder: Path, name: str, used: int) -> None:
    with stored_files.writing(f"{name}.conversion", 1 << 20) as path:
        assert path is not None
        path.write_bytes(bytes(1 << 20))
    os.utime(folder / f"{name}.conversion", (used, used))


def test_cache_shows_the_folder_the_limit_and_the_last_used_first(folder: Path) -> None:
    store(folder, "older", 86_400)
    store(folder, "newer", 172_800)
    answer = scorecam("cache")

    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        f"folder    {folder}",
        "limit     30.0 MiB",
        "networks  2, 2.0 MiB",
        "   1.0 MiB  1970-01-03 00:00+00:00  damaged",
        "   1.0 MiB  1970-01-02 00:00+00:00  damaged",
    ]


@pytest.mark.needs("openvino")
def test_cache_names_the_network_of_a_stored_conversion(folder: Path) -> None:
    words = [*options(), "--runtime", "openvino", "--out", "out"]
    assert scorecam("explain", "cat.png", *words).code == 0
    [item] = scorecam("cache", "--json").items

    assert item["network"] == "Spy, batches of 8 × 3 × 16 × 16"
    assert Path(item["file"]).parent == folder
    assert item["bytes"] == Path(item["file"]).stat().st_size
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d\+00:00", item["used"])


def test_cache_clear_removes_the_networks_and_says_how_many(folder: Path) -> None:
    store(folder, "one", 0)
    answer = scorecam("cache", "--clear", "--json")

    assert answer.code == 0
    assert answer.items == []
    assert answer.err == "1 converted network removed (1.0 MiB).\n"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ("0", "SCORECAM_CACHE_SIZE is 0"),
        ("lots", "SCORECAM_CACHE_SIZE is 'lots', which is not an amount such as 500MiB"),
    ],
)
def test_cache_says_why_nothing_is_kept(
    size: str, reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCORECAM_CACHE_SIZE", size)
    answer = scorecam("cache")

    assert answer.code == 0
    assert answer.err == f"No converted networks are kept: {reason}.\n"
    assert not folder.exists()
