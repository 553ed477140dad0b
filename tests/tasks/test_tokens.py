"""The task tokens on networks with a known answer: the map of each token, its columns, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import scorecam
from captioners import (
    CELL,
    START,
    WORDS,
    Growing,
    HalfReader,
    OnlyLoss,
    Reader,
    ids,
    reader_picture,
)
from scorecam import Explanation
from scorecam.errors import ModelError, ScorecamError, SettingError, TargetError
from scorecam.tasks import Tokens, find_task
from scorecam.tasks.tokens.answer import answer_of, different
from scorecam.tasks.tokens.readout import LogProbabilities
from scorecam.tasks.tokens.tokenizer import Texts
from scorecam.testing import Regions

PLACES = [(0, 0), (1, 3), (2, 4)]
ANSWER = ids("cat on mat")


class Spaces:
    """A tokenizer of single words, and of pieces that continue a word with ##."""

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:  # noqa: ARG002
        return {"input_ids": ids(text)}

    def decode(self, tokens: list[int]) -> str:
        return " ".join(WORDS[token] for token in tokens).replace(" ##", "")


def explained(places: list[tuple[int, int]], **options: Any) -> Explanation:
    inputs = {"pixel_values": reader_picture()[None], "input_ids": torch.tensor([[START]])}
    answer = options.pop("answer", ANSWER)
    return scorecam.explain(Reader(places), inputs, task=Tokens(answer=answer), **options)


def share(heatmap: Tensor, place: tuple[int, int]) -> float:
    """The part of a map's energy in a cell of the reader's picture."""
    row, column = (CELL * number for number in place)
    return float(heatmap[row : row + CELL, column : column + CELL].sum() / heatmap.sum())


def cell_of_maximum(heatmap: Tensor) -> tuple[int, int]:
    row, column = divmod(int(heatmap.argmax()), heatmap.shape[1])
    return row // CELL, column // CELL


class Counted(Reader):
    """Counts its images."""

    def __init__(self, cells: list[tuple[int, int]]) -> None:
        super().__init__(cells)
        self.batches: list[int] = []

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        self.batches.append(len(pixel_values))
        return super().forward(pixel_values, input_ids)


# ── known answers ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("places", [PLACES, PLACES[::-1], [(2, 1), (0, 4), (1, 0)]])
@pytest.mark.parametrize("variant", ["auto", "increase"])
def test_the_map_of_a_token_is_where_it_reads(places: list[tuple[int, int]], variant: str) -> None:
    bank = explained(places).bank
    for token, place in enumerate(places):
        heatmap = bank.heatmap(1 + token, variant)
        assert heatmap.shape == (3 * CELL, 5 * CELL)
        assert cell_of_maximum(heatmap) == place
        assert share(heatmap, place) > 4 / 15, "four times its area; the grid blurs the rest"


@pytest.mark.parametrize("size", [(32,), (8, 12, 24)])
def test_texts_about_signals_and_volumes_are_explained_too(size: tuple[int, ...]) -> None:
    image = 0.5 + 0.5 * torch.rand(1, *size, generator=torch.manual_seed(0))
    inputs = {"pixel_values": image[None], "input_ids": torch.tensor([[START]])}
    for halves in ([0, 1], [1, 0]):
        network = HalfReader(len(size), halves)
        bank = scorecam.explain(network, inputs, task=Tokens(answer=ANSWER[:2])).bank
        for token, half in enumerate(halves):
            heatmap = bank.heatmap(1 + token)
            assert heatmap.shape == size
            assert heatmap.chunk(2, -1)[half].sum() > 0.9 * heatmap.sum() > 0


def test_the_map_of_the_answer_is_where_any_token_reads() -> None:
    heatmap = explained(PLACES).heatmap
    assert sum(share(heatmap, place) for place in PLACES) > 0.3
    assert cell_of_maximum(heatmap) in PLACES


def test_centred_is_the_variant_that_auto_takes() -> None:
    explanation = explained(PLACES)
    assert (explanation.variant.name, explanation.layer) == ("centred", "tower")
    assert explanation.bank.head == "value"
    # Log-probabilities are negative, so this variant has negative weights and an empty map.
    assert explanation.of(variant="official").heatmap.sum() == 0


