"""Safe reading of weights files: nothing in them runs, and their size bounds the memory used.

A checkpoint is inspected before torch reads it: which functions it calls, how large its tensors
claim to be, and whether a key would take exponential time to hash.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import safetensors.torch
import torch
from torch import Tensor

from scorecam.backends.file_kinds import program_in
from scorecam.backends.shards import advice_for_folder, check_whole, shards_of
from scorecam.backends.state import Weights
from scorecam.base.process_state import ignore_warnings
from scorecam.errors import WeightsError
from scorecam.io.reading import Kind, check_file

KIND = Kind("a .safetensors file, or a checkpoint that torch.save wrote", 2**36, WeightsError)
"""The files that are read, of at most 64 GiB."""

WEIGHT_KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
    "model_ema",
    "ema",
    "module",
    "net",
    "network",
    "params",
    "weights",
)
"""Keys under which training scripts store weights, in the order in which they are tried."""

QUANTISED = "_rebuild_qtensor"
"""The function that makes a quantised tensor from a checkpoint."""

SAVE_WEIGHTS = 'safetensors.torch.save_file(model.state_dict(), "weights.safetensors")'


def read_state(path: str | os.PathLike[str]) -> Weights:
    """The tensors in a safetensors file, or in a checkpoint read with `weights_only`.

    An index of shards, `*.index.json`, is read with all its shards.

    Raises:
        WeightsError: the file is missing, is damaged, would run code, or has no weights.
    """
    _check_path(path)
    file = Path(path)
    check_whole(file)
    if file.name.endswith(".index.json"):
        shards = [_read(shard) for shard in shards_of(file)]
        return Weights({name: tensor for shard in shards for name, tensor in shard.items()})
    return _read(file)


def _read(file: Path) -> Weights:
    """The tensors in one file."""
    _check_path(file)
    try:
        if file.suffix == ".safetensors":
            return _checked(Weights(safetensors.torch.load_file(file)), file)
        _inspect(file)
        with ignore_warnings():  # torch warns about old formats
            content = torch.load(file, map_location="cpu", weights_only=True)
        return _checked(_unwrapped(content, file), file)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{printable(file)} was not read: {_first_sentence(error)}",
            likely="A checkpoint with more than tensors in it can run code when it is read.",
            do="If you trust it, load it where it was made, and save only the weights: "
            f"{SAVE_WEIGHTS}.",
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged file can raise any error
        if QUANTISED in str(error):
            raise WeightsError(
                f"{printable(file)} contains quantised tensors, which are not read.",
                likely="The network was quantised before its weights were saved.",
                do="In Python, load it into the quantised network with net.load_state_dict, and "
                "leave weights= out.",
            ) from error
        raise WeightsError(
            f"{printable(file)} cannot be read as weights: {_first_sentence(error)}",
            likely="It may be truncated, or not a weights file.",
            do="Give a .safetensors file, or a checkpoint that torch.save wrote.",
        ) from error


def printable(text: object, longest: int = 120) -> str:
    """Untrusted text, shortened and without control characters."""
    plain = "".join(c if c.isprintable() else "?" for c in str(text)[: 2 * longest])
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def _check_path(path: object) -> None:
    """Refuse anything but the path of a regular file.

    Raises:
        WeightsError: it is not one.
    """
    if not isinstance(path, str | os.PathLike):
        raise WeightsError(
            f"weights= is the path of a file, not a {type(path).__name__}.",
            do="In Python, call net.load_state_dict(weights) yourself, and leave weights= out.",
        )
    file = cast("str | os.PathLike[str]", path)
    try:
        check_file(file, KIND)
    except WeightsError as error:
        cause = error.__cause__
        absent = isinstance(cause, FileNotFoundError | NotADirectoryError) or (
            isinstance(cause, OSError) and cause.errno == errno.ENAMETOOLONG
        )
        if os.path.isdir(file):  # noqa: PTH112  (Path() refuses some of these names)
            raise WeightsError(
                f"{printable(file, 250)} is a folder, not a weights file.",
                do=advice_for_folder(Path(file)),
            ) from error
        if absent:
            raise WeightsError(
                f"There is no weights file {printable(file, 250)}.", do="Check the path."
            ) from error
        raise


def _checked(state: Weights, file: Path) -> Weights:
    """The state, if all its tensors can be weights.

    Raises:
        WeightsError: a tensor cannot be weights, or there are no tensors.
    """
    size = file.stat().st_size
    invalid = [
        name
        for name, tensor in state.items()
        if tensor.layout != torch.strided
        or tensor.is_complex()
        or tensor.is_meta
        or tensor.is_quantized
        or tensor.nbytes > size
    ]
    if invalid or not state:
        what = (
            f"tensors that cannot be weights ({first_names(invalid)})" if invalid else "no weights"
        )
        raise WeightsError(
            f"{printable(file)} contains {what}.",
            do=f"Save only the weights, as dense real tensors: {SAVE_WEIGHTS}.",
        )
    return state


def first_names(names: list[str], most: int = 3) -> str:
    """The first names in printable form, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(printable(name, 60) for name in names[:most]) + more


