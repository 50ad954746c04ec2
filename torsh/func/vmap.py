"""vmap: a function of one example, applied to a batch of them at once.

The function runs once, on tensors that stand for one example and have no value (`batching.EXAMPLE`). Operations know
nothing of it: they check shapes, make nodes and record derivatives as ever. The graph that comes out is then rewritten
for the whole batch by one rule for each kind of primitive.

Gradients through a vmap: what the function recorded for one example is kept, and the derivative of the batched result is
the vmap of that example's backward. The record's inputs are the batched arguments and whatever the function used from
outside; gradients of the latter are summed over the batch.
"""
from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torsh.autograd import engine, graph
from torsh.autograd.grad_mode import state
from torsh.autograd.graph import AccumulateGrad, GradNode, edge, requires_grad
from torsh.core.dtypes import dtype, float32
from torsh.core.shapes import Shape, wrap_dim
from torsh.func.batching import EXAMPLE, Batched, aligned, batch_nodes, depend
from torsh.func.trees import Structure, flatten, spread, unflatten
from torsh.graph.node import Node, Op
from torsh.graph.primitives import expand
from torsh.ops import random
from torsh.ops.join import cat
from torsh.ops.views import movedim
from torsh.tensor import storage
from torsh.tensor.creation import from_array
from torsh.tensor.tensor import Tensor, wrap

Edge = tuple[Any, int]