def test_a_contrast_of_two_tokens_is_on_the_side_of_each() -> None:
    bank = explained(PLACES).bank
    first, last = "token 7", "token 11"
    assert cell_of_maximum(bank.contrast(first, last)) == PLACES[0]
    assert cell_of_maximum(bank.contrast(last, first)) == PLACES[2]


def test_all_tokens_cost_the_passes_of_one() -> None:
    inputs = {"pixel_values": reader_picture()[None], "input_ids": torch.tensor([[START]])}
    passes: list[int] = []
    for tokens in (2, 3, 8):
        network = Counted([(0, 0)] * tokens)
        bank = scorecam.explain(network, inputs, task=Tokens(answer=[7] * tokens)).bank
        assert bank.scores.shape == (15, 1 + tokens)
        passes.append(sum(network.batches))
    assert passes == [passes[0]] * 3
    assert passes[0] < 2 * 15


def test_the_whole_answer_is_the_sum_of_its_tokens() -> None:
    bank = explained(PLACES).bank
    torch.testing.assert_close(bank.scores[:, 0], bank.scores[:, 1:].sum(1))
    torch.testing.assert_close(bank.image_scores[0], bank.image_scores[1:].sum())
    assert bank.target().index == 0


@pytest.mark.parametrize("budget", ["fast", 8])
def test_a_reduced_budget_states_its_error_for_every_token(budget: str | int) -> None:
    exact = explained(PLACES).bank
    few = explained(PLACES, budget=budget)
    assert few.error is not None
    for column in range(4):
        error = few.bank.error(column)
        one, other = few.of(column).scaled, exact.heatmap(column)
        true = float((one - other / other.amax()).abs().amax())
        assert true <= float(error) + 1e-4


# ── columns ──────────────────────────────────────────────────────────────────────────────────────


def columns_of(**options: Any) -> tuple[str, ...]:
    inputs = {"pixel_values": reader_picture()[None], "input_ids": torch.tensor([[START]])}
    task = Tokens(processor=Spaces(), **options)
    return scorecam.explain(Reader([(0, 0)] * 8), inputs, task=task).bank.names or ()


def test_names_are_the_pieces_of_the_text_made_different() -> None:
    names = columns_of(answer="a cat on a mat")
    assert names == ("a cat on a mat", "a", "cat", "on", "a 2", "mat")


def test_words_are_tokens_between_spaces() -> None:
    answer = "cat play ##ing"
    assert columns_of(answer=answer) == ("cat playing", "cat", "play", "ing")
    assert columns_of(answer=answer, by="words") == ("cat playing", "cat", "playing")


def test_an_answer_of_one_token_has_two_different_names() -> None:
    assert columns_of(answer="cat") == ("cat (whole answer)", "cat")


def test_the_token_of_another_answer_is_a_column_too() -> None:
    inputs = {"pixel_values": reader_picture()[None], "input_ids": torch.tensor([[START]])}
    task = Tokens(processor=Spaces(), answer="a cat on", instead="a mat")
    explanation = scorecam.explain(Reader(PLACES), inputs, "cat", task=task)
    bank = explanation.bank
    assert bank.names == ("a cat on", "a", "cat", "on", "mat instead of cat")
    # Both are odd, so this network gives them the same probability.
    torch.testing.assert_close(bank.scores[:, 2], bank.scores[:, 4])
    assert explanation.target.name == "cat"
    assert bank.contrast("cat", "mat instead of cat").sum() == 0


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "A", "a"], ["a", "A 2", "a 3"]),
        (["cat", "cat", "cat 2"], ["cat", "cat 3", "cat 2"]),
    ],
)
def test_no_two_names_are_equal_in_any_case(names: list[str], expected: list[str]) -> None:
    assert list(different(names)) == expected


def test_names_are_printable() -> None:
    class Odd(Spaces):
        def decode(self, tokens: list[int]) -> str:
            return "".join({7: " ", 9: "\n", 11: "\x1b[31m", 6: ""}[token] for token in tokens)

    answer = answer_of([7, 9, 11, 6], Texts(Odd()))
    names = different(answer.names([(i,) for i in range(4)]))
    assert names == ("␣", "\\n", "\\x1b[31m", "(token 6)")


def test_characters_of_several_tokens_do_not_repeat_the_text() -> None:
    class Bytes(Spaces):
        def decode(self, tokens: list[int]) -> str:
            return bytes(tokens).decode("utf-8", "replace")

    answer = answer_of([*b"a ", *"é".encode()], Texts(Bytes()))
    assert answer.text == "a é"
    assert len(answer.pieces) == 4
    assert answer.words == [(0, 1), (2, 3)]


