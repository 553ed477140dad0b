"""Networks of Hugging Face for images, from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from scorecam.backends.checkpoints import first_names
from scorecam.backends.diagnosis import Diagnosis, Optional
from scorecam.backends.opener import Opener, Options
from scorecam.backends.pytorch.opening import Built, torch_model
from scorecam.backends.state import State
from scorecam.backends.zoo import hf_tokenizer
from scorecam.backends.zoo.hf_config import id2label, read_config
from scorecam.backends.zoo.hf_kinds import CLASSIFIER, Kind, kind_of
from scorecam.backends.zoo.hf_preprocess import preprocess_of
from scorecam.backends.zoo.weights import rows_of, state_of
from scorecam.base.wording import excerpt, quoted, reason
from scorecam.errors import ModelError, ScorecamError, WeightsError
from scorecam.io.extras import require
from scorecam.model.model import Model

PREFIX = "hf:"

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The weights of a folder, in the order in which they are tried; an index lists several files."""

FILES = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "chat_template.jinja",
    "model.safetensors",
    "pytorch_model.bin",
    *hf_tokenizer.FILES,
)
"""The files that are downloaded. No code is."""


def _takes(given: Any) -> bool:
    return isinstance(given, str) and given.startswith(PREFIX) and given != PREFIX


def _open(spec: str, options: Options) -> Model:
    name = spec.removeprefix(PREFIX)
    transformers = require("transformers", "hf", f"build {quoted(spec)}")
    folder = _folder(name, download=options.download)
    return torch_model(_built(transformers, folder, options), spec, options)


def _diagnosis() -> Diagnosis:
    return Diagnosis(
        optional=[Optional("transformers", "hf:FOLDER models", "pip install 'scorecam[hf]'")]
    )


OPENER = Opener("hf:FOLDER", _takes, _open, diagnosis=_diagnosis)


def _folder(name: str, *, download: bool) -> Path:
    """The folder of this name; with permission, that of a name on the hub, downloaded.

    Raises:
        ModelError: there is none.
    """
    try:
        if (Path(name) / "config.json").is_file():
            return Path(name)
        present = Path(name).is_dir()
    except (OSError, ValueError):  # not a path
        present = False
    if present:
        raise ModelError(
            f"The folder {excerpt(name, 200)} has no config.json.",
            do="Give a folder that save_pretrained of transformers wrote.",
        )
    if not download:
        raise ModelError(
            f"There is no folder {excerpt(name, 200)}, and nothing is downloaded without "
            "permission.",
            do="Check the path; or, if it is a name on Hugging Face's hub, pass download=True "
            "(--download).",
        )
    hub = require("huggingface_hub", "hf", "download a model")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:  # no connection, no such name
        raise ModelError(
            f"{quoted(name)} could not be downloaded: {type(error).__name__}: {reason(error)}",
            do="Check the name and the connection, or give a local folder.",
        ) from error


def _built(transformers: Any, folder: Path, options: Options) -> Built:
    values = read_config(folder)
    state = _state(folder, options)
    try:
        with _quiet(transformers):
            module, remarks = _module(transformers, values, state, folder)
            preprocess = None
            if options.preprocess is None:
                preprocess, more = preprocess_of(transformers, folder)
                remarks += more
    except ScorecamError:
        raise
    except Exception as error:  # the configuration may have any values
        raise ModelError(
            f"transformers could not build {excerpt(folder, 200)}: {type(error).__name__}: "
            f"{reason(error)}",
            likely="The configuration is damaged, or written for another version.",
            do="Check that from_pretrained(folder) works with the class that config.json names.",
        ) from error
    names = id2label(values)
    classes = getattr(getattr(module, "config", None), "num_labels", None)
    fits = names is not None and classes == len(names)
    tokenizer = hf_tokenizer.FolderTokenizer(folder)
    names = names if fits else None
    return Built(module, preprocess, names=names, remarks=tuple(remarks), tokenizer=tokenizer)


def _state(folder: Path, options: Options) -> State:
    """The weights of the folder or of the user's file; empty for random ones."""
    if options.weights is not None:
        return state_of(options.weights)
    for name in WEIGHTS:
        if (folder / name).is_file():
            return state_of(folder / name)
    raise WeightsError(
        f"The folder {excerpt(folder, 200)} has no model.safetensors or pytorch_model.bin.",
        do="Save them there: model.save_pretrained(folder); or pass weights= (--weights), or "
        '"random" for an untrained network.',
    )