def _unwrapped(content: Any, file: Path) -> Weights:
    """The mapping from names to tensors, at any depth of a training script's own dicts.

    Raises:
        WeightsError: there is no such mapping, or it is unclear which is meant.
    """
    remarks: list[str] = []
    for _ in range(1000):  # stops if a dict contains itself
        if not isinstance(content, Mapping):
            break
        entries = cast("Mapping[Any, Any]", content)
        tensors = {
            key: value
            for key, value in entries.items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
        key = next((key for key in WEIGHT_KEYS if isinstance(entries.get(key), Mapping)), None)
        sets = [name for name, value in entries.items() if name != key and _is_state(value)]
        if tensors and (key is None or len(tensors) == len(entries)):
            weights = Weights(tensors)
            weights.remarks = tuple(remarks)
            return weights
        if key is None and len(sets) > 1:
            raise WeightsError(
                f"{printable(file)} holds several sets of weights: {first_names(sets)}.",
                do="Save the set you want to a separate file.",
            )
        if sets:
            key, others = (sets[0], []) if key is None else (key, sets)
            rest = f"; the file also holds {first_names(others)}" if others else ""
            remarks.append(f"The weights under {printable(key, 60)!r} were used{rest}.")
        if key is None:
            break
        content = entries[key]
    raise WeightsError(
        f"{printable(file)} contains no weights that could be found.",
        likely="It may contain a whole model or the state of an optimiser.",
        do=f"Save only the weights: {SAVE_WEIGHTS}.",
    )


def _is_state(value: object) -> bool:
    """Whether it is a mapping from names to tensors alone."""
    if not isinstance(value, Mapping) or not value:
        return False
    entries = cast("Mapping[Any, Any]", value)
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in entries.items())


def _first_sentence(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return printable(text[0].split(". ")[0], 200) + "." if text else f"{type(error).__name__}."


# ── inspecting a checkpoint ──────────────────────────────────────────────────────────────────


def _inspect(file: Path) -> None:
    """Refuse a checkpoint that would take more memory or time to read than its size justifies.

    Damaged files raise the errors of `pickle` and `zipfile`.

    Raises:
        ValueError: it would.
        WeightsError: it is TorchScript.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        packed = stream.read(4) == b"PK\3\4"
        stream.seek(0)
        if packed:
            _inspect_zip(stream, file, size)
            return
        if _inspected(stream, size) == _MAGIC:
            for _ in range(3):  # a version, the machine, and the checkpoint
                _inspected(stream, size)


def _inspected(stream: Any, size: int) -> object:
    """The content of a pickle, with a `_Placeholder` for each object.

    Raises:
        ValueError: it is damaged, or too large for its file.
    """
    try:
        return _Inspection(stream, size).load()
    except ValueError:
        raise
    except Exception as error:  # pickle can raise any error
        raise ValueError(f"it is damaged ({type(error).__name__})") from error


_MAGIC = 0x1950A86A20F9469CFC6C


def _inspect_zip(stream: Any, file: Path, size: int) -> None:
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        program = program_in([entry.filename for entry in entries])
        if program is not None:
            loaded = program.opened.format(file="file")
            raise WeightsError(
                f"{printable(file)} is {program.name}. It contains more than weights.",
                likely="It may be the model itself, and not its weights." if loaded else "",
                do=f"Save only the weights: {SAVE_WEIGHTS}, with model = {loaded}."
                if loaded
                else "Give the weights of the network that it was compiled from.",
            )
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its entries are compressed, which torch.save never does")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its entries are larger than the file")
        for entry in entries:
            if entry.filename.endswith("data.pkl"):
                _inspected(io.BytesIO(archive.read(entry)), size)


ITEMS = {"Double": 8, "Long": 8, "ComplexFloat": 8, "ComplexDouble": 16, "Float": 4, "Int": 4}
"""Bytes per number in storages of these kinds; all other kinds have at most 2."""

_Base: Any = cast("Any", pickle)._Unpickler  # noqa: SLF001  (in Python, so steps can be replaced)


class _Placeholder:
    """Stands in for the classes and objects of a checkpoint: nothing is imported or called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: Any) -> _Placeholder:
        plain = self._name.rpartition(".")[2]
        if plain in ("bytearray", "Counter", QUANTISED) or plain.endswith(("Tensor", "Storage")):
            raise ValueError(f"it makes a {plain}, which no weights need")
        for argument in args if plain in ("OrderedDict", "set", "defaultdict") else ():
            for item in cast("list[Any]", argument) if isinstance(argument, list | tuple) else ():
                pair = plain != "set" and isinstance(item, list | tuple) and item
                _check_key(cast("list[Any]", item)[0] if pair else item)
        return _Placeholder("")

    def __setitem__(self, key: object, value: object) -> None: ...
    def __setstate__(self, state: object) -> None: ...
    def append(self, item: object) -> None: ...
    def extend(self, items: object) -> None: ...
    def add(self, item: object) -> None: ...
    def update(self, items: object) -> None: ...


