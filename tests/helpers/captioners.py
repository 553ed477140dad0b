"""Networks that write text: one with a known answer, and small random ones of transformers.

Nothing is downloaded. The random networks have a vocabulary of `len(VOCABULARY)` tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WORDS = (
    *("[PAD]", "[DEC]", "[SEP]", "[CLS]", "[UNK]", "<image>", "a", "cat", "dog", "on", "the"),
    *("mat", "what", "is", "it", "?", "play", "##ing", ".", "user", ":", "<start>", "<end>"),
)
VOCABULARY = {word: index for index, word in enumerate(WORDS)}
IMAGE_TOKEN = VOCABULARY["<image>"]
PAD, START, END, CLS = (VOCABULARY[word] for word in ("[PAD]", "[DEC]", "[SEP]", "[CLS]"))
TEXT = {"vocab_size": len(WORDS), "bos_token_id": START, "eos_token_id": END, "pad_token_id": PAD}
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def ids(text: str) -> list[int]:
    """The tokens of words that are separated by spaces."""
    return [VOCABULARY[word] for word in text.split()]


# ── a known answer ───────────────────────────────────────────────────────────────────────────────

CELL = 8
"""Pixels along each side of a cell."""


class Reader(nn.Module):
    """Each position of its text depends on one cell of the picture, and on nothing else.

    `tower` returns the brightness of each cell in a channel of its own. The logit of every odd
    token is 6 times the brightness of the cell that the position reads, and others are 0. So the
    probability of an odd token grows with its cell.

    Args:
        cells: the cell (row, column) that each position of the answer reads.
        grid: rows and columns of cells.
    """

    def __init__(self, cells: Sequence[tuple[int, int]], grid: tuple[int, int] = (3, 5)) -> None:
        super().__init__()
        self.tower = Cells(grid)
        self.words = nn.Embedding(len(WORDS), 4)
        self.reads = [row * grid[1] + column for row, column in cells]

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        cells = self.tower(pixel_values).flatten(2).sum(2)  # b k
        read = cells[:, self.reads[: input_ids.shape[1]]]  # b l
        odd = torch.arange(len(WORDS), device=read.device) % 2
        return 6 * read[:, :, None] * odd + 0 * self.words(input_ids).sum(2, keepdim=True)


class Cells(nn.Module):
    """The brightness of each cell, in a channel of its own: `b k u v`, zero elsewhere."""

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        count = grid[0] * grid[1]
        self.grid = nn.Buffer(torch.eye(count).reshape(1, count, *grid))

    def forward(self, images: Tensor) -> Tensor:
        brightness = nn.functional.avg_pool2d(images.mean(1, keepdim=True), CELL)
        return brightness * self.grid


def reader_picture(grid: tuple[int, int] = (3, 5)) -> Tensor:
    """A bright picture, so that every cell can be hidden."""
    noise = torch.rand(3, grid[0] * CELL, grid[1] * CELL, generator=torch.manual_seed(3))
    return 0.5 + 0.5 * noise


class HalfReader(nn.Module):
    """`Reader` of a signal or a volume: each position reads one half of the last axis.

    Args:
        axes: of the image, 1 or 3.
        halves: which half each position reads, 0 or 1.
    """

    def __init__(self, axes: int, halves: Sequence[int]) -> None:
        super().__init__()
        self.tower = Halves(axes)
        self.words = nn.Embedding(len(WORDS), 4)
        self.halves = list(halves)

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        read = self.tower(pixel_values).flatten(2).mean(2)[:, self.halves[: input_ids.shape[1]]]
        odd = torch.arange(len(WORDS), device=read.device) % 2
        return 6 * read[:, :, None] * odd + 0 * self.words(input_ids).sum(2, keepdim=True)


class Halves(nn.Module):
    """The brightness of the first and of the last half, in a channel each: `b 2 *g`."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        kind = nn.Conv1d if axes == 1 else nn.Conv3d
        self.mean = kind(1, 1, kernel_size=4, stride=4, bias=False)
        nn.init.constant_(self.mean.weight, 4.0**-axes)

    def forward(self, images: Tensor) -> Tensor:
        cells = self.mean(images)
        first = torch.arange(cells.shape[-1], device=cells.device) < cells.shape[-1] // 2
        return cells * torch.stack([first, ~first]).float().reshape(
            1, 2, *[1] * (cells.ndim - 3), -1
        )


