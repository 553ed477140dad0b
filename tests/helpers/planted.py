"""Networks whose scores one region decides, in every layout: the map must lie there.

Each computes `patches`, the means of patches through a few positive weights, and carries them on in
its own layout. Outside the region the image is zero, so that every map is zero there too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 5
CLASSES = 3


class Planted(nn.Module):
    """The start and the end of every network here.

    Args:
        patch: the sides of a patch, one number per image axis.
        colours: of the images.
    """

    def __init__(self, patch: tuple[int, ...] = (4, 6), colours: int = 3) -> None:
        super().__init__()
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(patch) - 1]
        self.stem = kind(colours, CHANNELS, patch, stride=patch, bias=False)
        self.head = nn.Linear(CHANNELS, CLASSES)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.stem.weight.copy_(torch.rand(self.stem.weight.shape, generator=generator))
            self.head.weight.copy_(torch.rand(CLASSES, CHANNELS, generator=generator))
            self.head.weight[1:] *= -1
            self.head.bias.zero_()


class Block(nn.Module):
    """Attention with equal weights: every token gets a little of all others, `b n c`."""

    def forward(self, tokens: Tensor) -> Tensor:
        nowhere = torch.zeros_like(tokens)
        return tokens + 0.01 * functional.scaled_dot_product_attention(nowhere, nowhere, tokens)


class Cnn(Planted):
    """`b k h w`."""

    layer = "act"

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.act(self.stem(images)).mean((2, 3)))


class Tokens(Planted):
    """A vision transformer with `prefix` tokens before those of the patches.

    With any, the first is the class token, which alone is classified; else the mean is.
    """

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self.prefix = nn.Parameter(torch.zeros(1, prefix, CHANNELS))
        self.blocks = nn.Sequential(Block(), Block(), Block())
        # The last block's own patches are not used if the class token is classified.
        self.layer = "blocks.1" if prefix else "blocks"

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).mT
        first = self.prefix.expand(len(images), -1, -1)
        tokens = self.blocks(torch.cat([first, tokens], 1))
        return self.head(tokens[:, 0] if first.shape[1] else tokens.mean(1))


class TokensAfter(Planted):
    """The class token comes last."""

    layer = "blocks.0"

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Parameter(torch.zeros(1, 1, CHANNELS))
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).mT
        tokens = self.blocks(torch.cat([tokens, self.last.expand(len(images), -1, -1)], 1))
        return self.head(tokens[:, -1])


class LinearPatches(Planted):
    """Patches cut out by reshaping, and embedded by a linear layer instead of a convolution."""

    layer = "blocks"

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * 4 * 6, CHANNELS, bias=False)
        self.blocks = nn.Sequential(Block(), Block())
        with torch.no_grad():
            self.embed.weight.copy_(self.stem.weight.permute(0, 2, 3, 1).flatten(1))
        del self.stem

    def forward(self, images: Tensor) -> Tensor:
        b, c, h, w = images.shape
        cut = images.reshape(b, c, h // 4, 4, w // 6, 6).permute(0, 2, 4, 3, 5, 1)
        return self.head(self.blocks(self.embed(cut.reshape(b, -1, 4 * 6 * c))).mean(1))


class Windows(Planted):
    """Swin: attention within shifted windows of 2×2, `b u v k`."""

    layer = "block"

    def __init__(self) -> None:
        super().__init__()
        self.block = WindowBlock()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.block(self.stem(images).permute(0, 2, 3, 1)).mean((1, 2)))


class WindowBlock(nn.Module):
    """Rolls, cuts into windows, mixes them a little, and undoes all that."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(CHANNELS, CHANNELS, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        b, u, v, k = x.shape
        rolled = x.roll((-1, -1), (1, 2))
        cut = rolled.view(b, u // 2, 2, v // 2, 2, k).permute(0, 1, 3, 2, 4, 5)
        mixed = self.mix(cut.reshape(-1, 4, k))
        back = mixed.view(b, u // 2, v // 2, 2, 2, k).permute(0, 1, 3, 2, 4, 5)
        return x + 0.1 * back.reshape(b, u, v, k).roll((1, 1), (1, 2))


class Mixer(Planted):
    """MLP-Mixer: a linear layer over the tokens, in a residual branch."""

    layer = "norm"

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.across = nn.Linear(cells, cells, bias=False)
        self.norm = nn.ReLU()
        with torch.no_grad():
            self.across.weight.fill_(0.0005)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).mT
        tokens = tokens + self.across(tokens.mT).mT
        return self.head(self.norm(tokens).mean(1))


class ChannelsLastInput(Planted):
    """Takes `b h w c`."""

    layer = "act"

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.act(self.stem(images.permute(0, 3, 1, 2))).mean((2, 3)))


