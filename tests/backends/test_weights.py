"""Weights from files: matching weights are loaded, others are explained, and no code runs."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import scorecam
import toy_models
from command_line import options, refused, shell_environment
from command_line import scorecam as command
from scorecam.errors import ModelError, SettingError, WeightsError
from scorecam.testing import Regions, regions

State = dict[str, Tensor]

SHOWN = regions((4, 2, 1), 3, 5)


def small(classes: int = 5, seed: int = 0) -> nn.Sequential:
    """A network with a batch norm, and so with buffers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, classes),
        )
        network[1].running_mean = torch.randn(6)
    return network.eval()


def trained() -> State:
    """Weights of another seed, as a file should contain."""
    return small(seed=1).state_dict()


def scores_of(model: scorecam.Model) -> Tensor:
    return scorecam.ScoreCAM(model, "2").bank(SHOWN).image_scores


def opened(file: Path, network: nn.Module | None = None) -> scorecam.Model:
    return scorecam.open_model(small() if network is None else network, weights=file)


def wrong(file: Path, *phrases: str, network: nn.Module | None = None) -> WeightsError:
    """The file is refused in one short printable paragraph that contains all `phrases`."""
    with pytest.raises(WeightsError) as caught:
        opened(file, network)
    message = str(caught.value)
    assert message.isprintable(), f"more than one line, or control characters: {message!r}"
    assert len(message) < 1000
    assert caught.value.likely or caught.value.do
    for phrase in phrases:
        assert phrase in message
    return caught.value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.pt"


# ── files that fit ───────────────────────────────────────────────────────────────────────────


def under(*keys: str, state: State) -> dict[str, Any]:
    """A checkpoint with its weights under these keys, and the usual other entries."""
    for key in reversed(keys):
        parameters = list(small().parameters())
        optimiser = torch.optim.Adam(parameters)
        parameters[0].grad = torch.ones_like(parameters[0])
        optimiser.step()
        others = {
            "epoch": 12,
            "optimizer": optimiser.state_dict(),
            "best": 0.93,
            "loss": torch.tensor(0.3),
        }
        state = {"args": {"lr": 0.1, "resume": None}} | others | {key: state}
    return state