class Level:
    """One running vmap: its examples, and what of them was batched already."""

    def __init__(self, size: int, randomness: str) -> None:
        self.size = size
        self.randomness = randomness
        self.known: dict[Node, Batched] = {}
        self.sources: dict[int, Tensor] = {}  # by id of an example's record: the batch it stands for
        self.examples: list[Any] = []  # keeps those records alive
        self.start = next(graph._sequence)  # calls recorded from here on are of one example
        self.written: list[storage.Storage] = []
        self.before: list[Node] = []  # what each of those held
        self.seen: set[int] = set()  # their ids
        self.saved: set[int] = set()  # ids of storages that records of one example keep

    def example(self, batch: Tensor) -> Tensor:
        """The tensor that stands for one example of `batch`, [size, *shape]."""
        node = Node(EXAMPLE, (), None, batch._shape[1:], batch._dtype)
        self.known[node] = batch._node()
        made = wrap(node)
        if state.enabled and requires_grad(batch):
            fn = GradNode(EXAMPLE_INPUT, None, ())
            fn.out_meta = ((made._shape, made._dtype),)
            made._requires_grad, made._grad_fn = True, fn
            self.sources[id(fn)] = batch
            self.examples.append(fn)
        return made

    def lift(self, outs: Sequence[Tensor]) -> list[tuple[Tensor, bool]]:
        """For each tensor of one example the batch, recorded, and whether it depends on the example at all."""
        tracked = [t for t in outs if state.enabled and requires_grad(t)]
        ends, saved = self._boundary([edge(t) for t in tracked]) if tracked else ([], [])
        nodes = [t._node() for t in outs]
        found = batch_nodes([*nodes, *saved], self.size, self.known)
        for node, batched in zip(saved, found[len(nodes):], strict=True):
            if batched is not None:
                self.known[node] = batched
        batches = [expand(n, (self.size, *n.shape)) if b is None else b for n, b in zip(nodes, found, strict=False)]
        made = [wrap(b) for b in batches]
        if ends:
            self._record(outs, made, ends)
        return [(t, b is not None) for t, b in zip(made, found, strict=False)]

    def _boundary(self, roots: list[Edge]) -> tuple[list[Edge], list[Node]]:
        """Where the records of one example end, and the nodes they saved."""
        seen: set[int] = set()
        ends: dict[tuple[int, int], Edge] = {}
        saved: dict[Node, None] = {}
        stack = list(roots)
        while stack:
            node, nr = stack.pop()
            if isinstance(node, AccumulateGrad) or node.order < self.start or id(node) in self.sources:
                ends[id(node), nr] = (node, nr)
            elif id(node) not in seen:
                seen.add(id(node))
                kept = [*(node.inputs or {}).values(), *node.outputs, *getattr(node, "_saved", ())]
                for s in kept:
                    if s is not None and s.tensor is not None:
                        saved[s.tensor._storage.node] = None
                        self.saved.add(id(s.tensor._storage))
                stack.extend([e for e in node.edges if e is not None])
        return list(ends.values()), list(saved)

    def _record(self, outs: Sequence[Tensor], made: Sequence[Tensor], ends: list[Edge]) -> None:
        self.saved.update([id(t._storage) for t in outs])
        fn = GradNode(_VMAP, (self, tuple(outs), tuple(ends)), ())
        edges: list[Edge] = []
        metas: list[tuple[Shape, dtype]] = []
        for node, nr in ends:
            batch = self.sources.get(id(node))
            if batch is not None:
                edges.append(edge(batch))
                metas.append((batch._shape, batch._dtype))
            elif isinstance(node, AccumulateGrad):
                edges.append((node, nr))
                metas.append((node.variable._shape, node.variable._dtype))
            else:
                edges.append((node, nr))
                metas.append(node.out_meta[nr])
        fn.edges = tuple(edges)
        fn.needs = (True,) * len(edges)
        fn.shapes, fn.dtypes = tuple([m[0] for m in metas]), tuple([m[1] for m in metas])
        fn.out_meta = tuple([(t._shape, t._dtype) for t in made])
        for i, (one, t) in enumerate(zip(outs, made, strict=True)):
            if t._dtype.category >= 2 and requires_grad(one):
                t._requires_grad, t._grad_fn, t._output_nr = True, fn, i

    def computed(self, node: Node) -> Node:
        """The batch of a node that does depend on an example, computed now, as are the parts that come with it."""
        done: dict[Node, Batched] = {}
        found, = batch_nodes([node], self.size, self.known, done)
        if found is None:
            return node
        wrap(found)._window()
        for n, b in done.items():  # not to be computed again
            if b is not None and any(part.buffer is not None for part in (b if isinstance(b, tuple) else (b,))):
                self.known[n] = b
        return found

    # ---- while the function runs

    def __enter__(self) -> Level:
        _levels.append(self)
        self._previous = storage.watch.on_write, storage.watch.values, random.mapped.draw
        storage.watch.on_write, storage.watch.values, random.mapped.draw = _on_write, _values, _draw
        return self

    def __exit__(self, *exc: object) -> None:
        _levels.pop()
        storage.watch.on_write, storage.watch.values, random.mapped.draw = self._previous
        if exc[0] is not None:
            self.check_writes(set(), True)

    def wrote(self, target: storage.Storage) -> None:
        """`target` is about to be overwritten."""
        if id(target) not in self.seen:
            self.seen.add(id(target))
            self.written.append(target)
            self.before.append(target.node)

    def check_writes(self, ours: set[int], failed: bool = False) -> None:
        """Put back what tensors from outside held before they were overwritten with values of one example; raises RuntimeError for them.

        `ours` are ids of storages that may hold such values. So may those that nobody refers to any more.
        """
        written, before = self.written, self.before
        self.written, self.before, self.seen = [], [], set()
        alive = [i for i in range(len(written)) if _held(written, i) > _ALONE and id(written[i]) not in ours]
        if not alive:
            return
        now = depend([written[i].node for i in alive], self.known)
        was = depend([before[i] for i in alive], self.known)
        leaked = [i for i, new, old in zip(alive, now, was, strict=True) if new and not old]
        for i in leaked:
            written[i].write(before[i])
        if leaked and not failed:
            raise RuntimeError(f"vmap: in-place arithmetic on a tensor of shape {list(before[leaked[0]].shape)} that is not being vmapped over, with "
                               "values that are: it would have to hold one value for each example. Use an out-of-place operation, or vmap over that "
                               "tensor too (a batch norm: use running statistics in eval mode, or none).")


def _held(storages: list[storage.Storage], i: int) -> int:
    return sys.getrefcount(storages[i])


_ALONE = _held([storage.Storage(Node(EXAMPLE, (), None, (), float32))], 0)  # measured: a compiled core may borrow references


#: The vmaps whose functions are running, innermost last.
_levels: list[Level] = []


def _on_write(target: Any, node: Node) -> None:
    for level in _levels:
        level.wrote(target)


def _values(t: Tensor) -> Any:
    node = t._node()
    for level in reversed(_levels):
        node = batch_nodes([node], level.size, level.known)[0] or node if level is not _levels[0] else level.computed(node)
    return wrap(node)._window()


def _draw(shape: Shape, draw: Callable[..., Any], parameters: tuple[Tensor, ...]) -> Tensor:
    return _draw_at(len(_levels) - 1, shape, draw, tuple([t._node() for t in parameters]))


