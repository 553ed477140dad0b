"""Weights files, read without trust: nothing in them runs, and memory is bounded by their size.

A checkpoint is looked through before torch reads it. What that finds out: which functions would be
called, how large the tensors say they are, and whether a key would take for ever to hash.
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

from scorecam.base.process import quietly
from scorecam.errors import WeightsError
from scorecam.io.reading import Kind, check_file

State = dict[str, Tensor]

KIND = Kind("a .safetensors file, or a checkpoint that torch.save wrote", 2**36, WeightsError)
"""What is read; 64 GiB at most."""

FILED_UNDER = (
    "state_dict",
    "model_state_dict",
    "model",
    "model_ema",
    "ema",
    "module",
    "net",
    "weights",
)
"""Keys under which training scripts file the weights, in the order they are tried."""

ALONE = 'safetensors.torch.save_file(model.state_dict(), "weights.safetensors")'


def read_state(path: str | os.PathLike[str]) -> State:
    """The tensors in a safetensors file, or in a checkpoint read with `weights_only`.

    Raises:
        WeightsError: the file is missing, damaged, would run code, or holds no weights.
    """
    _check_path(path)
    file = Path(path)
    try:
        if file.suffix == ".safetensors":
            return _checked(safetensors.torch.load_file(file), file)
        _look_through(file)
        with quietly():  # torch's remarks on old formats
            found = torch.load(file, map_location="cpu", weights_only=True)
        return _checked(_unwrapped(found, file), file)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{shown(file)} was not read: {_first_sentence(error)}",
            likely="A checkpoint that holds more than tensors can run code when it is read.",
            do=f"If you trust it, load it where it was made and save the weights alone: {ALONE}.",
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged file raises what its reader happens to
        raise WeightsError(
            f"{shown(file)} cannot be read as weights: {_first_sentence(error)}",
            likely="It may be cut short, or not a weights file.",
            do="Give a .safetensors file, or a checkpoint that torch.save wrote.",
        ) from error


def shown(text: object, longest: int = 120) -> str:
    """Foreign text, cut short and without what could steer a terminal."""
    plain = "".join(c if c.isprintable() else "?" for c in str(text)[: 2 * longest])
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def _check_path(path: object) -> None:
    """Refuse what is no path to a regular file.

    Raises:
        WeightsError: it is none.
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
        if absent or os.path.isdir(file):  # noqa: PTH112  (Path() would refuse some of these names)
            raise WeightsError(
                f"There is no weights file {shown(file, 250)}.", do="Check the path."
            ) from error
        raise


def _checked(state: State, file: Path) -> State:
    """The state, if its tensors can be weights."""
    size = file.stat().st_size
    odd = [
        name
        for name, one in state.items()
        if one.layout != torch.strided
        or one.is_complex()
        or one.is_meta
        or one.is_quantized
        or one.nbytes > size
    ]
    if odd or not state:
        what = f"tensors that cannot be weights ({some(odd)})" if odd else "no weights"
        raise WeightsError(
            f"{shown(file)} holds {what}.",
            do=f"Save the weights alone, as dense real numbers: {ALONE}.",
        )
    return state


def some(names: list[str], most: int = 3) -> str:
    """The first of many names, fit to be printed, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name, 60) for name in names[:most]) + more


def _unwrapped(found: Any, file: Path) -> State:
    """The mapping from names to tensors, however deep a training script filed it."""
    for _ in range(1000):  # deep enough for any script, and an end to one that contains itself
        if not isinstance(found, Mapping):
            break
        entries = cast("Mapping[Any, Any]", found)
        tensors = {
            key: value
            for key, value in entries.items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
        if tensors and len(tensors) == len(entries):
            return tensors
        inner = next(
            (entries[key] for key in FILED_UNDER if isinstance(entries.get(key), Mapping)), None
        )
        if inner is None:
            if tensors:
                return tensors
            break
        found = inner
    raise WeightsError(
        f"{shown(file)} holds no weights that could be found.",
        likely="It may hold a whole model, an optimiser's state, or something else.",
        do=f"Save them alone: {ALONE}.",
    )


def _first_sentence(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return shown(text[0].split(". ")[0], 200) + "." if text else f"{type(error).__name__}."


# ── looking through a checkpoint ─────────────────────────────────────────────────────────────


def _look_through(file: Path) -> None:
    """Refuse a checkpoint that would take more memory or time to read than its size explains.

    Raises:
        ValueError: it is such a one. Damaged files raise what `pickle` and `zipfile` do.
        WeightsError: it is TorchScript.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        packed = stream.read(4) == b"PK\3\4"
        stream.seek(0)
        if packed:
            _look_through_zip(stream, file, size)
            return
        if _inspected(stream, size) == _MAGIC:
            for _ in range(3):  # a version, the machine, and the checkpoint
                _inspected(stream, size)