class SignalTokens(Planted):
    """A signal, `b c t`, as tokens, `b t c`."""

    layer = "mix"

    def __init__(self) -> None:
        super().__init__(patch=(8,), colours=2)
        self.mix = nn.Sequential(nn.Linear(CHANNELS, CHANNELS, bias=False), nn.ReLU())
        with torch.no_grad():
            self.mix[0].weight.copy_(torch.eye(CHANNELS))

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.mix(self.stem(signals).mT).mean(1))


class PlainSignal(Planted):
    """Takes `b t`, without an axis of colours."""

    layer = "act"

    def __init__(self) -> None:
        super().__init__(patch=(8,), colours=1)
        self.act = nn.ReLU()

    def forward(self, signals: Tensor) -> Tensor:
        return self.head(self.act(self.stem(signals[:, None])).mean(2))


class Anisotropic(Planted):
    """A volume with strides (1, 2, 2)."""

    layer = "act"

    def __init__(self) -> None:
        super().__init__(patch=(1, 2, 2), colours=1)
        self.act = nn.ReLU()

    def forward(self, volumes: Tensor) -> Tensor:
        return self.head(self.act(self.stem(volumes)).mean((2, 3, 4)))


class Siamese(Planted):
    """One trunk for two photos."""

    layer = "trunk#1"

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(self.stem, nn.ReLU())
        del self.stem

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        a, b = self.trunk(one).mean((2, 3)), self.trunk(other).mean((2, 3))
        return self.head(a + 0.1 * b)


class TwoStreams(Planted):
    """Colours and depth through two networks; the depth comes last."""

    layer = "act"

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.depth = nn.Sequential(nn.Conv2d(1, CHANNELS, 3, stride=2), nn.ReLU())

    def forward(self, colours: Tensor, depth: Tensor) -> Tensor:
        seen = self.act(self.stem(colours)).mean((2, 3))
        return self.head(seen + 0 * self.depth(depth).mean((2, 3)))


class SideExits(Planted):
    """An early exit, a decoder and a gate, none of which leads to the scores alone."""

    layer = "act"

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.gate = nn.Sequential(nn.Conv2d(CHANNELS, 1, 1), nn.Sigmoid())
        self.exit = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.decoder = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(CHANNELS, 3, 3))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.act(self.stem(images))
        gated = maps * self.gate(maps)
        return {
            "logits": self.head(gated.mean((2, 3))),
            "early": self.exit(maps).mean((2, 3)),
            "picture": self.decoder(maps),
        }


class OneRelu(Planted):
    """One ReLU module for all layers, and a convolution after the explained maps."""

    layer = "relu#3"

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.same = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
        with torch.no_grad():
            self.same.weight.copy_(torch.eye(CHANNELS)[:, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.same(self.relu(self.stem(self.relu(images)))))
        return self.head(maps.mean((2, 3)))


class InATuple(Planted):
    """A block that returns its maps with others, as networks of transformers do."""

    layer = "block"

    def __init__(self) -> None:
        super().__init__()
        self.block = PairBlock(self.stem)
        del self.stem

    def forward(self, images: Tensor) -> Tensor:
        maps, _ = self.block(images)
        return self.head(maps.mean((2, 3)))


class PairBlock(nn.Module):
    """Maps, and what nobody uses."""

    def __init__(self, stem: nn.Module) -> None:
        super().__init__()
        self.stem = stem

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.stem(images).relu()
        return maps, maps.softmax(1)
