"""Foreign files must be regular and limited in size; others are refused with an error."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from scorecam.errors import DatasetError
from scorecam.io.reading import Kind, check_file, parse_json, read_bytes, read_json, read_text

LIST = Kind("a list of photos", 100, DatasetError)


def test_a_file_of_the_largest_size_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(b"x" * 100)
    assert read_bytes(file, LIST) == b"x" * 100
    check_file(file, LIST)


@pytest.mark.parametrize("read", [read_bytes, read_text, read_json, check_file])
@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("large", "larger than 100 bytes"),
        ("absent", "There is no file"),
        ("folder", "is a folder"),
        ("pipe", "not a regular file"),
        ("large/inside", "There is no file"),
        ("nul\0", "cannot be read"),
        ("lone \ud800 surrogate", "cannot be read"),
        ("long" * 2000, "cannot be read"),
    ],
)
def test_only_regular_files_of_limited_size_are_read(tmp_path, read, name, phrase) -> None:
    (tmp_path / "large").write_bytes(b"x" * 101)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatasetError, match=phrase):
        read(f"{tmp_path}/{name}", LIST)


def test_devices_are_refused_without_reading_them() -> None:
    with pytest.raises(DatasetError, match="device"):
        read_bytes("/dev/zero", LIST)


def test_a_small_file_needs_little_memory_despite_a_large_limit(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(b"x" * 100)
    tracemalloc.start()
    try:
        read_bytes(file, Kind("a list of photos", 2**31, DatasetError))
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch) -> None:
    file = tmp_path / "growing"
    file.write_bytes(b"x" * 500)
    small = tmp_path / "small"
    small.write_bytes(b"")
    before = small.stat()
    monkeypatch.setattr(os, "fstat", lambda _handle: before)
    with pytest.raises(DatasetError, match="larger than 100 bytes"):
        read_bytes(file, LIST)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "1" * 5000, "", "nul"])
def test_damaged_json_raises_the_error_of_its_kind(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any ValueError is the promise
        parse_json(text)


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes("Käse".encode("latin-1"))
    with pytest.raises(DatasetError, match="not text in UTF-8"):
        read_text(file, LIST)
