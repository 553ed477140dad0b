"""Models that are a `torch.nn.Module`."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from scorecam.backends import layers, randomise, runtimes
from scorecam.backends.belonging import calls_for
from scorecam.backends.ending import Watch
from scorecam.backends.inputs import Call, apart, may_belong, one_by_one
from scorecam.errors import LayerError, ModelError, ScorecamError, did_you_mean
from scorecam.model import (
    Engine,
    Head,
    Inputs,
    Layer,
    Model,
    Probe,
    Speed,
    WhiteBox,
    memory_errors_translated,
)
from scorecam.pixels import Preprocess
from scorecam.readout import Readout, find_scores, read
from scorecam.shapes import BatchedActivations, BatchedScores, Images
from scorecam.wording import quoted, reason


@dataclass(frozen=True, eq=False)
class TorchModel(WhiteBox):
    """A `torch.nn.Module`, which stays the user's: every call leaves it as it was found.

    Args:
        module: answers `b c *i` with its output.
        spec: how it was named, for the records.
        preprocess: how a photo becomes its input, where known.
        names: one per column of the readout, where known.
        head: what the scores are, or "auto".
        readout: output → `b` or `b n`.
        remarks: what was decided while opening it that the user should hear of.
        masked_input: which of several inputs is masked, by place or name; None to find it.
        call: how the module is called.
    """

    module: nn.Module
    spec: str
    preprocess: Preprocess | None = None
    names: tuple[str, ...] | None = None
    head: Head | Literal["auto"] = "auto"
    readout: Readout = find_scores
    remarks: tuple[str, ...] = ()
    masked_input: int | str | None = None
    call: Call = field(default_factory=Call)
    _defaults: dict[torch.Size, tuple[layers.Build, str]] = field(
        default_factory=dict[torch.Size, tuple[layers.Build, str]], repr=False
    )
    _refuses: list[str] = field(default_factory=list[str], repr=False)

    @property
    def axes(self) -> int:
        """As many as its first convolution has; 2 where it has none."""
        for module in self.module.modules():
            for axes, kind in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d), start=1):
                if isinstance(module, kind):
                    return axes
        return 2

    @property
    def device(self) -> torch.device:
        return self._floats().device

    @property
    def precision(self) -> str:
        return str(self._floats().dtype).removeprefix("torch.")

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in self.module.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            plain = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _floats(self) -> Tensor:
        """Its first floating-point tensor: inputs go where, and as what, that is."""
        for tensors in (self.module.parameters(), self.module.buffers()):
            for tensor in tensors:
                if tensor.is_floating_point():
                    return tensor
        return torch.empty(0)

    def with_readout(self, readout: Readout) -> TorchModel:
        called = getattr(readout, "__name__", "<lambda>")
        name = "readout" if called == "<lambda>" else called
        return replace(self, names=(name,), head="value", readout=readout)

    def apart(self, inputs: Inputs) -> tuple[Images, list[Model]]:
        images, entries, plain = apart(self.module, inputs, self.masked_input, self.axes)
        own = [key for key, value in entries.items() if may_belong(value, len(images))]
        calls = one_by_one(plain, images, own, entries)
        return images, [replace(self, call=call) for call in calls]

    def confirmed(self, inputs: Inputs, models: Sequence[Model]) -> Sequence[Model]:
        images, entries, plain = apart(self.module, inputs, self.masked_input, self.axes)
        if len(images) < 2:
            return models

        def ask(call: Call, some: Images) -> BatchedScores:
            return replace(self, call=call).scores(some)

        return [replace(self, call=call) for call in calls_for(images, entries, plain, ask)]

    def layers(self, images: Images) -> list[Layer]:
        with self._running(images) as inputs:
            return layers.candidates(layers.watch(self.module, inputs[:1].clone(), self.call))

    def find_layer(self, layer: object, images: Images) -> str:
        if layer is None:
            return self._default(images)
        names = dict(self.module.named_modules(remove_duplicate=False))
        if isinstance(layer, nn.Module):
            for name, module in names.items():
                if module is layer:
                    return name
            raise LayerError(
                f"The layer given, a {type(layer).__name__}, is not part of the model.",
                likely="It may belong to another instance of the same network.",
                do="Give the layer's name instead: it is looked up in the model itself.",
            )
        if not isinstance(layer, str):
            raise LayerError(
                f"A layer is a name or a module of the model, not a {type(layer).__name__}."
            )
        if layer not in names:
            raise layers.unknown_layer(layer, self.module)
        return layer

    def _default(self, images: Images) -> str:
        """The default layer, found by one more pass: once per image size, as the network is now."""
        size, build = images.shape[1:], layers.build(self.module)
        found, name = self._defaults.get(size, ((), ""))
        if found != build:
            with self._running(images) as inputs:
                trace = layers.watch(self.module, inputs[:1].clone(), self.call)
            name = layers.default_layer(trace)
            self._defaults[size] = build, name
        return name

    def activations(self, images: Images, layer: str) -> tuple[BatchedActivations, BatchedScores]:
        seen: list[Any] = []

        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            # Cloned at once: what follows may write into it. The last call counts.
            seen[:] = [output.clone() if isinstance(output, Tensor) else output]

        module = self.module.get_submodule(layer)
        with _lock_of(self.module):
            handle = module.register_forward_hook(keep)
            try:
                scores = self.scores(images.clone())  # some networks write into their input
            finally:
                handle.remove()
        if not seen:
            raise LayerError(
                f"The layer {quoted(layer)} did not run.",
                likely="The network may use it only in training, or not at all.",
                do="scorecam.layers(model, image) lists the layers that do run.",
            )
        return _channels_first(seen[0], images, layer, module), scores

    def scores(self, images: Images) -> BatchedScores:
        layout = self.layout(images)
        try:
            with self._running(images.contiguous(memory_format=layout)) as inputs:
                found = read(self.call(self.module, inputs), self.readout, len(images))
        except ModelError as error:
            if layout == torch.contiguous_format or "view size is not compatible" not in str(error):
                raise
            self._refuses.append("channels last")  # its own `view` wants the usual order
            return self.scores(images)
        return found.detach().clone()  # outside inference mode: an ordinary tensor

    def last_step(self, images: Images) -> tuple[BatchedScores, str]:
        try:
            with Watch() as watch:
                scores = self.scores(images)
        except ModelError:  # some networks cannot run while their operations are watched
            return self.scores(images), ""
        return scores, watch.step(scores)

    def layout(self, images: Images) -> torch.memory_format:
        """How images lie in memory as the network likes it best: channels last for convolutions."""
        convolves = any(isinstance(module, nn.Conv2d) for module in self.module.modules())
        if convolves and images.ndim == 4 and not self._refuses:
            return torch.channels_last
        return torch.contiguous_format

    def engine(self, speed: Speed, probe: Probe) -> Engine:
        return runtimes.choose(self, speed, probe)

    @property
    def reading(self) -> object:
        """What tells two readings of one network apart, for those who keep something for each."""
        alone = not self.call.own and not self.call.shared
        return self.readout, (self.call.masked, self.call.style) if alone else self.call

    @contextlib.contextmanager
    def prepared(self) -> Generator[Callable[[Tensor], Tensor]]:
        """The network ready to be converted: a function of images alone, in evaluation mode."""
        with _lock_of(self.module), _evaluating(self.module):
            yield lambda images: read(
                self.call(self.module, images), self.readout, images.shape[0]
            ).detach()

    @contextlib.contextmanager
    def differentiable(self) -> Generator[nn.Module]:
        try:
            with (
                _lock_of(self.module),
                _evaluating(self.module),
                _untouched(self.module),
                torch.inference_mode(mode=False),
                torch.enable_grad(),
                memory_errors_translated(),
            ):
                yield _Readable(self)
        except ScorecamError:
            raise
        except Exception as error:
            raise ModelError(
                f"The model could not be differentiated: {type(error).__name__}: {reason(error)}",
                likely="The network, or one of its operations, may have no gradient, or change its "
                "values in place.",
                do="Use methods that need none: scorecam, rise, occlusion.",
            ) from error

    def stages(self, images: Images) -> list[str]:
        return randomise.stages(self.module, lambda: self.scores(images[:1]))

    def randomised(self, stages: Sequence[str], images: Images, seed: int) -> TorchModel:
        known = self.stages(images)
        for stage in stages:
            if stage not in known:
                raise LayerError(
                    f"The network has no stage {quoted(stage)}.",
                    likely=did_you_mean(stage, known),
                    do=f"It has {', '.join(known)}.",
                )
        with _lock_of(self.module):
            copied = randomise.randomised(self.module, stages, seed)
        return replace(self, module=copied, spec=f"{self.spec}, randomised")

    @contextlib.contextmanager
    def _running(self, images: Images) -> Generator[Tensor]:
        """Every submodule in evaluation mode, no autograd; foreign errors told in our words."""
        floats = self._floats()
        try:
            with (
                _lock_of(self.module),
                _evaluating(self.module),
                torch.inference_mode(),
                memory_errors_translated(),
            ):
                yield images.to(floats.device, floats.dtype)
        except ScorecamError:
            raise
        except Exception as error:
            raise ModelError(
                f"The model failed on {len(images)} images of shape {tuple(images.shape[1:])}: "
                f"{type(error).__name__}: {reason(error)}",
                likely="The input may have another number of colours or another size than the "
                "model takes.",
                do="Check that model(x) itself works on such a batch.",
            ) from error


_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()


def _lock_of(module: nn.Module) -> threading.RLock:
    """One caller at a time: a module's mode and hooks are its own, not a thread's."""
    return _LOCKS.setdefault(module, threading.RLock())


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Generator[None]:
    """Every submodule in evaluation mode, and afterwards as it was."""
    training = [child for child in module.modules() if child.training]
    for child in training:
        child.training = False
    try:
        yield
    finally:
        for child in training:
            child.training = True
        _make_ordinary(module)


class _Readable(nn.Module):
    """A network whose output is the readout alone."""

    def __init__(self, model: TorchModel) -> None:
        super().__init__()
        self.network = model.module
        self._model = [model]  # in a list: not a submodule, nor anything torch should look into

    def forward(self, images: Images) -> BatchedScores:
        model = self._model[0]
        return read(model.call(self.network, images), model.readout, len(images))


_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
)


@contextlib.contextmanager
def _untouched(module: nn.Module) -> Generator[None]:
    """No parameter wants a gradient; afterwards they do again, and hooks left behind are gone."""
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    hooks = [
        (table, dict(table))
        for child in module.modules()
        for table in (getattr(child, name) for name in _HOOKS)
    ]
    for parameter in wanted:
        parameter.requires_grad_(False)  # noqa: FBT003
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)  # noqa: FBT003
        for table, before in hooks:
            for key in [key for key in table if key not in before]:
                del table[key]


def _make_ordinary(module: nn.Module) -> None:
    """Replace inference tensors that a forward pass has cached: they would stop later training.

    Torch's own modules cache none and are passed over.
    """
    with torch.inference_mode(mode=False):
        for child in module.modules():
            if type(child).__module__.startswith("torch.nn."):
                continue
            for name, value in [*vars(child).items(), *child.named_buffers(recurse=False)]:
                if isinstance(value, Tensor) and value.is_inference():
                    setattr(child, name, value.clone())


def _channels_first(
    output: Any, images: Images, layer: str, module: nn.Module
) -> BatchedActivations:
    """A layer's output as `b k *g` float32.

    Raises:
        LayerError: it has no grid.
    """
    if not isinstance(output, Tensor):
        raise LayerError(
            f"The layer {quoted(layer)} returns a {type(output).__name__}, not a tensor.",
            do="Choose a layer inside it; scorecam.layers(model, image) lists them.",
        )
    layout, grid = layers.grid_of(output.shape, images.shape[2:], module)
    if not grid or len(output) != len(images):
        raise LayerError(
            f"The layer {quoted(layer)} has no grid: its output has the shape "
            f"{tuple(output.shape)} for an input of shape {tuple(images.shape)}.",
            likely="Pooled, flattened and fully connected layers know what, but no longer where.",
            do="Choose an earlier layer; scorecam.layers(model, image) lists them.",
        )
    maps = output.movedim(-1, 1) if layout == "channels last" else output
    return maps.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
