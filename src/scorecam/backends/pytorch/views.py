"""An evaluation view of a network: its modules once more, sharing its weights and nothing else.

What a pass changes is the view's own: the mode of every module, its hooks, buffers and plain
attributes. So other threads may train the network, call it and explain it meanwhile.
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
"""Where a module has the names of buffers that it does not save."""

_DICTS = (dict, OrderedDict, defaultdict)


class Strayed(Exception):
    """A pass of the view called a module of the network itself."""


class Views:
    """The views of one network that are not in use: they are kept for the next pass."""

    def __init__(self) -> None:
        self.checked = False
        self._free: list[_View] = []

    def __reduce__(self) -> tuple[type[Views], tuple[()]]:
        return Views, ()  # what is pickled or copied starts without any

    @contextlib.contextmanager
    def one(
        self, module: nn.Module, *, check: bool = False, detach: bool = False
    ) -> Generator[nn.Module]:
        """A view for one pass, as the network is now.

        Args:
            module: the network.
            check: whether to watch that the view calls no module of the network itself.
            detach: whether the view's parameters want no gradient.

        Raises:
            Strayed: it did call one, or there can be no view of this network.
        """
        view = self._free.pop() if self._free else _View()
        viewed = view.brought_up_to_date(module, detach=detach)
        try:
            with view.watched() if check else contextlib.nullcontext():
                yield viewed
        except KeyError as error:  # something kept outside the network for each of its modules
            if error.args and view.holds(error.args[0]):
                raise Strayed from error
            raise
        finally:
            view.settle()
        self.checked |= check
        self._free.append(view)

    @contextlib.contextmanager
    def building(self, module: nn.Module) -> Generator[nn.Module]:
        """A view for the pass that builds lazy layers; then the network's own are built as well."""
        view = _View()
        yield view.brought_up_to_date(module, detach=False)
        view.build()

    def kept(self, module: nn.Module) -> nn.Module:
        """A view that stays as it is: for what goes on using it."""
        return _View().brought_up_to_date(module, detach=False)


def parts(module: nn.Module) -> Iterator[nn.Module]:
    """A network's modules, as `modules()`; TorchScript is one module, whatever it holds."""
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
        self.met = False
        self._thread = threading.get_ident()

    def __call__(self, _module: nn.Module, _inputs: object) -> None:
        if threading.get_ident() == self._thread:
            self.met = True
            raise Strayed


@dataclass
class _Pair:
    """A module and its view, with the attributes of both as they were before the pass."""

    original: nn.Module
    view: nn.Module
    found: dict[str, Any]
    given: dict[str, Any]


