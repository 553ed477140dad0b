"""Models that are a `torch.nn.Module`."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from scorecam.backends.copies import copied
from scorecam.backends.locks import exclusively
from scorecam.backends.pytorch import fingerprint, hints, in_place, layers, randomise
from scorecam.backends.pytorch.belonging import calls_for
from scorecam.backends.pytorch.inputs import Call, apart, may_belong, one_by_one
from scorecam.backends.pytorch.last_step import Watch
from scorecam.backends.pytorch.views import Strayed, Views
from scorecam.backends.runtimes import choice
from scorecam.base.wording import quoted, reason
from scorecam.cam import Head
from scorecam.errors import LayerError, ModelError, ScorecamError, did_you_mean
from scorecam.images.preprocess import Preprocess
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.model.model import Inputs, Layer, Model, WhiteBox
from scorecam.model.readout import Readout, find_scores, read
from scorecam.model.shortage import memory_errors_translated
from scorecam.shapes import BatchedActivations, BatchedScores, Images

T = TypeVar("T")

COMPUTED_IN = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types in which networks compute; others, of eight bits, only store numbers."""


@dataclass(frozen=True, eq=False, repr=False)
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
    _views: Views = field(default_factory=Views, repr=False)

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
        return fingerprint.fingerprint(self.module)

    def _floats(self) -> Tensor:
        """Its first floating-point tensor: inputs go where, and as what, that is."""
        for tensor in self._tensors():
            if tensor.dtype in COMPUTED_IN:
                return tensor
        return torch.empty(0, dtype=torch.float32)  # quantised, or without weights

    def _tensors(self) -> Iterator[Tensor]:
        """Its parameters, and then its buffers."""
        return itertools.chain(self.module.parameters(), self.module.buffers())

    def with_readout(self, readout: Readout) -> TorchModel:
        called = getattr(readout, "__name__", "<lambda>")
        name = "readout" if called == "<lambda>" else called
        return replace(self, names=(name,), head="value", readout=readout)

    def split_inputs(self, inputs: Inputs) -> tuple[Images, list[Model]]:
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
        return layers.candidates(self._trace(images))

    def _trace(self, images: Images) -> layers.Trace:
        """A dry run of the first image."""
        self._check_readable()

        def watch(network: nn.Module, inputs: Tensor) -> layers.Trace:
            return layers.watch(network, inputs[:1].clone(), self.call, self._calls_of(network))

        return self._pass(images, watch, check=True)

    def find_layer(self, layer: object, images: Images) -> str:
        self._check_readable()
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
            name = layers.default_layer(self._trace(images))
            self._defaults[size] = build, name
        return name

    def activations(self, images: Images, layer: str) -> tuple[BatchedActivations, BatchedScores]:
        self._check_readable()
        seen: list[Any] = []

        def keep(output: Any) -> None:
            # Cloned at once: what follows may write into it. The last call counts.
            seen[:] = [output.clone() if isinstance(output, Tensor) else output]

        # A copy of the images: some networks write into their input.
        scores = self._scores(images.clone(), keep, layer)
        if not seen:
            raise LayerError(
                f"The layer {quoted(layer)} did not run.",
                likely="The network may use it only in training, or not at all.",
                do="scorecam.layers(model, image) lists the layers that do run.",
            )
        module = self.module.get_submodule(layer)
        return _channels_first(seen[0], images, layer, module), scores

    def scores(self, images: Images) -> BatchedScores:
        return self._scores(images)

    def _scores(
        self, images: Images, keep: Callable[[Any], None] | None = None, layer: str = ""
    ) -> BatchedScores:
        """One pass; `keep` is called with each output of `layer`."""

        def ask(network: nn.Module, inputs: Tensor) -> BatchedScores:
            with contextlib.nullcontext() if keep is None else self._kept(network, layer, keep):
                return read(self.call(network, inputs), self.readout, len(images))

        layout = self.layout(images)
        laid_out = images.contiguous(memory_format=layout)
        try:
            found = self._pass(laid_out, ask, check=keep is not None)
        except ModelError as error:
            if layout == torch.contiguous_format or "view size is not compatible" not in str(error):
                raise
            self._refuses.append("channels last")  # its own `view` wants the usual order
            return self._scores(images, keep, layer)
        return found.detach().clone()  # outside inference mode: an ordinary tensor

    def last_step(self, images: Images) -> tuple[BatchedScores, str]:
        try:
            with Watch() as watch:
                scores = self.scores(images)
        except ModelError:  # some networks cannot run while their operations are watched
            return self.scores(images), ""
        return scores, watch.step(scores)

    @contextlib.contextmanager
    def _kept(self, network: nn.Module, layer: str, keep: Callable[[Any], None]) -> Generator[None]:
        """Meanwhile, `keep` is called with each output of `layer` in a pass of ours."""
        ours = self._calls_of(network)
        handle = network.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output: keep(output) if ours() else None
        )
        try:
            yield
        finally:
            handle.remove()

    def layout(self, images: Images) -> torch.memory_format:
        """How images lie in memory as the network likes it best: channels last for convolutions."""
        convolves = any(isinstance(module, nn.Conv2d) for module in self.module.modules())
        if convolves and images.ndim == 4 and not self._refuses:
            return torch.channels_last
        return torch.contiguous_format

    def engine(self, speed: Speed, probe: Probe) -> Engine:
        return choice.choose(self, speed, probe)

    @property
    def readout_key(self) -> object:
        """Differs between models that read the same network in different ways."""
        alone = not self.call.own and not self.call.shared
        return self.readout, (self.call.masked, self.call.style) if alone else self.call

    def copied(self) -> TorchModel:
        """The same model with a network of its own."""
        return replace(self, module=copied(self.module))

    @contextlib.contextmanager
    def prepared(self) -> Generator[Prepared]:
        """The network ready to be converted: a function of images alone, in evaluation mode."""
        with exclusively(self.module), self._lasting() as network:
            yield Prepared(network, self.call, self.readout)

    @contextlib.contextmanager
    def _lasting(self) -> Generator[nn.Module]:
        """A view that may be used after the context; where there is none, the network itself."""
        try:
            if self.module in _UNVIEWABLE:
                raise Strayed
            view = self._views.kept(self.module)
        except Strayed:
            with in_place.as_found(self.module):
                yield self.module
        else:
            yield view

    @contextlib.contextmanager
    def differentiable(self) -> Generator[nn.Module]:
        try:
            with (
                exclusively(self.module),
                torch.inference_mode(mode=False),
                torch.enable_grad(),
                self._without_gradients() as network,
                memory_errors_translated(),
            ):
                yield _Readable(network, self)
        except ScorecamError:
            raise
        except Exception as error:
            raise ModelError(
                f"The model could not be differentiated: {type(error).__name__}: {reason(error)}",
                likely="The network, or one of its operations, may have no gradient, or change its "
                "values in place.",
                do="Use methods that need none: scorecam, rise, occlusion.",
            ) from error

    @contextlib.contextmanager
    def _without_gradients(self) -> Generator[nn.Module]:
        """The network with parameters that want no gradient."""
        if self.module in _UNVIEWABLE:
            with in_place.as_found(self.module), in_place.untouched(self.module):
                yield self.module
            return
        with self._views.one(self.module, detach=True) as view:
            yield view

    def stages(self, images: Images) -> list[str]:
        def note(network: nn.Module, inputs: Tensor) -> list[str]:
            def run() -> object:
                return self.call(network, inputs)

            return randomise.stages(network, run, self._calls_of(network))

        return self._pass(images[:1], note, check=True)

    def randomised(self, stages: Sequence[str], images: Images, seed: int) -> TorchModel:
        known = self.stages(images)
        for stage in stages:
            if stage not in known:
                raise LayerError(
                    f"The network has no stage {quoted(stage)}.",
                    likely=did_you_mean(stage, known),
                    do=f"It has {', '.join(known)}.",
                )
        with exclusively(self.module):
            network = randomise.randomised(self.module, stages, seed)
        return replace(self, module=network, spec=f"{self.spec}, randomised", _views=Views())

    def _pass(self, images: Images, ask: Callable[[nn.Module, Tensor], T], *, check: bool) -> T:
        """What `ask` makes of the network in evaluation mode and the images where it wants them.

        No autograd. Errors from other libraries are raised as ours, in plain words.

        Args:
            check: whether to make sure that a view runs none of the network's own modules.
        """
        floats = self._floats()
        try:
            with exclusively(self.module), memory_errors_translated():
                inputs = images.to(floats.device, floats.dtype)
                if any(map(is_lazy, self._tensors())):
                    self._initialise(inputs[:1])
                with torch.inference_mode():
                    return self._with_view(lambda network: ask(network, inputs), check=check)
        except ScorecamError:
            raise
        except Exception as error:
            raise hints.failed(error, images, self.module) from error

    def _with_view(self, ask: Callable[[nn.Module], T], *, check: bool) -> T:
        if self.module not in _UNVIEWABLE:
            try:
                check = check or not self._views.checked
                with self._views.one(self.module, check=check) as view:
                    return ask(view)
            except Strayed:
                _UNVIEWABLE.add(self.module)
        with in_place.as_found(self.module) as network:
            return ask(network)

    def _initialise(self, image: Images) -> None:
        """Give lazy layers their weights, as the network's own first call would."""
        with torch.no_grad(), self._views.building(self.module) as view:
            self.call(view, image)

    def _calls_of(self, network: nn.Module) -> Callable[[], bool]:
        """A function for hooks on the network, which says whether this call is one of ours.

        Nobody else can call a view. The network itself may be running in other threads.
        """
        if network is not self.module:
            return lambda: True
        thread = threading.get_ident()
        return lambda: threading.get_ident() == thread

    def _check_readable(self) -> None:
        """Refuse to look for layers in TorchScript.

        Raises:
            LayerError: the network is TorchScript.
        """
        if isinstance(self.module, torch.jit.ScriptModule):
            raise LayerError(
                "The network is TorchScript (torch.jit.script, trace or load), which runs outside "
                "Python: its layers cannot be read.",
                do="Give the torch.nn.Module that it was made from, with its weights.",
            )


_UNVIEWABLE: WeakSet[nn.Module] = WeakSet()
"""Networks whose view would run their own modules."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network's readout as a function of images alone.

    Args:
        network: what runs, in evaluation mode.
        call: how it is called.
        readout: how its output is read.
    """

    network: nn.Module
    call: Call
    readout: Readout

    def __call__(self, images: Tensor) -> Tensor:
        return read(self.call(self.network, images), self.readout, images.shape[0]).detach()


class _Readable(nn.Module):
    """A network whose output is the readout alone."""

    def __init__(self, network: nn.Module, model: TorchModel) -> None:
        super().__init__()
        self.network = network
        self._model = [model]  # in a list: not a submodule, nor anything torch should look into

    def forward(self, images: Images) -> BatchedScores:
        model = self._model[0]
        return read(model.call(self.network, images), model.readout, len(images))


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
    if output.is_quantized:
        output = output.dequantize()
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
