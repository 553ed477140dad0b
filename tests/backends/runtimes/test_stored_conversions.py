"""Conversions on disk: used by later processes, and only for the network that was converted."""

from __future__ import annotations

import copy
import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.backends.runtimes import openvino, openvino_files, stored, stored_files
from scorecam.backends.runtimes.state import read_state
from stand_in_runtime import bank, distance, ran

pytestmark = pytest.mark.needs("openvino")

CLASSES = 300


class Wide(nn.Module):
    """A network with a large weight that conversions share, and others that are folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, stride=2)
        self.norm = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.classes = nn.Linear(16, CLASSES)
        self.norm.running_mean = 0.1 * torch.randn(16)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.relu(self.norm(self.conv(images))).mean((2, 3)))


def wide() -> Wide:
    torch.manual_seed(0)
    return Wide().eval()


IMAGE = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(1))


class Spy:
    """Counts conversions, and loaded ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.converted = self.loaded = 0
        self._convert, self._load = openvino.converted, openvino.loaded
        monkeypatch.setattr(openvino, "converted", self._counting_convert)
        monkeypatch.setattr(openvino, "loaded", self._counting_load)

    def _counting_convert(self, *given: Any) -> Any:
        self.converted += 1
        return self._convert(*given)

    def _counting_load(self, *given: Any) -> Any:
        known = self._load(*given)
        self.loaded += known is not None
        return known

    @property
    def counts(self) -> tuple[int, int]:
        return self.converted, self.loaded


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of conversions, which are kept in this test."""
    monkeypatch.setenv("SCORECAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SCORECAM_CACHE_SIZE", "100MiB")
    return tmp_path / "cache" / "conversions"


@pytest.fixture
def spy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Spy:
    assert not folder.exists()
    return Spy(monkeypatch)


def explained(network: nn.Module, image: Tensor = IMAGE, **settings: Any) -> scorecam.ScoreBank:
    """The bank of a network that this process has not seen yet; OpenVINO made it."""
    result = bank(copy.deepcopy(network), image, "relu", **({"runtime": "openvino"} | settings))
    assert ran(result)[0] == "openvino", ran(result)
    return result


def only_file(folder: Path) -> Path:
    [file] = folder.iterdir()
    return file


# ── in another process ───────────────────────────────────────────────────────────────────────

CHILD = """
import sys, torch
sys.path[:0] = {paths!r}
import test_stored_conversions as tests
made = []
convert = tests.openvino.converted
tests.openvino.converted = lambda *given: made.append(1) or convert(*given)
torch.set_num_threads(1)
bank = tests.explained(tests.wide())
print(len(made), float(bank.heatmap(7).double().sum()))
"""


def child(code: str, seed: int) -> subprocess.Popen[str]:
    tests = Path(__file__).parents[2]
    paths = [str(Path(__file__).parent), str(tests / "helpers")]
    return subprocess.Popen(
        [sys.executable, "-c", code.format(paths=paths)],
        env=os.environ | {"PYTHONHASHSEED": str(seed)},
        stdout=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> list[str]:
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return printed.split()


@pytest.mark.usefixtures("folder")
def test_a_second_process_converts_nothing_and_gives_the_same_map() -> None:
    first, second = (output(child(CHILD, seed)) for seed in (1, 2))
    assert (first[0], second[0]) == ("1", "0")
    assert first[1] == second[1]


def test_two_processes_at_once_both_get_the_map(folder: Path) -> None:
    processes = [child(CHILD, seed) for seed in (1, 2)]
    maps = {output(process)[1] for process in processes}
    assert len(maps) == 1
    assert only_file(folder).suffix == ".conversion"


DIGESTS = """
import sys
sys.path[:0] = {paths!r}
import test_stored_conversions as tests
for digest in tests.digests():
    print(digest.hex())
