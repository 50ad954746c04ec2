"""torsh.compile: a function captured once for each kind of call, and replayed as one node."""
from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from torsh.autograd import engine
from torsh.autograd.grad_mode import state
from torsh.autograd.graph import record, requires_grad
from torsh.capture.graph import Captured, GraphBreak, leaves_of, placeholder
from torsh.capture.guards import _PLAIN, Surroundings
from torsh.core import config
from torsh.core.dtypes import from_numpy
from torsh.core.shapes import Shape
from torsh.func.trees import Structure, flatten, unflatten
from torsh.graph.node import Node
from torsh.graph.primitives import reshape
from torsh.nn.module import Module
from torsh.ops import random
from torsh.tensor.storage import Storage
from torsh.tensor.tensor import Tensor, alias, wrap

_MOST_VARIANTS = 64


def _log(text: str) -> None:
    if "recompiles" in config.LOG:
        print(f"torsh.compile: {text}", file=sys.stderr)


def _kind(x: Any, storages: dict[int, int]) -> Any:
    """What of an argument decides how the function runs."""
    if isinstance(x, Tensor):
        s = x._storage
        return (type(x), x._shape, x._strides, x._offset, x._dtype, requires_grad(x), s.node.numel, s.node.dtype, storages.setdefault(id(s), len(storages)))
    return (type(x), x) if isinstance(x, _PLAIN) else (type(x), id(x))


class _Output:
    """How one result is made: of a new storage, of an input's, an argument itself, or a Python value."""

    def __init__(self, storage: int, shape: Shape, strides: Shape | None, offset: int, dtype: Any, argument: int, value: Any) -> None:
        self.storage, self.shape, self.strides, self.offset, self.dtype = storage, shape, strides, offset, dtype
        self.argument = argument
        self.value = value


