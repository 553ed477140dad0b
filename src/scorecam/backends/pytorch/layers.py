"""Layers that can be explained: a dry run that watches every module, and the default layer.

The default is the output of the last block with a grid of more than one cell. It is never a pool,
whose cells are blurred copies, and never a convolution before a residual add, whose output is only
half of what later layers get.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from scorecam.base.wording import quoted
from scorecam.errors import LayerError, did_you_mean
from scorecam.model.model import Layer

Layout = Literal["channels first", "channels last"]

CHANNELS_FIRST = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
)
ADDITIONS = {"add", "add_", "__add__", "__radd__", "__iadd__"}

Build = tuple[tuple[Any, ...], ...]
"""A network's structure: what decides which modules run."""


def build(module: nn.Module) -> Build:
    """The structure of a network: modules by name and class, their settings, replaced methods.

    Weights do not count: they do not decide which layer comes last.
    """
    return tuple(
        (name, type(child), type(child).forward, *_settings(child))
        for name, child in module.named_modules(remove_duplicate=False)
    )


def _settings(module: nn.Module) -> Iterator[Any]:
    for name, value in vars(module).items():
        kinds = (bool, int, float, str, FunctionType, MethodType)
        if name != "training" and isinstance(value, kinds):
            yield name, value


def grid_of(
    shape: Sequence[int], image: Sequence[int], module: nn.Module | None = None
) -> tuple[Layout, tuple[int, ...]]:
    """The layout and grid of a layer's output; the grid is empty if it has none.

    Args:
        shape: of the output, batch axis included.
        image: the image's axes `*i`.
        module: the layer; for convolutions and batch norms, the layout is known.

    For other layers, channels come last if the image then shrinks by nearly the same factor along
    every axis, and would not with channels first (Swin: `b u v k`). With one image axis,
    they come first.
    """
    if len(shape) != len(image) + 2:
        return "channels first", ()
    first, last = tuple(shape[2:]), tuple(shape[1:-1])
    known = isinstance(module, CHANNELS_FIRST) or len(image) == 1
    if not known and _skew(last, image) < 0.5 * _skew(first, image):
        return "channels last", last
    return "channels first", first


def _skew(grid: Sequence[int], image: Sequence[int]) -> float:
    """How unequally the image shrinks to the grid along its axes; 0 for the same factor everywhere.

    One cell of rounding does not count: 131 pixels may become 4 cells or 5.
    """
    shrinks = [
        (math.log(max(cells - 1, 0.5) / pixels), math.log((cells + 1) / pixels))
        for cells, pixels in zip(grid, image, strict=True)
    ]
    return max(0.0, max(low for low, _ in shrinks) - min(high for _, high in shrinks))


@dataclass
class Step:
    """One module's call during a dry run, in the order in which calls finished."""

    when: int
    name: str
    module: nn.Module
    inputs: tuple[int, ...]
    output: Tensor
    layout: Layout
    grid: tuple[int, ...]


@dataclass(frozen=True)
class Sum:
    """The sum of two maps, usually a residual connection."""

    when: int
    halves: tuple[int, int]


@dataclass
class Trace:
    """The record of a dry run: calls that returned a tensor, and sums of maps.

    Tensors are identified by `id`. Those in `calls` are kept alive, so that ids stay unique.
    """

    image: tuple[int, ...]
    calls: list[Step] = field(default_factory=list[Step])
    sums: list[Sum] = field(default_factory=list[Sum])
    now: int = 0