def named(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


CHECKPOINTS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "state_dict": lambda state: under("state_dict", state=state),
    "model": lambda state: under("model", state=state),
    "model_state_dict": lambda state: under("model_state_dict", state=state),
    "ema": lambda state: under("ema", state=state),
    "a checkpoint in a checkpoint": lambda state: under("model", "state_dict", state=state),
    "DataParallel": lambda state: named("module.", state),
    "torch.compile": lambda state: named("_orig_mod.", state),
    "Lightning": lambda state: under("state_dict", state=named("model.", state)),
    "both": lambda state: named("module._orig_mod.", state),
    "both, the other way": lambda state: named("_orig_mod.module.", state),
    "state_dict of DataParallel": lambda state: under("state_dict", state=named("module.", state)),
    "parameters": lambda state: {
        name: nn.Parameter(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    },
    "double precision": lambda state: {name: tensor.double() for name, tensor in state.items()},
    "without counts of batches": lambda state: {
        name: tensor for name, tensor in state.items() if "num_batches" not in name
    },
}


@pytest.mark.parametrize("pack", CHECKPOINTS.values(), ids=CHECKPOINTS)
@pytest.mark.parametrize("format_", ["zip", "legacy"])
def test_a_checkpoint_is_unwrapped(pack: Callable[[State], Any], format_: str, file: Path) -> None:
    torch.save(pack(trained()), file, _use_new_zipfile_serialization=format_ == "zip")
    truth = scores_of(scorecam.open_model(small(seed=1)))
    assert not torch.allclose(truth, scores_of(scorecam.open_model(small())))
    assert torch.equal(scores_of(opened(file)), truth)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model."])
def test_safetensors_are_read(prefix: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(named(prefix, trained()), file)
    truth = scores_of(scorecam.open_model(small(seed=1)))
    assert torch.equal(scores_of(opened(file)), truth)
    assert torch.equal(scores_of(scorecam.open_model(small(), weights=str(file))), truth)


def test_averaged_weights_are_read(file: Path) -> None:
    """As torch's averaging saves them: with a count."""
    averaged = torch.optim.swa_utils.AveragedModel(small(seed=1))
    torch.save({"ema": averaged.state_dict(), "epoch": 3}, file)
    assert torch.equal(scores_of(opened(file)), scores_of(scorecam.open_model(small(seed=1))))


def test_a_removed_prefix_is_remarked(file: Path) -> None:
    torch.save(named("module.", trained()), file)
    [remark] = opened(file).remarks
    assert "'module.'" in remark
    torch.save(named("module._orig_mod.", trained()), file)
    [remark] = opened(file).remarks
    assert "'module._orig_mod.'" in remark
    torch.save(trained(), file)
    assert opened(file).remarks == ()


def test_a_prefix_that_belongs_to_the_network_stays(file: Path) -> None:
    class Wrapper(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.model = small(seed=seed)

        def forward(self, images: Tensor) -> Tensor:
            return self.model(images)

    torch.save(Wrapper(1).state_dict(), file)
    model = opened(file, Wrapper(0))
    assert model.remarks == ()
    result = scorecam.ScoreCAM(model, "model.2").bank(SHOWN).image_scores
    assert torch.equal(result, scores_of(scorecam.open_model(small(seed=1))))


# ── the number of classes ────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["weights.pt", "weights.safetensors"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def save(state: State, file: Path) -> None:
    if file.suffix == ".safetensors":
        safetensors.torch.save_file(state, file)
    else:
        torch.save(state, file)


@pytest.mark.needs("torchvision")
class TestTorchvision:
    @pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "shufflenet_v2_x0_5"])
    def test_the_class_count_follows_the_classifier_with_a_remark(
        self, name: str, either: Path
    ) -> None:
        from torchvision import models

        save(models.get_model(name, weights=None, num_classes=7).state_dict(), either)
        model = scorecam.open_model(f"torchvision:{name}", weights=either)
        assert model.names is None
        assert any("7 classes" in remark for remark in model.remarks)
        assert model.scores(torch.zeros(1, 3, 64, 64)).shape == (1, 7)

    def test_a_thousand_classes_get_the_imagenet_names(self, either: Path) -> None:
        from torchvision import models

        save(models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), either)
        model = scorecam.open_model("torchvision:shufflenet_v2_x0_5", weights=either)
        [remark] = model.remarks  # the file name does not say which weights these are
        assert "preprocess" in remark
        assert model.names is not None
        assert model.names[0] == "tench"

    def test_labels_name_the_detected_classes(self, file: Path) -> None:
        from torchvision import models

        save(models.get_model("squeezenet1_1", weights=None, num_classes=3).state_dict(), file)
        model = scorecam.open_model(
            "torchvision:squeezenet1_1", weights=file, labels=["ant", "bee", "cat"]
        )
        bank = scorecam.ScoreCAM(model).bank(torch.randn(3, 64, 64))
        assert bank.names == ("ant", "bee", "cat")

    def test_another_architecture_is_refused(self, file: Path) -> None:
        from torchvision import models

        save(models.get_model("squeezenet1_1", weights=None).state_dict(), file)
        with pytest.raises(WeightsError, match="another architecture") as error:
            scorecam.open_model("torchvision:shufflenet_v2_x0_5", weights=file)
        assert len(str(error.value)) < 600

    def test_random_weights_get_a_remark(self) -> None:
        model = scorecam.open_model("torchvision:squeezenet1_1", weights="random")
        assert any("untrained" in remark for remark in model.remarks)


