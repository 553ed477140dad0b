"""Models that are a `torch.nn.Module`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from scorecam.backends.copies import copied
from scorecam.backends.locks import exclusively
from scorecam.backends.pytorch import fingerprint, layers, randomise
from scorecam.backends.pytorch.activations import channels_first, check_readable, name_of
from scorecam.backends.pytorch.belonging import calls_for
from scorecam.backends.pytorch.cache import NetworkCache
from scorecam.backends.pytorch.inputs import Call, may_belong, one_by_one, split_inputs
from scorecam.backends.pytorch.last_step import LastStepWatcher
from scorecam.backends.pytorch.prepared import PreparedNetwork, Readable
from scorecam.backends.pytorch.running import Runner
from scorecam.backends.pytorch.views import Views
from scorecam.backends.runtimes import choice
from scorecam.base.wording import quoted
from scorecam.cam import Head
from scorecam.errors import LayerError, ModelError, did_you_mean
from scorecam.images.preprocess import Preprocess
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.model.model import Inputs, Layer, Model, WhiteBox
from scorecam.model.readout import Readout, find_scores, read
from scorecam.shapes import BatchedActivations, BatchedScores, Images


@dataclass(frozen=True, eq=False, repr=False)
class TorchModel(WhiteBox):
    """A user's `torch.nn.Module`: every call leaves it as it was.

    Args:
        module: maps `b c *i` to its output.
        spec: its name in records.
        preprocess: how a photo becomes its input, where known.
        names: one per column of the readout, where known.
        head: the kind of the scores, or "auto".
        readout: output → `b` or `b n`.
        remarks: decisions made when it was opened that the user should know.
        masked_input: which of several inputs is masked, by index or name; None to detect it.
        call: how the module is called.
        cache: facts about the module, for later calls.
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
    cache: NetworkCache = field(default_factory=NetworkCache, repr=False)

    @property
    def axes(self) -> int:
        """The number of image axes: that of its first convolution, or 2."""
        for module in self.module.modules():
            for axes, kind in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d), start=1):
                if isinstance(module, kind):
                    return axes
        return 2

    @property
    def device(self) -> torch.device:
        return self._runner.floats.device

    @property
    def precision(self) -> str:
        return str(self._runner.floats.dtype).removeprefix("torch.")

    def fingerprint(self) -> str:
        return fingerprint.fingerprint(self.module)

    @property
    def _runner(self) -> Runner:
        return Runner(self.module, self.call, self.cache.views)

    def with_readout(self, readout: Readout) -> TorchModel:
        called = getattr(readout, "__name__", "<lambda>")
        name = "readout" if called == "<lambda>" else called
        return replace(self, names=(name,), head="value", readout=readout)

    def split_inputs(self, inputs: Inputs) -> tuple[Images, list[Model]]:
        images, entries, plain = split_inputs(self.module, inputs, self.masked_input, self.axes)
        own = [key for key, value in entries.items() if may_belong(value, len(images))]
        calls = one_by_one(plain, images, own, entries)
        return images, [replace(self, call=call) for call in calls]

    def confirmed(self, inputs: Inputs, models: Sequence[Model]) -> Sequence[Model]:
        images, entries, plain = split_inputs(self.module, inputs, self.masked_input, self.axes)
        if len(images) < 2:
            return models

        def score(call: Call, some: Images) -> BatchedScores:
            return replace(self, call=call).scores(some)

        return [replace(self, call=call) for call in calls_for(images, entries, plain, score)]

    def layers(self, images: Images) -> list[Layer]:
        return layers.candidates(self._trace(images))

    def _trace(self, images: Images) -> layers.Trace:
        """A dry run of the first image."""
        check_readable(self.module)
        runner = self._runner

        def watch(network: nn.Module, inputs: Tensor) -> layers.Trace:
            ours = runner.own_calls(network)
            return layers.watch(network, inputs[:1].clone(), self.call, ours)

        return runner.run(images, watch, check=True)

    def find_layer(self, layer: object, images: Images) -> str:
        check_readable(self.module)
        return self._default(images) if layer is None else name_of(layer, self.module)

    def _default(self, images: Images) -> str:
        """The default layer. It takes one more pass per image size and structure of the network."""
        size, build = images.shape[1:], layers.build(self.module)
        known_build, name = self.cache.default_layers.get(size, ((), ""))
        if known_build != build:
            name = layers.default_layer(self._trace(images))
            self.cache.default_layers[size] = build, name
        return name

    def activations(self, images: Images, layer: str) -> tuple[BatchedActivations, BatchedScores]:
        check_readable(self.module)
        outputs: list[Any] = []

        def keep(output: Any) -> None:
            # Cloned at once: later layers may write into it. The last call of the layer counts.
            outputs[:] = [output.clone() if isinstance(output, Tensor) else output]

        # A copy of the images: some networks write into their input.
        scores = self._scores(images.clone(), keep, layer)
        if not outputs:
            raise LayerError(
                f"The layer {quoted(layer)} did not run.",
                likely="The network may use it only in training, or not at all.",
                do="scorecam.layers(model, image) lists the layers that do run.",
            )
        module = self.module.get_submodule(layer)
        return channels_first(outputs[0], images, layer, module), scores

    def scores(self, images: Images) -> BatchedScores:
        return self._scores(images)

    def _scores(
        self, images: Images, keep: Callable[[Any], None] | None = None, layer: str = ""
    ) -> BatchedScores:
        """One pass; `keep` is called with each output of `layer`."""

        def score(network: nn.Module, inputs: Tensor) -> BatchedScores:
            with contextlib.nullcontext() if keep is None else self._kept(network, layer, keep):
                return read(self.call(network, inputs), self.readout, len(images))

        layout = self.layout(images)
        laid_out = images.contiguous(memory_format=layout)
        try:
            scores = self._runner.run(laid_out, score, check=keep is not None)
        except ModelError as error:
            if layout == torch.contiguous_format or "view size is not compatible" not in str(error):
                raise
            self.cache.channels_last = False  # its `view` calls need the usual order
            return self._scores(images, keep, layer)
        return scores.detach().clone()  # outside inference mode: an ordinary tensor

    def last_step(self, images: Images) -> tuple[BatchedScores, str]:
        try:
            with LastStepWatcher() as watch:
                scores = self.scores(images)
        except ModelError:  # some networks cannot run while their operations are watched
            return self.scores(images), ""
        return scores, watch.step(scores)

    @contextlib.contextmanager
    def _kept(self, network: nn.Module, layer: str, keep: Callable[[Any], None]) -> Generator[None]:
        """In this context, `keep` is called with each output of `layer` in our own passes."""
        ours = self._runner.own_calls(network)
        handle = network.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output: keep(output) if ours() else None
        )
        try:
            yield
        finally:
            handle.remove()

    def layout(self, images: Images) -> torch.memory_format:
        """The memory layout that suits the network: channels last for convolutions."""
        convolves = any(isinstance(module, nn.Conv2d) for module in self.module.modules())
        if convolves and images.ndim == 4 and self.cache.channels_last:
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
    def prepared(self) -> Generator[PreparedNetwork]:
        """The network as a function of images alone, in evaluation mode, ready to be converted."""
        with self._runner.lasting() as network:
            yield PreparedNetwork(network, self.call, self.readout)

    @contextlib.contextmanager
    def differentiable(self) -> Generator[nn.Module]:
        with self._runner.differentiable() as network:
            yield Readable(network, self.call, self.readout)

    def stages(self, images: Images) -> list[str]:
        runner = self._runner

        def find_stages(network: nn.Module, inputs: Tensor) -> list[str]:
            def run() -> object:
                return self.call(network, inputs)

            return randomise.stages(network, run, runner.own_calls(network))

        return runner.run(images[:1], find_stages, check=True)

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
        cache = replace(self.cache, views=Views())
        return replace(self, module=network, spec=f"{self.spec}, randomised", cache=cache)
