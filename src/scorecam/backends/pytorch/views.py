"""An evaluation view of a network: a second set of modules that shares only the weights.

What a pass changes belongs to the view: the mode of every module, its hooks, buffers and plain
attributes. So other threads may train, call and explain the network meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from scorecam.backends.copies import copied
from scorecam.backends.pytorch.rewiring import INERT, SCALARS, Rewiring

NOT_SAVED = "_non_persistent_buffers_set"
"""The attribute with the names of buffers that a module does not save."""

_DICTS = (dict, OrderedDict, defaultdict)


class Strayed(Exception):
    """A pass of the view called a module of the network itself."""


class Views:
    """The views of one network that are not in use, kept for the next passes.

    Threads share it. Each pass takes a view out of the list, and puts it back when it is done.
    """

    def __init__(self) -> None:
        self.checked = False
        self._free: list[_View] = []

    def __reduce__(self) -> tuple[type[Views], tuple[()]]:
        return Views, ()  # a pickled or copied object starts without views

    @contextlib.contextmanager
    def one(
        self, module: nn.Module, *, check: bool = False, detach: bool = False
    ) -> Generator[nn.Module]:
        """A view of the network in its present state, for one pass.

        Args:
            module: the network.
            check: whether to watch that the view calls no module of the network itself.
            detach: whether the view's parameters need no gradient.

        Raises:
            Strayed: it did call one, or this network cannot have a view.
        """
        view = self._free.pop() if self._free else _View()
        viewed = view.brought_up_to_date(module, detach=detach)
        try:
            with view.watched() if check else contextlib.nullcontext():
                yield viewed
        except KeyError as error:  # a dict outside the network uses its modules as keys
            if error.args and view.holds(error.args[0]):
                raise Strayed from error
            raise
        finally:
            view.settle()
        self.checked |= check
        self._free.append(view)

    @contextlib.contextmanager
    def building(self, module: nn.Module) -> Generator[nn.Module]:
        """A view for the pass that builds lazy layers, those of the network included."""
        view = _View()
        yield view.brought_up_to_date(module, detach=False)
        view.build()

    def kept(self, module: nn.Module) -> nn.Module:
        """A view that is not put back, for use after this call."""
        return _View().brought_up_to_date(module, detach=False)


def parts(module: nn.Module) -> Iterator[nn.Module]:
    """A network's modules, as from `modules()`; but TorchScript counts as one module."""
    seen: set[int] = set()
    ahead = [module]
    while ahead:
        child = ahead.pop()
        if id(child) not in seen:
            seen.add(id(child))
            yield child
            if not isinstance(child, torch.jit.ScriptModule):
                ahead += [inner for inner in vars(child)["_modules"].values() if inner is not None]


class _Guard:
    """A hook that stops one thread before it runs a module."""

    def __init__(self) -> None:
        self.triggered = False
        self._thread = threading.get_ident()

    def __call__(self, _module: nn.Module, _inputs: object) -> None:
        if threading.get_ident() == self._thread:
            self.triggered = True
            raise Strayed


@dataclass
class _Pair:
    """A module and its view, with the attributes of both before the pass."""

    original: nn.Module
    view: nn.Module
    original_attributes: dict[str, Any]
    view_attributes: dict[str, Any]


class _View:
    """One view, which is brought up to date before each use."""

    def __init__(self) -> None:
        self._pairs: dict[int, _Pair] = {}
        self._fresh: list[Tensor] = []

    def brought_up_to_date(self, module: nn.Module, *, detach: bool) -> nn.Module:
        pairs = [self._pair(child, detach=detach) for child in parts(module)]
        self._pairs = {id(pair.original): pair for pair in pairs}
        rewire = Rewiring()
        for pair in pairs:
            rewire.replace(pair.original, pair.view)
        own = [pair for pair in pairs if pair.view is not pair.original and not _script(pair)]
        with torch.inference_mode(mode=False), torch.no_grad():
            self._fresh = [
                tensor
                for pair in own
                for tensor in _copied_tensors(pair.original_attributes, rewire, detach)
            ]
        for pair in own:
            pair.view_attributes = {
                key: _attribute(value, rewire) for key, value in pair.original_attributes.items()
            }
            pair.view_attributes |= {"training": False, "_compiled_call_impl": None}
            # The view does not get guards of other networks that share modules with this one.
            hooks = pair.view_attributes["_forward_pre_hooks"]
            for key in [key for key, hook in hooks.items() if isinstance(hook, _Guard)]:
                del hooks[key]
            # Other sets are shared, but this one belongs to the buffers.
            pair.view_attributes[NOT_SAVED] = set(pair.original_attributes[NOT_SAVED])
            if _compiled(pair.original):
                pair.view_attributes["forward"] = rewire(
                    pair.original_attributes["_modules"]["_orig_mod"]
                )
            vars(pair.view).clear()
            vars(pair.view).update(pair.view_attributes)
        return self._pairs[id(module)].view

    def _pair(self, child: nn.Module, *, detach: bool) -> _Pair:
        """The module and its view; the view of the last use is used again."""
        if isinstance(child, torch.jit.ScriptModule):
            training = any(getattr(inner, "training", False) for inner in child.modules())
            has_gradients = detach and any(weight.requires_grad for weight in child.parameters())
            if not training and not has_gradients:
                return _Pair(child, child, {}, {})
            own = copied(child).eval()
            for weight in own.parameters():
                weight.requires_grad_(False)  # noqa: FBT003
            return _Pair(child, own, {}, {})
        before = self._pairs.get(id(child))
        if before and before.original is child and type(before.view) is type(child):
            view = before.view
        else:
            view = _blank(child)
        return _Pair(child, view, dict(vars(child)), {})

    def holds(self, module: object) -> bool:
        return any(pair.view is module for pair in self._pairs.values())

    @contextlib.contextmanager
    def watched(self) -> Generator[None]:
        """Stop this thread before it runs a module of the network itself.

        Raises:
            Strayed: it was about to run one.
        """
        guard = _Guard()
        handles = [
            pair.original.register_forward_pre_hook(guard)
            for pair in self._pairs.values()
            if pair.view is not pair.original and not _script(pair)
        ]
        try:
            yield
        except Exception as error:
            if guard.triggered:
                raise Strayed from error  # the network may have replaced our exception
            raise
        finally:
            for handle in handles:
                handle.remove()
        if guard.triggered:
            raise Strayed

    def build(self) -> None:
        """Turn the network's lazy layers into those that the view has built; they share weights."""
        for pair in self._pairs.values():
            own, after = vars(pair.original), vars(pair.view)
            if type(pair.original) is not type(pair.view):
                for key in ("_initialize_hook", "_load_hook"):  # removed from both already
                    own.pop(key, None)
                sizes = {key: after[key] for key in own if key in after and _is_plain(after[key])}
                own.update(sizes | {"training": own["training"]})
                pair.original.__class__ = type(pair.view)

    def settle(self) -> None:
        """After a pass, copy the network's own counters back, and make tensors in lists ordinary.

        Numbers and strings that the network has set are kept, as after any call, unless the module
        has changed a tensor as well: they may belong together, like a cache and its length.
        """
        fresh = {id(tensor): tensor for tensor in self._fresh}
        for pair in self._pairs.values():
            after = vars(pair.view)
            plain = {
                key: after[key]
                for key, value in pair.view_attributes.items()
                if key in after and after[key] is not value and key != "training"
                if _is_plain(value) and _is_plain(after[key])
            }
            if plain and not _changed(pair, fresh):
                own = vars(pair.original)
                for key, value in plain.items():
                    # Otherwise another call has set it meanwhile.
                    if own.get(key) is pair.original_attributes[key]:
                        own[key] = value
            for value in after.values():
                if type(value) is list:
                    make_ordinary(cast("list[Any]", value))


