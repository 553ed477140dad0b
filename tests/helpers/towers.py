"""Small networks for images and texts, and their tokenizer, as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

WORDS = ("a", "photo", "of", "cat", "dog", "green", "car", "the")
SIDE, LONGEST = 32, 12
TEXTS = ("a photo of a cat", "the green car", "a dog")


def two_towers(kind: str) -> nn.Module:
    """A seeded CLIP or SigLIP in evaluation mode.

    Args:
        kind: "CLIP" or "Siglip".
    """
    import transformers

    shared = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    vision = {**shared, "num_hidden_layers": 3, "image_size": SIDE, "patch_size": 8}
    text = {**shared, **ends, "num_hidden_layers": 2, "vocab_size": 3 + len(WORDS)}
    text["max_position_embeddings"] = LONGEST
    more = {"projection_dim": 24} if kind == "CLIP" else {}
    config = getattr(transformers, f"{kind}Config")(vision_config=vision, text_config=text, **more)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, f"{kind}Model")(config).eval()


def tokenizer() -> Any:
    """Words to numbers, with an end and padding."""
    import tokenizers
    import transformers

    words = {word: 3 + place for place, word in enumerate(WORDS)}
    model = tokenizers.models.WordLevel({"<pad>": 0, "<unk>": 1, "<end>": 2, **words}, "<unk>")
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        "$A <end>", None, [("<end>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", eos_token="<end>"
    )


def saved(network: nn.Module, folder: Path, *, texts: bool = True) -> Path:
    """A folder with the network, its image processor and, for texts, its tokenizer."""
    import transformers

    network.save_pretrained(folder)  # type: ignore[operator]
    size = {"height": SIDE, "width": SIDE}
    transformers.ViTImageProcessor(size=size).save_pretrained(folder)
    if texts:
        tokenizer().save_pretrained(folder)
    return folder


def pixels() -> Tensor:
    """A seeded input, `c h w`."""
    return torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def photo() -> Image.Image:
    """A seeded photo that is not square."""
    grain = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(grain).resize((80, 60), Image.Resampling.BICUBIC)