"""


def digests() -> list[bytes]:
    """Of states with attributes, globals, classes and functions of every ordinary kind."""
    network: Any = wide()
    network.names = {"b", "a", "c"}
    network.table = {"x": [1.5, (2, "y")], "kind": Wide, "type": torch.float16}

    def readout(output: Tensor) -> Tensor:
        return output[:, : len(SETTINGS["names"])] if "d" not in {"a", "d", "b"} else output

    result = [read_state(network, target).digest() for target in (None, readout, max)]
    assert None not in result
    return [digest for digest in result if digest is not None]


SETTINGS = {"names": frozenset({"one", "two", "three"})}


def test_the_digest_of_a_state_is_the_same_in_every_process() -> None:
    first, second = (output(child(DIGESTS, seed)) for seed in (1, 2))
    assert first == second
    assert len(set(first)) == 3


def test_classes_of_the_same_name_have_a_digest_only_if_they_are_equal() -> None:
    def scaling(factor: float) -> nn.Module:
        class Scaling(nn.Module):
            factor_of_all = factor

            def forward(self, x: Tensor) -> Tensor:
                return x * self.factor_of_all

        return Scaling()

    assert read_state(nn.Sequential(scaling(2), scaling(2)), None).digest() is not None
    assert read_state(nn.Sequential(scaling(2), scaling(3)), None).digest() is None


# ── the same network ─────────────────────────────────────────────────────────────────────────


def test_an_equal_network_is_loaded_with_its_large_weights_left_out(folder: Path, spy: Spy) -> None:
    first, second = explained(wide()), explained(wide())
    assert spy.counts == (1, 1)
    assert torch.equal(first.scores, second.scores)
    weights = wide().classes.weight.detach().numpy().tobytes()
    assert weights[:64] not in only_file(folder).read_bytes()


def test_precisions_and_thread_counts_share_one_stored_model(folder: Path, spy: Spy) -> None:
    plain = explained(wide())
    half = explained(wide(), precision="bfloat16")
    assert ran(half)[:2] == ("openvino", "bfloat16")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        explained(wide())
    finally:
        torch.set_num_threads(threads)
    assert spy.counts == (1, 2)
    assert not torch.equal(plain.scores, half.scores)
    assert only_file(folder)


def test_auto_loads_a_stored_conversion_for_the_first_photo(spy: Spy) -> None:
    """In these tests a conversion never pays off by itself. Which one is used depends on time."""
    network = wide()
    bank(copy.deepcopy(network), IMAGE, "relu", runtime="auto")
    assert spy.counts == (0, 0)
    explained(network)
    bank(copy.deepcopy(network), IMAGE, "relu", runtime="auto")
    assert spy.counts == (1, 1)


def test_a_loaded_conversion_is_probed(spy: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    explained(wide())
    compiled = openvino.compiled

    def wrong(*given: Any) -> Callable[[Tensor], Tensor]:
        run = compiled(*given)
        return lambda images: run(images.flip(-1).abs().sqrt())

    monkeypatch.setattr(openvino, "compiled", wrong)
    runtime, _, remarks = ran(bank(wide(), IMAGE, "relu", runtime="openvino"))
    assert spy.counts == (1, 1)
    assert runtime == "eager"
    assert "moves the heatmap" in remarks[0]


# ── another network ──────────────────────────────────────────────────────────────────────────


def changed(change: Callable[[Wide], object]) -> Callable[[], scorecam.ScoreBank]:
    def run() -> scorecam.ScoreBank:
        network = wide()
        with torch.no_grad():
            change(network)
        return explained(network)

    return run


CHANGES: dict[str, Callable[[], scorecam.ScoreBank]] = {
    "a folded weight": changed(lambda network: network.conv.weight[3, 1, 0, 0].add_(0.1)),
    "a weight that is left out": changed(lambda network: network.classes.weight[7].neg_()),
    "a buffer": changed(lambda network: network.norm.running_mean.add_(0.5)),
    "a module": changed(lambda network: setattr(network, "relu", nn.ReLU6())),
    "the size": lambda: explained(wide(), torch.rand(3, 30, 24)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_network_or_size_is_converted(
    change: Callable[[], scorecam.ScoreBank], spy: Spy
) -> None:
    explained(wide())
    change()
    assert spy.counts == (2, 0)


def test_another_readout_is_converted(spy: Spy) -> None:
    for target in (lambda output: output[:, 5], lambda output: output[:, 6]):
        scorecam.explain(wide(), IMAGE, target, layer="relu", runtime="openvino")
    assert spy.counts == (2, 0)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (stored, "FORMAT", stored.FORMAT + 1),
        (torch, "__version__", "9.9"),
        (metadata, "version", lambda package: f"{package} 9.9"),
        (stored.platform, "python_version", lambda: "9.9"),
        (torch.backends.cpu, "get_cpu_capability", lambda: "another"),
    ],
    ids=["format", "torch", "openvino", "python", "processor"],
)
def test_an_entry_of_another_version_or_processor_is_not_used(
    module: Any, name: str, value: Any, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained(wide())
    monkeypatch.setattr(module, name, value)
    explained(wide())
    assert spy.counts == (2, 0)


def test_weights_with_the_same_checksums_are_told_apart(folder: Path, spy: Spy) -> None:
    explained(wide())
    other = wide()
    other.conv.weight.data.neg_()
    place = stored.Slot(scorecam.open_model(other), only_file(folder).name, (8, 3, 24, 24))
    with pytest.raises(ValueError, match="other weights"):
        place.load()
    assert spy.counts == (1, 0)


class Counts(Wide):
    """It reads the clock of its process, which its state cannot show."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (1 + len(os.environ["PATH"]))


