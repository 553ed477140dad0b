"""Weights fitted to a network, with plain words where they do not fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from scorecam.backends.checkpoints import State, read_state, shown, some
from scorecam.errors import WeightsError

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""

BESIDE = ("loss", "criterion", "metric")
"""What training scripts call the modules beside a network that have tensors too."""

COUNTED = ("total_ops", "total_params")
"""Buffers that profilers leave in every module."""

TRIED = 3
"""Of the network's names, how many are looked for in a file to find the prefix of all."""


def load_weights(module: nn.Module, path: str | os.PathLike[str]) -> list[str]:
    """Load a file into a module; returns what should be said about it.

    Raises:
        WeightsError: the file cannot be read, or does not fit the module.
    """
    return load_state(module, read_state(path))


def load_state(module: nn.Module, state: State) -> list[str]:
    """Load tensors into a module; an empty state leaves its own initialisation.

    Tensors under another prefix than the network's, and those of losses and metrics, are left out.

    Raises:
        WeightsError: the network's own tensors are missing, or shapes differ, or there are more
            than the network has: it may be another one.
    """
    if not state:
        return ["The weights are random: the network is untrained."]
    own = _own(module)
    fit = _fitted(state, own)
    foreign = fit.foreign(own)
    if fit.missing or fit.odd or foreign:
        raise WeightsError(
            "The weights do not fit the model: "
            + "; ".join(
                f"{len(names)} {what}: {some(names)}"
                for what, names in (
                    ("missing", fit.missing),
                    ("unknown", foreign),
                    ("of another shape", fit.odd),
                )
                if names
            )
            + ".",
            likely=_likely(fit, foreign, own),
            do="Give the weights of this very network, or build the network that they are of.",
        )
    try:
        module.load_state_dict(fit.state, strict=False)
    except Exception as error:  # hooks of the network's own
        raise WeightsError(
            f"The network did not take the weights: {type(error).__name__}: {shown(error, 200)}",
            do="Check that net.load_state_dict itself takes them.",
        ) from error
    return list(fit.remarks())


def classes_of(state: State, build: Callable[[int], nn.Module]) -> int:
    """How many classes a checkpoint is for: the rows of what the network ends in.

    Args:
        state: names in any order (safetensors sorts them).
        build: makes the network for a number of classes; only its names are looked at.
    """
    with torch.device("meta"):
        own = _own(build(1000))
    fitting = _fitted(state, own).state
    last = [name for name, one in own.items() if name.endswith("weight") and one.ndim > 1][-1]
    found = fitting.get(last)
    if found is None or found.shape[1:] != own[last].shape[1:] or found.numel() == 0:
        return 1000
    return len(found)


def _own(module: nn.Module) -> State:
    """The network's tensors by name; what else its state holds, files need not have."""
    state = module.state_dict()
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


# ── which names are the network's ────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Fit:
    """A file's tensors under the network's names.

    Args:
        state: those that begin with the prefix, without it.
        prefix: what every one of the network's names has before it in the file.
        beside: names in the file that are not the network's.
        missing: the network's names that are not there.
        odd: names whose shapes differ, and both shapes.
    """

    state: State
    prefix: str
    beside: list[str]
    missing: list[str]
    odd: list[str]

    def foreign(self, own: Mapping[str, Tensor]) -> list[str]:
        """Names that the network does not have."""
        return [name for name in self.state if name not in own]

    def remarks(self) -> Iterator[str]:
        if self.prefix:
            yield f"The prefix {shown(self.prefix, 60)!r} was taken off the weights' names."
        if self.beside:
            count = len(self.beside)
            what = "tensor in the file is" if count == 1 else "tensors in the file are"
            verb = "was" if count == 1 else "were"
            yield f"{count} {what} not the network's and {verb} left out: {some(self.beside)}."


def _fitted(state: State, own: Mapping[str, Tensor]) -> _Fit:
    """The state under the prefix that fits the network best.

    Raises:
        WeightsError: several fit in full, such as a student's and a teacher's.
    """
    fits = [_under(prefix, state, own) for prefix in _prefixes(state, own)]
    whole = [fit for fit in fits if not fit.missing and not fit.odd]
    usual = [fit for fit in whole if _is_usual(fit.prefix)]
    if len(whole) > 1 and len(usual) != 1 and whole[0].prefix:
        raise WeightsError(
            f"The file holds several sets of weights for this network, under "
            f"{some([fit.prefix for fit in whole])}.",
            do="Save the one that is meant to a file of its own.",
        )
    if whole:
        return whole[0] if not whole[0].prefix else (usual or whole)[0]
    return min(fits, key=lambda fit: len(fit.missing) + len(fit.odd))


def _is_usual(prefix: str) -> bool:
    """Whether it is made of the prefixes that everybody's wrappers put there."""
    rest = prefix
    while rest:
        known = next((each for each in PREFIXES if rest.startswith(each)), None)
        if known is None:
            return False
        rest = rest.removeprefix(known)
    return True


def _prefixes(state: State, own: Mapping[str, Tensor]) -> list[str]:
    """The empty prefix, and those with which some of the network's names occur in a file."""
    names = sorted((name for name in own if not _counts(name)), key=len, reverse=True)
    prefixes = [""]
    for name in names[:TRIED]:
        found = {each.removesuffix(name) for each in state if each.endswith(f".{name}")}
        prefixes += sorted(found, key=lambda prefix: (len(prefix), prefix))[:TRIED]
    return list(dict.fromkeys(prefixes))


def _under(prefix: str, state: State, own: Mapping[str, Tensor]) -> _Fit:
    cut = {name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)}
    beside = [name for name in state if not name.startswith(prefix)]
    if "n_averaged" not in own:  # the counter of torch's AveragedModel
        cut.pop("n_averaged", None)
        beside = [name for name in beside if name != "n_averaged"]
    missing = [name for name in own if name not in cut and not _counts(name)]
    odd = [
        f"{name} ({_shape(one)} for {tuple(own[name].shape)})"
        for name, one in cut.items()
        if name in own and not is_lazy(own[name]) and one.shape != own[name].shape
    ]
    others = [name for name in cut if name not in own and _of_training(name)]
    kept = {name: one for name, one in cut.items() if name not in set(others)}
    return _Fit(kept, prefix, beside + [prefix + name for name in others], missing, odd)


def _of_training(name: str) -> bool:
    """Whether a tensor belongs to what a network is trained or measured with."""
    part = name.rpartition(".")[2] if name.endswith(COUNTED) else name.partition(".")[0]
    return any(word in part.lower() for word in BESIDE) or part in COUNTED


def _counts(name: str) -> bool:
    """Whether it is a count of batches, which older files lack."""
    return "num_batches_tracked" in name


def _shape(tensor: Tensor) -> str:
    return shown(tuple(tensor.shape), 60)


def _likely(fit: _Fit, foreign: list[str], own: Mapping[str, Tensor]) -> str:
    counters = sum(map(_counts, own))
    if len(fit.missing) > 0.9 * (len(own) - counters):
        return "The weights seem to be another architecture's."
    if fit.odd and not fit.missing and not foreign:
        return "The model may have been built for another number of classes or another width."
    if foreign and not fit.missing and not fit.odd:
        return "The weights may be of a larger network of the same family."
    return "The weights may be of another version of this network."