def _module(
    transformers: Any, values: Mapping[str, Any], state: State, folder: Path
) -> tuple[nn.Module, list[str]]:
    """The network with its weights, and remarks.

    Raises:
        ModelError: transformers has no such image classifier.
        WeightsError: the weights do not fit the configuration.
    """
    kinds: Mapping[str, Any] = transformers.CONFIG_MAPPING
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in kinds:
        raise ModelError(
            f"The installed transformers has no architecture {quoted(kind)}.",
            likely="It needs code from the hub, which is never run, or another version.",
            do="Build the network yourself, and use package.module:factory.",
        )
    if not state:
        config = kinds[kind].from_dict(dict(values))
        found, remark = kind_of(transformers, config)
        module = _auto(transformers, found).from_config(config, dtype=torch.float32).eval()
        return module, [*_some(remark), "The weights are random: the network is untrained."]
    _check_depth(values, state)
    config = kinds[kind].from_dict(dict(values))
    found, remark = kind_of(transformers, config)
    own = _outline(_auto(transformers, found), config, state)
    classes = _classes(own, state) if found == CLASSIFIER else {}
    config = kinds[kind].from_dict({**values, **classes})
    module, info = type(own).from_pretrained(
        None,
        config=config,
        state_dict=dict(state),
        dtype=torch.float32,
        local_files_only=True,
        ignore_mismatched_sizes=True,  # they are in the report, and refused
        output_loading_info=True,
    )
    missing, mismatched = ([_key(key) for key in info[f"{what}_keys"]] for what in _REFUSED)
    if missing or mismatched:
        raise _unfitting(folder, sorted(missing), sorted(mismatched))
    remarks = _some(remark)
    if classes:
        count = classes["num_labels"]
        remarks += [f"The weights have {count} classes, so the model was built with {count}."]
    if unexpected := sorted(info["unexpected_keys"]):
        remarks.append(
            f"{len(unexpected)} tensors of the file were ignored: {first_names(unexpected)}."
        )
    return module, remarks


_REFUSED = ("missing", "mismatched")


def _key(entry: Any) -> str:
    """The name in an entry of transformers' report, which may have shapes beside it."""
    return str(entry[0] if isinstance(entry, tuple) else entry)


def _auto(transformers: Any, kind: Kind) -> Any:
    """The class that builds networks of a kind."""
    return getattr(transformers, kind.auto)


def _some(remark: str) -> list[str]:
    return [remark] if remark else []


def _check_depth(values: Mapping[str, Any], state: State) -> None:
    """Refuse a configuration with more layers than the file has tensors; building takes time.

    Raises:
        WeightsError: it has.
    """
    for key, value in values.items():
        if isinstance(value, Mapping):  # the two towers of CLIP
            _check_depth(cast("Mapping[str, Any]", value), state)
        layers = value if isinstance(value, list) else [value]
        counts = [count for count in layers if isinstance(count, int)]
        if key.endswith(("layers", "depths", "depth")) and sum(counts) > len(state):
            raise WeightsError(
                f"The configuration has {key}={quoted(value)}, but the weights only {len(state)} "
                "tensors.",
                do="Give the weights of this configuration.",
            )


def _outline(auto: Any, config: Any, state: State) -> Any:
    """The network without memory for its weights.

    Raises:
        WeightsError: it is far larger than the weights.
    """
    with torch.device("meta"):
        own = auto.from_config(config, dtype=torch.float32)
    needed = sum(one.numel() for one in own.parameters())
    given = sum(one.numel() for one in state.values())
    if needed > 2 * given + 10**6:
        raise WeightsError(
            f"The configuration describes {needed:,} weights, and the file has {given:,}.",
            do="Give the weights of this configuration.",
        )
    return own


def _classes(own: nn.Module, state: State) -> dict[str, Any]:
    """The setting for another number of classes than the configuration's, if the weights have it.

    The classifier is the last weight with one row per class.
    """
    classes = getattr(getattr(own, "config", None), "num_labels", None)
    weights: dict[str, Tensor] = {
        name: one for name, one in own.named_parameters() if one.ndim > 1 and len(one) == classes
    }
    rows = rows_of(state, list(weights)[-1]) if weights else None
    return {} if rows in (None, classes) else {"num_labels": rows, "id2label": None}


def _unfitting(folder: Path, missing: list[str], mismatched: list[str]) -> WeightsError:
    both = [(missing, "missing"), (mismatched, "with another shape")]
    parts = [f"{len(names)} {what}: {first_names(names)}" for names, what in both if names]
    return WeightsError(
        f"The weights do not fit {excerpt(folder / 'config.json', 200)}: {'; '.join(parts)}.",
        likely="The folder holds a backbone without a classifier."
        if missing and not mismatched and all("classifier" in name for name in missing)
        else "The weights belong to another configuration.",
        do="Give the weights of an image classifier; or build the network yourself, and use "
        "package.module:factory.",
    )


class _quiet:  # noqa: N801
    """Without transformers' progress bars and its report of loaded weights."""

    def __init__(self, transformers: Any) -> None:
        self._logging = transformers.utils.logging

    def __enter__(self) -> None:
        self._before = self._logging.get_verbosity()
        self._bars = self._logging.is_progress_bar_enabled()
        self._logging.set_verbosity_error()
        self._logging.disable_progress_bar()

    def __exit__(self, *error: object) -> None:
        self._logging.set_verbosity(self._before)
        if self._bars:
            self._logging.enable_progress_bar()
