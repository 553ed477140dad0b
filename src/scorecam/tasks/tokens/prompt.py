"""What the model receives before and with the answer: teacher forcing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from scorecam.base.wording import quoted
from scorecam.errors import SettingError
from scorecam.model.model import Inputs
from scorecam.shapes import Images
from scorecam.tasks.tokens.network import ENCODED, SPLICED, Network
from scorecam.tasks.tokens.tokenizer import GIVE, Texts

BESIDE: Final[Mapping[str, tuple[str, ...]]] = {
    SPLICED: ("attention_mask", "token_type_ids", "mm_token_type_ids"),
    ENCODED: ("decoder_attention_mask",),
}
"""Inputs with one entry per token; an answer repeats the last one."""


@dataclass(frozen=True)
class Prompt:
    """The inputs of a network before the answer.

    Args:
        inputs: by name, with the picture.
        picture: the name of the picture.
        answer_input: the name of the input that holds the answer.
        prefix: the tokens before the answer in that input.
        network: what it takes.
    """

    inputs: Mapping[str, Any]
    picture: str
    answer_input: str
    prefix: tuple[int, ...]
    network: Network

    def with_answer(self, ids: Sequence[int]) -> dict[str, Any]:
        """The inputs with an answer, whose tokens' logits are the last ones.

        The last token is left out: no logits of the answer depend on it.
        """
        tokens = [*self.prefix, *ids[:-1]]
        made = {**self.inputs, self.answer_input: torch.tensor([tokens])}
        for name in BESIDE[self.answer_input]:
            if isinstance(value := made.get(name), Tensor) and value.ndim == 2 and value.shape[1]:
                value = value[:, : len(self.prefix)]
                more = value[:, -1:].expand(-1, len(tokens) - value.shape[1])
                made[name] = torch.cat([value, more], dim=1)
        return made | self.network.lean(len(ids))


def prompt_for(
    network: Network, inputs: Inputs, axes: int, *, question: str | None, texts: Texts | None
) -> Prompt:
    """The inputs before the answer: the user's, with those that the question adds.

    Args:
        inputs: of one picture.
        axes: of the picture: 2 for a photo.

    Raises:
        SettingError: an input is missing, or does not fit.
    """
    picture, given = network.by_name(inputs)
    _check(given, picture, question)
    images = _batch_of_one(given[picture], picture, axes, alone=len(given) == 1)
    given[picture] = images
    if question is not None:
        given |= _of_question(question, texts, images)
    answer_input = network.answer_input(given)
    prefix = _prefix(given.get(answer_input), answer_input, network=network, texts=texts)
    return Prompt(
        inputs=given, picture=picture, answer_input=answer_input, prefix=prefix, network=network
    )


def _check(given: Mapping[str, Any], picture: str, question: str | None) -> None:
    if given.get("labels") is not None:
        raise SettingError(
            "The inputs have labels, with which a network computes its training loss.",
            likely="They were made for training.",
            do="Leave labels out, end input_ids before the answer, and give Tokens(answer=...).",
        )
    if question is not None and len(given) > 1:
        others = ", ".join(quoted(name) for name in given if name != picture)
        raise SettingError(
            f"question= (--question) was given, and the inputs have {others} too.",
            do="Give the picture and the question, or all inputs of the network and no question.",
        )


def _of_question(question: str, texts: Texts | None, images: Images) -> dict[str, Any]:
    if not isinstance(question, str) or not question.strip():
        raise SettingError(
            f"question= (--question) is {quoted(question)}, which is not a text.",
            do='Give what the model is to read: "What is it?".',
        )
    if texts is None:
        raise SettingError("question= (--question) needs the model's tokenizer.", do=GIVE)
    return texts.prompt(question, images)


def _batch_of_one(value: Any, picture: str, axes: int, *, alone: bool) -> Images:
    """The picture with a batch axis, which it may lack if it is the only input."""
    if not isinstance(value, Tensor):
        raise SettingError(
            f"The input {quoted(picture)} is a {type(value).__name__}, not a tensor.",
            do="Give the preprocessed picture, b c h w.",
        )
    if value.ndim < min(axes + 1, 3):
        raise SettingError(
            f"The input {quoted(picture)} has the shape {tuple(value.shape)}, which is no picture.",
            likely="It may be a list of patches, as networks such as Qwen2-VL take it.",
            do="Wrap the network in a module that takes the picture, b c h w, and cuts it into "
            "patches; docs/tasks/tokens.md shows one.",
        )
    # Networks for photos and videos may begin with a convolution that has three axes.
    photo = axes == 3 and value.ndim == 3
    lacking = photo or (value.ndim == axes + 1 and (axes < 3 or len(value) > 1))
    images = value[None] if alone and lacking else value
    if len(images) != 1:
        raise SettingError(
            f"One picture was expected, not {len(images)}: each has its own answer.",
            do="Explain one at a time.",
        )
    return images


def _prefix(
    value: Any, answer_input: str, *, network: Network, texts: Texts | None
) -> tuple[int, ...]:
    """The tokens before the answer in its input.

    Raises:
        SettingError: they are not token ids, or the first token is not known.
    """
    start = network.start(answer_input)
    start = start if start is not None or texts is None else texts.start
    if value is None:
        if start is None:
            raise SettingError(
                "It is not known which token comes before the answer.",
                likely="The network does not write text, or has no configuration of transformers.",
                do=f'Give it as an input: {{"pixel_values": x, "{answer_input}": ids}}.',
            )
        return (start,)
    whole = isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex())
    if not whole or value.ndim != 2 or len(value) != 1 or not value.shape[1]:
        raise SettingError(
            f"The input {quoted(answer_input)} is {quoted(value)}, and not one row of token ids.",
            do="Give a tensor of whole numbers of the shape 1 l.",
        )
    tokens = [int(token) for token in value[0]]
    ends = network.ends | (texts.ends if texts is not None else frozenset())
    if len(tokens) > 1 and tokens[-1] in ends:  # tokenizers close a text, and the answer follows
        tokens.pop()
    if network.replaces_first and answer_input == SPLICED and start is not None:
        tokens[0] = start
    return tuple(tokens)