class _Additions(TorchFunctionMode):
    """Records every sum of two tensors of the same shape."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in ADDITIONS and len(args) > 1:
            a, b = args[:2]
            if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape:
                _, grid = grid_of(a.shape, self.trace.image)
                if math.prod(grid) > 1:
                    self.trace.now += 1
                    self.trace.sums.append(Sum(self.trace.now, (id(a), id(b))))
        return func(*args, **(kwargs or {}))


def watch(
    module: nn.Module,
    images: Tensor,
    call: Callable[[nn.Module, Tensor], object],
    ours: Callable[[], bool] = lambda: True,
) -> Trace:
    """Run the module once and record the order of calls, their outputs and the residual adds.

    Args:
        module: the network.
        images: its input.
        call: how it is called.
        ours: whether the current call belongs to this run; other threads may call the module too.
    """
    trace = Trace(tuple(images.shape[2:]))

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not ours():
                return
            trace.now += 1
            if isinstance(output, Tensor):
                taken = tuple(id(tensor) for tensor in inputs if isinstance(tensor, Tensor))
                layout, grid = grid_of(output.shape, trace.image, module)
                call = Step(
                    when=trace.now,
                    name=name,
                    module=module,
                    inputs=taken,
                    output=output,
                    layout=layout,
                    grid=grid,
                )
                trace.calls.append(call)

        return hook

    handles = [
        child.register_forward_hook(note(name))
        for name, child in module.named_modules()
        if not isinstance(child, torch.jit.ScriptModule)  # runs outside Python
    ]
    try:
        with _Additions(trace):
            call(module, images)
    finally:
        for handle in handles:
            handle.remove()
    return trace


def candidates(trace: Trace) -> list[Layer]:
    """The layers with a grid, one per tensor, in the order they run; one is the default."""
    calls = [call for call in _blocks(trace) if call.name]
    chosen = _default(trace, calls)
    return [_layer(call, chosen) for call in calls]


def default_layer(trace: Trace) -> str:
    """The name of the default layer.

    Raises:
        LayerError: no module has an output with a grid that later layers use.
    """
    for layer in candidates(trace):
        if layer.default:
            return layer.name
    raise LayerError(
        "No layer could be chosen for this network.",
        likely="Its blocks may be added up outside any module, later layers may work on tokens "
        "without a grid, or no layer may have more than one cell.",
        do="Name the layer with layer= (--layer); scorecam.layers(model, image) lists the layers.",
    )


def unknown_layer(name: str, module: nn.Module) -> LayerError:
    """The error for a layer name that does not exist."""
    names = [known for known, _ in module.named_modules() if known]
    return LayerError(
        f"The model has no layer called {quoted(name)}.",
        likely=did_you_mean(name, names),
        do="`scorecam layers` (or scorecam.layers) lists the layers that can be explained.",
    )


def _layer(call: Step, chosen: Step | None) -> Layer:
    channels = call.output.shape[1 if call.layout == "channels first" else -1]
    if call is chosen:
        why = "the last block with more than one cell"
    elif _is_pool(call):
        why = "a pool: blurred copies of the layer before"
    elif math.prod(call.grid) == 1:
        why = "one cell: nothing to locate"
    else:
        why = "an earlier block"
    return Layer(
        name=call.name,
        grid=call.grid,
        channels=channels,
        layout=call.layout,
        default=call is chosen,
        why=why,
    )


def _default(trace: Trace, calls: Sequence[Step]) -> Step | None:
    """The last call with several cells that is not a pool, or the block before a last sum."""
    candidates = [call for call in calls if math.prod(call.grid) > 1 and not _is_pool(call)]
    last = candidates[-1] if candidates else None
    if last is not None and trace.sums and trace.sums[-1].when > last.when:
        # No module returns the sum. Its other half is the output of a block that skipped ahead:
        # that block is the last whose output is all that later layers get.
        last = _skipped_ahead(trace, candidates)
    return None if last is None or _continues_in_tokens(last, trace) else last


def _skipped_ahead(trace: Trace, candidates: Sequence[Step]) -> Step | None:
    """The block whose output skipped ahead to the last sum; None if it is not a module's output."""
    total = trace.sums[-1]
    for call in candidates:
        output = id(call.output)
        skipped = any(
            output in later.inputs and call.when < later.when < total.when for later in trace.calls
        )
        if output in total.halves and skipped:
            return call
    return None


def _continues_in_tokens(call: Step, trace: Trace) -> bool:
    """Whether later modules work on `b tokens k`, as after the patches of a ViT."""
    if len(trace.image) == 1:
        return False  # the maps of a signal, `b k u`, have the same number of axes
    return any(
        later.when > call.when
        and later.output.ndim == 3
        and later.output.shape[1] > 1
        and any(True for _ in later.module.parameters())
        for later in trace.calls
    )


def _is_pool(call: Step) -> bool:
    return "pool" in type(call.module).__name__.lower()


def _blocks(trace: Trace) -> Iterator[Step]:
    """One call per tensor with a grid, under its usual name; outermost blocks only.

    Several modules may return the same tensor: a block and its last activation, or a convolution
    and the in-place ReLU after it. The last to finish represents the tensor, unless it contains the
    network's first layer and a block inside it does not: `features.18` rather than `features`.
    """
    calls = [call for call in trace.calls if call.grid]
    stem = trace.calls[0].name if trace.calls else ""
    groups: dict[int, list[Step]] = {}
    for call in calls:
        groups.setdefault(id(call.output), []).append(call)
    chosen = [_representative(group, stem) for group in groups.values()]
    blocks = [call for call in chosen if not _contains(call, stem) and _has_children(call)]
    for call in sorted(chosen, key=lambda call: call.when):
        inside = any(call.name.startswith(block.name + ".") for block in blocks)
        if not inside:
            yield call


def _representative(group: Sequence[Step], stem: str) -> Step:
    """The call that names a tensor."""
    pools = [call for call in group if _is_pool(call)]
    if pools:
        return pools[0]
    named = [call for call in group if call.name and not _returns_input(call)]
    chosen = (named or list(group))[-1]
    while _contains(chosen, stem):
        inner = [
            call
            for call in named
            if call.name.startswith(chosen.name + ".") and _has_children(call)
        ]
        if not inner:
            break
        chosen = inner[-1]
    return chosen


def _returns_input(call: Step) -> bool:
    """Whether it returns its input unchanged, as dropout does in evaluation mode."""
    same = id(call.output) in call.inputs and not _has_children(call)
    return same and not getattr(call.module, "inplace", False)


def _contains(call: Step, stem: str) -> bool:
    return stem == call.name or stem.startswith(call.name + ".")


def _has_children(call: Step) -> bool:
    return next(call.module.children(), None) is not None