def test_the_task_is_found_by_name_with_options_of_text() -> None:
    task = find_task("tokens", {"answer": "7,9", "length": "4"})
    inputs = {"pixel_values": reader_picture()[None], "input_ids": torch.tensor([[START]])}
    names = scorecam.explain(Reader(PLACES), inputs, task=task).bank.names
    assert names == ("answer", "token 7", "token 9")


def test_two_answers_are_compared_by_their_weights() -> None:
    one = explained(PLACES, answer=[7]).bank
    other = explained(PLACES, answer=[8]).bank
    # An even token is less likely where an odd one is more.
    weights = one.weights(1) - other.weights(1)
    heatmap = scorecam.cam.heatmap(one.activations[one.live], weights[one.live], one.size)
    assert torch.equal(one.activations, other.activations)
    assert cell_of_maximum(heatmap) == PLACES[0]


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────


def test_the_model_writes_the_answer_if_none_is_given() -> None:
    inputs = {"pixel_values": reader_picture()[None], "input_ids": torch.tensor([[START]])}
    bank = scorecam.explain(Reader(PLACES), inputs, task=Tokens(length=3)).bank
    # All odd tokens have the same logit, and the first one is written.
    assert bank.names == ("answer", "token 1", "token 1 2", "token 1 3")
    assert any("wrote the answer itself" in remark for remark in bank.provenance.remarks)


def test_maps_of_several_pictures_are_those_of_each() -> None:
    class Captioner(Reader):
        """Takes a picture alone, and knows which token comes first."""

        generation_config = type("Config", (), {"bos_token_id": START})()

    pictures = torch.stack([reader_picture(), reader_picture().flip(2)])
    method = scorecam.ScoreCAM(Captioner(PLACES), task=Tokens(answer=ANSWER))
    maps = method(pictures, ["token 7", 3])
    assert maps.shape == (2, 3 * CELL, 5 * CELL)
    for picture, heatmap, target in zip(pictures, maps, ["token 7", 3], strict=True):
        torch.testing.assert_close(method.bank(picture).heatmap(target), heatmap)
    inputs = {"pixel_values": pictures[:1], "input_ids": torch.tensor([[START]])}
    torch.testing.assert_close(method(inputs, "token 7"), maps[:1])


def test_masks_and_types_of_tokens_grow_with_the_answer() -> None:
    class Masked(Reader):
        def forward(  # type: ignore[override]
            self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor
        ) -> Tensor:
            assert attention_mask.shape == input_ids.shape
            assert attention_mask.all()
            return super().forward(pixel_values, input_ids)

    inputs = {
        "pixel_values": reader_picture()[None],
        "input_ids": torch.tensor([[START]]),
        "attention_mask": torch.tensor([[1]]),
    }
    explanation = scorecam.explain(Masked(PLACES), inputs, task=Tokens(answer=ANSWER))
    torch.testing.assert_close(explanation.heatmap, explained(PLACES).heatmap)


def test_check_judges_the_map_of_an_answer() -> None:
    inputs = {"pixel_values": reader_picture()[None], "input_ids": torch.tensor([[START]])}
    model = scorecam.open_model(Reader(PLACES))
    explanation = scorecam.explain(model, inputs, "token 9", task=Tokens(answer=ANSWER))
    assert scorecam.check(model, explanation).evidence


# ── bad input ────────────────────────────────────────────────────────────────────────────────────