def _inspected(stream: Any, size: int) -> object:
    """What a pickle holds, with things in place of objects.

    Raises:
        ValueError: it is damaged, or asks for too much.
    """
    try:
        return _Inspection(stream, size).load()
    except ValueError:
        raise
    except Exception as error:  # pickle raises what happens to go wrong
        raise ValueError(f"it is damaged ({type(error).__name__})") from error


_MAGIC = 0x1950A86A20F9469CFC6C


def _look_through_zip(stream: Any, file: Path, size: int) -> None:
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        if any(entry.filename.endswith("constants.pkl") for entry in entries):
            raise WeightsError(
                f"{shown(file)} is TorchScript: a whole program, not weights.",
                do=f"Save the weights alone: {ALONE}, with model = torch.jit.load(file).",
            )
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its entries are compressed, which torch.save never does")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its entries are larger than the file")
        for entry in entries:
            if entry.filename.endswith("data.pkl"):
                _inspected(io.BytesIO(archive.read(entry)), size)


ITEMS = {"Double": 8, "Long": 8, "ComplexFloat": 8, "ComplexDouble": 16, "Float": 4, "Int": 4}
"""Bytes of one number in a storage of these kinds; at most 2 in others."""

_Base: Any = cast("Any", pickle)._Unpickler  # noqa: SLF001  (in Python: each step can be replaced)


class _Thing:
    """Stands for whatever a checkpoint names or makes: nothing is imported, and nothing runs."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: Any) -> _Thing:
        plain = self._name.rpartition(".")[2]
        if plain in ("bytearray", "Counter", "_rebuild_qtensor") or plain.endswith(
            ("Tensor", "Storage")
        ):
            raise ValueError(f"it makes a {plain}, which weights are not made of")
        for argument in args if plain in ("OrderedDict", "set", "defaultdict") else ():
            for item in cast("list[Any]", argument) if isinstance(argument, list | tuple) else ():
                pair = plain != "set" and isinstance(item, list | tuple) and item
                _check_key(cast("list[Any]", item)[0] if pair else item)
        return _Thing("")

    def __setitem__(self, key: object, value: object) -> None: ...
    def __setstate__(self, state: object) -> None: ...
    def append(self, item: object) -> None: ...
    def extend(self, items: object) -> None: ...
    def add(self, item: object) -> None: ...
    def update(self, items: object) -> None: ...


def _check_key(key: object) -> None:
    """Refuse a key whose hash may take exponentially long: tuples in tuples.

    Raises:
        ValueError: it is one.
    """
    if isinstance(key, tuple | frozenset):
        entries = cast("tuple[Any, ...]", key)
        if any(isinstance(entry, tuple | frozenset) for entry in entries):
            raise ValueError("it has a key that is no name")


class _Inspection(_Base):
    """Goes through a pickle as reading it would, but imports and calls nothing."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Base.dispatch)

    def __init__(self, stream: Any, size: int) -> None:
        super().__init__(stream, encoding="latin1")
        self._size = size
        self._storages: dict[object, int] = {}

    def find_class(self, module: str, name: str) -> _Thing:
        return _Thing(f"{module}.{name}")

    def get_extension(self, code: int) -> None:
        raise ValueError(f"it uses an extension of pickle ({code})")

    def persistent_load(self, pid: Any) -> _Thing:
        """A storage: its bytes lie elsewhere in the file, so it is no larger than the file."""
        kind, key, numbers = (pid[1], pid[2], pid[4]) if len(pid) > 4 else (None, None, None)
        if not isinstance(numbers, int) or not isinstance(key, str) or numbers < 0:
            raise ValueError("it refers to something that is no tensor")
        name = getattr(kind, "_name", "").rpartition(".")[2].removesuffix("Storage")
        item = 1 if name in ("Untyped", "Byte", "Char", "Bool") else ITEMS.get(name, 2)
        self._storages[key] = numbers * item
        if sum(self._storages.values()) > self._size:
            raise ValueError("its tensors are larger than the file")
        return _Thing("")


def _checking(step: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    """A step of unpickling that first looks at the keys it is about to use."""

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
    """In place of making an object of a class: the class is a `_Thing`."""
    args, kind = inspection.stack.pop(), inspection.stack.pop()
    inspection.append(kind(*args) if isinstance(kind, _Thing) else _Thing(""))


_Inspection.dispatch[_opcode("NEWOBJ")] = _instantiate
