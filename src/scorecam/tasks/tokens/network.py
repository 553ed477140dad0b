"""What a captioner or a vision-language model takes, as far as its module states it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from torch import Tensor, nn

from scorecam.base.wording import quoted
from scorecam.errors import SettingError
from scorecam.model.model import Inputs, Model

ENCODED: Final = "decoder_input_ids"
"""The answer's input of encoder-decoder models."""

SPLICED: Final = "input_ids"
"""The answer's input of decoder-only models; it follows the question."""


@dataclass(frozen=True)
class Network:
    """Facts about a model that writes text.

    Args:
        module: the network, if PyTorch runs it.
        masked_input: what the user gave to `open_model`.
        parameters: the names that its `forward` takes; empty if they are not known.
        open_ended: whether `forward` also takes other names.
    """

    module: nn.Module | None
    masked_input: str | None
    parameters: frozenset[str]
    open_ended: bool

    @staticmethod
    def of(model: Model) -> Network:
        """The facts about a model."""
        module, masked = getattr(model, "module", None), getattr(model, "masked_input", None)
        module = module if isinstance(module, nn.Module) else None
        names: dict[str, inspect.Parameter] = {}
        if module is not None:
            try:
                names = dict(inspect.signature(module.forward).parameters)
            except (TypeError, ValueError):  # TorchScript
                names = {}
        kinds = {parameter.kind for parameter in names.values()}
        return Network(
            module=module,
            masked_input=masked if isinstance(masked, str) else None,
            parameters=frozenset(names),
            open_ended=inspect.Parameter.VAR_KEYWORD in kinds,
        )

    def by_name(self, inputs: Inputs) -> tuple[str, dict[str, Any]]:
        """The name of the picture's input, and all inputs by name.

        Raises:
            SettingError: the inputs have no names, or it is unclear which one is the picture.
        """
        if isinstance(inputs, Tensor):
            name = self.masked_input or "pixel_values"
            if self.parameters and not self.open_ended and name not in self.parameters:
                name = next(iter(inspect.signature(cast("Any", self.module).forward).parameters))
            return name, {name: inputs}
        if not isinstance(inputs, Mapping):
            raise SettingError(
                "The inputs of a model that writes text were given in order.",
                do='Give them by name: {"pixel_values": x, "input_ids": ids}.',
            )
        given = dict(cast("Mapping[str, Any]", inputs))
        floats = [key for key, value in given.items() if _is_picture(value)]
        name = self.masked_input or ("pixel_values" if "pixel_values" in given else "")
        if not name and len(floats) == 1:
            [name] = floats
        if name not in given:
            raise SettingError(
                f"It is unclear which input is the picture: {', '.join(map(quoted, given))}.",
                do="Name it: scorecam.open_model(net, masked_input=...), or --masked-input.",
            )
        return name, given

    def answer_input(self, given: Mapping[str, Any]) -> str:
        """The name of the input that holds the answer."""
        encoder_decoder = ENCODED in given or ENCODED in self.parameters
        return ENCODED if encoder_decoder else SPLICED

    @property
    def _configurations(self) -> Iterator[Any]:
        """The configurations of a network of transformers, the most specific one first."""
        config = getattr(self.module, "config", None)
        yield getattr(self.module, "generation_config", None)
        for part in ("text_config", "decoder"):
            yield getattr(config, part, None)
        yield config

    def _ids(self, name: str) -> Iterator[int]:
        for config in self._configurations:
            value = getattr(config, name, None)
            for each in value if isinstance(value, list | tuple) else [value]:
                if isinstance(each, int):
                    yield each

    def start(self, answer_input: str) -> int | None:
        """The token before the first one of an answer without a prompt; None if not known."""
        names = ("decoder_start_token_id",) if answer_input == ENCODED else ()
        for name in (*names, "bos_token_id"):
            for found in self._ids(name):
                return found
        return None

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a text."""
        return frozenset([*self._ids("eos_token_id"), *self._ids("sep_token_id")])

    @property
    def replaces_first(self) -> bool:
        """Whether the model was trained with its own start token in place of the tokenizer's."""
        return getattr(getattr(self.module, "config", None), "model_type", None) == "blip"

    @property
    def vocabulary(self) -> int | None:
        """The number of tokens that the network can embed; None if it is not known."""
        if self.module is None:
            return None
        sizes = [
            each.num_embeddings for each in self.module.modules() if type(each) is nn.Embedding
        ]
        return max(sizes, default=None)

    def lean(self, tokens: int) -> dict[str, Any]:
        """Inputs by which the network computes and keeps no more than these last logits."""
        found: dict[str, Any] = {}
        caches = bool({"cache", "past_key_values"} & self.parameters) and self.open_ended
        if "use_cache" in self.parameters or caches:
            found["use_cache"] = False
        if "logits_to_keep" in self.parameters:
            found["logits_to_keep"] = tokens
        return found


def _is_picture(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 2