class OnlyLoss(nn.Module):
    """Returns a training loss, and no logits."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), 4)

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> dict[str, Tensor]:
        return {"loss": pixel_values.mean() + self.words(input_ids).mean()}


class Growing(nn.Module):
    """Its text has more positions if the picture is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, CELL, CELL)
        self.words = nn.Embedding(len(WORDS), 8)
        self.head = nn.Linear(8, len(WORDS))

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        more = 3 if float(pixel_values.mean()) > 0.6 else 2
        patches = self.conv(pixel_values).flatten(2).transpose(1, 2).mean(1, keepdim=True)
        text = self.words(input_ids) + patches
        return self.head(torch.cat([patches.expand(-1, more, -1), text], dim=1))


# ── small random networks of transformers ────────────────────────────────────────────────────────


def lively(network: Any, times: float = 6.0) -> Any:
    """The network with larger weights: with those of transformers, texts hardly see the picture.

    With small weights, attention hardly mixes the patches.
    """
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.mul_(times)
    return network.eval()


def encoder_decoder(size: tuple[int, int] = (24, 32)) -> Any:
    """ViT and GPT-2."""
    import transformers

    vision = transformers.ViTConfig(**SIZES, image_size=size, patch_size=8)
    text = transformers.GPT2Config(
        **TEXT, n_positions=32, n_embd=32, n_layer=2, n_head=2, add_cross_attention=True
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = START, END, PAD
    return lively(transformers.VisionEncoderDecoderModel(config=config))


def _blip_config() -> Any:
    import transformers

    text = {**TEXT, **SIZES, "encoder_hidden_size": 32, "max_position_embeddings": 32}
    return transformers.BlipConfig(
        text_config={**text, "sep_token_id": END},
        # Its own default is 1e-10, with which no text depends on the picture.
        vision_config={**SIZES, "image_size": 32, "patch_size": 8, "initializer_range": 0.02},
        projection_dim=16,
    )


def blip() -> Any:
    """BLIP for captions."""
    import transformers

    return lively(transformers.BlipForConditionalGeneration(_blip_config()))


class BlipAnswers(nn.Module):
    """BLIP for questions, with the logits of its answer: its own forward returns none."""

    def __init__(self, blip: Any) -> None:
        super().__init__()
        self.blip = blip
        self.config = blip.config

    def forward(self, pixel_values: Tensor, input_ids: Tensor, decoder_input_ids: Tensor) -> Any:
        patches = self.blip.vision_model(pixel_values).last_hidden_state
        question = self.blip.text_encoder(input_ids, encoder_hidden_states=patches)
        return self.blip.text_decoder(
            decoder_input_ids, encoder_hidden_states=question.last_hidden_state, use_cache=False
        ).logits


def blip_questions() -> Any:
    """BLIP for questions, as it is."""
    import transformers

    return lively(transformers.BlipForQuestionAnswering(_blip_config()))


def git() -> Any:
    """GIT, whose patches come before the text."""
    import transformers

    vision = {**SIZES, "image_size": 32, "patch_size": 8}
    text = {**TEXT, **SIZES, "max_position_embeddings": 32}
    return lively(transformers.GitForCausalLM(transformers.GitConfig(vision_config=vision, **text)))


def _llama() -> dict[str, Any]:
    text = {**TEXT, **SIZES, "num_key_value_heads": 2, "max_position_embeddings": 64}
    return {**text, "model_type": "llama"}


def llava() -> Any:
    """LLaVA: CLIP's patches in place of 16 image tokens of a small Llama."""
    import transformers

    vision = {**SIZES, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
    config = transformers.LlavaConfig(
        vision_config={**vision, "model_type": "clip_vision_model"},
        text_config=_llama(),
        image_token_id=IMAGE_TOKEN,
        image_seq_length=16,
    )
    return lively(transformers.LlavaForConditionalGeneration(config))


class OnePicture(nn.Module):
    """Idefics3 and SmolVLM with one picture, `b c h w`.

    They drop pictures that are zero everywhere, which they take for padding. The fill image of
    Score-CAM may be one, so a number that changes nothing is added.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.config = network.config

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Any:
        pictures = pixel_values[:, None] + 1e-6
        return self.network(input_ids=input_ids, pixel_values=pictures, use_cache=False)


def idefics() -> Any:
    """Idefics3, whose connector joins 2 × 2 patches."""
    import transformers

    config = transformers.Idefics3Config(
        vision_config={**SIZES, "image_size": 32, "patch_size": 8},
        text_config=_llama(),
        scale_factor=2,
        image_token_id=IMAGE_TOKEN,
        pad_token_id=PAD,
    )
    return OnePicture(lively(transformers.Idefics3ForConditionalGeneration(config))).eval()


class WholePicture(nn.Module):
    """Qwen2-VL with a picture `b c h w`, which is cut into its list of patches here."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.config = network.config

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Any:
        vision = self.config.vision_config
        patch, merge, time = (
            vision.patch_size,
            vision.spatial_merge_size,
            vision.temporal_patch_size,
        )
        b, c, h, w = pixel_values.shape
        rows, columns = h // patch, w // patch
        cut = pixel_values.reshape(
            b, 1, c, rows // merge, merge, patch, columns // merge, merge, patch
        )
        cut = cut.expand(-1, time, -1, -1, -1, -1, -1, -1, -1).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
        return self.network(
            input_ids=input_ids,
            pixel_values=cut.reshape(b * rows * columns, -1),
            image_grid_thw=torch.tensor([[1, rows, columns]] * b, device=input_ids.device),
            mm_token_type_ids=(input_ids == self.config.image_token_id).int(),
            use_cache=False,
        )


def qwen() -> Any:
    """Qwen2-VL: patches as a flat list, any size of the picture."""
    import transformers

    rope = {"rope_type": "default", "mrope_section": [2, 3, 3]}
    config = transformers.Qwen2VLConfig(
        text_config={**_llama(), "model_type": "qwen2_vl_text", "rope_parameters": rope},
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        image_token_id=IMAGE_TOKEN,
        vision_start_token_id=VOCABULARY["<start>"],
        vision_end_token_id=VOCABULARY["<end>"],
    )
    return WholePicture(lively(transformers.Qwen2VLForConditionalGeneration(config))).eval()


# ── tokenizers ───────────────────────────────────────────────────────────────────────────────────


def tokenizer(*, closes: bool = True) -> Any:
    """A small tokenizer in the style of BERT.

    Args:
        closes: whether it begins a text with [CLS] and ends it with [SEP].
    """
    import tokenizers
    import transformers

    fast = tokenizers.Tokenizer(tokenizers.models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    fast.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    fast.decoder = tokenizers.decoders.WordPiece()
    if closes:
        fast.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", END)]
        )
    special: dict[str, Any] = {"unk_token": "[UNK]", "pad_token": "[PAD]", "bos_token": "[DEC]"}
    special |= {"cls_token": "[CLS]", "sep_token": "[SEP]"} if closes else {"eos_token": "[SEP]"}
    image = {} if closes else {"extra_special_tokens": {"image_token": "<image>"}}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=fast, **special, **image)


CHAT = (
    "{% for m in messages %}{{ m['role'] }} : {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def processor(name: str) -> Any:
    """The processor of BLIP, GIT or LLaVA."""
    import transformers

    if name == "blip":
        pictures = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
        return transformers.BlipProcessor(pictures, tokenizer())
    pictures = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    if name == "git":
        return transformers.GitProcessor(pictures, tokenizer())
    return transformers.LlavaProcessor(
        pictures,
        tokenizer(closes=False),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )


def saved(name: str, folder: Path) -> Path:
    """A folder with a small random network and what belongs to it."""
    import transformers

    torch.manual_seed(0)
    networks = {"blip": blip, "git": git, "llava": llava, "encoder_decoder": encoder_decoder}
    networks[name]().save_pretrained(folder)
    if name == "encoder_decoder":
        transformers.ViTImageProcessor(size={"height": 24, "width": 32}).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    else:
        processor(name).save_pretrained(folder)
    return folder
