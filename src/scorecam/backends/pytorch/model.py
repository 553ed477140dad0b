"""Models that are a `torch.nn.Module`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from scorecam.backends.copies import copied
from scorecam.backends.inputs.batches import full_batches
from scorecam.backends.inputs.belonging import calls_for
from scorecam.backends.inputs.call import Call, may_belong, one_by_one, split_inputs
from scorecam.backends.inputs.derived import unseen
from scorecam.backends.inputs.structure import Key
from scorecam.backends.locks import exclusively
from scorecam.backends.pytorch import fingerprint, randomise
from scorecam.backends.pytorch.activations import Watched, check_hookable, name_of
from scorecam.backends.pytorch.cache import NetworkCache, TraceKey
from scorecam.backends.pytorch.fixed_batch import fixed_batch, in_batches
from scorecam.backends.pytorch.hints import own_fault
from scorecam.backends.pytorch.image_axes import image_axes
from scorecam.backends.pytorch.last_step import last_step
from scorecam.backends.pytorch.layers import can_have_hooks, module_name, unknown_layer
from scorecam.backends.pytorch.prepared import PreparedNetwork, Readable
from scorecam.backends.pytorch.running import Runner
from scorecam.backends.pytorch.task_engine import task_engine
from scorecam.backends.pytorch.text_tower import text_tower
from scorecam.backends.pytorch.trace import build, recorded
from scorecam.backends.pytorch.views import Views
from scorecam.backends.pytorch.white_box import TorchWhiteBox
from scorecam.backends.runtimes import choice
from scorecam.backends.stages import check_stages
from scorecam.backends.tracing import layers
from scorecam.backends.tracing.forms import Form, channels_first, channels_last, form_of
from scorecam.backends.tracing.layer_maps import Given, GivenLayout, did_not_run, maps_in
from scorecam.backends.tracing.trace import Place, Trace
from scorecam.cam import Head
from scorecam.errors import ModelError, ScorecamError, SettingError, TargetError
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.reading import AS_STATED, Reading
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.model.model import Inputs, Layer, Model, Task
from scorecam.model.readout import Readout, find_scores, read, trace_key
from scorecam.model.readout import name_of as readout_name
from scorecam.model.task_columns import TaskColumns, default_grid
from scorecam.model.text_tower import TextTower, Tokenizer
from scorecam.shapes import BatchedActivations, BatchedScores, Images


@dataclass(frozen=True, eq=False, repr=False)
class TorchModel(TorchWhiteBox):
    """A user's `torch.nn.Module`: every call leaves it as it was.

    Args:
        module: maps `b c *i` to its output.
        spec: its name in records.
        preprocess: how a photo becomes its input, where known.
        reading: how files of numbers are read.
        names: one per column of the readout, where known.
        head: the kind of the scores, or "auto".
        readout: output → `b` or `b n`.
        remarks: decisions made when it was opened that the user should know.
        masked_input: which of several inputs is masked, by index or name; None to detect it.
        call: how the module is called.
        layout: where the channels of the explained layer are; None to follow the operations.
        reshape: the explained layer's output → its maps, `b k *g`; None for no such function.
        tokenizer: loads the tokenizer that belongs to the module's text tower, if there is one.
        cache: facts about the module, for later calls.
        task, task_columns: see `Model`.
    """

    module: nn.Module
    spec: str
    preprocess: Preprocessing | None = None
    reading: Reading = AS_STATED
    names: tuple[str, ...] | None = None
    head: Head | Literal["auto"] = "auto"
    readout: Readout = find_scores
    remarks: tuple[str, ...] = ()
    masked_input: int | str | None = None
    call: Call = field(default_factory=Call)
    layout: GivenLayout | None = None
    reshape: Callable[[Any], Tensor] | None = None
    tokenizer: Callable[[], Tokenizer] | None = None
    cache: NetworkCache = field(default_factory=NetworkCache, repr=False)
    task: Task | None = None
    task_columns: TaskColumns | None = None

    @property
    def axes(self) -> int:
        """The number of image axes: found by `fitted`, or that of its first convolution, or 2."""
        if self.call.form is not None:
            return len(self.call.form.image_axes)
        return image_axes(self.module)

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
        new = {"readout": readout, "names": (readout_name(readout),), "head": "value"}
        return replace(self, **new, task=None, task_columns=None)

    def output(self, images: Images) -> Any:
        [batch, *_] = full_batches(images, fixed_batch(self.module, self.call.masked))
        return self._runner.run(batch[0], self.call, check=True)

    @property
    def given_output(self) -> Readout | None:
        return None if self.readout is find_scores else self.readout

    def text_tower(self) -> TextTower | None:
        return text_tower(self.module, self._runner, self.tokenizer)

    def split_inputs(self, inputs: Inputs) -> tuple[Images, list[Model]]:
        images, entries, plain = self._split(inputs)
        own = [key for key, value in entries.items() if may_belong(value, len(images))]
        calls = one_by_one(plain, images, own, entries)
        return images, [replace(self, call=call) for call in calls]

    def _split(self, inputs: Inputs) -> tuple[Images, dict[Key, Any], Call]:
        """The masked input, the other inputs, and how the network is called."""
        masked, derived = self.masked_input, self.call.derived
        return split_inputs(self.module, inputs, masked, axes=self.axes, derived=derived)

    def confirmed(self, inputs: Inputs, models: Sequence[Model]) -> Sequence[Model]:  # noqa: ARG002
        images, entries, plain = self._split(inputs)

        def score(call: Call, some: Images) -> BatchedScores:
            return replace(self, call=call).scores(some)

        return [replace(self, call=call) for call in calls_for(images, entries, plain, score)]

    def fitted(self, x: Tensor, *, single: bool, run: bool) -> tuple[Images, Model]:
        usual = x[None] if single and x.ndim == self.axes + 1 else x
        fits = usual.ndim == self.axes + 2
        unbatched = single and len(usual) > 1  # perhaps the frames of one video
        certain = fits and not run and not unbatched and not self.call.derived
        if certain or self.device.type == "meta":
            return usual, self
        attempts = [usual] if usual is x else [usual, x]
        if self.call.derived:  # the functions expect the input as the user has it
            attempts.reverse()
        if single and (unbatched or not fits or usual is not x):
            attempts.append(x[None])
        failure: ScorecamError | None = None
        for inputs in attempts:
            try:
                form = form_of(self._trace(inputs)) if inputs.ndim > 1 else None
            except (ModelError, SettingError) as error:  # the network, or a function of `derived`
                failure = failure or error
                continue
            if form is not None:
                images = form.images(inputs)
                plain = form.usual and inputs.ndim == self.axes + 2
                return images, self if plain else self.with_form(form)
            if self.call.derived and inputs.ndim > 2:  # it was not followed through the functions
                return inputs, self.with_form(channels_first(inputs.shape))
        if failure is not None and fits and self.preprocess is not None:
            return usual, self._with_channels_last(usual, failure)
        more = usual.ndim > self.axes + 2
        if failure is not None and (fits or own_fault(failure, more_axes=more)):
            raise failure
        return usual, self

    def _with_channels_last(self, images: Images, failure: ScorecamError) -> Self:
        """The model that takes photos `b h w c`: preprocessing gives the colours first."""
        model = self.with_form(channels_last(images.shape))
        try:
            model.layers(images)
        except ModelError:
            raise failure from None
        return model

    @property
    def form(self) -> Form | Call | None:
        return self.call.form if self.call.alone else self.call

    def with_form(self, form: object) -> Self:
        if isinstance(form, Call):
            return replace(self, call=form)
        if not isinstance(form, Form):
            return self
        return replace(self, call=replace(self.call, form=form))

    def layers(self, images: Images) -> list[Layer]:
        return layers.candidates(self._trace(images))

    def _trace(self, images: Images) -> Trace:
        """The record of a pass for an image of this size; of a dry run, if there is none yet."""
        trace = self._known_trace(images)
        while trace is None:
            with contextlib.suppress(TargetError):  # layers can be listed without scores
                self._pass(images[:1].clone(), record=True)
            trace = self._known_trace(images)
        needed = trace.needs_two_images or layers.default_name(trace) is None
        return self._with_two(images, trace) if needed else trace

    def _with_two(self, images: Images, trace: Trace) -> Trace:
        """The record of a pass with two images, if it shows more: see `Trace.folded`."""
        if self.cache.alone or not any(map(trace.folded, trace.steps)):
            return trace
        try:
            with contextlib.suppress(TargetError):
                self._pass(torch.cat([images[:1], images[:1]]), record=True)
        except ScorecamError:  # such a network takes one image at a time
            self.cache.alone = True
        return self._known_trace(images) or trace

    def _known_trace(self, images: Images) -> Trace | None:
        """The record of a pass for an image of this size, if the network still has its structure.

        The readout counts: it decides which parts of the network the scores depend on.
        """
        known = self.cache.traces.get(self._trace_key(images))
        return known.trace if known and known.build == build(self.module) else None

    def _trace_key(self, images: Images) -> TraceKey:
        _, call = self.readout_key
        return TraceKey.of(images.shape[1:], (trace_key(self.readout), call))

    def find_layer(self, layer: object, images: Images) -> str:
        if layer is None:
            return layers.default_layer(self._trace(images), default_grid(self.task_columns))
        name = name_of(layer, self.module)
        trace = self._trace_for(name, images)
        place = layers.place_of(trace, name) if trace else None
        return place.label if place else name

    def _trace_for(self, layer: str, images: Images) -> Trace | None:
        """The record of a pass, if there is one already or the layer can only be found with it.

        Raises:
            LayerError: the network has no layer of this name.
        """
        known = can_have_hooks(module_name(layer, self.module), self.module)
        trace = self._known_trace(images) if known else self._trace(images)
        if trace and (trace.in_operations or not known):
            place = layers.place_of(trace, layer)
            if place is None or not (known or place.operation):
                raise unknown_layer(layer, self.module, trace)
        return trace

    def layer_remark(self, layer: str, images: Images) -> str:
        trace = self._known_trace(images)
        place = layers.place_of(trace, layer) if trace else None
        return place.remark if place else ""

    def activations(self, images: Images, layer: str) -> tuple[BatchedActivations, BatchedScores]:
        trace = self._trace_for(layer, images)
        found = layers.place_of(trace, layer) if trace else None
        # A copy of the images: some networks write into their input.
        outputs: list[Any] = []
        name = module_name(layer, self.module)
        watched = Watched(name, outputs, found if found and found.operation else None)
        scores = self._pass(images.clone(), watched, record=trace is None)
        place = self._place(images, layer, trace or self._trace(images))
        if len(outputs) < max(place.calls):
            raise did_not_run(layer)
        given, joined = Given(self.layout, self.reshape), [outputs[i - 1] for i in place.calls]
        return maps_in(joined, images, layer, place=place, given=given), scores

    def _place(self, images: Images, layer: str, trace: Trace) -> Place:
        """Where a layer's maps are.

        Raises:
            LayerError: it did not run.
        """
        place = layers.place_of(trace, layer)
        if place is None and trace.in_operations:
            raise unknown_layer(layer, self.module, trace)
        if place is not None and place.layout is None:
            place = layers.place_of(self._with_two(images, trace), layer)
        if place is None:
            raise did_not_run(layer)
        return place

    def hooked(
        self, images: Images, layer: str
    ) -> tuple[str, Callable[[Tensor], BatchedActivations]]:
        trace = self._trace(images)
        place = self._place(images, layer, trace)
        check_hookable(layer, place, trace.calls[place.name])
        given = Given(self.layout, self.reshape)

        def maps(output: Tensor) -> BatchedActivations:
            return maps_in([[output]], images, layer, place=place, given=given)

        return place.name, maps

    def scores(self, images: Images) -> BatchedScores:
        return self._pass(images)

    def _pass(
        self, images: Images, watched: Watched | None = None, *, record: bool = False
    ) -> BatchedScores:
        """One pass.

        Args:
            images: `b c *i`.
            watched: the layer whose outputs are kept.
            record: whether to keep a record of the pass in the cache.
        """
        size = fixed_batch(self.module, self.call.masked)
        if size is not None and size != len(images):
            return in_batches(self._pass, images, size, watched=watched, record=record)
        traces: list[Trace] = []

        def score(network: nn.Module, inputs: Tensor) -> BatchedScores:
            ours = self._runner.own_calls(network)
            keeping = watched.kept(network, inputs, ours) if watched else contextlib.nullcontext()
            with keeping:
                if record:
                    trace, scores = recorded(
                        network, inputs, self.call, readout=self.readout, ours=ours
                    )
                    traces.append(trace)
                    return scores()
                return read(self.call(network, inputs), self.readout, len(images))

        memory = self.memory_format(images)
        laid_out = images.contiguous(memory_format=memory)
        try:
            scores = self._runner.run(laid_out, score, check=record or watched is not None)
        except ModelError as error:
            if memory == torch.contiguous_format or "view size is not compatible" not in str(error):
                raise
            self.cache.channels_last = False  # its `view` calls need the usual order
            return self._pass(images, watched, record=record)
        finally:
            for trace in traces[-1:]:  # the pass may have built lazy layers
                self.cache.keep_trace(self._trace_key(images), build(self.module), trace)
        return scores.detach().clone()  # outside inference mode: an ordinary tensor

    def last_step(self, images: Images) -> tuple[BatchedScores, str]:
        return last_step(lambda: self.scores(images))

    def memory_format(self, images: Images) -> torch.memory_format:
        """The memory layout that suits the network: channels last for convolutions."""
        convolves = any(isinstance(module, nn.Conv2d) for module in self.module.modules())
        if convolves and images.ndim == 4 and self.cache.channels_last:
            return torch.channels_last
        return torch.contiguous_format

    def engine(self, speed: Speed, probe: Probe) -> Engine:
        hidden = unseen(self.call.derived, self.call.taken(probe.image[None]))
        if hidden is None and self.task_columns is not None:
            return task_engine(self, lambda rows: replace(self, readout=rows), speed, probe)
        return choice.choose_for(self, speed, probe, hidden)

    @property
    def readout_key(self) -> tuple[object, ...]:
        """Differs between models that read the same network in different ways."""
        call = self.call
        return self.readout, (call.masked, call.style, call.form) if call.alone else call

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
        def find_stages(network: nn.Module, inputs: Tensor) -> list[str]:
            ours = self._runner.own_calls(network)
            return randomise.stages(network, lambda: self.call(network, inputs), ours)

        return self._runner.run(images[:1], find_stages, check=True)

    def randomised(self, stages: Sequence[str], images: Images, seed: int) -> Self:
        check_stages(stages, self.stages(images))
        with exclusively(self.module):
            network = randomise.randomised(self.module, stages, seed)
        cache = replace(self.cache, views=Views())
        return replace(self, module=network, spec=f"{self.spec}, randomised", cache=cache)