@pytest.mark.needs("demo")
def test_the_class_count_of_a_lite_network_follows_the_classifier(either: Path) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    state = EfficientNet.from_name("efficientnet-lite0", num_classes=7).state_dict()
    save(named("module.", state), either)
    model = scorecam.open_model("lite0", weights=either)
    assert any("7 classes" in remark for remark in model.remarks)
    assert any("'module.'" in remark for remark in model.remarks)
    assert model.names is None
    assert model.preprocess is not None
    assert model.scores(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


# ── files that do not fit ────────────────────────────────────────────────────────────────────


def test_a_missing_tensor_is_named(file: Path) -> None:
    state = trained()
    del state["1.running_mean"]
    torch.save(state, file)
    wrong(file, "1 missing: 1.running_mean")


def test_a_foreign_tensor_is_named(file: Path) -> None:
    torch.save(trained() | {"aux.weight": torch.zeros(2)}, file)
    wrong(file, "1 unknown: aux.weight")


def test_a_shape_mismatch_suggests_another_number_of_classes(file: Path) -> None:
    torch.save(small(classes=7).state_dict(), file)
    error = wrong(file, "2 with another shape", "5.weight ((7, 6) for (5, 6))")
    assert "another number of classes" in error.likely


def test_all_mismatches_are_listed_at_once(file: Path) -> None:
    state = trained() | {"head.bias": torch.zeros(2), "5.bias": torch.zeros(9)}
    del state["0.bias"]
    torch.save(state, file)
    wrong(file, "1 missing: 0.bias", "1 unknown: head.bias", "1 with another shape: 5.bias")


def test_another_architecture_gives_a_short_list_of_names(file: Path) -> None:
    torch.save({f"layers.{i}.attention.weight": torch.zeros(3) for i in range(500)}, file)
    error = wrong(file, "500 unknown", "and 497 more")
    assert "another architecture" in error.likely


@pytest.mark.parametrize(
    "name",
    ["a" * 100_000, "line\nscorecam: all is well", "\x1b[2J\x1b[31mred", "\u202egnp.exe", "\r\b"],
    ids=["long", "newline", "escape", "right to left", "carriage return"],
)
def test_a_hostile_name_cannot_flood_or_steer_the_terminal(name: str, file: Path) -> None:
    torch.save(trained() | {name: torch.zeros(1)}, file)
    wrong(file, "1 unknown")


ODD_TENSORS: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse": Tensor.to_sparse,
    "complex": lambda tensor: tensor.to(torch.complex64),
    "on no device": lambda tensor: tensor.to("meta"),
}


@pytest.mark.parametrize("change", ODD_TENSORS.values(), ids=ODD_TENSORS)
def test_tensors_that_cannot_be_weights_are_refused(
    change: Callable[[Tensor], Tensor], file: Path
) -> None:
    torch.save(trained() | {"0.weight": change(trained()["0.weight"])}, file)
    wrong(file, "0.weight")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_with_nan_are_refused_at_the_first_pass(value: float, file: Path) -> None:
    state = trained()
    state["5.weight"][2, 3] = value
    torch.save(state, file)
    with pytest.raises(ModelError, match="NaN or infinity") as error:
        scorecam.explain(opened(file), SHOWN)
    assert "weights" in str(error.value)


# ── files without weights ────────────────────────────────────────────────────────────────────


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    wrong(tmp_path / "nowhere.pt", "nowhere.pt", "no weights file")
    wrong(tmp_path, str(tmp_path), "not a weights file")


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors", "weights"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"PK\3\4", b"<!DOCTYPE html><html>Not found</html>", b"\x80\x04.", bytes(5000)],
    ids=["empty", "a byte", "start of a zip", "a page", "an empty pickle", "zeros"],
)
def test_anything_but_a_weights_file_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    wrong(tmp_path / name, name)


@pytest.mark.parametrize(
    "content",
    [{}, [], None, 3, "weights", {"epoch": 3}, {"state_dict": {}}, {"model": "resnet18"}, [1, {}]],
    ids=str,
)
def test_a_checkpoint_without_weights_is_refused(content: Any, file: Path) -> None:
    torch.save(content, file)
    wrong(file, "contains no weights", "save_file")


def test_safetensors_without_tensors_are_refused(
    tmp_path: Path,
) -> None:
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({}, file)
    wrong(file, "contains no weights")


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(kept: float, either: Path) -> None:
    save(trained(), either)
    content = either.read_bytes()
    either.write_bytes(content[: int(kept * len(content))])
    wrong(either, either.name, "truncated")


