"""Loading weights into a network, and clear errors for weights that do not fit."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from scorecam.backends.checkpoints import first_names, printable, read_state
from scorecam.backends.state import State, Weights
from scorecam.errors import WeightsError

PREFIXES = ("module.", "_orig_mod.", "model.")
"""Prefixes that DataParallel, torch.compile and Lightning add to every name."""

TRAINING_WORDS = ("loss", "criterion", "metric")
"""Words in the names of training modules that have tensors but are not part of the network."""

AVERAGES = ("ema", "swa", "averaged")
"""Words in the names of averages of the weights, which training scripts keep in addition."""

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Parts that torch.compile, FSDP and activation checkpointing add inside names."""

COMPUTED = ("_g", "_v", "_u", "_orig", "_mask")
"""The ends of the names from which weight_norm, spectral_norm and pruning compute weights."""

PROFILER_BUFFERS = ("total_ops", "total_params")
"""Buffers that profilers add to every module."""

NAMES_TRIED = 3
"""The number of the network's names that are looked up in a file to find a common prefix."""


def load_weights(module: nn.Module, path: str | os.PathLike[str]) -> list[str]:
    """Load a file into a module; returns remarks for the user.

    Raises:
        WeightsError: the file cannot be read, or does not fit the module.
    """
    return load_state(module, read_state(path))


def load_state(module: nn.Module, state: State) -> list[str]:
    """Load tensors into a module; with an empty state, it keeps its initialisation.

    Tensors outside the network's prefix, and those of losses and metrics, are ignored.

    Raises:
        WeightsError: tensors of the network are missing, shapes differ, or there are tensors that
            the network does not have.
    """
    if not state:
        return ["The weights are random: the network is untrained."]
    own = _own(module)
    fit = _fitted(state, own)
    foreign = fit.foreign(own)
    if fit.missing or fit.mismatched or foreign:
        raise WeightsError(
            "The weights do not fit the model: "
            + "; ".join(
                f"{len(names)} {what}: {first_names(names)}"
                for what, names in (
                    ("missing", fit.missing),
                    ("unknown", foreign),
                    ("with another shape", fit.mismatched),
                )
                if names
            )
            + ".",
            likely=_likely(fit, foreign, own),
            do="Give weights of this network, or build the network that they belong to.",
        )
    try:
        module.load_state_dict(fit.state, strict=False)
    except Exception as error:  # the network's own hooks may raise any error
        raise WeightsError(
            f"The network rejected the weights: {type(error).__name__}: {printable(error, 200)}",
            do="Check that net.load_state_dict accepts them.",
        ) from error
    found = state.remarks if isinstance(state, Weights) else ()
    return [*found, *fit.remarks()]


def classes_of(state: State, build: Callable[[int], nn.Module]) -> int:
    """The number of classes of a checkpoint: the rows of the network's last weight.

    Args:
        state: names in any order (safetensors sorts them).
        build: makes the network for a number of classes; only names and shapes are used.
    """
    with torch.device("meta"):
        own = _own(build(1000))
    fitting = _fitted(state, own).state
    last = [name for name, one in own.items() if name.endswith("weight") and one.ndim > 1][-1]
    weight = fitting.get(last)
    if weight is None or weight.shape[1:] != own[last].shape[1:] or weight.numel() == 0:
        return 1000
    return len(weight)


def _own(module: nn.Module) -> State:
    """The network's tensors by name, without the other values of its state."""
    state = module.state_dict()
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


# ── matching names ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Fit:
    """A file's tensors under the network's names.

    Args:
        state: the tensors that begin with the prefix, without it.
        prefix: the text before each of the network's names in the file.
        left_out: names in the file that do not belong to the network.
        missing: names of the network that the file lacks.
        mismatched: names of tensors of different shapes, with both shapes.
        unwrapped: whether wrappers of single modules were removed from the names.
    """

    state: State
    prefix: str
    left_out: list[str]
    missing: list[str]
    mismatched: list[str]
    unwrapped: bool = False

    def foreign(self, own: Mapping[str, Tensor]) -> list[str]:
        """Names that the network does not have."""
        return [name for name in self.state if name not in own]

    def without(self, prefixes: Sequence[str]) -> _Fit:
        """The same, with the names under these prefixes left out: they are sets of their own."""
        others = [name for name in self.state if name.startswith(tuple(prefixes))]
        kept = {name: one for name, one in self.state.items() if name not in set(others)}
        return replace(self, state=kept, left_out=[*self.left_out, *others])

    def remarks(self) -> Iterator[str]:
        if self.prefix:
            prefix = printable(self.prefix, 60)
            yield f"The prefix {prefix!r} was removed from the names of the weights."
        if self.unwrapped:
            yield (
                "What torch.compile, FSDP or checkpointing add inside the names of the weights was "
                "removed."
            )
        if self.left_out:
            count = len(self.left_out)
            what = "1 tensor in the file was" if count == 1 else f"{count} tensors in the file were"
            yield f"{what} ignored, as the network has no such names: {first_names(self.left_out)}."


