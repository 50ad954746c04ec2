"""A function captured for one kind of call, and its replay."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from torsh.autograd import engine
from torsh.autograd.autocast import lower_type
from torsh.autograd.entered import entered
from torsh.autograd.grad_mode import state
from torsh.autograd.graph import record, requires_grad
from torsh.capture.graph import Captured, GraphBreak, leaves_of, placeholder
from torsh.capture.guards import PLAIN, Surroundings, equal
from torsh.core.dtypes import from_numpy
from torsh.core.shapes import Shape
from torsh.func.trees import LEAF, Structure, flatten, unflatten
from torsh.graph.node import Node
from torsh.graph.primitives import reshape
from torsh.ops import random
from torsh.ops.generators import engine_of
from torsh.tensor.storage import Storage
from torsh.tensor.tensor import Tensor, alias, wrap


def kind_of(x: Any, storages: dict[int, int]) -> Any:
    """What of an argument decides how the function runs."""
    if isinstance(x, Tensor):
        s = x._storage
        return (type(x), x._shape, x._strides, x._offset, x._dtype, requires_grad(x), s.node.numel, s.node.dtype, storages.setdefault(id(s), len(storages)))
    return (type(x), x, str(x) if x == 0 else None) if isinstance(x, PLAIN) else (type(x), id(x))  # -0.0 == 0.0


@final
class _Expected:
    """What a tensor was when the function was captured. `like` is the first tensor of the call that had the same storage."""
    __slots__ = ("type", "shape", "strides", "offset", "dtype", "grad", "stored_shape", "stored_dtype", "like")

    type: Any
    shape: Any
    strides: Any
    offset: int
    dtype: Any
    grad: bool
    stored_shape: Any
    stored_dtype: Any
    like: int

    def __init__(self, t: Tensor, like: int) -> None:
        self.type = type(t)
        self.shape, self.strides, self.offset, self.dtype, self.grad = t._shape, t._strides, t._offset, t._dtype, requires_grad(t)
        self.stored_shape, self.stored_dtype = t._storage.node.shape, t._storage.node.dtype
        self.like = like

    def met_by(self, t: Tensor) -> bool:
        """Whether a tensor is the same but for its values and whom it shares memory with."""
        if t._dtype is not self.dtype or t._offset != self.offset or (t._shape is not self.shape and t._shape != self.shape):
            return False
        if t._strides is not self.strides and t._strides != self.strides:
            return False
        return (t._requires_grad if t._base is None else requires_grad(t)) == self.grad


@final
class _Output:
    """How one result is made: of a new storage, of an input's, an argument itself, or a Python value."""
    __slots__ = ("storage", "shape", "strides", "offset", "dtype", "argument", "value")

    storage: int
    shape: Any
    strides: Any
    offset: int
    dtype: Any
    argument: int
    value: Any

    def __init__(self, storage: int, shape: Shape, strides: Shape | None, offset: int, dtype: Any, argument: int, value: Any) -> None:
        self.storage, self.shape, self.strides, self.offset, self.dtype = storage, shape, strides, offset, dtype
        self.argument = argument
        self.value = value


@final
class Variant:
    """A function captured for one kind of call.

    positional: what the arguments were, if they were positional ones without trees: an `_Expected` for each tensor, and other values
    places: for each tensor among the arguments, its storage's number; own: for each tensor of the surroundings, (its number, its storage's)
    shapes: those of the storages' values; draws: the random numbers drawn, as (shape, how)
    structure: how results are put together from `outputs`
    """
    surroundings: Surroundings
    recording: bool
    inference: bool
    lower: Any  # autocast's type
    positional: list[Any] | None
    tensors: list[Tensor]
    geometry: list[_Expected]
    places: list[int]
    own: list[tuple[int, int]]
    shapes: list[Any]
    draws: list[Any]
    structure: Any
    differentiable: list[int]
    outputs: list[_Output]
    written: list[int]
    tracked: list[int]
    captured: Captured
    constants: list[Node]

    def __init__(self, function: Callable[..., Any], leaves: list[Any], structure: Structure, name: str) -> None:
        self.surroundings = Surroundings(function)
        if self.surroundings.hooked():
            raise GraphBreak("a module has hooks")
        self.recording, self.inference, self.lower = state.enabled, state.inference, lower_type()
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
        self.geometry = [_Expected(t, -1) for t in self.tensors]
        self.positional = _positional(leaves) if structure == _flat(len(leaves)) else None
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
            generator = engine_of(None)
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
            found = engine.grad(results, sources, [wrap(n) for n in captured.arriving], False, False, True)
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

    def accepts(self, args: tuple[Any, ...]) -> bool:
        """Whether these positional arguments are surely of this kind; if not, they may be all the same."""
        wanted = self.positional
        if wanted is None or len(args) != len(wanted) or state.enabled != self.recording or state.inference != self.inference:
            return False
        if (entered.autocast or self.lower is not None) and lower_type() is not self.lower:
            return False
        for i, expected in enumerate(wanted):
            x = args[i]
            if isinstance(expected, _Expected):
                if type(x) is not expected.type:
                    return False
                t: Tensor = x
                if not expected.met_by(t):
                    return False
                node = t._storage.node
                if node.dtype is not expected.stored_dtype or (node.shape is not expected.stored_shape and node.shape != expected.stored_shape):
                    return False
                for j in range(i):
                    other = args[j]
                    if isinstance(other, Tensor) and (other._storage is t._storage) != (expected.like == wanted[j].like):
                        return False
            elif not equal(x, expected):
                return False
        return True

    def fits(self) -> bool:
        """Whether what the function read besides its arguments is as it was."""
        if not self.surroundings.same():
            return False
        for i, t in enumerate(self.tensors):
            if not self.geometry[i].met_by(t):
                return False
        return True

    def run(self, leaves: Sequence[Any]) -> Any:
        """The function's results for arguments of its kind."""
        arguments: list[Tensor] = [x for x in leaves if isinstance(x, Tensor)]
        storages: list[Storage | None] = [None] * len(self.shapes)
        for i, t in enumerate(arguments):
            storages[self.places[i]] = t._storage
        for k, place in self.own:
            storages[place] = self.tensors[k]._storage
        sources: list[Node] = []
        for i, storage in enumerate(storages):
            assert storage is not None
            node = storage.node if storage.outside is None else storage.snapshot()
            shape = self.shapes[i]
            sources.append(node if node.shape is shape or node.shape == shape else reshape(node, shape))
        for shape, how in self.draws:
            sources.append(random.drawn(shape, how)._node())
        sources.extend(self.constants)
        made = self.captured.call(tuple(sources))
        for i, number in enumerate(self.written):
            storage = storages[number]
            assert storage is not None
            storage.write(made[i])
        fresh: dict[int, Storage] = {}
        results = [self._result(o, arguments, storages, made, fresh) for o in self.outputs]
        if self.tracked and state.enabled:
            everything = [*arguments, *self.tensors]
            record(self.captured.history, tuple(sources), tuple([everything[k] for k in self.differentiable]), tuple([results[i] for i in self.tracked]))
        return results[0] if self.structure is LEAF else unflatten(results, self.structure)

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


def _flat(count: int) -> Structure:
    """The structure of (args, kwargs) with so many positional arguments that are no trees, and no others."""
    return flatten(((None,) * count, {}))[1]


def _positional(leaves: list[Any]) -> list[Any]:
    first: dict[int, int] = {}
    return [_Expected(x, first.setdefault(id(x._storage), i)) if isinstance(x, Tensor) else x for i, x in enumerate(leaves)]


