"""The part of a network such as CLIP that embeds texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from scorecam.backends.inputs.call import TOWERS, image_method
from scorecam.backends.pytorch.running import Runner
from scorecam.base.wording import quoted, reason
from scorecam.errors import ModelError, ScorecamError, SettingError
from scorecam.model.readout import find_scores
from scorecam.model.text_tower import TextEmbeddings, TextTower, Tokenizer


def text_tower(
    module: nn.Module, runner: Runner, own: Callable[[], Tokenizer] | None
) -> TextTower | None:
    """The text tower of a network; None if it has none.

    Args:
        runner: runs the network.
        own: loads the network's own tokenizer, if there is one.
    """
    images = image_method(module)
    if images is None:
        return None
    method, limit = TOWERS[images], _longest(module)
    scale, bias = (_number(module, f"logit_{what}") for what in ("scale", "bias"))

    def embed(texts: Sequence[str], tokenizer: Tokenizer | None) -> TextEmbeddings:
        if tokenizer is None:
            tokenizer = _loaded(own)
        tokens = _tokens(texts, tokenizer, longest=limit, padded=bias is not None)
        accepted = set(inspect.signature(getattr(module, method)).parameters)
        kept = {name: ids for name, ids in tokens.items() if name in accepted}

        def run(network: nn.Module, empty: Tensor) -> Tensor:
            there = {name: ids.to(empty.device) for name, ids in (kept or tokens).items()}
            function = getattr(network, method)
            return find_scores(function(**there) if kept else function(*there.values()))

        try:
            found = runner.run(torch.zeros(1), run, check=False)
        except ScorecamError as error:
            raise ModelError(
                f"The text tower failed: {reason(error.__cause__ or error)}",
                likely="The token ids may be those of another model's tokenizer.",
                do="Give the tokenizer that belongs to the model: tokenizer=.",
            ) from error
        return found.detach().clone().cpu().float()

    return TextTower(embed, 1.0 if scale is None else float(torch.tensor(scale).exp()), bias)


def _loaded(own: Callable[[], Tokenizer] | None) -> Tokenizer:
    """The model's own tokenizer.

    Raises:
        SettingError: it has none.
    """
    if own is not None:
        return own()
    raise SettingError(
        "Texts were given, and the model has no tokenizer.",
        likely="It was opened as a network, not as the folder hf:FOLDER.",
        do="In Python, give tokenizer=, a function from a list of texts to token ids, or the "
        'embeddings: text={"a cat": tensor, ...}. On the command line, --model hf:FOLDER with the '
        "tokenizer's files in the folder.",
    )


def _tokens(
    texts: Sequence[str], tokenizer: Tokenizer, *, longest: int | None, padded: bool
) -> dict[str, Tensor]:
    """The inputs of the text tower, by name.

    Args:
        longest: the most tokens of a text; None if it is not known.
        padded: whether all texts are padded to this length, as SigLIP was trained.

    Raises:
        SettingError: the tokenizer fails, or returns something else.
    """
    options: dict[str, Any] = {}
    if hasattr(tokenizer, "model_input_names"):  # of transformers
        full = padded and longest is not None
        options = {"padding": "max_length" if full else True, "return_tensors": "pt"}
        options |= {"max_length": longest} if full else {}
    try:
        found: Any = tokenizer(list(texts), **options)
    except Exception as error:
        raise SettingError(
            f"The tokenizer failed: {type(error).__name__}: {reason(error)}",
            do="Check that tokenizer(['a cat', 'a dog']) returns token ids, n t.",
        ) from error
    entries = cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {"": found}
    tokens = {str(name): value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tokens or any(ids.ndim == 0 or len(ids) != len(texts) for ids in tokens.values()):
        raise SettingError(
            f"The tokenizer returned {quoted(found)} for {len(texts)} texts.",
            do="tokenizer= is a function from a list of texts to token ids, a tensor n t, or a "
            "dict with such tensors.",
        )
    length = max(ids.shape[-1] for ids in tokens.values())
    if longest is not None and length > longest:
        raise SettingError(
            f"A text has {length} tokens, and the model takes at most {longest}.",
            do="Give shorter texts: text= (--text).",
        )
    return tokens


def _longest(module: nn.Module) -> int | None:
    """The most tokens that the text tower takes, if the network states it."""
    config = getattr(getattr(module, "config", None), "text_config", None)
    for found in (
        getattr(config, "max_position_embeddings", None),
        getattr(module, "context_length", None),
    ):
        if isinstance(found, int):
            return found
    return None


def _number(module: nn.Module, name: str) -> float | None:
    """A parameter of one number; None if the network has none of this name."""
    value = getattr(module, name, None)
    return float(value.detach()) if isinstance(value, Tensor) and value.numel() == 1 else None
