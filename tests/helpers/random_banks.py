"""Banks with random contents, and what they hold after a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scorecam
from networks import InPlace, Network, build, images_for
from scorecam import cam
from scorecam.cam import Head

NAMES = ("a", "b", "c", "d", "e")


def make_bank(
    kind: type[Network] = InPlace, head: Head = "logits", budget: Any = "exact", **masking: Any
) -> scorecam.ScoreBank:
    network = build(kind)
    output = torch.sigmoid if head == "probabilities" else None
    model = scorecam.open_model(network, head=head, labels=NAMES, output=output)
    method = scorecam.ScoreCAM(
        model, network.layer, budget=budget, masking=scorecam.Masking(**masking)
    )
    return method.bank(images_for(network)[0])


def identical(
    one: scorecam.ScoreBank, other: scorecam.ScoreBank, but: tuple[str, ...] = ()
) -> None:
    """Every field is the same to the last bit, a NaN equal to a NaN."""
    for entry in dataclasses.fields(one):
        mine, theirs = getattr(one, entry.name), getattr(other, entry.name)
        if entry.name in but:
            continue
        if isinstance(mine, Tensor):  # equal types too
            torch.testing.assert_close(theirs, mine, rtol=0, atol=0, equal_nan=True)
        else:
            assert theirs == mine, entry.name


def scaled(bank: scorecam.ScoreBank, target: int | str | None, variant: str = "official") -> Tensor:
    return cam.scaled(bank.heatmap(target, variant))


def through_a_file(bank: scorecam.ScoreBank, folder: Path) -> scorecam.ScoreBank:
    """What comes back from the bank's file: all it holds, maps and logits rounded to float16.

    float16 has 11 binary digits, so a number moves by at most 2^-11 of its size. Maps have at least
    2^13 for their largest number, and steps of 2^-24 at the smallest: half of that is 2^-38 of the
    largest. Logits are counted from the largest of their row, which is kept in float32.
    """
    bank.save(folder / "bank.safetensors")
    loaded = scorecam.ScoreBank.load(folder / "bank.safetensors")
    identical(bank, loaded, but=("activations", "scores"))

    largest = float(bank.activations[bank.activations.isfinite()].abs().max())
    torch.testing.assert_close(
        loaded.activations, bank.activations, rtol=2**-11, atol=2**-38 * largest, equal_nan=True
    )
    assert loaded.answered.tolist() == bank.answered.tolist()
    before, after = (each.scores[bank.answered] for each in (bank, loaded))
    if bank.head != "logits":
        assert torch.equal(before, after)
    elif len(before):
        off = before.amax(dim=1, keepdim=True) - before
        float32 = 2**-23 * before.abs()  # the way there and back
        assert ((after - before).abs() <= 2**-11 * off + 2**-25 + float32).all()

    loaded.save(folder / "again.safetensors")
    identical(loaded, scorecam.ScoreBank.load(folder / "again.safetensors"))  # rounds only once
    return loaded