def headed(header: bytes, claimed: int | None = None, data: bytes = bytes(64)) -> bytes:
    """A safetensors file with this header, with the claimed length `claimed`."""
    return struct.pack("<Q", len(header) if claimed is None else claimed) + header + data


def described(**tensor: Any) -> bytes:
    return json.dumps(
        {"0.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | tensor}
    ).encode()


HEADERS = {
    "longer than the file": headed(described(), claimed=10_000),
    "the largest possible length": headed(described(), claimed=2**64 - 1),
    "a hundred million bytes": headed(described(), claimed=100_000_001),
    "not JSON": headed(b"{'0.weight': }"),
    "not UTF-8": headed(b"\xff\xfe{}"),
    "a list": headed(b"[]"),
    "a shape of 10^12": headed(described(shape=[10**12])),
    "a shape that overflows": headed(described(shape=[2**33, 2**33])),
    "a negative shape": headed(described(shape=[-4])),
    "offsets beyond the end": headed(described(data_offsets=[0, 10**15], shape=[25 * 10**13])),
    "offsets that run backwards": headed(described(data_offsets=[16, 0])),
    "an unknown type": headed(described(dtype="F31")),
    "nested too deep": headed(b"[" * 100_000),
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
@pytest.mark.timeout(20)
def test_an_absurd_safetensors_header_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    wrong(file, "weights.safetensors")


@pytest.mark.parametrize("format_", ["zip", "legacy", "safetensors"])
def test_any_damaged_file_is_read_or_refused(format_: str, tmp_path: Path) -> None:
    """Bytes overwritten at random, most of them in the header."""
    file = tmp_path / ("weights.safetensors" if format_ == "safetensors" else "weights.pt")
    if format_ == "safetensors":
        save(trained(), file)
    else:
        torch.save(trained(), file, _use_new_zipfile_serialization=format_ == "zip")
    sound = file.read_bytes()
    generator = torch.Generator().manual_seed(0)

    def below(limit: int) -> int:
        return int(torch.randint(limit, (), generator=generator))

    def refused_when_broken() -> bool:
        broken = bytearray(sound)
        for _ in range(1 + below(4)):
            broken[below(400 if below(2) else len(broken))] = below(256)
        file.write_bytes(broken)
        try:
            opened(file)
        except WeightsError:
            return True
        return False

    assert sum(refused_when_broken() for _ in range(150)) > 50


# ── hostile files ────────────────────────────────────────────────────────────────────────────


class Trap:
    """Writes to a file when unpickled carelessly."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"echo sprung > {self.sprung}",)


class Evaluated(Trap):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.sprung)!r}, 'w').close()",)


class Built(Trap):
    """Uses `__setstate__`: the state of the object does the harm."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


TRAPS: dict[str, Callable[[Any, Path], None]] = {
    "a pickle": lambda content, file: file.write_bytes(pickle.dumps(content)),
    "a pickle of protocol 2": lambda content, file: file.write_bytes(pickle.dumps(content, 2)),
    "a checkpoint": torch.save,
    "an old checkpoint": lambda content, file: torch.save(
        content, file, _use_new_zipfile_serialization=False
    ),
}


@pytest.mark.parametrize("kind", [Trap, Evaluated, Built])
@pytest.mark.parametrize("write", TRAPS.values(), ids=TRAPS)
@pytest.mark.parametrize("name", ["weights.pt", "weights.bin", "weights.safetensors"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(
    kind: type[Trap], write: Callable[[Any, Path], None], name: str, tmp_path: Path
) -> None:
    file, sprung = tmp_path / name, tmp_path / "sprung"
    trap = kind(sprung)
    for content in (trap, {"state_dict": trained(), "args": trap}, {"0.weight": [trap]}):
        write(content, file)
        error = wrong(file, name)
        if name != "weights.safetensors":
            assert "run code" in error.likely
            assert "safetensors.torch.save_file" in error.do
    assert not sprung.exists()
    pickle.loads(pickle.dumps(trap))
    assert sprung.exists(), "the trap works"


def test_a_pickled_network_is_refused_with_the_safe_alternative(file: Path) -> None:
    torch.save(small(), file)
    wrong(file, "run code", "model.state_dict()")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("depth", [1, 2])
def test_a_checkpoint_that_contains_itself_is_refused(depth: int, file: Path) -> None:
    inner: dict[str, Any] = {}
    outer = inner if depth == 1 else {"model": inner}
    inner["state_dict"] = outer
    torch.save(outer, file)
    wrong(file, "contains no weights")


@pytest.mark.timeout(20)
def test_a_checkpoint_nested_deep_is_refused_or_read(file: Path) -> None:
    content: Any = trained()
    for _ in range(200):
        content = {"model": content}
    torch.save(content, file)
    assert torch.equal(scores_of(opened(file)), scores_of(scorecam.open_model(small(seed=1))))


def inflated(state: State, entry: str, size: int, file: Path) -> None:
    """A checkpoint with an entry of `size` zeros, compressed to a thousandth."""
    sound = file.with_suffix(".sound")
    torch.save(state, sound)
    with (
        zipfile.ZipFile(sound) as source,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb,
    ):
        for name in source.namelist():
            with bomb.open(name, "w") as target:
                target.write(source.read(name))
                if name.endswith(entry):
                    for _ in range(size >> 20):
                        target.write(bytes(1 << 20))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """200 MB each, from less than 1 MB, read in a separate process with a measured peak."""
    bombs = [tmp_path / "storage.pt", tmp_path / "pickle.pt"]
    for bomb, entry in zip(bombs, ("data/0", "data.pkl"), strict=True):
        inflated(trained(), entry, 200 << 20, bomb)
        assert bomb.stat().st_size < 1 << 20
    torch.save(trained(), tmp_path / "sound.pt")

    watched = textwrap.dedent("""
        import sys
        from scorecam.backends.checkpoints import read_state
        from scorecam.errors import WeightsError

        def peak():
            [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
            return int(line.split()[1]) >> 10

        read_state("sound.pt")
        before = peak()
        for name in ("storage.pt", "pickle.pt"):
            try:
                read_state(name)
            except WeightsError as error:
                print(f"{peak() - before} MB: {error}", file=sys.stderr)
            else:
                sys.exit(f"{name} was read")
        if peak() - before > 100:
            sys.exit("that is too much memory")
    """)
    answer = subprocess.run(
        [sys.executable, "-c", watched],
        cwd=tmp_path,
        env=shell_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


# ── at the command line ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def photo_folder(photo_folder: Path) -> Iterator[Path]:
    """The current folder, with photos; forget the spies afterwards."""
    yield photo_folder
    toy_models.SPIES.clear()


def deflated(file: Path) -> None:
    inflated(toy_models.tiny().state_dict(), "data/0", 1 << 20, file)


def containing_itself(file: Path) -> None:
    content: dict[str, Any] = {}
    content["model"] = content
    torch.save(content, file)


HARM: dict[str, Callable[[Path], Any]] = {
    "trap.pt": lambda file: torch.save({"state_dict": Trap(Path("sprung"))}, file),
    "bomb.pt": deflated,
    "itself.pt": containing_itself,
    "header.safetensors": lambda file: file.write_bytes(headed(described(), claimed=2**60)),
    "empty.safetensors": lambda file: safetensors.torch.save_file({}, file),
    "sparse.pt": lambda file: torch.save(
        {name: t.to_sparse() for name, t in toy_models.tiny().state_dict().items()}, file
    ),
    "name.pt": lambda file: torch.save(
        toy_models.tiny().state_dict() | {"a\nscorecam: b\x1b[2J": torch.zeros(1)}, file
    ),
    "folder.pt": Path.mkdir,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HARM)
def test_bad_weights_end_the_command_with_2_and_a_paragraph(photo_folder: Path, name: str) -> None:
    HARM[name](photo_folder / name)
    answer = command("explain", "cat.png", *options("tiny"), "--weights", name)
    refused(answer)
    assert "\x1b" not in answer.err
    assert not Path("out/cat.json").exists()
    assert not Path("sprung").exists()


def test_remarks_on_the_weights_are_printed_on_stderr(photo_folder: Path) -> None:
    torch.save(named("module.", toy_models.tiny(seed=3).state_dict()), photo_folder / "weights.pt")
    answer = command("explain", "cat.png", *options("tiny"), "--weights", "weights.pt", "--json")
    assert answer.code == 0
    assert "'module.'" in answer.err
    assert len(answer.items) == 1


# ── the user's own network ───────────────────────────────────────────────────────────────────


def snapshot(network: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def unchanged(network: nn.Module, before: State) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_weights_go_into_a_copy(file: Path) -> None:
    torch.save(trained(), file)
    network = small()
    before = snapshot(network)
    model = opened(file, network)
    assert unchanged(network, before)
    assert torch.equal(scores_of(model), scores_of(scorecam.open_model(small(seed=1))))
    assert torch.equal(
        scores_of(scorecam.open_model(network)), scores_of(scorecam.open_model(small()))
    )


def test_weights_that_do_not_fit_change_nothing(file: Path) -> None:
    network = small()
    before = snapshot(network)
    torch.save(trained() | {"5.bias": torch.zeros(9)}, file)
    wrong(file, network=network)
    assert unchanged(network, before)


def test_without_weights_no_copy_is_made() -> None:
    network = small()
    model = scorecam.open_model(network)
    with torch.no_grad():
        network[5].bias += 1
    assert torch.equal(scores_of(model), scores_of(scorecam.open_model(network)))


# ── networks that are wrapped ────────────────────────────────────────────────────────────────


class TestWrappedNetworks:
    def test_data_parallel_is_removed_with_a_remark(self) -> None:
        model = scorecam.open_model(nn.DataParallel(small()))
        [remark] = model.remarks
        assert "DataParallel" in remark
        assert torch.equal(scores_of(model), scores_of(scorecam.open_model(small())))

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit
    def test_a_compiled_network_is_unwrapped_with_a_remark(self) -> None:
        model = scorecam.open_model(torch.compile(small()))
        [remark] = model.remarks
        assert re.search("compile|OptimizedModule", remark)
        assert torch.equal(scores_of(model), scores_of(scorecam.open_model(small())))

    def test_distributed_data_parallel_is_removed_with_a_remark(self) -> None:
        from torch import distributed

        distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
        try:
            wrapped = nn.parallel.DistributedDataParallel(small())
            model = scorecam.open_model(wrapped)
        finally:
            distributed.destroy_process_group()
        [remark] = model.remarks
        assert "DistributedDataParallel" in remark
        assert torch.equal(scores_of(model), scores_of(scorecam.open_model(small())))

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_nested_wrappers_are_removed_too(self) -> None:
        model = scorecam.open_model(torch.compile(nn.DataParallel(small())))
        assert len(model.remarks) == 2
        assert torch.equal(scores_of(model), scores_of(scorecam.open_model(small())))

    def test_weights_of_either_form_fit(self, file: Path) -> None:
        truth = scores_of(scorecam.open_model(small(seed=1)))
        for state in (trained(), nn.DataParallel(small(seed=1)).state_dict()):
            torch.save(state, file)
            network = nn.DataParallel(small())
            before = snapshot(network)
            model = opened(file, network)
            assert torch.equal(scores_of(model), truth)
            assert "DataParallel" in model.remarks[0]
            assert unchanged(network, before)

    def test_a_layer_of_the_inner_network_is_accepted(self) -> None:
        network = small()
        wrapped = nn.DataParallel(network)
        maps = scorecam.ScoreCAM(wrapped, network[2])(SHOWN[None], 0)
        assert torch.equal(maps, scorecam.ScoreCAM(small(), "2")(SHOWN[None], 0))

    def test_every_entry_point_unwraps_networks(self) -> None:
        explanation = scorecam.explain(nn.DataParallel(small()), SHOWN)
        assert explanation.layer == "2"
        assert [layer.name for layer in scorecam.layers(nn.DataParallel(small()), SHOWN)] == [
            layer.name for layer in scorecam.layers(small(), SHOWN)
        ]

    def test_a_class_that_only_has_a_wrappers_name_is_not_unwrapped(self) -> None:
        namesake = type("DataParallel", (Regions,), {})
        model = scorecam.open_model(namesake(torch.ones(2, 3)))
        assert model.remarks == ()
        assert scorecam.ScoreCAM(model, "maps").bank(SHOWN).image_scores.tolist() == [7, 7]


# ── labels and preprocessing ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [0, 1, 4, 6, 1000])
def test_labels_of_another_length_are_refused_with_both_numbers(count: int) -> None:
    model = scorecam.open_model(small(), labels=[f"class {i}" for i in range(count)])
    with pytest.raises(SettingError, match=f"{count} class names.*5 columns"):
        scorecam.explain(model, SHOWN)


MARKUP = (
    "<script>alert(1)</script>",
    "[red]not red[/red]",
    '"quoted" & <b>bold</b>',
    "\u202eright to left",
    "{0}%s\\n",
)


def test_labels_with_markup_are_names_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("\n".join(MARKUP) + "\n", "utf-8")
    model = scorecam.open_model(small(), labels=file)
    assert model.names == MARKUP
    explanation = scorecam.explain(model, SHOWN.repeat_interleave(40, 1).repeat_interleave(40, 2))
    for i, name in enumerate(MARKUP):
        assert explanation.of(name).target.index == i
        assert explanation.of(i).overlay().mode == "RGB"
    explanation.bank.save(tmp_path / "bank.safetensors")
    assert scorecam.ScoreBank.load(tmp_path / "bank.safetensors").names == MARKUP


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n\n",
        b"\xff\xfe\x00",
        b'{"0": "ant", "2": "bee"}',
        b'{"zero": "ant"}',
        b'[["n01440764", "tench"]]',
        b"[1, 2, 3]",
        b'"ant"',
        b"null",
        b"[" * 200_000,
        b'["ant", "bee"',
    ],
    ids=lambda content: repr(content[:20]),
)
def test_invalid_labels_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_bytes(content)
    with pytest.raises(SettingError, match=re.escape(str(file))) as error:
        scorecam.open_model(small(), labels=file)
    assert error.value.do


PREPROCESS = {"size": [16, 16], "fit": "squash", "mean": [0.5] * 3, "std": [0.5] * 3}


@pytest.mark.parametrize(
    ("change", "named_"),
    [
        ({"size": [0, 16]}, "size"),
        ({"size": [10**9, 10**9]}, "size"),
        ({"size": "224"}, "size"),
        ({"fit": "stretch"}, "fit"),
        ({"mean": [0.5, 0.5]}, "mean"),
        ({"mean": ["red", 0, 0]}, "mean"),
        ({"std": [0.5, 0.0, 0.5]}, "std"),
        ({"std": [0.5, -1, 0.5]}, "std"),
        ({"fraction": 7}, "fraction"),
        ({"interpolation": "magic"}, "interpolation"),
        ({"crop": 3}, "crop"),
    ],
    ids=str,
)
def test_invalid_preprocessing_is_refused_and_names_the_wrong_key(
    change: dict[str, Any], named_: str, tmp_path: Path
) -> None:
    file = tmp_path / "preprocess.json"
    file.write_text(json.dumps(PREPROCESS), "utf-8")
    assert scorecam.open_model(small(), preprocess=file).preprocess is not None
    file.write_text(json.dumps(PREPROCESS | change), "utf-8")
    with pytest.raises(SettingError, match=named_):
        scorecam.open_model(small(), preprocess=file)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"3", b"{", b"\xff\xfe", b"[" * 200_000, b'{"size": NaN}'],
    ids=lambda content: repr(content[:20]),
)
def test_a_file_that_is_not_preprocessing_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "preprocess.json"
    file.write_bytes(content)
    with pytest.raises(SettingError) as error:
        scorecam.open_model(small(), preprocess=file)
    assert error.value.do
