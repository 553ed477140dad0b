"""The command keeps freed memory; the library changes nothing."""

from __future__ import annotations

import ctypes

import pytest

from scorecam.cli import freed_memory


class Library:
    """Records the settings that a C library gets."""

    def __init__(self) -> None:
        self.set: list[tuple[int, int]] = []

    def gnu_get_libc_version(self) -> bytes:
        return b"2.36"

    def mallopt(self, name: int, value: int) -> int:
        self.set.append((name, value))
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    for name in list(freed_memory.os.environ):
        if name.startswith(freed_memory.OWN):
            monkeypatch.delenv(name)
    return library


def test_the_command_keeps_freed_memory_of_glibc(library: Library) -> None:
    freed_memory.keep_freed_memory()
    assert library.set == [(-3, 2**30), (-1, 2**30)]


def test_a_setting_of_the_user_stays(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    freed_memory.keep_freed_memory()
    assert library.set == []


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(freed_memory.os.environ):
        if name.startswith(freed_memory.OWN):
            monkeypatch.delenv(name)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    freed_memory.keep_freed_memory()