PICTURE = reader_picture()[None]
INPUTS = {"pixel_values": PICTURE, "input_ids": torch.tensor([[START]])}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"answer": []}, "no tokens"),
        ({"answer": ""}, "no tokens"),
        ({"answer": "a cat"}, "there is no tokenizer"),
        ({"answer": [7, len(WORDS)]}, "vocabulary has 23"),
        ({"answer": [-1]}, "neither a text nor token ids"),
        ({"answer": [0.5]}, "neither a text nor token ids"),
        ({"answer": 7}, "neither a text nor token ids"),
        ({"answer": [7], "instead": [7, 9]}, "no token that differs"),
        ({"answer": [7], "question": "what"}, "have 'input_ids' too"),
        ({"answer": [7], "processor": "no/such/folder"}, "has no tokenizer"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_in_words(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises((SettingError, TargetError)) as raised:
        scorecam.explain(Reader(PLACES), INPUTS, task=Tokens(**options))
    assert says in str(raised.value)


@pytest.mark.parametrize("options", [{"by": "letters"}, {"length": 0}, {"length": "many"}])
def test_an_option_that_is_not_valid_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Tokens(**options)


def test_a_question_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(SettingError, match="needs the model's tokenizer"):
        scorecam.explain(Reader(PLACES), PICTURE, task=Tokens(answer=[7], question="what"))


def test_a_network_that_returns_only_its_loss_is_named() -> None:
    with pytest.raises(TargetError, match=r"no logits.*training loss"):
        scorecam.explain(OnlyLoss(), INPUTS, task=Tokens(answer=ANSWER))


def test_labels_for_training_are_refused() -> None:
    labels = torch.tensor([[7, 9]])
    with pytest.raises(SettingError, match="training loss"):
        scorecam.explain(Reader(PLACES), INPUTS | {"labels": labels}, task=Tokens(answer=[7]))


def test_logits_that_change_their_length_are_refused() -> None:
    with pytest.raises(TargetError, match="logits for 5 positions; for the unmasked image"):
        scorecam.explain(Growing().eval(), INPUTS, task=Tokens(answer=ANSWER))


def test_a_classifier_is_refused() -> None:
    network = Regions(torch.eye(3))
    with pytest.raises(ScorecamError) as raised:
        scorecam.explain(network, PICTURE[0], task=Tokens(answer=[7]))
    assert "comes before the answer" in str(raised.value)
    with pytest.raises((TargetError, ModelError, SettingError)):
        scorecam.explain(network, INPUTS, task=Tokens(answer=[7]))


def test_logits_of_the_next_token_alone_are_refused() -> None:
    readout = LogProbabilities(((0, 7), (1, 9)), ((0, 1), (0,), (1,)), 2)
    with pytest.raises(TargetError, match="logits for 1 positions; the answer has 2"):
        readout(torch.zeros(3, 1, 23))
    with pytest.raises(TargetError, match="vocabulary has 8"):
        readout(torch.zeros(3, 2, 8))
    assert readout(torch.zeros(3, 2, 23, dtype=torch.bfloat16)).dtype == torch.float32
    assert readout(torch.zeros(3, 2, 23, device="meta")).shape == (3, 3)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that is computed, views left out."""

    numbers = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made._base is None and not function.is_view:
            self.numbers = max(self.numbers, made.numel())
        return made


def test_the_readout_copies_one_position_at_a_time() -> None:
    readout = LogProbabilities(((0, 7), (1, 9), (2, 5)), ((0, 1, 2), (0,), (1,), (2,)), 3)
    logits = torch.randn(4, 12, 5000, dtype=torch.bfloat16)
    with Largest() as largest:
        scores = readout(logits)
    assert largest.numbers == 4 * 5000
    expected = logits[:, -3:].float().log_softmax(-1)
    torch.testing.assert_close(scores[:, 1], expected[:, 0, 7])
    torch.testing.assert_close(scores[:, 3], expected[:, 2, 5])


@pytest.mark.parametrize(
    ("target", "says"), [("bird", "No class"), (9, "no class"), ((3.0, 4.0), "place")]
)
def test_a_target_that_is_no_token_is_refused(target: Any, says: str) -> None:
    with pytest.raises(TargetError, match=says):
        scorecam.explain(Reader(PLACES), INPUTS, target, task=Tokens(answer=ANSWER))


def test_several_pictures_with_one_text_are_refused() -> None:
    with pytest.raises(SettingError, match="One picture was expected, not 2"):
        scorecam.explain(
            Reader(PLACES),
            {"pixel_values": PICTURE.expand(2, -1, -1, -1), "input_ids": INPUTS["input_ids"]},
            task=Tokens(answer=ANSWER),
        )


def test_a_network_whose_first_token_is_unknown_asks_for_it() -> None:
    with pytest.raises(SettingError, match="which token comes before the answer"):
        scorecam.explain(Reader(PLACES), PICTURE, task=Tokens(answer=ANSWER))


class Fails(nn.Module):
    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:  # noqa: ARG002
        raise RuntimeError("no such shape")


def test_an_error_of_the_network_stays_its_own() -> None:
    with pytest.raises(ModelError, match="no such shape"):
        scorecam.explain(Fails(), INPUTS, task=Tokens(answer=ANSWER))