def _draw_at(depth: int, shape: Shape, draw: Callable[..., Any], parameters: tuple[Node, ...]) -> Tensor:
    """Random numbers for the levels up to `depth`: each with "different" has a dimension of its own in front."""
    if depth < 0:
        return from_array(draw(shape, *[np.ascontiguousarray(wrap(n)._window()) for n in parameters]))
    level = _levels[depth]
    if level.randomness == "error":
        raise RuntimeError("vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness flags "
                           "on vmap or perform the randomness operation out of vmap")
    found = batch_nodes(parameters, level.size, level.known)
    if level.randomness == "same":
        if any(b is not None for b in found):
            raise RuntimeError("Vmap does not currently support same randomness with a batched tensor input. Please use different randomness.")
        return _draw_at(depth - 1, shape, draw, parameters)
    whole = tuple([n if b is None else aligned(b, len(shape)) for n, b in zip(parameters, found, strict=True)])
    return level.example(_draw_at(depth - 1, (level.size, *shape), draw, whole))


# ---- derivatives

EXAMPLE_INPUT = Op("vmap_example_input", "history", grad_name="VmapExampleBackward")


def _vmap_vjp(ctx: GradNode, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    """The vmap of one example's backward."""
    level, outs, ends = ctx.arg
    roots, starts = [], []
    for one, g in zip(outs, grads, strict=True):
        if g is not None:
            roots.append(edge(one))
            starts.append(level.example(g))
    with level:
        captured = engine.run(roots, starts, True, state.enabled, ends, accumulate=False, start=level.start)
    level.check_writes(level.saved)
    found = [captured.get((id(node), nr)) for node, nr in ends]
    there = [g for g in found if g is not None]
    lifted = iter(level.lift(there))
    out: list[Tensor | None] = []
    for (node, _), one in zip(ends, found, strict=True):
        if one is None:
            out.append(None)
            continue
        g, depends = next(lifted)
        if id(node) not in level.sources:
            g = g.sum(0) if depends else one * level.size
        out.append(g)
    return tuple(out)


_VMAP = Op("vmap", "history", None, None, _vmap_vjp, grad_name="VmapBackward")


# ---- the transform


def _place(dim: Any, ndim: int, name: str, what: str) -> int:
    try:
        return wrap_dim(dim, ndim)
    except IndexError:
        raise ValueError(f"vmap({name}, ...): got {what} {dim} for a Tensor of dimensionality {ndim}, so expected it to satisfy "
                         f"-{ndim} <= {what} < {ndim}.") from None


def _arguments(name: str, in_dims: Any, args: tuple[Any, ...]) -> tuple[list[Any], list[Any], Structure, int]:
    """(leaves, dimension of each or None, structure, batch size). Raises ValueError for arguments that do not fit `in_dims`."""
    where = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple, list)):
        raise ValueError(f"{where}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, got: {type(in_dims)}.")
    if not args:
        raise ValueError(f"{where}: got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a function with no inputs. The latter "
                         "is unsupported.")
    leaves, structure = flatten(args)
    dims = spread(in_dims, structure)
    if dims is None:
        raise ValueError(f"{where}: in_dims is not compatible with the structure of `inputs`.")
    size: int | None = None
    for i, (x, d) in enumerate(zip(leaves, dims, strict=True)):
        if d is None:
            continue
        if not isinstance(d, int):
            raise ValueError(f"{where}: Got in_dim={d} for an input but in_dim must be either an integer dimension or None.")
        if not isinstance(x, Tensor):
            raise ValueError(f"{where}: Got in_dim={d} for an input but the input is of type {type(x)}. We cannot vmap over non-Tensor arguments, please "
                             "use None as the respective in_dim")
        ndim = len(x._shape)
        if not -ndim <= d < ndim:
            raise ValueError(f"{where}: Got in_dim={d} for some input, but that input is a Tensor of dimensionality {ndim} so expected in_dim to satisfy "
                             f"-{ndim} <= in_dim < {ndim}.")
        dims[i] = d + ndim if d < 0 else d
        n = x._shape[dims[i]]
        if size is not None and n != size:
            sizes = [t._shape[k + len(t._shape) if k < 0 else k] for t, k in zip(leaves, dims, strict=True) if k is not None]
            raise ValueError(f"{where}: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the mapped dimension")
        size = n
    if size is None:
        raise ValueError(f"{where}: At least one input has to be mapped over: all in_dims are None.")
    return leaves, dims, structure, size