def _check_key(key: object) -> None:
    """Refuse nested tuples as keys: their hash may take exponential time.

    Raises:
        ValueError: the key is such a tuple.
    """
    if isinstance(key, tuple | frozenset):
        entries = cast("tuple[Any, ...]", key)
        if any(isinstance(entry, tuple | frozenset) for entry in entries):
            raise ValueError("one of its keys is not a name")


class _Inspection(_Base):
    """Reads a pickle without importing or calling anything."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Base.dispatch)

    def __init__(self, stream: Any, size: int) -> None:
        super().__init__(stream, encoding="latin1")
        self._size = size
        self._storages: dict[object, int] = {}

    def find_class(self, module: str, name: str) -> _Placeholder:
        return _Placeholder(f"{module}.{name}")

    def get_extension(self, code: int) -> None:
        raise ValueError(f"it uses an extension of pickle ({code})")

    def persistent_load(self, pid: Any) -> _Placeholder:
        """A storage. Its bytes are elsewhere in the file, so it cannot be larger than the file."""
        kind, key, numbers = (pid[1], pid[2], pid[4]) if len(pid) > 4 else (None, None, None)
        if not isinstance(numbers, int) or not isinstance(key, str) or numbers < 0:
            raise ValueError("it refers to something other than a tensor")
        name = getattr(kind, "_name", "").rpartition(".")[2].removesuffix("Storage")
        item = 1 if name in ("Untyped", "Byte", "Char", "Bool") else ITEMS.get(name, 2)
        self._storages[key] = numbers * item
        if sum(self._storages.values()) > self._size:
            raise ValueError("its tensors are larger than the file")
        return _Placeholder("")


def _checking(step: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    """A step of unpickling that first checks the keys it uses."""

    def checked(inspection: Any) -> None:
        for key in inspection.stack[keys]:
            _check_key(key)
        step(inspection)

    return checked


def _opcode(name: str) -> int:
    return getattr(pickle, name)[0]


_EVERY, _SECOND, _LAST = slice(None), slice(None, None, 2), slice(-2, -1)
_KEYS = {
    "SETITEM": _LAST,
    "SETITEMS": _SECOND,
    "DICT": _SECOND,
    "ADDITEMS": _EVERY,
    "FROZENSET": _EVERY,
}
for _name, _keys in _KEYS.items():
    _Inspection.dispatch[_opcode(_name)] = _checking(_Inspection.dispatch[_opcode(_name)], _keys)


def _instantiate(inspection: Any) -> None:
    """Replaces the creation of an object: its class is a `_Placeholder`."""
    args, kind = inspection.stack.pop(), inspection.stack.pop()
    inspection.append(kind(*args) if isinstance(kind, _Placeholder) else _Placeholder(""))


_Inspection.dispatch[_opcode("NEWOBJ")] = _instantiate