class Variant:
    """A function captured for one kind of call."""

    def __init__(self, function: Callable[..., Any], leaves: list[Any], structure: Structure, name: str) -> None:
        self.surroundings = Surroundings(function)
        if self.surroundings.hooked():
            raise GraphBreak("a module has hooks")
        self.recording = state.enabled
        arguments = [x for x in leaves if isinstance(x, Tensor)]
        self.tensors = self.surroundings.tensors
        storages: dict[int, int] = {}
        actual: list[Storage] = []
        for t in (*arguments, *self.tensors):
            if t._base is not None and requires_grad(t):
                raise GraphBreak("a view that requires grad is read")
            if id(t._storage) not in storages:
                storages[id(t._storage)] = len(actual)
                actual.append(t._storage)
        self.geometry = [(t._shape, t._strides, t._offset, t._dtype, requires_grad(t)) for t in self.tensors]
        self.places = [storages[id(t._storage)] for t in arguments]
        self.own = [(k, storages[id(t._storage)]) for k, t in enumerate(self.tensors)]
        inputs = [placeholder(s.node.shape, s.node.dtype) for s in actual]
        self.shapes = [n.shape for n in inputs]
        self.draws: list[tuple[Shape, Callable[..., Any]]] = []
        self._capture(function, leaves, structure, arguments, actual, inputs, name)

    def _capture(self, function: Callable[..., Any], leaves: list[Any], structure: Structure, arguments: list[Tensor], actual: list[Storage],
                 inputs: list[Node], name: str) -> None:
        drawn: list[Node] = []

        def draw(shape: Shape, how: Callable[..., Any], parameters: tuple[Tensor, ...]) -> Tensor:
            if parameters:
                raise GraphBreak("random numbers are drawn by tensors of parameters")
            self.draws.append((shape, how))
            generator = random.default_generator().engine
            before = generator.get_state()
            made = wrap(placeholder(shape, from_numpy(how(shape).dtype)))  # drawn for the type alone
            generator.set_state(before)
            drawn.append(made._storage.node)
            return made
        stand_ins = [Storage(n) for n in inputs]
        traced: list[Tensor] = []
        for t, place in zip(arguments, self.places, strict=True):
            stand_in = alias(t, t._shape, t._strides, t._offset)
            stand_in._storage = stand_ins[place]
            stand_in._requires_grad = requires_grad(t)
            traced.append(stand_in)
        before = [t._storage for t in self.tensors]
        previous = random.mapped.draw
        random.mapped.draw = draw
        try:
            for t, (_, place) in zip(self.tensors, self.own, strict=True):
                t._storage = stand_ins[place]
            feed = iter(traced)
            args, kwargs = unflatten([next(feed) if isinstance(x, Tensor) else x for x in leaves], structure)
            results, self.structure = flatten(function(*args, **kwargs))
            self._finish(results, traced, stand_ins, inputs, drawn, name)
        finally:
            random.mapped.draw = previous
            for t, own in zip(self.tensors, before, strict=True):
                t._storage = own

    def _finish(self, results: list[Any], traced: list[Tensor], stand_ins: list[Storage], inputs: list[Node], drawn: list[Node], name: str) -> None:
        """From what the function gave to how it is given again."""
        known = {id(s): i for i, s in enumerate(stand_ins)}
        written = [i for i, (s, n) in enumerate(zip(stand_ins, inputs, strict=True)) if s.node is not n]
        sources = [*traced, *self.tensors]
        self.differentiable = [k for k, t in enumerate(sources) if t._requires_grad] if self.recording else []
        if any(sources[k]._storage is stand_ins[i] for k in self.differentiable for i in written):
            raise GraphBreak("a tensor that requires grad is written in place")
        nodes: list[Node] = [stand_ins[i].node for i in written]
        fresh: dict[int, int] = {}
        self.outputs: list[_Output] = []
        tracked: list[tuple[int, Tensor]] = []
        for r in results:
            if not isinstance(r, Tensor):
                self.outputs.append(_Output(-1, (), None, 0, None, -1, r))
                continue
            argument = next((k for k, t in enumerate(sources) if t is r), -1)
            key = id(r._storage)
            if argument < 0 and self.recording and requires_grad(r):
                if key in known:
                    raise GraphBreak("a view of an input that requires grad is returned")
                if key in fresh:
                    raise GraphBreak("two results that require grad share memory")
                tracked.append((len(self.outputs), r))
            if key not in known and key not in fresh:
                fresh[key] = len(nodes)
                nodes.append(r._storage.node)
            place = -2 - known[key] if key in known else fresh[key]
            self.outputs.append(_Output(place, r._shape, r._strides, r._offset, r._dtype, argument, None))
        self.written = written
        self.tracked = [i for i, _ in tracked]
        self.captured = Captured(name, [*inputs, *drawn], nodes)
        if tracked:
            self._differentiate([r for _, r in tracked], [sources[k] for k in self.differentiable])
        self._constants()

    def _differentiate(self, results: list[Tensor], sources: list[Tensor]) -> None:
        captured = self.captured
        captured.arriving = [placeholder(r._shape, r._dtype) for r in results]
        captured.wanted = list(range(len(results)))
        enabled, state.enabled = state.enabled, False
        try:
            found = engine.grad(results, sources, [wrap(n) for n in captured.arriving], False, False, True, _no_ones)
        finally:
            state.enabled = enabled
        captured.grads = [None if g is None else g._node() for g in found]
        captured.grad_metas = tuple([(g.shape, g.dtype) for g in captured.grads if g is not None])

    def _constants(self) -> None:
        """Tensors that the function made from data are inputs too, always the same; others with memory are somebody's, and unknown here."""
        captured = self.captured
        self.constants = leaves_of([*captured.outputs, *[g for g in captured.grads if g is not None]])
        captured.inputs = [*captured.inputs, *self.constants]

    # ---- replay

    def fits(self) -> bool:
        """Whether what the function read besides its arguments is as it was."""
        if not self.surroundings.same():
            return False
        for t, (shape, strides, offset, dtype, grad) in zip(self.tensors, self.geometry, strict=True):
            if t._shape != shape or t._strides != strides or t._offset != offset or t._dtype is not dtype or t._requires_grad is not grad:
                return False
        return True

    def run(self, arguments: list[Tensor]) -> Any:
        storages: list[Storage | None] = [None] * len(self.shapes)
        for t, place in zip(arguments, self.places, strict=True):
            storages[place] = t._storage
        for k, place in self.own:
            storages[place] = self.tensors[k]._storage
        sources: list[Node] = []
        for storage, shape in zip(storages, self.shapes, strict=True):
            assert storage is not None
            node = storage.snapshot()
            sources.append(node if node.shape == shape else reshape(node, shape))
        for shape, how in self.draws:
            sources.append(random.drawn(shape, how)._node())
        sources.extend(self.constants)
        made = self.captured.call(sources)
        for i, node in zip(self.written, made):
            storage = storages[i]
            assert storage is not None
            storage.write(node)
        fresh: dict[int, Storage] = {}
        results = [self._result(o, arguments, storages, made, fresh) for o in self.outputs]
        if self.tracked and state.enabled:
            everything = [*arguments, *self.tensors]
            record(self.captured.history, tuple(sources), tuple([everything[k] for k in self.differentiable]), tuple([results[i] for i in self.tracked]))
        return unflatten(results, self.structure)

    def _result(self, o: _Output, arguments: list[Tensor], storages: list[Storage | None], made: tuple[Node, ...], fresh: dict[int, Storage]) -> Any:
        if o.dtype is None:
            return o.value
        if o.argument >= 0:
            return arguments[o.argument] if o.argument < len(arguments) else self.tensors[o.argument - len(arguments)]
        if o.storage <= -2:
            storage = storages[-2 - o.storage]
            assert storage is not None
        else:
            if o.storage not in fresh:
                fresh[o.storage] = Storage(made[o.storage])
            storage = fresh[o.storage]
        out = Tensor(storage, o.shape, o.dtype)
        out._strides, out._offset = o.strides, o.offset
        return out


