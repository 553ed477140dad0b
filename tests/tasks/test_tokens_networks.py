"""The task tokens on small random networks of transformers, from the photo to the map."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import captioners
import scorecam
from captioners import END, IMAGE_TOKEN, START, VOCABULARY, ids
from scorecam.errors import LayerError, SettingError, TargetError
from scorecam.tasks import Tokens

pytestmark = pytest.mark.needs("families")

ANSWER = ids("a cat on the mat")


@dataclass
class Case:
    """A network, its inputs before the answer, and what its default layer must be.

    Args:
        build: the network.
        size: of its picture.
        prompt: its other inputs, as for `generate`.
        layer: the default layer: the last patches of the vision tower on the path.
        grid: of that layer.
        inner: the network of transformers inside.
        prefix: what `generate` puts before the answer.
    """

    build: Callable[[], Any]
    size: tuple[int, int]
    layer: str
    grid: tuple[int, int]
    prompt: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    prefix: tuple[int, ...] = (START,)


def spliced(images: int, *text: int) -> dict[str, Tensor]:
    tokens = torch.tensor([[IMAGE_TOKEN] * images + list(text)])
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def bare(images: int, *text: int) -> dict[str, Tensor]:
    return {"input_ids": spliced(images, *text)["input_ids"]}


QUESTION = tuple(ids("what is it ?"))

CASES = {
    "encoder and decoder": Case(captioners.encoder_decoder, (24, 32), "encoder", (3, 4)),
    "blip": Case(captioners.blip, (32, 32), "vision_model", (4, 4)),
    "git": Case(captioners.git, (32, 32), "git.visual_projection", (4, 4)),
    "git with a question": Case(
        captioners.git,
        (32, 32),
        "git.visual_projection",
        (4, 4),
        {"input_ids": torch.tensor([[START, *QUESTION]])},
        (START, *QUESTION),
    ),
    "llava": Case(
        captioners.llava,
        (32, 32),
        "model.multi_modal_projector",
        (4, 4),
        spliced(16, START, *QUESTION),
        (*[IMAGE_TOKEN] * 16, START, *QUESTION),
    ),
    "blip with a question": Case(
        lambda: captioners.BlipAnswers(captioners.blip_questions()).eval(),
        (32, 32),
        "blip.vision_model",
        (4, 4),
        {"input_ids": torch.tensor([[*QUESTION, END]])},
    ),
    "idefics": Case(
        captioners.idefics,
        (32, 32),
        "network.model.connector",
        (2, 2),
        bare(4, *QUESTION),
        (*[IMAGE_TOKEN] * 4, *QUESTION),
    ),
    "qwen": Case(
        captioners.qwen,
        (32, 48),
        "network.model.visual",
        (8, 12),  # before 2 × 2 patches are merged
        bare(24, *QUESTION),
        (*[IMAGE_TOKEN] * 24, *QUESTION),
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def built(case: Case) -> tuple[Any, dict[str, Tensor]]:
    torch.manual_seed(1)
    network = case.build()
    return network, {"pixel_values": torch.randn(1, 3, *case.size), **case.prompt}


def explained(network: Any, inputs: dict[str, Tensor], **options: Any) -> scorecam.Explanation:
    # Qwen's first convolution has three axes, as for videos, so the picture must be named.
    model = scorecam.open_model(network, masked_input="pixel_values")
    budget = options.pop("budget", 2)
    return scorecam.explain(model, inputs, task=Tokens(**options), budget=budget)


# ── which layer, which numbers ───────────────────────────────────────────────────────────────────


def test_the_masks_come_from_the_patches_of_the_vision_tower(case: Case) -> None:
    network, inputs = built(case)
    explanation = explained(network, inputs, answer=ANSWER, budget=4)
    assert (explanation.layer, explanation.variant.name) == (case.layer, "centred")
    assert explanation.bank.activations.shape[1:] == case.grid
    assert explanation.heatmap.shape == case.size
    assert explanation.bank.provenance.task == "tokens"
    assert len(explanation.bank.names or ()) == 1 + len(ANSWER)


def test_patches_are_in_their_places(case: Case) -> None:
    network, inputs = built(case)
    captioners.lively(network, 1 / 6)
    before = activations_of(network, inputs)
    row, column = case.grid[0] - 1, case.grid[1] // 2
    h, w = (size // cells for size, cells in zip(case.size, case.grid, strict=True))
    pixels = inputs["pixel_values"].clone()
    pixels[:, :, row * h : (row + 1) * h, column * w : (column + 1) * w] += 20
    changed = (activations_of(network, inputs | {"pixel_values": pixels}) - before).abs().sum(0)
    assert divmod(int(changed.argmax()), case.grid[1]) == (row, column)


def test_the_text_stream_has_no_maps() -> None:
    network, inputs = built(CASES["llava"])
    model = scorecam.open_model(network)
    for name in ("model.vision_tower", "model.vision_tower.encoder.layers.1"):
        bank = scorecam.explain(model, inputs, layer=name, task=Tokens(answer=ANSWER)).bank
        assert bank.activations.shape == (32, 4, 4)
        assert bank.provenance.remarks == ()
    # LLaVA takes the patches before the last block of its tower.
    last = "model.vision_tower.encoder.layers.2"
    bank = scorecam.explain(model, inputs, layer=last, task=Tokens(answer=ANSWER)).bank
    assert any("do not depend on" in remark for remark in bank.provenance.remarks)
    for name in ("model.language_model", "model.language_model.layers.0", "lm_head"):
        with pytest.raises(LayerError, match="no grid"):
            scorecam.explain(model, inputs, layer=name, task=Tokens(answer=ANSWER))


def activations_of(network: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    return explained(network, inputs, answer=ANSWER).bank.activations


def loss_of(name: str, network: Any, inputs: dict[str, Tensor]) -> float:
    """The mean negative log-probability of the answer, as transformers computes it."""
    pixels, prefix = inputs["pixel_values"], list(CASES[name].prefix)
    answer = torch.tensor([ANSWER])
    if name == "encoder and decoder":
        return float(network(pixel_values=pixels, labels=answer).loss)
    if name == "blip with a question":
        # Its own labels have no start token, and its loss is smoothed.
        decoder = network.blip.text_decoder
        decoder.config.label_smoothing = 0.0
        decoder.label_smoothing = 0.0
        patches = network.blip.vision_model(pixels).last_hidden_state
        question = network.blip.text_encoder(inputs["input_ids"], encoder_hidden_states=patches)
        logits = decoder(
            torch.tensor([[*prefix, *ANSWER]]), encoder_hidden_states=question.last_hidden_state
        ).logits
        return float(nn.functional.cross_entropy(logits[0, :-1], answer[0]))
    tokens = torch.tensor([[*prefix, *ANSWER]])
    labels = torch.tensor([[*[-100] * len(prefix), *ANSWER]])
    if name == "idefics":
        pixels = pixels[:, None]
        return float(network.network(input_ids=tokens, pixel_values=pixels, labels=labels).loss)
    if name == "qwen":
        grid = torch.tensor([[1, 8, 12]])
        kinds = (tokens == IMAGE_TOKEN).int()
        patches = flat_patches(network, pixels)
        return float(
            network.network(
                input_ids=tokens,
                pixel_values=patches,
                image_grid_thw=grid,
                mm_token_type_ids=kinds,
                labels=labels,
            ).loss
        )
    return float(network(input_ids=tokens, pixel_values=pixels, labels=labels).loss)


def flat_patches(network: Any, pixels: Tensor) -> Tensor:
    """The patches that the wrapper of Qwen2-VL hands on."""
    caught: list[Tensor] = []
    handle = network.network.register_forward_pre_hook(
        lambda _m, _a, given: caught.append(given["pixel_values"]), with_kwargs=True
    )
    network(pixels, torch.tensor([[*CASES["qwen"].prefix]]))
    handle.remove()
    return caught[0]


@pytest.mark.parametrize("name", [name for name in CASES if name != "blip"])
def test_scores_are_the_loss_of_transformers(name: str) -> None:
    network, inputs = built(CASES[name])
    bank = explained(network, inputs, answer=ANSWER).bank
    with torch.no_grad():
        expected = loss_of(name, network, inputs)
    assert float(-bank.image_scores[0] / len(ANSWER)) == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(bank.image_scores[1:].sum(), bank.image_scores[0])


def test_scores_of_blip_are_its_loss_without_smoothing() -> None:
    network, inputs = built(CASES["blip"])
    bank = explained(network, inputs, answer=ANSWER).bank
    tokens = torch.tensor([[START, *ANSWER]])
    labels = torch.tensor([[-100, *ANSWER]])
    with torch.no_grad():
        output = network(input_ids=tokens, labels=labels, **inputs)
    smooth = network.text_decoder.label_smoothing
    rows = output.logits[0, :-1].log_softmax(-1)
    # Smoothing adds the mean over the vocabulary.
    own = -float(bank.image_scores[0]) / len(ANSWER)
    expected = (1 - smooth) * own - smooth * float(rows.mean(1).mean())
    assert float(output.loss.mean()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "name", ["encoder and decoder", "blip", "git", "git with a question", "llava"]
)
def test_the_answer_is_the_one_that_generate_writes(name: str) -> None:
    network, inputs = built(CASES[name])
    bank = explained(network, inputs, length=5).bank
    prompt = {key: value.clone() for key, value in inputs.items()}
    [written] = network.generate(**prompt, max_new_tokens=5, do_sample=False).tolist()
    written = written[len(CASES[name].prefix) :]
    written = written[: written.index(END)] if END in written else written
    again = explained(network, inputs, answer=written).bank
    assert bank.names == again.names
    torch.testing.assert_close(bank.image_scores, again.image_scores)


def test_a_token_of_the_bank_has_the_scores_of_a_bank_of_its_own(case: Case) -> None:
    network, inputs = built(case)
    together = explained(network, inputs, answer=ANSWER, budget="exact").bank
    assert together.scores.std(0).min() > 1e-3, "every token depends on the picture"
    first = explained(network, inputs, answer=ANSWER[:2], budget="exact").bank
    torch.testing.assert_close(first.scores[:, 1:], together.scores[:, 1:3])


# ── what it costs ────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def counted_attention(patch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    calls: list[int] = []
    own = torch.nn.functional.scaled_dot_product_attention

    def spy(query: Tensor, *more: Any, **options: Any) -> Tensor:
        calls.append(len(query))
        return own(query, *more, **options)

    patch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    yield calls


@pytest.mark.parametrize("name", ["encoder and decoder", "llava", "idefics", "qwen"])
def test_fast_attention_stays_in_use(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs = built(CASES[name])
    forwards: list[int] = []
    network.register_forward_hook(lambda _m, _a, _o: forwards.append(1))
    own = network.config._attn_implementation
    with counted_attention(monkeypatch) as calls:
        with torch.no_grad():
            network(**inputs | plain(name))
        alone = len(calls)
        explained(network, inputs, answer=ANSWER, budget=4)
    assert alone > 0
    assert network.config._attn_implementation == own == "sdpa"
    per_pass = (len(calls) - alone) / (len(forwards) - 1)
    # The dry run takes attention apart to follow it; every other pass uses the kernels.
    assert per_pass >= alone * (len(forwards) - 2) / (len(forwards) - 1)


def plain(name: str) -> dict[str, Tensor]:
    """Further inputs with which the network runs without the task."""
    key = "decoder_input_ids" if name == "encoder and decoder" else "input_ids"
    return {} if "input_ids" in CASES[name].prompt else {key: torch.tensor([[START]])}


def test_only_the_logits_of_the_answer_are_computed() -> None:
    network, inputs = built(CASES["llava"])
    shapes: list[tuple[int, ...]] = []
    network.lm_head.register_forward_hook(lambda _m, _a, out: shapes.append(tuple(out.shape)))
    options: list[dict[str, Any]] = []
    network.model.language_model.register_forward_pre_hook(
        lambda _m, _a, given: options.append(given), with_kwargs=True
    )
    explained(network, inputs, answer=ANSWER, budget=4)
    assert {shape[1] for shape in shapes} == {len(ANSWER)}
    assert all(given["use_cache"] is False for given in options)
    assert not any(given.get("output_attentions") for given in options)


def test_the_network_is_left_unchanged() -> None:
    network, inputs = built(CASES["encoder and decoder"])
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    given = network.generation_config.to_dict(), network.config.to_dict()
    explained(network, inputs, length=3)
    assert network.training
    assert (network.generation_config.to_dict(), network.config.to_dict()) == given
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("name", ["encoder and decoder", "llava"])
def test_a_runtime_that_cannot_convert_the_network_says_why(name: str) -> None:
    network, inputs = built(CASES[name])
    task = Tokens(answer=ANSWER)
    made = scorecam.explain(network, inputs, task=task, budget=2, runtime="compile").provenance
    assert made.runtime == "eager"
    assert any("eager" in remark for remark in made.remarks)
    # transformers lists its networks lazily, and some cannot be imported here.
    assert not any("Could not find" in remark for remark in made.remarks)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


def test_blip_for_questions_itself_returns_no_logits() -> None:
    torch.manual_seed(0)
    inputs = built(CASES["blip with a question"])[1]
    with pytest.raises(TargetError, match="has no logits of the answer"):
        scorecam.explain(captioners.blip_questions(), inputs, task=Tokens(answer=ANSWER))


def test_a_flat_list_of_patches_is_no_picture() -> None:
    torch.manual_seed(0)
    wrapper = captioners.qwen()
    patches = flat_patches(wrapper, torch.randn(1, 3, 32, 48))
    inputs = {**CASES["qwen"].prompt, "pixel_values": patches}
    inputs["image_grid_thw"] = torch.tensor([[1, 8, 12]])
    with pytest.raises(SettingError, match=r"no picture.*list of patches"):
        scorecam.explain(wrapper.network, inputs, task=Tokens(answer=ANSWER))


# ── photos, processors and folders ───────────────────────────────────────────────────────────────


@pytest.fixture
def photo() -> Image.Image:
    pixels = torch.rand(60, 80, 3, generator=torch.manual_seed(1))
    return Image.fromarray((pixels * 255).byte().numpy())


QUESTIONS = {"blip": None, "git": "what is", "llava": "what is it ?", "encoder_decoder": None}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_folder_explains_a_photo_and_a_text(
    name: str, tmp_path: Path, photo: Image.Image
) -> None:
    model = scorecam.open_model(f"hf:{captioners.saved(name, tmp_path)}")
    task = Tokens(answer="a cat playing on the mat.", question=QUESTIONS[name], instead="a dog")
    explanation = scorecam.explain(model, photo, "cat", task=task, budget=4)
    pieces = ("a", "cat", "play", "ing", "on", "the", "mat", ".")
    assert explanation.bank.names == (
        "a cat playing on the mat.",
        *pieces,
        "dog instead of cat",
    )
    assert (explanation.target.label, explanation.target.unit) == ("cat", "nats")
    assert explanation.on_photo().shape == (60, 80)
    assert not any("preprocess" in remark for remark in model.remarks)


def test_a_question_in_the_form_of_a_chat_reaches_the_network(photo: Image.Image) -> None:
    torch.manual_seed(0)
    network, processor = captioners.llava(), captioners.processor("llava")
    seen: list[Tensor] = []
    network.register_forward_pre_hook(
        lambda _m, _a, given: seen.append(given["input_ids"][0]), with_kwargs=True
    )
    model = scorecam.open_model(network, preprocess=processor.image_processor)
    task = Tokens(answer="a cat", question="what is it ?", processor=processor)
    scorecam.explain(model, photo, task=task, budget=2)
    expected = [*ids("user :"), *[IMAGE_TOKEN] * 16, *QUESTION, VOCABULARY["a"]]
    assert [token.tolist() for token in seen[:1]] == [expected]


def test_the_processors_closing_token_is_not_part_of_the_prompt(photo: Image.Image) -> None:
    torch.manual_seed(0)
    network, processor = captioners.blip(), captioners.processor("blip")
    seen: list[Tensor] = []
    network.register_forward_pre_hook(
        lambda _m, _a, given: seen.append(given["input_ids"][0]), with_kwargs=True
    )
    model = scorecam.open_model(network, preprocess=processor.image_processor)
    task = Tokens(answer="cat on", question="a", processor=processor)
    scorecam.explain(model, photo, task=task, budget=2)
    # BLIP's own start token takes the place of [CLS], as in its `generate`.
    assert seen[0].tolist() == [START, *ids("a cat")]


def test_a_processor_for_another_size_is_refused(photo: Image.Image) -> None:
    processor = captioners.processor("llava")
    model = scorecam.open_model(captioners.llava(), preprocess=processor.image_processor)
    other = captioners.processor("llava")
    other.image_processor.crop_size = {"height": 16, "width": 16}
    task = Tokens(answer="a cat", question="what is it ?", processor=other)
    with pytest.raises(SettingError, match=r"\(1, 3, 16, 16\).*\(1, 3, 32, 32\)"):
        scorecam.explain(model, photo, task=task)


def test_a_tokenizer_that_fails_is_named() -> None:
    network, inputs = built(CASES["blip"])
    with pytest.raises(SettingError, match="int failed on 'a cat'"):
        scorecam.explain(network, inputs, task=Tokens(answer="a cat", processor=3))


def test_a_tokenizer_of_the_library_tokenizers_serves_too() -> None:
    network, inputs = built(CASES["blip"])
    fast = captioners.tokenizer().backend_tokenizer
    bank = explained(network, inputs, answer="a cat playing", processor=fast).bank
    assert bank.names == ("a cat playing", "a", "cat", "play", "ing")


def test_a_file_that_is_no_tokenizers_is_not_read(tmp_path: Path) -> None:
    network, inputs = built(CASES["blip"])
    folder = captioners.saved("blip", tmp_path)
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(SettingError, match="larger than 64 MB"):
        explained(network, inputs, answer="a cat", processor=folder)


def test_code_beside_a_tokenizer_never_runs(tmp_path: Path, photo: Image.Image) -> None:
    folder = captioners.saved("blip", tmp_path / "net")
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\nclass Own: pass\n"
    (folder / "own.py").write_text(code)
    for name in ("tokenizer_config.json", "processor_config.json", "config.json"):
        values = json.loads((folder / name).read_text())
        auto = ("AutoTokenizer", "AutoProcessor", "AutoConfig", "AutoModelForImageTextToText")
        values["auto_map"] = dict.fromkeys(auto, "own.Own")
        (folder / name).write_text(json.dumps(values))
    model = scorecam.open_model(f"hf:{folder}")
    with contextlib.suppress(SettingError):
        scorecam.explain(model, photo, task=Tokens(answer="a cat"), budget=2)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_tokenizer_in_the_folder_is_refused(tmp_path: Path, photo: Image.Image) -> None:
    folder = captioners.saved("encoder_decoder", tmp_path)
    (folder / "tokenizer.json").write_text("{")
    model = scorecam.open_model(f"hf:{folder}")
    with pytest.raises(SettingError, match="could not read the tokenizer"):
        scorecam.explain(model, photo, task=Tokens(answer="a cat"))
