"""The training on Fashion-MNIST that the other scripts of this folder share."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from benchmarks.common import fashion

EPOCHS, TRAINED_ON = 16, 12_000
SHORT = 8
"""Epochs of a training that ends too early: its last two epochs still differ."""


def train(work: Path, epochs: int = EPOCHS) -> None:
    """Write the weights of every epoch as epoch0.safetensors and so on.

    The learning rate falls to zero. Epoch 0 is untrained. Nothing is done if the last file exists.
    """
    work.mkdir(parents=True, exist_ok=True)
    if (work / f"epoch{epochs}.safetensors").exists():
        return
    seen = fashion.canvases("train", TRAINED_ON)

    def keep(epoch: int, network: nn.Module) -> None:
        save(network.state_dict(), work / f"epoch{epoch}.safetensors")
        print("epoch", epoch, flush=True)

    fashion.train(seen.pixels, seen.labels, epochs=epochs, after=keep)


def save(state: dict[str, Tensor], file: Path) -> None:
    """Write weights as safetensors."""
    contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
    safetensors.torch.save_file(contiguous, file)