def _mapped(function: Callable[[list[Any]], Any], name: str, leaves: list[Any], dims: list[Any], size: int,
            randomness: str) -> tuple[list[tuple[Tensor, bool]], Structure]:
    """Run the function on one example and batch its outputs: (batch with the examples in front, whether it depends on them), structure."""
    level = Level(size, randomness)
    batches = [x if d is None else movedim(x, d, 0) for x, d in zip(leaves, dims, strict=True)]
    given = [b if d is None else level.example(b) for b, d in zip(batches, dims, strict=True)]
    before = [None if d is None else x._storage.node for x, d in zip(given, dims, strict=True)]
    with level:
        returned, shape = flatten(function(given))
    for t in returned:
        if not isinstance(t, Tensor):
            raise ValueError(f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(t)} as a return.")
    written = [(b, x) for b, x, old in zip(batches, given, before, strict=True) if old is not None and x._storage.node is not old]
    lifted = level.lift([*returned, *[x for _, x in written]])
    count = len(returned)
    returned, t = [], None
    level.check_writes({id(x._storage) for x, old in zip(given, before, strict=True) if old is not None} | level.saved)
    for (batch, _), (new, _) in zip(written, lifted[count:], strict=True):
        batch.copy_(new)
    return lifted[:count], shape


def _placed(name: str, outs: list[tuple[Tensor, bool]], dims: list[Any]) -> list[Tensor]:
    made = []
    for (t, depends), d in zip(outs, dims, strict=True):
        if d is None:
            if depends:
                raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
            made.append(t[0])
        else:
            place = _place(d, len(t._shape), name, "out_dim")
            made.append(t if place == 0 else movedim(t, 0, place))
    return made


def vmap(func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None) -> Callable[..., Any]:
    """`func` of one example as a function of a batch of them, without a loop.

    `in_dims` (a number for all arguments, or a tree that matches them) says which dimension of each tensor is the batch; None
    gives the whole tensor to every example. `out_dims` says where the batch goes in each result. Random operations inside are
    an error unless `randomness` is "same" (one draw for all examples) or "different". With `chunk_size`, so many examples at a
    time. Keyword arguments are given to every example whole.

    The values of tensors (item(), bool(), nonzero()) are not there inside `func`, and in-place operations cannot put values of
    one example into a tensor from outside: RuntimeError. Raises ValueError for arguments and results that do not fit.

    >>> import torsh
    >>> dot = torsh.vmap(torsh.dot)
    >>> dot(torsh.tensor([[1., 2.], [3., 4.]]), torsh.tensor([[1., 1.], [2., 0.]]))
    tensor([3., 6.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
    name = getattr(func, "__name__", repr(func))

    @functools.wraps(func, updated=())
    def batched(*args: Any, **kwargs: Any) -> Any:
        leaves, dims, structure, size = _arguments(name, in_dims, args)

        def call(given: list[Any]) -> Any:
            return func(*unflatten(given, structure), **kwargs)
        step = size if chunk_size is None else chunk_size
        if step >= size:
            outs, shape = _mapped(call, name, leaves, dims, size, randomness)
            return unflatten(_placed(name, outs, _out_dims(name, out_dims, shape)), shape)
        parts = []
        for at in range(0, size, step):
            count = min(step, size - at)
            given = [x if d is None else x.narrow(d, at, count) for x, d in zip(leaves, dims, strict=True)]
            outs, shape = _mapped(call, name, given, dims, count, randomness)
            parts.append(outs)
        joined = [(cat([t for t, _ in same], 0), any(depends for _, depends in same)) for same in zip(*parts, strict=True)]
        return unflatten(_placed(name, joined, _out_dims(name, out_dims, shape)), shape)
    return batched


def _out_dims(name: str, out_dims: Any, shape: Structure) -> list[Any]:
    found = spread(out_dims, shape)
    if found is None or not all(d is None or isinstance(d, int) for d in found):
        raise ValueError(f"vmap({name}, ..., out_dims={out_dims}): out_dims is not compatible with the structure of the outputs: it must be an int, or a "
                         "tree of ints that matches them.")
    return found


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """What stands behind a tensor inside of transforms, to look at: all examples of a vmap, in front, without history. Computes it now.

    A tensor outside of transforms is given back as it is. `recurse` changes nothing: there is one wrapping at a time here. Raises RuntimeError
    for something else than a tensor.

    >>> import torsh
    >>> _ = vmap(lambda x: print(debug_unwrap(x * 2)) or x)(torsh.tensor([1, 2]))
    tensor([2, 4])
    """
    if not isinstance(tensor, Tensor):
        raise RuntimeError(f"debug_unwrap: expected a Tensor, got {type(tensor).__name__}")
    if storage.watch.values is not None:
        every = storage.watch.values(tensor)
        if every.shape != tensor._shape:
            return from_array(every)
    return tensor.detach() if getattr(tensor._grad_fn, "name", None) == "TransformInputBackward" else tensor  # type: ignore[attr-defined,no-any-return]


__all__ = ["EXAMPLE_INPUT", "debug_unwrap", "vmap"]
