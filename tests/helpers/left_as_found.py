"""Whether a network was left as it was found."""

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


def as_found(module: nn.Module) -> dict[str, Any]:
    """Everything about a network that a caller could notice."""
    found: dict[str, Any] = {}
    for name, part in module.named_modules():
        found[name, "training"] = part.training
        found[name, "attributes"] = sorted(vars(part))
        for hooks in HOOKS:
            found[name, hooks] = list(getattr(part, hooks).items())
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        found[name, "is"] = (id(tensor), tensor.data_ptr(), tensor._version)
        found[name, "kind"] = (tensor.dtype, tensor.device, tensor.requires_grad, tensor.stride())
        found[name, "grad"] = tensor.grad
        found[name, "value"] = tensor.detach().flatten().tolist()
    found["state_dict"] = list(module.state_dict())
    found["random"] = torch.random.get_rng_state().tolist()
    found["autograd"] = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    return found


@contextlib.contextmanager
def left_as_found(module: nn.Module) -> Iterator[None]:
    before = as_found(module)
    try:
        yield
    finally:
        after = as_found(module)
        changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
        assert changed == []


class Everything(nn.Module):
    """A network of many habits: dropout, batch norm, in-place, frozen and hooked parts."""

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