def _fitted(state: State, own: Mapping[str, Tensor]) -> _Fit:
    """The state under the prefix that fits the network best.

    Raises:
        WeightsError: several sets of weights fit, such as a student's and a teacher's.
    """
    fits = [_under(prefix, state, own) for prefix in _prefixes(state, own)]
    whole = [fit for fit in fits if not fit.missing and not fit.mismatched]
    plain = _without_wrappers(state)
    if not whole and plain.keys() != state.keys():
        return replace(_fitted(plain, own), unwrapped=True)
    if len(whole) > 1 and not whole[0].prefix:
        return whole[0].without([fit.prefix for fit in whole[1:]])
    whole = [fit for fit in whole if not _is_average(fit.prefix)] or whole
    usual = [fit for fit in whole if _is_usual(fit.prefix)]
    if len(whole) > 1 and len(usual) != 1 and whole[0].prefix:
        raise WeightsError(
            f"The file holds several sets of weights for this network, under "
            f"{first_names([repr(fit.prefix) for fit in whole])}.",
            do="Save the set you want to a separate file.",
        )
    if whole:
        return whole[0] if not whole[0].prefix else (usual or whole)[0]
    return min(fits, key=lambda fit: len(fit.missing) + len(fit.mismatched))


def _without_wrappers(state: State) -> State:
    """The state without the parts of its names that wrappers of single modules add."""

    def plain(name: str) -> str:
        for part in WRAPPERS:
            name = name.replace(f".{part}", ".")
        return name

    return {plain(name): tensor for name, tensor in state.items()}


def _is_average(prefix: str) -> bool:
    """Whether the weights under this prefix are an average, such as `ema_model.`."""
    words = re.split(r"[._]", prefix.lower())
    return any(word in AVERAGES for word in words)


def _is_usual(prefix: str) -> bool:
    """Whether it consists of prefixes that common wrappers add."""
    rest = prefix
    while rest:
        known = next((usual for usual in PREFIXES if rest.startswith(usual)), None)
        if known is None:
            return False
        rest = rest.removeprefix(known)
    return True


def _prefixes(state: State, own: Mapping[str, Tensor]) -> list[str]:
    """The empty prefix, and prefixes of the network's names in the file."""
    names = sorted((name for name in own if not _is_counter(name)), key=len, reverse=True)
    prefixes = [""]
    for name in names[:NAMES_TRIED]:
        in_file = {key.removesuffix(name) for key in state if key.endswith(f".{name}")}
        prefixes += sorted(in_file, key=lambda prefix: (len(prefix), prefix))[:NAMES_TRIED]
    return list(dict.fromkeys(prefixes))


def _under(prefix: str, state: State, own: Mapping[str, Tensor]) -> _Fit:
    cut = {name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)}
    outside = [name for name in state if not name.startswith(prefix)]
    if "n_averaged" not in own:  # the counter of torch's AveragedModel
        cut.pop("n_averaged", None)
        outside = [name for name in outside if name != "n_averaged"]
    missing = [name for name in own if name not in cut and not _is_counter(name)]
    mismatched = [
        f"{name} ({_shape(one)} for {tuple(own[name].shape)})"
        for name, one in cut.items()
        if name in own and not is_lazy(own[name]) and one.shape != own[name].shape
    ]
    training = [name for name in cut if name not in own and _of_training(name)]
    kept = {name: one for name, one in cut.items() if name not in set(training)}
    left_out = outside + [prefix + name for name in training]
    return _Fit(kept, prefix, left_out, missing=missing, mismatched=mismatched)


def _of_training(name: str) -> bool:
    """Whether a tensor belongs to a loss, a metric or a profiler."""
    part = name.rpartition(".")[2] if name.endswith(PROFILER_BUFFERS) else name.partition(".")[0]
    return any(word in part.lower() for word in TRAINING_WORDS) or part in PROFILER_BUFFERS


def _is_counter(name: str) -> bool:
    """Whether it is a batch counter of a batch norm, which older files lack."""
    return "num_batches_tracked" in name


def _shape(tensor: Tensor) -> str:
    return printable(tuple(tensor.shape), 60)


def _computed(names: Sequence[str]) -> bool:
    """Whether weights are computed from tensors with these names."""
    return any(
        name.endswith(tuple(f"weight{end}" for end in COMPUTED)) or ".parametrizations." in name
        for name in names
    )


def _likely(fit: _Fit, foreign: list[str], own: Mapping[str, Tensor]) -> str:
    counters = sum(map(_is_counter, own))
    if unusual := _unusual(fit, foreign):
        return unusual
    if len(fit.missing) > 0.9 * (len(own) - counters):
        return "The weights seem to belong to another architecture."
    if fit.mismatched and not fit.missing and not foreign:
        return "The model may have another number of classes or another width."
    if foreign and not fit.missing and not fit.mismatched:
        return "The weights may belong to a larger network of the same family."
    return "The weights may belong to another version of this network."


def _unusual(fit: _Fit, foreign: list[str]) -> str:
    """The cause, if the weights are split, quantised or computed; empty otherwise."""
    if fit.mismatched and all("((0,) for" in text for text in fit.mismatched):
        return (
            "DeepSpeed (ZeRO-3) or FSDP keeps the weights in other files; zero_to_fp32.py in the "
            "checkpoint's folder makes one file of them."
        )
    if any("zero_point" in name for name in fit.missing):
        return "The network is quantised: load its weights first, and then quantise it."
    if _computed(foreign):
        return (
            "The file was saved with weight_norm, spectral_norm, pruning or parametrize: apply "
            "the same to the network, or remove it before you save."
        )
    if _computed(fit.missing):
        return (
            "The network computes some weights (weight_norm, spectral_norm, pruning, "
            "parametrize), and the file has them as they are: load the file first, and then apply "
            "these."
        )
    return ""