def test_a_network_that_cannot_be_read_whole_is_not_stored(folder: Path, spy: Spy) -> None:
    torch.manual_seed(0)
    explained(Counts().eval())
    assert spy.counts == (1, 0)
    assert not folder.exists()


# ── damaged and foreign files ────────────────────────────────────────────────────────────────


def flip(place: float) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        at = int(place * (len(content) - 1))
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return damage


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a bit of the weights": flip(0.001),
    "a bit of the graph": flip(0.5),
    "a bit of the description": flip(0.99),
    "a bit of the checksum": flip(1),
    "half a file": lambda content: content[: len(content) // 2],
    "an empty file": lambda _: b"",
    "a longer file": lambda content: content + b"more",
    "a picture": lambda _: b"\x89PNG" + bytes(1000),
    "nothing but an end": lambda _: stored._END.pack(b"scorecam", 0, 0, 0, 0),
    "immense sizes": lambda content: content + stored._END.pack(b"scorecam", 1 << 63, 1, 1, 0),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_made_again(
    damage: Callable[[bytes], bytes], folder: Path, spy: Spy
) -> None:
    first = explained(wide())
    file = only_file(folder)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    reading = pytest.MonkeyPatch()
    reading.setattr(openvino_files, "read", lambda *_given: pytest.fail("OpenVINO saw it"))
    second = explained(wide())
    reading.undo()
    assert spy.counts == (2, 0)
    assert distance(first, second) == 0
    explained(wide())
    assert spy.counts == (2, 1)


def test_a_file_of_another_network_under_this_name_is_made_again(folder: Path, spy: Spy) -> None:
    explained(wide())
    mine = only_file(folder)
    other = wide()
    other.conv.weight.data.neg_()
    explained(other)
    [theirs] = set(folder.iterdir()) - {mine}
    shutil.copy(theirs, mine)
    explained(wide())
    assert spy.counts == (3, 0)


def test_an_intact_file_that_openvino_refuses_is_made_again(folder: Path, spy: Spy) -> None:
    network = wide()
    explained(network)
    place = stored.Slot(scorecam.open_model(network), only_file(folder).name, (8, 3, 24, 24))

    def write(path: Path) -> tuple[bytes, list[str]]:
        path.touch()
        return b"<net/>", []

    place.save(write, expected=0)
    explained(wide())
    assert spy.counts == (2, 0)


# ── whose file it is ─────────────────────────────────────────────────────────────────────────


def test_only_this_user_can_read_the_folder_and_its_files(folder: Path, spy: Spy) -> None:
    umask = os.umask(0)
    try:
        explained(wide())
    finally:
        os.umask(umask)
    assert spy.counts == (1, 0)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(only_file(folder).stat().st_mode) == 0o600


def test_a_file_that_others_can_write_is_made_again(folder: Path, spy: Spy) -> None:
    explained(wide())
    only_file(folder).chmod(0o620)
    explained(wide())
    assert spy.counts == (2, 0)
    assert stat.S_IMODE(only_file(folder).stat().st_mode) == 0o600


def test_a_link_is_made_again_as_a_file(folder: Path, spy: Spy, tmp_path: Path) -> None:
    explained(wide())
    file = only_file(folder)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    explained(wide())
    assert spy.counts == (2, 0)
    assert not file.is_symlink()


def test_a_folder_that_others_can_write_is_not_used(folder: Path, spy: Spy) -> None:
    explained(wide())
    folder.chmod(0o777)
    before = only_file(folder).stat().st_mtime_ns
    explained(wide())
    assert spy.counts == (2, 0)
    assert only_file(folder).stat().st_mtime_ns == before


def test_a_folder_of_another_user_is_not_used(spy: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    explained(wide())
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    explained(wide())
    assert spy.counts == (2, 0)
    assert "another user" in stored_files.why_unused()


# ── room ─────────────────────────────────────────────────────────────────────────────────────


def of_size(count: int, *, folder: Path) -> list[str]:
    """Store files of 1,000 bytes, each used later than the one before; returns their names."""
    names = [f"{i}{stored_files.ENDING}" for i in range(count)]
    for i, name in enumerate(names):
        with stored_files.writing(name, 1000) as path:
            assert path is not None
            path.write_bytes(bytes(1000))
        if (folder / name).exists():
            os.utime(folder / name, (i, i))
    return names


def test_the_file_that_was_not_used_for_the_longest_time_makes_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCORECAM_CACHE_SIZE", "3000")
    names = of_size(3, folder=folder)
    reader = stored_files.read(names[1])
    stored_files.note_use(names[0])
    with stored_files.writing(f"new{stored_files.ENDING}", 1000) as path:
        assert path is not None
        path.write_bytes(bytes(1000))
    left = {file.name for file in folder.iterdir()}
    assert left == {names[0], names[2], f"new{stored_files.ENDING}"}
    assert reader[:] == bytes(1000), "a reader keeps a file that was removed"


def test_a_file_larger_than_the_limit_is_not_kept(folder: Path) -> None:
    with stored_files.writing(f"x{stored_files.ENDING}", 200 << 20) as path:
        assert path is None
    assert not folder.exists()


def test_a_loaded_conversion_counts_as_used(folder: Path, spy: Spy) -> None:
    explained(wide())
    os.utime(only_file(folder), (0, 0))
    explained(wide())
    assert spy.counts == (1, 1)
    assert only_file(folder).stat().st_mtime > 0


@pytest.mark.parametrize("failure", ["full disk", "no space left", "a file", "off", "unset home"])
def test_without_room_or_folder_nothing_is_kept_and_nothing_fails(
    failure: str, folder: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if failure == "full disk":
        monkeypatch.setattr(openvino_files, "write", full)
    elif failure == "no space left":
        free = shutil._ntuple_diskusage(100, 99, 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    elif failure == "a file":
        folder.parent.write_text("not a folder")
    elif failure == "off":
        monkeypatch.setenv("SCORECAM_CACHE_SIZE", "0")
    else:
        monkeypatch.delenv("SCORECAM_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

        def unknown(_kind: type[Path]) -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", classmethod(unknown))
    for _ in range(2):
        explained(wide())
    assert spy.counts == (2, 0)
    assert not folder.is_dir() or not list(folder.iterdir())
    if failure in ("a file", "off", "unset home"):
        assert stored_files.why_unused()


def test_leftovers_of_killed_processes_are_removed(folder: Path) -> None:
    old, young = (folder / f"{stored_files._WRITING}{name}" for name in ("old", "young"))
    for left in (old, young):
        left.mkdir(parents=True)
        (left / "file").write_bytes(bytes(10))
    folder.chmod(0o700)
    os.utime(old, (0, 0))
    of_size(1, folder=folder)
    assert not old.exists()
    assert young.exists()


def test_clear_removes_only_conversions(folder: Path, spy: Spy) -> None:
    explained(wide())
    size = only_file(folder).stat().st_size
    (folder / "notes.txt").write_text("mine")
    assert stored_files.clear() == (1, size)
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]
    assert spy.counts == (1, 0)
