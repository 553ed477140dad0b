"""Weights from files: read without running anything in them, and fitted with plain words."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from torch import Tensor, nn

from scorecam.arguments import path as as_path
from scorecam.errors import WeightsError
from scorecam.process import quietly
from scorecam.wording import quoted

State = dict[str, Tensor]

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

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""


def load_weights(module: nn.Module, path: str | os.PathLike[str]) -> list[str]:
    """Load a file into a module; returns what should be said about it.

    Raises:
        WeightsError: the file cannot be read, or does not fit the module.
    """
    return load_state(module, read_state(path))


def read_state(path: str | os.PathLike[str]) -> State:
    """The tensors in a safetensors file, or in a checkpoint read with `weights_only`.

    Raises:
        WeightsError: the file is missing, damaged, would run code, or holds no weights.
    """
    file = Path(as_path("weights", path))
    if not os.path.isfile(file):  # noqa: PTH113  (of a name that is too long, pathlib's raises)
        raise WeightsError(f"There is no weights file {file}.", do="Check the path.")
    try:
        if file.suffix == ".safetensors":
            return _checked(safetensors.torch.load_file(file), file)
        if _unpacks_to_more(file):
            raise ValueError("its entries are compressed, which torch.save never does")
        with quietly():  # torch's remarks on old formats
            found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{file} was not read: {_first_sentence(error)}",
            likely="A checkpoint that holds more than tensors can run code when it is read.",
            do="If you trust it, load it where it was made and save the weights alone: "
            'safetensors.torch.save_file(model.state_dict(), "weights.safetensors").',
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged file raises what its reader happens to
        raise WeightsError(
            f"{file} cannot be read as weights: {_first_sentence(error)}",
            likely="It may be cut short, or not a weights file.",
            do="Give a .safetensors file, or a checkpoint that torch.save wrote.",
        ) from error
    return _checked(_unwrapped(found, file), file)


def load_state(module: nn.Module, state: State) -> list[str]:
    """Load tensors into a module; an empty state leaves its own initialisation.

    Raises:
        WeightsError: names are missing or foreign, or shapes differ.
    """
    if not state:
        return ["The weights are random: the network is untrained."]
    own = module.state_dict()
    state, stripped = _without_prefix(state, own)
    missing = [name for name in own if name not in state and "num_batches_tracked" not in name]
    foreign = [name for name in state if name not in own]
    odd = [
        f"{name} ({tuple(state[name].shape)} for {tuple(own[name].shape)})"
        for name in state
        if name in own and state[name].shape != own[name].shape
    ]
    if missing or foreign or odd:
        raise WeightsError(
            "The weights do not fit the model: "
            + "; ".join(
                f"{len(names)} {what}: {_some(names)}"
                for what, names in (
                    ("missing", missing),
                    ("unknown", foreign),
                    ("of another shape", odd),
                )
                if names
            )
            + ".",
            likely=_likely(missing, foreign, odd, own),
        )
    module.load_state_dict(state, strict=False)
    return [f"The prefix {quoted(stripped)} was taken off the weights' names."] if stripped else []


def classes_of(state: State, build: Callable[[int], nn.Module]) -> int:
    """How many classes a checkpoint is for: the rows of what the network ends in.

    Args:
        state: names in any order (safetensors sorts them).
        build: makes the network for a number of classes; only its names are looked at.
    """
    with torch.device("meta"):
        own = build(1000).state_dict()
    state, _ = _without_prefix(state, own)
    last = [name for name, one in own.items() if name.endswith("weight") and one.ndim > 1][-1]
    return len(state[last]) if last in state else 1000


def _unpacks_to_more(file: Path) -> bool:
    """Whether a zip file holds compressed entries, as a zip bomb does."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())


def _checked(state: State, file: Path) -> State:
    """The state, if its tensors can be weights."""
    odd = [
        name
        for name, one in state.items()
        if one.layout != torch.strided or one.is_complex() or one.is_meta or one.is_quantized
    ]
    if odd or not state:
        what = f"tensors that cannot be weights ({_some(odd)})" if odd else "no weights"
        raise WeightsError(
            f"{file} holds {what}.",
            do="Save the weights alone, as dense real numbers: "
            'safetensors.torch.save_file(model.state_dict(), "weights.safetensors").',
        )
    return state


def _unwrapped(found: Any, file: Path) -> State:
    """The mapping from names to tensors, however deep a training script filed it."""
    for _ in range(1000):  # deep enough for any script, and an end to one that contains itself
        if not isinstance(found, Mapping):
            break
        entries = cast("Mapping[str, Any]", found)
        tensors = {str(k): v for k, v in entries.items() if isinstance(v, Tensor)}
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
        f"{file} holds no weights that could be found.",
        likely="It may hold a whole model, an optimiser's state, or something else.",
        do='Save them alone: safetensors.torch.save_file(model.state_dict(), "w.safetensors").',
    )


def _without_prefix(state: State, own: Mapping[str, Tensor]) -> tuple[State, str]:
    """The state without a prefix that every name has and the module's names have not."""
    taken = ""
    if "n_averaged" not in own:  # the counter of torch's AveragedModel
        state = {name: tensor for name, tensor in state.items() if name != "n_averaged"}
    for prefix in PREFIXES * 2:
        fits = any(name in own for name in state)
        if not fits and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
            taken += prefix
    return state, taken


def _likely(
    missing: list[str], foreign: list[str], odd: list[str], own: Mapping[str, Tensor]
) -> str:
    counters = sum("num_batches_tracked" in name for name in own)
    if len(missing) > 0.9 * (len(own) - counters):
        return "The weights seem to be another architecture's."
    if odd and not missing and not foreign:
        return "The model may have been built for another number of classes or another width."
    return "The weights may be of another version of this network."


def _some(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(_printable(name) for name in names[:shown]) + more


def _printable(name: str) -> str:
    """A foreign name, cut short and without what could steer a terminal."""
    plain = "".join(c if c.isprintable() else "?" for c in name[:200])
    return plain if len(plain) <= 80 else plain[:79] + "…"


def _first_sentence(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0].split(". ")[0] + ".") if text else f"{type(error).__name__}."