def _no_ones(t: Tensor) -> Tensor:
    raise AssertionError("every result has its gradient given")


class Compiled:
    """A compiled function: see `compile`."""

    def __init__(self, function: Callable[..., Any], fullgraph: bool) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._fullgraph = fullgraph
        self._variants: dict[Any, list[Variant | None]] = {}
        self._name = getattr(function, "__qualname__", type(function).__name__)
        self._broken: str | None = None

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._broken is not None:
            return self._function(*args, **kwargs)
        leaves, structure = flatten((args, kwargs))
        storages: dict[int, int] = {}
        key = (structure, state.enabled, state.inference, tuple([_kind(x, storages) for x in leaves]))
        for variant in self._variants.get(key, ()):
            if variant is not None and variant.fits():
                return variant.run([x for x in leaves if isinstance(x, Tensor)])
        return self._first(key, leaves, structure, args, kwargs)

    def _first(self, key: Any, leaves: list[Any], structure: Structure, args: Any, kwargs: Any) -> Any:
        """Capture for a kind of call that is new, or whose surroundings changed."""
        count = sum(len(v) for v in self._variants.values())
        if count:
            why = "what it reads besides its arguments changed" if key in self._variants else "arguments of another kind"
            _log(f"{self._name}: capturing again ({why}), variant {count + 1}")
        if count >= _MOST_VARIANTS:
            _log(f"{self._name}: more than {_MOST_VARIANTS} variants; it runs without torsh.compile from now on")
            self._broken = "too many variants"
            return self._function(*args, **kwargs)
        try:
            variant = Variant(self._function, leaves, structure, self._name)
        except GraphBreak as stop:
            if self._fullgraph:
                raise GraphBreak(f"torsh.compile(fullgraph=True): {self._name} cannot be captured whole: {stop}") from None
            _log(f"{self._name}: not captured: {stop}; it runs without torsh.compile from now on")
            self._broken = str(stop)
            return self._function(*args, **kwargs)
        self._variants.setdefault(key, []).insert(0, variant)
        return variant.run([x for x in leaves if isinstance(x, Tensor)])


class CompiledModule(Module):
    """A module whose call is compiled; everything else is the module's own (`_orig_mod`)."""

    def __init__(self, module: Module, fullgraph: bool) -> None:
        super().__init__()
        self._orig_mod = module
        self.__dict__["_compiled"] = Compiled(module, fullgraph)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__["_compiled"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)


def compile(model: Any = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = None, mode: str | None = None,
            options: Any = None, disable: bool = False) -> Any:
    """A function or module that runs its Python code once for each kind of call and replays what it recorded.

    Kinds differ by shapes, strides, dtypes and aliasing of tensor arguments, by other arguments' values, by the grad mode, and by what the
    function read besides: training flags and other plain attributes of modules, closures, globals. In-place writes and random numbers happen
    anew in each replay. A function that needs a tensor's value while it runs is left as it is, or refused with `fullgraph` (GraphBreak).
    `dynamic`, `mode`, `backend` and `options` are accepted: kernels take sizes as arguments anyway. TORSH_LOG=recompiles tells of new variants.

    >>> import torsh
    >>> f = torsh.compile(lambda x: (x * 2).relu())
    >>> f(torsh.tensor([-1.0, 3.0]))
    tensor([0., 6.])
    """
    if model is None:
        return lambda m: compile(m, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options, disable=disable)
    if disable:
        return model
    if not callable(model):
        raise TypeError(f"torsh.compile: expected a function or a module, got {type(model).__name__}")
    return CompiledModule(model, fullgraph) if isinstance(model, Module) else Compiled(model, fullgraph)
