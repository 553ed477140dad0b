"""Compare all state of a network before and after a call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
)


def snapshot(module: nn.Module) -> dict[str, Any]:
    """All state of a network that a caller could observe."""
    state: dict[str, Any] = {}
    for name, part in module.named_modules():
        state[name, "training"] = part.training
        state[name, "attributes"] = sorted(vars(part))
        for hooks in HOOKS:
            state[name, hooks] = list(getattr(part, hooks).items())
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        state[name, "is"] = (id(tensor), tensor.data_ptr(), tensor._version)
        state[name, "kind"] = (tensor.dtype, tensor.device, tensor.requires_grad, tensor.stride())
        state[name, "grad"] = tensor.grad
        state[name, "value"] = tensor.detach().flatten().tolist()
    state["state_dict"] = list(module.state_dict())
    state["random"] = torch.random.get_rng_state().tolist()
    state["autograd"] = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    return state


@contextlib.contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """The block must not change the network."""
    before = snapshot(module)
    try:
        yield
    finally:
        after = snapshot(module)
        differences = [
            key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
        ]
        assert differences == [], differences


class Everything(nn.Module):
    """A network with dropout, batch norm, in-place operations, frozen parts and hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.drop = nn.Dropout2d(0.5)
        self.body = nn.Sequential(nn.Conv2d(6, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.classes = nn.Linear(8, 4)
        # Mixed modes, as in fine-tuning with a frozen batch norm.
        self.stem.eval()
        self.drop.train()
        self.body[1].eval()
        self.stem.requires_grad_(requires_grad=False)
        self.body[0].register_forward_hook(lambda _module, _inputs, _output: None)
        self.body.register_forward_pre_hook(lambda _module, _inputs: None)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.body(self.drop(self.stem(images))).mean((2, 3)))
