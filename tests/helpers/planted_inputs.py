"""Planted networks of videos and of several inputs: the map must lie in the frame and the place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from planted import CHANNELS, Block, Planted

FRAMES = 5


class Cnn(nn.Module):
    """Patches of a picture, `b k u v`."""

    def __init__(self, colours: int = 3, patch: tuple[int, ...] = (4, 6)) -> None:
        super().__init__()
        self.stem = Planted(patch, colours).stem
        self.act = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.act(self.stem(images))


class Frames(nn.Module):
    """A network that takes frames, and a head for their features, `b t k`.

    Args:
        combine: the features of all frames → those of the video.
    """

    def __init__(self, combine: Any = None) -> None:
        super().__init__()
        self.cnn = Cnn()
        self.head = Planted().head
        self.combine = combine
        self.lstm = nn.LSTM(CHANNELS, CHANNELS, batch_first=True)
        self.attend = nn.Linear(CHANNELS, 1)

    def scores(self, frames: Tensor) -> Tensor:
        if self.combine == "last step of an LSTM":
            return self.head(self.lstm(frames)[0][:, -1]) + self.head(frames.mean(1))
        if self.combine == "attention":
            return self.head((self.attend(frames).softmax(1) * frames).sum(1))
        return self.head(frames.mean(1))


class FoldedFrames(Frames):
    """`b t c h w`, with the frames in the batch: `(b t) c h w`."""

    layer = "cnn"

    def forward(self, videos: Tensor) -> Tensor:
        b, t = videos.shape[:2]
        features = self.cnn(videos.view(-1, *videos.shape[2:])).mean((2, 3))
        return self.scores(features.view(b, t, -1))


class FoldedTimeFirst(Frames):
    """`b t c h w`, as `(t b) c h w`."""

    layer = "cnn"

    def forward(self, videos: Tensor) -> Tensor:
        b, t = videos.shape[:2]
        features = self.cnn(videos.transpose(0, 1).flatten(0, 1)).mean((2, 3))
        return self.scores(features.view(t, b, -1).transpose(0, 1))


class FoldedColoursFirst(Frames):
    """`b c t h w`, with the frames in the batch."""

    layer = "cnn"

    def forward(self, videos: Tensor) -> Tensor:
        b, c, t, h, w = videos.shape
        features = self.cnn(videos.transpose(1, 2).reshape(b * t, c, h, w)).mean((2, 3))
        return self.scores(features.view(b, t, -1))


class LoopOverFrames(Frames):
    """`b t c h w`, with one call of the network per frame."""

    layer = "cnn"

    def forward(self, videos: Tensor) -> Tensor:
        features = [self.cnn(frame).mean((2, 3)) for frame in videos.unbind(1)]
        return self.scores(torch.stack(features, 1))


class LoopBackwards(Frames):
    """The last frame first, and a sum instead of a stack."""

    layer = "cnn"

    def forward(self, videos: Tensor) -> Tensor:
        features = [self.cnn(videos[:, i]).mean((2, 3)) for i in reversed(range(FRAMES))]
        return self.head(sum(features, torch.zeros(1)))


class StackedMaps(Frames):
    """The maps of all frames are stacked, and mixed again."""

    layer = "mix"

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.ReLU()

    def forward(self, videos: Tensor) -> Tensor:
        maps = [self.cnn(videos[:, i]) for i in range(FRAMES)]
        return self.head(self.mix(torch.stack(maps, 1) + 0.0).mean((1, 3, 4)))


class Convolutions3d(Planted):
    """`b c t h w`."""

    layer = "act"

    def __init__(self) -> None:
        super().__init__((1, 4, 6))
        self.act = nn.ReLU()

    def forward(self, videos: Tensor) -> Tensor:
        return self.head(self.act(self.stem(videos)).mean((2, 3, 4)))


class Convolutions3dTimeFirst(Convolutions3d):
    """`b t c h w`."""

    def forward(self, videos: Tensor) -> Tensor:
        return super().forward(videos.transpose(1, 2))


class SpaceTimeTokens(Planted):
    """TimeSformer: tokens `b (t n) k`, with attention over time and over space in turn."""

    layer = "blocks.1"

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(1, 1, CHANNELS))
        self.blocks = nn.Sequential(Block(), Block(), Block())
        self.attention = Block()

    def forward(self, videos: Tensor) -> Tensor:
        b, t = videos.shape[:2]
        tokens = self.stem(videos.flatten(0, 1)).flatten(2).mT
        n = tokens.shape[1]
        over_time = tokens.reshape(b, t, n, -1).transpose(1, 2).reshape(b * n, t, -1)
        tokens = self.attention(over_time).reshape(b, n, t, -1).transpose(1, 2)
        tokens = self.attention(tokens.reshape(b * t, n, -1)).reshape(b, t * n, -1)
        tokens = self.blocks(torch.cat([self.first.expand(b, -1, -1), tokens], 1))
        return self.head(tokens[:, 0])


class FramesAsColours(nn.Module):
    """`b t c h w`, as pictures with `t c` colours: it has no place for the frame."""

    layer = "cnn"

    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.head = Cnn(3 * FRAMES), Planted().head

    def forward(self, videos: Tensor) -> Tensor:
        return self.head(self.cnn(videos.flatten(1, 2)).mean((2, 3)))


class TwoPictures(nn.Module):
    """`b 2 c h w`: two pictures in one tensor, through one trunk."""

    layer = "trunk"

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = Cnn(), Planted().head

    def forward(self, pairs: Tensor) -> Tensor:
        one, other = self.trunk(pairs[:, 0]), self.trunk(pairs[:, 1])
        return self.head((one + other).mean((2, 3)))


class Late(nn.Module):
    """Two streams whose features are joined."""

    def __init__(self, patch: tuple[int, int] = (4, 6)) -> None:
        super().__init__()
        self.rgb, self.depth = Cnn(), Cnn(1, patch)
        self.head = nn.Linear(2 * CHANNELS, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([Planted().head.weight] * 2, 1))

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        maps = self.rgb(rgb), self.depth(depth)
        return self.head(torch.cat([each.mean((2, 3)) for each in maps], 1))


class JoinedMaps(Late):
    """The maps of both streams are joined, and go through another module."""

    def __init__(self, join: Any) -> None:
        super().__init__()
        self.fuse, self.join = nn.ReLU(), join

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        maps = self.fuse(self.join([self.rgb(rgb), self.depth(depth)], 1))
        return self.head(maps.mean((-2, -1)).flatten(1))


class Verification(nn.Module):
    """Both pictures of a pair in one batch, `(2 b) c h w`: how alike are their features?"""

    def __init__(self, join: Any = torch.cat) -> None:
        super().__init__()
        self.trunk, self.join = Cnn(), join

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        features = self.trunk(self.join([one, other])).mean((2, 3))
        return (features[: len(one)] * features[len(one) :]).sum(1)


class WithAnother(nn.Module):
    """The scores of a picture, plus `reads` of another input."""

    def __init__(self, reads: Any) -> None:
        super().__init__()
        self.cnn, self.head, self.reads = Cnn(), Planted().head, reads

    def forward(self, image: Tensor, other: Any = None) -> Tensor:
        scores = self.head(self.cnn(image).mean((2, 3)))
        return scores if other is None else scores + self.reads(other)


class VideoAndSound(nn.Module):
    """A video `b t c h w` and a signal `b c s`."""

    def __init__(self) -> None:
        super().__init__()
        self.video = FoldedFrames()
        self.sound, self.head = Cnn(1, (8,)), Planted().head

    def forward(self, video: Tensor, sound: Tensor) -> Tensor:
        return self.video(video) + self.head(self.sound(sound).mean(2))


class Scalogram(nn.Module):
    """Takes a signal and what was computed from it, `b 1 f s`, and reads the second only."""

    layer = "cnn"

    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.head = Cnn(1, (4, 1)), Planted().head

    def forward(self, raw: Tensor, scalogram: Tensor) -> Tensor:
        assert len(raw) == len(scalogram)
        return self.head(self.cnn(scalogram).mean((2, 3)))


class Nested(nn.Module):
    """Takes one dict with another dict inside."""

    def __init__(self) -> None:
        super().__init__()
        self.late = Late()

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.late(**batch["pictures"])


class OnePair(nn.Module):
    """Takes one tuple or list."""

    def __init__(self) -> None:
        super().__init__()
        self.late = Late()

    def forward(self, pair: Any) -> Tensor:
        rgb, depth = pair
        return self.late(rgb, depth)
