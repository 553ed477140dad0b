"""Writing files: permissions, atomic replacement, refused places and leftover files."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scorecam import OutputError
from scorecam.io import files
from scorecam.io.files import create_text, replacing, sweep, together, write_bytes, write_text


def hidden_files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def test_the_file_is_synced_before_the_rename_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, replace = os.fsync, os.replace

    def logged_sync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        order.append(f"sync {path.relative_to(tmp_path.parent)}" if path.is_dir() else "sync file")
        sync(handle)

    def logged_replace(one: Path, other: Path) -> None:
        order.append("rename")
        replace(one, other)

    monkeypatch.setattr(os, "fsync", logged_sync)
    monkeypatch.setattr(os, "replace", logged_replace)
    write_text(tmp_path / "new" / "file.txt", "whole")
    name = tmp_path.name
    assert order == ["sync file", "rename", f"sync {name}", f"sync {name}/new"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_new_files_have_the_permissions_set_by_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file", "text")
        (tmp_path / "twin").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "twin").stat().st_mode


def test_writing_does_not_change_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    umask_calls: list[int] = []
    monkeypatch.setattr(os, "umask", umask_calls.append)
    threads = [
        threading.Thread(target=write_text, args=(tmp_path / str(number), "text"))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert umask_calls == []
    assert len(list(tmp_path.iterdir())) == 8


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


def a_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def a_socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


def a_link_to_a_device(path: Path) -> Path:
    path.symlink_to("/dev/null")
    return path


def below_a_file(path: Path) -> Path:
    path.touch()
    return path / "file"


def below_a_broken_link(path: Path) -> Path:
    path.symlink_to(path.with_name("nowhere"))
    return path / "file"


def below_a_link_to_itself(path: Path) -> Path:
    path.symlink_to(path)
    return path / "file"


def too_long(path: Path) -> Path:
    return path / ("x" * 300)


def with_nul(path: Path) -> Path:
    return path / "a\0b"


def with_a_surrogate(path: Path) -> Path:
    return path / "a\ud800b"


INVALID_PATHS = (
    a_folder, a_pipe, a_socket, a_link_to_a_device, below_a_file, below_a_broken_link,
    below_a_link_to_itself, too_long, with_nul, with_a_surrogate,
)  # fmt: skip


@pytest.mark.parametrize("make", INVALID_PATHS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("write", [write_text, create_text])
def test_an_impossible_path_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], write: Callable[[Path, str], object]
) -> None:
    path = make(tmp_path / "path")
    with pytest.raises(OutputError, match="Could not write") as caught:
        write(path, "text")
    assert len(str(caught.value)) < 900  # it quotes a name of 300 characters
    assert caught.value.do
    assert hidden_files(tmp_path) == []


def test_a_link_is_replaced_and_its_target_is_kept(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("target", "utf-8")
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text("utf-8") == "target"
    assert (tmp_path / "link").read_text("utf-8") == "new"


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link" / "deep" / "file", "text")
    assert (tmp_path / "real" / "deep" / "file").read_text("utf-8") == "text"


def test_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old", "utf-8")

    def write(*, fail: bool) -> None:
        with together() as batch:
            for name in ("old", "new"):
                with batch.replacing(tmp_path / name) as temporary:
                    temporary.write_text("written", "utf-8")
            if fail:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(fail=True)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text("utf-8") == "old"
    write(fail=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_only_one_of_several_threads_creates_a_file(tmp_path: Path) -> None:
    created: list[str] = []

    def create(name: str) -> None:
        if create_text(tmp_path / "file", name):
            created.append(name)

    threads = [threading.Thread(target=create, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert created == [(tmp_path / "file").read_text("utf-8")]
    assert hidden_files(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_is_created_if_hard_links_are_not_supported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    assert create_text(tmp_path / "file", "one")
    assert not create_text(tmp_path / "file", "two")
    assert (tmp_path / "file").read_text("utf-8") == "one"


def test_a_file_is_written_if_fsync_is_not_supported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(_: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", sync)
    write_bytes(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


# ── leftover temporary files ─────────────────────────────────────────────────────────────────

KILLED = """
import os, sys
from scorecam.io.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_only_leftover_files_of_dead_processes_are_removed(
    tmp_path: Path,
) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "file")], check=False)
    [leftover] = tmp_path.iterdir()
    with replacing(tmp_path / "other") as in_use:
        sweep(tmp_path.iterdir())
        assert not leftover.exists()
        assert in_use.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_leftover_files_of_other_hosts_are_removed_by_age(tmp_path: Path) -> None:
    from_other_host = [tmp_path / f".file-01234567.1.{number:08x}.tmp" for number in range(2)]
    foreign = [tmp_path / ".config-abcdefgh", tmp_path / ".tmp", tmp_path / "x.tmp"]
    for file in (*from_other_host, *foreign):
        file.touch()
    for file in (from_other_host[0], *foreign):
        os.utime(file, (time.time() - 2 * files.STALE,) * 2)
    sweep(tmp_path.iterdir())
    assert sorted(tmp_path.iterdir()) == sorted([from_other_host[1], *foreign])


def test_a_link_named_like_a_leftover_file_is_kept(tmp_path: Path) -> None:
    name = f".file-{files._host()}.999999999.00000000.tmp"
    (tmp_path / name).symlink_to("target")
    sweep(tmp_path.iterdir())
    assert (tmp_path / name).is_symlink()
