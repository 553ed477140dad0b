"""Foreign checkpoints: matching tensors are loaded with a remark, within the size of the file."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import resource
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import scorecam
from scorecam import WeightsError

State = dict[str, Tensor]


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        )


class Named(nn.Module):
    """A network with named parts."""

    def __init__(self, depth: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.body = network(seed)[:2]
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 3) for _ in range(depth))
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.body(images)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


LOSS = {"criterion.weight": torch.ones(5), "loss_fn.pos_weight": torch.ones(5)}

FITTING: dict[str, tuple[Callable[[State], State], str]] = {
    "with a loss": (lambda state: state | LOSS, "criterion.weight"),
    "with a metric": (
        lambda state: state | {"val_metrics.total": torch.ones(())},
        "val_metrics.total",
    ),
    "a profiler's counts": (
        lambda state: state | {"body.0.total_ops": torch.ones(1), "total_params": torch.ones(1)},
        "body.0.total_ops",
    ),
    "Lightning, with a loss": (lambda state: under("model.", state) | LOSS, "criterion.weight"),
    "another attribute": (lambda state: under("net.", state), "'net.'"),
    "a deep attribute": (
        lambda state: under("module.model.backbone.", state),
        "module.model.backbone.",
    ),
    "a second network": (
        lambda state: under("net.", state) | {"decoder.weight": torch.ones(2)},
        "decoder.weight",
    ),
    "a prefix that everybody uses, and a copy": (
        lambda state: under("model.", state) | under("ema_model.", state),
        "'model.'",
    ),
    "an average of the weights as well": (
        lambda state: under("net.", state) | under("ema_net.", zeros(state)),
        "ema_net.body.0.weight",
    ),
    "an average beside plain names": (
        lambda state: state | under("ema.module.", zeros(state)),
        "ema.module.body.0.weight",
    ),
    "an average of torch as well": (
        lambda state: (
            under("model.", state)
            | under("swa_model.module.", zeros(state))
            | {"swa_model.n_averaged": torch.tensor(3)}
        ),
        "swa_model.module.body.0.weight",
    ),
    "nothing but an average": (lambda state: under("ema_model.", state), "'ema_model.'"),
    "a compiled network in a Lightning module": (
        lambda state: under("encoder._orig_mod.", state),
        "'encoder._orig_mod.'",
    ),
    "compiled and sharded parts": (
        lambda state: {
            name.replace("blocks.", "blocks._fsdp_wrapped_module.").replace(
                "body.", "body._orig_mod."
            ): tensor
            for name, tensor in state.items()
        },
        "torch.compile, FSDP",
    ),
}


def zeros(state: State) -> State:
    """Other weights of the same shapes."""
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


SETS: dict[str, tuple[Callable[[State], dict[str, Any]], list[str]]] = {
    "timm's average as well": (
        lambda state: {"state_dict": state, "state_dict_ema": zeros(state), "epoch": 3},
        ["'state_dict' were used", "also holds state_dict_ema"],
    ),
    "only timm's average": (lambda state: {"state_dict_ema": state}, ["'state_dict_ema'"]),
    "model and model_ema": (
        lambda state: {"model": state, "model_ema": under("module.", zeros(state))},
        ["'model' were used", "also holds model_ema"],
    ),
    "params and params_ema": (
        lambda state: {"params": state, "params_ema": zeros(state)},
        ["'params' were used", "also holds params_ema"],
    ),
    "a name of the user's": (
        lambda state: {"my_net": state, "optimizer": {"state": {}, "param_groups": [{"lr": 1.0}]}},
        ["'my_net' were used"],
    ),
}


@pytest.mark.parametrize(("pack", "phrases"), SETS.values(), ids=SETS)
def test_the_remark_states_which_set_of_weights_was_used(
    pack: Callable[[State], dict[str, Any]], phrases: list[str], tmp_path: Path
) -> None:
    trained = Named(seed=1)
    torch.save(pack(trained.state_dict()), tmp_path / "w.pt")
    model = scorecam.open_model(Named(), weights=tmp_path / "w.pt")
    images = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(model.scores(images), trained(images))
    for phrase in phrases:
        assert phrase in " ".join(model.remarks)


def test_two_sets_under_unknown_keys_are_refused_with_their_names(tmp_path: Path) -> None:
    state = Named().state_dict()
    torch.save({"net_a": state, "net_b": zeros(state)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"several sets of weights: net_a, net_b"):
        scorecam.open_model(Named(), weights=tmp_path / "w.pt")


def test_the_empty_tensors_of_deepspeed_are_named_as_such(tmp_path: Path) -> None:
    empty = {name: torch.empty(0) for name in Named().state_dict()}
    torch.save({"module": empty, "ds_version": "0.15"}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"DeepSpeed.*zero_to_fp32\.py"):
        scorecam.open_model(Named(), weights=tmp_path / "w.pt")


# ── shards and folders ───────────────────────────────────────────────────────────────────────


def shards(folder: Path, state: State, ending: str) -> Path:
    """The weights in two files, and their index, which is returned."""
    names = sorted(state)
    listed: dict[str, str] = {}
    for i, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-0000{i}-of-00002.{ending}"
        kept = {name: state[name] for name in part}
        if ending == "safetensors":
            safetensors.torch.save_file(kept, folder / file)
        else:
            torch.save(kept, folder / file)
        listed |= dict.fromkeys(part, file)
    index = folder / f"model.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": listed}))
    return index


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_an_index_is_read_with_all_its_shards(ending: str, tmp_path: Path) -> None:
    trained = Named(seed=1)
    index = shards(tmp_path, trained.state_dict(), ending)
    images = torch.randn(1, 3, 16, 16)
    model = scorecam.open_model(Named(), weights=index)
    torch.testing.assert_close(model.scores(images), trained(images))
    with pytest.raises(WeightsError, match=r"only a part.*file 1 of 2.*index"):
        scorecam.open_model(Named(), weights=tmp_path / f"model-00001-of-00002.{ending}")
    (tmp_path / f"model-00002-of-00002.{ending}").unlink()
    with pytest.raises(WeightsError, match=f"no weights file .*00002-of-00002.{ending}"):
        scorecam.open_model(Named(), weights=index)


INDEXES: dict[str, Any] = {
    "nothing": {},
    "a list": [],
    "no names": {"weight_map": {"a": 3}},
    "a file elsewhere": {"weight_map": {"a": "../w.safetensors"}},
    "an absolute path": {"weight_map": {"a": "/etc/passwd"}},
    "itself": {"weight_map": {"a": "model.safetensors.index.json"}},
    "a folder": {"weight_map": {"a": ".."}},
    "an empty name": {"weight_map": {"a": ""}},
}


@pytest.mark.parametrize("content", INDEXES.values(), ids=INDEXES)
def test_an_index_reads_only_files_in_its_own_folder(content: Any, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    safetensors.torch.save_file(Named().state_dict(), tmp_path / "w.safetensors")
    index = inner / "model.safetensors.index.json"
    index.write_text(json.dumps(content))
    with pytest.raises(WeightsError) as error:
        scorecam.open_model(Named(), weights=index)
    assert len(str(error.value)) <= 600


FOLDERS = {
    "model.safetensors.index.json": "Give the index in it",
    "pytorch_model.bin": "Give the file in it",
    "zero_to_fp32.py": "DeepSpeed",
    ".metadata": "dcp_to_torch",
    "notes.txt": "Check the path",
}


@pytest.mark.parametrize(("name", "phrase"), FOLDERS.items())
def test_a_folder_in_place_of_weights_says_what_to_give(
    name: str, phrase: str, tmp_path: Path
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(WeightsError, match=f"is a folder.*{phrase}"):
        scorecam.open_model(Named(), weights=tmp_path)


@pytest.mark.parametrize(("pack", "phrase"), FITTING.values(), ids=FITTING)
def test_foreign_tensors_are_ignored_with_a_remark(
    pack: Callable[[State], State], phrase: str, tmp_path: Path
) -> None:
    trained = Named(seed=1)
    torch.save({"state_dict": pack(trained.state_dict()), "epoch": 3}, tmp_path / "w.ckpt")
    model = scorecam.open_model(Named(), weights=tmp_path / "w.ckpt")
    images = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model.scores(images), trained(images))
    assert phrase in " ".join(model.remarks)
    assert all(len(remark) <= 600 for remark in model.remarks)


def test_many_ignored_tensors_are_counted_and_a_few_are_named(tmp_path: Path) -> None:
    others = {f"decoder.{i}\n.weight": torch.ones(1) for i in range(500)}
    torch.save(under("net.", Named().state_dict()) | others, tmp_path / "w.pt")
    [_, remark] = scorecam.open_model(Named(), weights=tmp_path / "w.pt").remarks
    assert "500 tensors" in remark
    assert "497 more" in remark
    assert remark.isprintable()


MISFITS: dict[str, tuple[Callable[[], State], str]] = {
    "a deeper network of the family": (lambda: Named(depth=3).state_dict(), "larger network"),
    "two sets that both fit": (
        lambda: under("student.", Named().state_dict()) | under("teacher.", Named().state_dict()),
        "several sets of weights",
    ),
    "a tensor missing under a prefix": (
        lambda: {k: v for k, v in under("net.", Named().state_dict()).items() if "head" not in k},
        "2 missing: head.weight, head.bias",
    ),
    "a shape that differs under a prefix": (
        lambda: under("net.", Named().state_dict() | {"head.bias": torch.ones(7)}),
        "1 with another shape: head.bias ((7,) for (5,))",
    ),
}


@pytest.mark.parametrize(("make", "phrase"), MISFITS.values(), ids=MISFITS)
def test_weights_that_do_not_fit_are_refused_with_the_reason(
    make: Callable[[], State], phrase: str, tmp_path: Path
) -> None:
    torch.save(make(), tmp_path / "w.pt")
    own = Named()
    before = {k: v.clone() for k, v in own.state_dict().items()}
    with pytest.raises(WeightsError) as error:
        scorecam.open_model(own, weights=tmp_path / "w.pt")
    assert phrase in str(error.value)
    assert "another architecture" not in str(error.value)
    assert len(str(error.value)) <= 600
    assert all(torch.equal(own.state_dict()[k], v) for k, v in before.items())


# ── files that claim more than they hold ─────────────────────────────────────────────────────


def archive(pickled: bytes, *storages: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02" + pickled + b".")
        file.writestr("archive/byteorder", "little")
        for number, content in enumerate(storages):
            file.writestr(f"archive/data/{number}", content)
        file.writestr("archive/version", "3\n")
    return stream.getvalue()


def legacy(pickled: bytes) -> bytes:
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    body = b"\x80\x02" + pickled + b"."
    tail = pickle.dumps(["0"], 2) + struct.pack("<q", 16) + bytes(64)
    return b"".join(pickle.dumps(part, 2) for part in head) + body + tail


def called(function: str, *arguments: bytes) -> bytes:
    module, _, name = function.rpartition(".")
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def number(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little")


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(count: int, view: bytes = b"") -> bytes:
    kind = b"ctorch\nFloatStorage\n"
    return b"(" + text("storage") + kind + text("0") + text("cpu") + number(count) + view + b"tQ"


def tensor(held: bytes, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = (held, number(0), numbers(*size), numbers(*stride), b"\x89", hooks)
    return called("torch._utils._rebuild_tensor_v2", *arguments)


def entry(name: str, value: bytes) -> bytes:
    return b"}" + text(name) + value + b"s"


HUGE = 25 * 10**9
DEEP = b"K\x01" + b"2\x86" * 60  # (x, x) of (x, x) of ...: its hash takes 2^60 steps


def bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(10**8))
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    return stream.getvalue()


def saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def scripted() -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(network()), stream)
    return stream.getvalue()


GREEDY: dict[str, Callable[[], bytes]] = {
    "a bytearray": lambda: archive(called("builtins.bytearray", number(10**11))),
    "a tensor made": lambda: archive(entry("w", called("torch.FloatTensor", number(10**10)))),
    "a storage made": lambda: archive(called("torch.storage.UntypedStorage", number(10**11))),
    "a storage": lambda: archive(entry("w", tensor(storage(HUGE), (HUGE,), (1,))), bytes(64)),
    "a storage, old": lambda: legacy(entry("w", tensor(storage(HUGE, b"N"), (HUGE,), (1,)))),
    "one number repeated": lambda: archive(
        entry("4.weight", tensor(storage(1), (10**10, 8), (0, 0))), bytes(4)
    ),
    "meta": lambda: archive(
        entry(
            "w",
            called(
                "torch._utils._rebuild_meta_tensor_no_storage",
                *(b"ctorch\nfloat32\n", numbers(HUGE), numbers(1), b"\x89"),
            ),
        )
    ),
    "sparse": lambda: saved(
        {"w": torch.sparse_coo_tensor([[0], [0]], [1.0], (10**7, 10**7), check_invariants=False)}
    ),
    "a key that takes forever to hash": lambda: archive(b"}" + DEEP + b"K\x01s"),
    "a set that takes forever to hash": lambda: archive(
        called("builtins.set", b"](" + DEEP + b"e")
    ),
    "an ordered one": lambda: archive(
        called("collections.OrderedDict", b"](" + b"(" + DEEP + b"K\x01te")
    ),
    "a place in the memo": lambda: archive(b"Nr\xff\xff\xff\xff"),
    "a text": lambda: archive(b"X\xff\xff\xff\x7fabc"),
    "a zip bomb": bomb,
    "a tar": tar,
    "keys that are numbers": lambda: archive(
        b"}" + number(3) + tensor(storage(1), (1,), (1,)) + b"s"
    ),
}


@pytest.mark.parametrize("make", GREEDY.values(), ids=GREEDY)
@pytest.mark.timeout(20)
def test_a_file_that_claims_more_than_it_holds_is_refused(
    make: Callable[[], bytes], tmp_path: Path
) -> None:
    file = tmp_path / "w.pt"
    file.write_bytes(make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError) as error:
        scorecam.open_model(network(), weights=file)
    assert len(str(error.value)) <= 600
    assert str(error.value).isprintable()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_archive_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(scripted())
    with pytest.raises(WeightsError, match="is TorchScript"):
        scorecam.open_model(network(), weights=tmp_path / "w.pt")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes in folders")
@pytest.mark.timeout(20)
def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    state: Any = network().state_dict()
    for path in (tmp_path / "pipe.pt", "/dev/zero", "a\0b", "x" * 5000, "\ud800", state, 3):
        with pytest.raises(WeightsError) as error:
            scorecam.open_model(network(), weights=path)
        assert len(str(error.value)) <= 600


# ── mutations ────────────────────────────────────────────────────────────────────────────────


def mutated(content: bytes, drawn: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(drawn.choice([1, 1, 2, 4, 16])):
        place = drawn.randrange(min(len(made), drawn.choice([4000, 10**9])))
        other = drawn.randrange(len(made))
        piece = drawn.choice(
            [
                bytes([drawn.randrange(256)]),
                struct.pack("<I", drawn.choice([0, 2**31 - 1, 2**32 - 1, 10**9])),
                struct.pack("<Q", drawn.choice([2**40, 2**63 - 1, 2**64 - 1, 10**12])),
                bytes(made[other : other + 20]),
            ]
        )
        cut = drawn.choice([0, len(piece), len(piece), 50])
        made[place : place + cut] = piece
    return bytes(made)


def originals() -> dict[str, bytes]:
    state = network(seed=1).state_dict()
    optimiser = torch.optim.Adam(network().parameters()).state_dict()
    result = {"s.safetensors": safetensors.torch.save(state)}
    for zipped in (True, False):
        for name, content in {
            "bare": state,
            "deep": {"state_dict": under("model.", state), "optimizer": optimiser, "epoch": 3},
        }.items():
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=zipped)
            result[f"{name}{zipped}.pt"] = stream.getvalue()
    return result


@pytest.mark.parametrize("name", originals())
def test_a_mutated_checkpoint_is_read_or_refused(name: str, tmp_path: Path) -> None:
    content, drawn = originals()[name], random.Random(name)
    file = tmp_path / name
    refused = 0
    for _ in range(150):
        file.write_bytes(mutated(content, drawn))
        try:
            scorecam.open_model(network(), weights=file)
        except WeightsError as error:
            refused += 1
            assert len(str(error)) <= 600  # noqa: PT017
            assert str(error).isprintable()  # noqa: PT017
    assert 10 < refused < 150