def make_ordinary(values: list[Any]) -> None:
    """Replace inference tensors in a list by ordinary ones: they would prevent later training."""
    with torch.inference_mode(mode=False):
        for i, value in enumerate(values):
            if isinstance(value, Tensor) and value.is_inference():
                values[i] = value.clone()


def _script(pair: _Pair) -> bool:
    return isinstance(pair.original, torch.jit.ScriptModule)


def _compiled(module: nn.Module) -> bool:
    """Whether it is the wrapper of torch.compile, whose `forward` runs the original network."""
    kind = type(module)
    return kind.__name__ == "OptimizedModule" and kind.__module__.startswith("torch.")


def _blank(module: nn.Module) -> nn.Module:
    """An instance of the same class without attributes.

    Raises:
        Strayed: its instances have state outside `__dict__`.
    """
    kind = type(module)
    if any(vars(base).get("__slots__") for base in kind.__mro__):
        raise Strayed
    try:
        return object.__new__(kind)
    except TypeError as error:  # it inherits from a class written in C
        raise Strayed from error


def _copied_tensors(
    original_attributes: dict[str, Any], rewire: Rewiring, detach: bool
) -> Iterator[Tensor]:
    """The view's own tensors of one module: copies of all that are not parameters."""
    for value in original_attributes.values():
        if type(value) in INERT:
            continue
        entries = list(value.values()) if type(value) in _DICTS else (value,)
        for tensor in entries:
            if not isinstance(tensor, Tensor) or is_lazy(tensor) or rewire.knows(tensor):
                continue
            if isinstance(tensor, nn.Parameter):
                if detach:
                    own = nn.Parameter(tensor.detach(), requires_grad=False)
                    rewire.replace(tensor, own)
                continue
            copy = tensor.detach().clone()
            rewire.replace(tensor, copy)
            yield copy


def _is_plain(value: Any) -> bool:
    """Whether it is a number, a string or None, or a tuple or set of these."""
    if type(value) in (tuple, set, frozenset, torch.Size):
        return all(type(item) in SCALARS for item in cast("tuple[Any, ...]", value))
    return type(value) in SCALARS


def _attribute(value: Any, rewire: Rewiring) -> Any:
    """The view's attribute for one of the module. Dicts may be caches, so the view has its own."""
    kind = type(value)
    if kind in INERT:
        return value
    if kind in _DICTS and not value:  # most of a module's tables of hooks
        return value.copy()
    rewired = rewire(value)
    if rewired is value and kind in _DICTS:
        return cast("dict[Any, Any]", value).copy()
    return rewired


def _changed(pair: _Pair, fresh: dict[int, Tensor]) -> bool:
    """Whether a pass has changed, replaced or added a tensor of a module."""

    def tensors(state: dict[str, Any]) -> dict[object, int]:
        flat: dict[object, int] = {}
        for key, value in state.items():
            if isinstance(value, Tensor):
                flat[key] = id(value)
            elif type(value) in _DICTS:
                inner = cast("dict[Any, Any]", value).items()
                flat |= {(key, k): id(v) for k, v in inner if isinstance(v, Tensor)}
        return flat

    before, after = tensors(pair.view_attributes), tensors(vars(pair.view))
    return before != after or any(
        key in fresh and fresh[key]._version > 0  # noqa: SLF001  (0 until the copy is written to)
        for key in after.values()
    )
