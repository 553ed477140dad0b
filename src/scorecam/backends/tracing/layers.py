"""The layers of a network that can be explained, and which of them is the default.

The default is the last block with a grid of more than one cell that every way from the masked image
to the scores passes through. It is never a pool, whose cells are blurred copies, never a part of
the network that the scores don't need, and never the output itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

from scorecam.backends.tracing.deepest import deepest
from scorecam.backends.tracing.levels import level
from scorecam.backends.tracing.maps import Layout
from scorecam.backends.tracing.path import moved_from
from scorecam.backends.tracing.steps import Step
from scorecam.backends.tracing.trace import Place, Trace
from scorecam.backends.tracing.uses import Need
from scorecam.base.wording import quoted
from scorecam.errors import LayerError
from scorecam.model.model import Layer
from scorecam.model.task_columns import DefaultGrid

# ── candidates and the default ───────────────────────────────────────────────────────────────────


_LISTED: WeakKeyDictionary[Trace, list[Layer]] = WeakKeyDictionary()


def candidates(trace: Trace) -> list[Layer]:
    """The layers with a grid, one per tensor, in the order they run; one is the default."""
    if trace not in _LISTED:
        _LISTED[trace] = _found(trace)
    return list(_LISTED[trace])


def _found(trace: Trace) -> list[Layer]:
    steps = [step for step in _blocks(trace) if step.name]
    chosen = _default(trace, steps)
    if trace.dense and not _shrinks(trace, steps, chosen):
        steps = [step for step in _blocks(trace, nested=True) if step.name]
        chosen = _default(trace, steps)
    return [
        Layer(
            name=trace.label(step),
            grid=layout.grid,
            channels=layout.channels,
            layout=layout.name,
            default=step is chosen,
            why=_why_default(trace, step) if step is chosen else _why_not(trace, step, layout),
            on_path=trace.need(step) is not Need.NOTHING,
        )
        for step in steps
        if (layout := trace.layout(step)) is not None
    ]


def default_layer(trace: Trace, grid: DefaultGrid | None = None) -> str:
    """The name of the default layer.

    Args:
        grid: where a task wants it; see `TaskColumns`.

    Raises:
        LayerError: no layer has maps of the image that the scores depend on.
    """
    name = (layer_on(trace, grid) if grid else None) or default_name(trace)
    if name is None and not trace.followed and not trace.steps[:-1]:
        raise LayerError(
            "No layer could be found: the network computes outside PyTorch's own operations.",
            likely="It was compiled or optimised, as by torch.jit.optimize_for_inference or "
            "TensorRT.",
            do="Pass the network as it was before. rise and occlusion need no layer.",
        )
    if name is None:
        raise LayerError(
            "No layer could be chosen for this network: none that the scores depend on has a grid "
            "of positions in the image.",
            likely="It may flatten or pool the image before its first layer, mix positions in a "
            "way that cannot be followed, or add up its blocks outside any module.",
            do="Name the layer with layer= (--layer), and say how its output holds maps with "
            "open_model(net, layout=...) or reshape=...; scorecam.layers(model, image) lists the "
            "layers. rise and occlusion need no layer.",
        )
    return name


def default_name(trace: Trace) -> str | None:
    """The name of the default layer; None if no layer is suitable."""
    return next((layer.name for layer in candidates(trace) if layer.default), None)


def layer_on(trace: Trace, grid: DefaultGrid) -> str | None:
    """The name of the layer that has the grid that a task wants; None if there is none."""
    if grid == "deepest":
        step = deepest(
            trace, [step for step in _blocks(trace) if step.name and _suits(trace, step)]
        )
    else:
        every = [step for step in trace.steps if step.name and _suits(trace, step)]
        step = level(trace, every, grid)
    return None if step is None else trace.label(step)


def _why_default(trace: Trace, step: Step) -> str:
    if trace.dense:
        return "the deepest grid before any is enlarged, as the network answers for many positions"
    if trace.on_every_path(step):
        return "the last block that every path from the image to the scores passes through"
    return "the last block on a path to the scores; other paths lead around every block"


def _why_not(trace: Trace, step: Step, layout: Layout) -> str:
    reasons = {
        "not on the path from the image to the scores": trace.need(step) is Need.NOTHING,
        "a pool: blurred copies of the layer before": step.is_pool,
        "one cell: nothing to locate": math.prod(layout.grid) == 1,
        "its positions are not used afterwards, only its other tokens": trace.need(step)
        is Need.EXTRAS,
        "keys and values of attention": trace.only_attended(step),
        "the output itself": step.node in trace.path.outputs,
        "other paths to the scores lead around it": not trace.on_every_path(step),
    }
    return next((reason for reason, holds in reasons.items() if holds), "an earlier block")


def _default(trace: Trace, steps: Sequence[Step]) -> Step | None:
    """The last block that all paths pass through; without any, the last on some path."""
    suitable = [step for step in steps if _suits(trace, step)]
    if trace.dense and (found := deepest(trace, suitable)) is not None:
        return found
    on_every_path = [step for step in suitable if trace.on_every_path(step)]
    forwards = [step for step in suitable if not _flipped(trace, step)]
    located = [step for step in on_every_path if _locates(trace, step)]
    return next(reversed(located or on_every_path or forwards or suitable), None)


def _locates(trace: Trace, step: Step) -> bool:
    """Whether it has cells along all axes of the image but one: a sequence of frames has none."""
    layout = trace.layout(step)
    return layout is not None and sum(size > 1 for size in layout.grid) >= len(layout.grid) - 1


def _suits(trace: Trace, step: Step) -> bool:
    layout = trace.layout(step)
    return (
        layout is not None
        and math.prod(layout.grid) > 1
        and layout.channels > 1  # a single map is a gate
        and trace.need(step) is Need.ALL
        and step.node not in trace.path.outputs
        and not step.is_pool
        and not trace.only_attended(step)
    )


def _flipped(trace: Trace, step: Step) -> bool:
    layout = trace.layout(step)
    return layout is not None and bool(layout.flipped)


def _shrinks(trace: Trace, steps: Sequence[Step], chosen: Step | None) -> bool:
    """Whether a layer has a coarser grid than the first: in nested U-Nets, only inner layers do."""
    first = next((step for step in steps if _suits(trace, step)), None)
    return first is None or chosen is None or _cells(trace, chosen) < _cells(trace, first)


def _cells(trace: Trace, step: Step) -> int:
    layout = trace.layout(step)
    return 0 if layout is None else math.prod(layout.grid)


def _blocks(trace: Trace, *, nested: bool = False) -> Iterator[Step]:
    """One step per tensor with a grid, under its usual name; outermost blocks only.

    With `nested`, also the blocks in those that return a finer grid than one of theirs.

    Several modules may return the same tensor: a block and its last activation, or a module that
    only moves axes. The last to finish represents the tensor, unless it contains the network's
    first layer and a block inside it does not: `features.18` rather than `features`.
    """
    stem = trace.steps[0].name if trace.steps else ""
    groups: dict[object, list[Step]] = {}
    for step in trace.steps:
        if trace.layout(step) is not None:
            tensor = moved_from(trace.record.nodes, step.node) if step.node else step
            groups.setdefault(tensor, []).append(step)
    chosen = [_representative(group, stem) for group in groups.values()]
    suitable = [step for step in chosen if _suits(trace, step)]
    blocks = [
        step
        for step in chosen
        if step.has_children
        and not step.contains(stem)
        and (step in suitable or not any(step.contains(inner.name) for inner in suitable))
        and not (nested and _shrinks_inside(trace, step, suitable))
    ]
    order = {id(step): i for i, step in enumerate(trace.steps)}
    for step in sorted(chosen, key=lambda step: order[id(step)]):
        if not any(step.name.startswith(block.name + ".") for block in blocks):
            yield step


def _shrinks_inside(trace: Trace, block: Step, steps: Sequence[Step]) -> bool:
    """Whether a block returns a finer grid than one of its parts."""
    inside = [step for step in steps if step.name.startswith(f"{block.name}.")]
    return any(_cells(trace, step) < _cells(trace, block) for step in inside)


def _representative(group: Sequence[Step], stem: str) -> Step:
    """The step that names a tensor."""
    pools = [step for step in group if step.is_pool]
    if pools:
        return pools[0]
    named = [step for step in group if step.name and (step.has_children or not step.returns_input)]
    chosen = (named or list(group))[-1]
    while chosen.contains(stem):
        inner = [
            step for step in named if step.name.startswith(chosen.name + ".") and step.has_children
        ]
        if not inner:
            break
        chosen = inner[-1]
    return chosen


# ── a layer by name ──────────────────────────────────────────────────────────────────────────────


def place_of(trace: Trace, layer: str) -> Place | None:
    """Where a layer's maps are; None if it did not run.

    Args:
        trace: of the network.
        layer: a module's name, perhaps with `#` and the number of the call. Without it, the last
            call is meant that lies on the path.
    """
    if layer not in trace.places:
        trace.places[layer] = _place(trace, layer)
    return trace.places[layer]


def _place(trace: Trace, layer: str) -> Place | None:
    name, _, number = layer.rpartition("#")
    steps = [step for step in trace.steps if step.name == layer]
    if not steps and name and number.isdigit():
        steps = [s for s in trace.steps if s.name == name and s.call == int(number)]
    if not steps:
        return None
    step = max(enumerate(steps), key=lambda pair: (*_rank(trace, pair[1]), pair[0]))[1]
    label = trace.label(step)
    return Place(
        label=label,
        name=step.name,
        calls=tuple(part.call for part in step.parts),
        tensor=step.place,
        layout=trace.layout(step),
        follows_image=step.node is not None or not trace.followed,
        remark=_remark(trace, step, label),
        operation=step.operation,
        entry=trace.entry(step),
    )


def _rank(trace: Trace, step: Step) -> tuple[bool, bool, Need, bool, int]:
    """Steps of the same module in order of preference: on the path, with maps, and the first."""
    return (
        trace.layout(step) is not None,
        trace.on_every_path(step),
        trace.need(step),
        not _flipped(trace, step),
        -step.place,
    )


def _remark(trace: Trace, step: Step, label: str) -> str:
    if not trace.followed:
        return (
            "It could not be followed how the scores depend on the image (the network may use "
            f"numpy): the layer {quoted(label)} is taken to have its channels first, and to lie on "
            "the path."
        )
    if trace.need(step) is Need.NOTHING:
        return (
            f"The scores do not depend on the layer {quoted(label)}: its maps only make the masks."
        )
    if not trace.on_every_path(step) and not trace.dense and label == default_name(trace):
        return (
            f"No block lies on every path from the image to the scores: the layer {quoted(label)} "
            "is the last on one of them, and the map shows only what passes through it."
        )
    if trace.need(step) is Need.EXTRAS:
        return (
            f"The positions in the layer {quoted(label)} are not used afterwards, only its other "
            "tokens."
        )
    return ""