class _View:
    """One view, which can be brought up to date again and again."""

    def __init__(self) -> None:
        self._pairs: dict[int, _Pair] = {}
        self._fresh: list[Tensor] = []

    def brought_up_to_date(self, module: nn.Module, *, detach: bool) -> nn.Module:
        pairs = [self._pair(child, detach=detach) for child in parts(module)]
        self._pairs = {id(pair.original): pair for pair in pairs}
        rewire = Rewiring()
        for pair in pairs:
            rewire.becomes(pair.original, pair.view)
        own = [pair for pair in pairs if pair.view is not pair.original and not _script(pair)]
        with torch.inference_mode(mode=False), torch.no_grad():
            self._fresh = [
                tensor for pair in own for tensor in _tensors_again(pair.found, rewire, detach)
            ]
        for pair in own:
            pair.given = {key: _attribute(value, rewire) for key, value in pair.found.items()}
            pair.given |= {"training": False, "_compiled_call_impl": None}
            # A network that shares modules with this one may be guarded: that is not the view's.
            hooks = pair.given["_forward_pre_hooks"]
            for key in [key for key, hook in hooks.items() if isinstance(hook, _Guard)]:
                del hooks[key]
            # Sets are shared, but this one belongs to the buffers.
            pair.given[NOT_SAVED] = set(pair.found[NOT_SAVED])
            if _compiled(pair.original):
                pair.given["forward"] = rewire(pair.found["_modules"]["_orig_mod"])
            vars(pair.view).clear()
            vars(pair.view).update(pair.given)
        return self._pairs[id(module)].view

    def _pair(self, child: nn.Module, *, detach: bool) -> _Pair:
        """The module and its view: the same one as before, where there was one."""
        if isinstance(child, torch.jit.ScriptModule):
            training = any(inner.training for inner in child.modules())
            wanted = detach and any(weight.requires_grad for weight in child.parameters())
            if not training and not wanted:
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

    def holds(self, thing: object) -> bool:
        return any(pair.view is thing for pair in self._pairs.values())

    @contextlib.contextmanager
    def watched(self) -> Generator[None]:
        """Stop this thread before it runs a module of the network itself.

        Raises:
            Strayed: it was about to.
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
            if guard.met:
                raise Strayed from error  # the network may have caught ours and raised its own
            raise
        finally:
            for handle in handles:
                handle.remove()
        if guard.met:
            raise Strayed

    def build(self) -> None:
        """Make of the network's lazy layers what the view's have become; weights are shared."""
        for pair in self._pairs.values():
            own, after = vars(pair.original), vars(pair.view)
            if type(pair.original) is not type(pair.view):
                for key in ("_initialize_hook", "_load_hook"):  # removed from both already
                    own.pop(key, None)
                sizes = {key: after[key] for key in own if key in after and _is_plain(after[key])}
                own.update(sizes | {"training": own["training"]})
                pair.original.__class__ = type(pair.view)

    def settle(self) -> None:
        """After a pass: what the network itself counts is kept, and lists hold ordinary tensors.

        Numbers and words that the network has set are kept, as after any call of it, unless the
        module has changed a tensor as well: they may belong together, as a cache and its length.
        """
        fresh = {id(tensor): tensor for tensor in self._fresh}
        for pair in self._pairs.values():
            after = vars(pair.view)
            counted = {
                key: after[key]
                for key, value in pair.given.items()
                if key in after and after[key] is not value and key != "training"
                if _is_plain(value) and _is_plain(after[key])
            }
            if counted and not _changed(pair, fresh):
                own = vars(pair.original)
                for key, value in counted.items():
                    if own.get(key) is pair.found[key]:  # no other call has set it meanwhile
                        own[key] = value
            for value in after.values():
                if type(value) is list:
                    make_ordinary(cast("list[Any]", value))


def make_ordinary(values: list[Any]) -> None:
    """Replace the inference tensors in a list: they would stop later training."""
    with torch.inference_mode(mode=False):
        for i, value in enumerate(values):
            if isinstance(value, Tensor) and value.is_inference():
                values[i] = value.clone()


def _script(pair: _Pair) -> bool:
    return isinstance(pair.original, torch.jit.ScriptModule)


def _compiled(module: nn.Module) -> bool:
    """Whether it is torch.compile's wrapper, whose `forward` runs the network it was made from."""
    kind = type(module)
    return kind.__name__ == "OptimizedModule" and kind.__module__.startswith("torch.")


def _blank(module: nn.Module) -> nn.Module:
    """An instance of the same class without any attribute.

    Raises:
        Strayed: its class keeps more than attributes.
    """
    kind = type(module)
    if any(vars(base).get("__slots__") for base in kind.__mro__):
        raise Strayed
    try:
        return object.__new__(kind)
    except TypeError as error:  # it inherits from a class written in C
        raise Strayed from error


def _tensors_again(found: dict[str, Any], rewire: Rewiring, detach: bool) -> Iterator[Tensor]:
    """The view's own tensors of one module: copies of all that are no parameters."""
    for value in found.values():
        if type(value) in INERT:
            continue
        entries = list(value.values()) if type(value) in _DICTS else (value,)
        for tensor in entries:
            if not isinstance(tensor, Tensor) or is_lazy(tensor) or rewire.knows(tensor):
                continue
            if isinstance(tensor, nn.Parameter):
                if detach:
                    own = nn.Parameter(tensor.detach(), requires_grad=False)
                    rewire.becomes(tensor, own)
                continue
            again = tensor.detach().clone()
            rewire.becomes(tensor, again)
            yield again


def _is_plain(value: Any) -> bool:
    """Whether it is a number, a word or None, or a tuple or set of these."""
    if type(value) in (tuple, set, frozenset, torch.Size):
        return all(type(item) in SCALARS for item in cast("tuple[Any, ...]", value))
    return type(value) in SCALARS


def _attribute(value: Any, rewire: Rewiring) -> Any:
    """What an attribute is in the view. Dicts are caches, and the view has its own."""
    kind = type(value)
    if kind in INERT:
        return value
    if kind in _DICTS and not value:  # most of a module's tables of hooks
        return value.copy()
    becomes = rewire(value)
    if becomes is value and kind in _DICTS:
        return cast("dict[Any, Any]", value).copy()
    return becomes


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

    before, after = tensors(pair.given), tensors(vars(pair.view))
    return before != after or any(
        key in fresh and fresh[key]._version > 0  # noqa: SLF001  (of a copy: 0 until it is written to)
        for key in after.values()
    )
