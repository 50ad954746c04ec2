"""grad, vjp, jvp and what is made of them: Jacobians, Hessians, linear maps.

A transform gives its function tensors of its own (`_entered`): the identity of what it was given, recorded, so that the
history outside goes on, and always requiring grad, so that there is something to differentiate by. What comes out keeps
its history only where that leads outside (`Level.left`), so transforms nest as they do on paper.

Forward derivatives: u -> vjp(f)(u) is linear, and its own vjp is the jvp of f (Townsend 2017, "A new trick for
calculating Jacobian vector products"). What it asks of the engine beyond the numbers it needs is never computed.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from torsh.autograd import engine, graph
from torsh.autograd.grad_mode import enable_grad, state
from torsh.autograd.graph import AccumulateGrad, GradNode, edge, requires_grad
from torsh.core.shapes import numel
from torsh.func.trees import Structure, flatten, tree_map, unflatten
from torsh.func.vmap import EXAMPLE_INPUT, vmap
from torsh.graph.node import Op
from torsh.ops.dispatch import cast_tensor
from torsh.ops.views import zeros_like_shape
from torsh.tensor.creation import eye, ones_like, zeros_like
from torsh.tensor.tensor import Tensor, alias

_ENTER = Op("transform_input", "history", None, None, lambda ctx, g: g, grad_name="TransformInputBackward")


def entered(t: Tensor) -> Tensor:
    """The same tensor with a record of its own, from which there is a way to the outside if `t` has a history."""
    fn = GradNode(_ENTER, None, (t,))
    fn.out_meta = ((t._shape, t._dtype),)
    made = alias(t, t._shape, t._strides, t._offset)
    made._requires_grad, made._grad_fn = True, fn
    return made


class Level:
    """One running transform: tells which records are older than it."""

    def __init__(self) -> None:
        self.tracking = state.enabled
        self.start = next(graph._sequence)
        self._leads: dict[int, bool] = {}

    def outside(self, t: Tensor) -> bool:
        """Whether the history of `t` leads outside of the transform: to records older than it, to leaves, to the example of a vmap."""
        if not requires_grad(t):
            return False
        leads, root = self._leads, edge(t)[0]
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:
            node, ready = stack.pop()
            key = id(node)
            if ready:
                leads[key] = any(e is not None and leads[id(e[0])] for e in node.edges)
            elif key not in leads:
                if isinstance(node, AccumulateGrad) or node.order < self.start or node.op is EXAMPLE_INPUT:
                    leads[key] = True
                else:
                    leads[key] = False  # until its edges are known; there are no cycles
                    stack.append((node, True))
                    stack.extend([(e[0], False) for e in node.edges if e is not None])
        return leads[id(root)]

    def left(self, t: Any) -> Any:
        """A result as the outside sees it: without a history that ends inside. (Ids of records are of use only while they live.)"""
        if not isinstance(t, Tensor) or not t._requires_grad or (self.tracking and self.outside(t)):
            return t
        return alias(t, t._shape, t._strides, t._offset)


def _pulled(outs: Sequence[Tensor], ins: Sequence[Tensor], grads: Sequence[Tensor], create: bool, retain: bool) -> list[Tensor | None]:
    """The gradient of each input, None where there is no way to it."""
    pairs = [(t, g) for t, g in zip(outs, grads, strict=True) if requires_grad(t)]
    if not pairs:
        return [None] * len(ins)
    return engine.grad([t for t, _ in pairs], ins, [g for _, g in pairs], retain, create, True)


def _filled(found: Sequence[Tensor | None], ins: Sequence[Tensor]) -> list[Tensor]:
    return [zeros_like_shape(t._shape, t) if g is None else g for g, t in zip(found, ins, strict=True)]


# ---- which arguments


def _chosen(argnums: int | tuple[int, ...], args: tuple[Any, ...], what: str) -> tuple[int, ...]:
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not isinstance(argnums, (int, tuple)) or not wanted:
        raise RuntimeError(f"{what}: argnums must be an int or a non-empty tuple of ints, got {argnums!r}")
    for a in wanted:
        if not -len(args) <= a < len(args):
            raise RuntimeError(f"Got argnum={a}, but only {len(args)} positional inputs")
    places = tuple([a % len(args) for a in wanted])
    if len(set(places)) != len(places):
        raise RuntimeError(f"argnums elements must be unique, got {argnums!r}")
    return places


def _entered_tree(tree: Any, what: str) -> tuple[Any, list[Tensor], Structure]:
    """The tree with its tensors entered, them, and its structure. Raises RuntimeError for a leaf that is no floating tensor."""
    leaves, structure = flatten(tree)
    made = []
    for t in leaves:
        if not isinstance(t, Tensor):
            raise RuntimeError(f"{what}: Expected tensors to differentiate by, got unsupported type {type(t)}")
        if t._dtype.category < 2:
            raise RuntimeError(f"{what}: only Tensors of floating point and complex dtype can require gradients, got {t._dtype!r}")
        made.append(entered(t))
    return unflatten(made, structure), made, structure


def _replaced(args: tuple[Any, ...], places: tuple[int, ...], new: Sequence[Any]) -> list[Any]:
    out = list(args)
    for i, x in zip(places, new, strict=True):
        out[i] = x
    return out


def _with_aux(result: Any, has_aux: bool, what: str) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(f"{what}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return result


# ---- reverse


def grad_and_value(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives (gradient of `func` by the arguments `argnums`, its value).

    `func` returns a tensor of one element (with `has_aux`, and something else: then the value is the pair). Raises RuntimeError
    for other results.
    """
    @functools.wraps(func, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        level = Level()
        places = _chosen(argnums, args, "grad")
        with enable_grad():
            by, ins, structure = _entered_tree([args[i] for i in places], "grad")
            value, aux = _with_aux(func(*_replaced(args, places, by), **kwargs), has_aux, "grad_and_value(f)(*args)")
            if not isinstance(value, Tensor):
                raise RuntimeError(f"grad_and_value(f)(*args): expected f(*args) to return a tensor, got {type(value)}")
            if value._shape != ():
                raise RuntimeError(f"grad_and_value(f)(*args): expected f(*args) to return a scalar tensor. It returned a tensor with {value.dim()} dims. "
                                   "Maybe you meant to use the vjp or jacrev APIs instead?")
            create = level.tracking and level.outside(value)
            found = _filled(_pulled([value], ins, [ones_like(value.detach())], create, True), ins)
        grads = unflatten([level.left(g) for g in found], structure)
        value = level.left(value)
        shown = (value, tree_map(level.left, aux)) if has_aux else value
        return grads[0] if isinstance(argnums, int) else tuple(grads), shown
    return call


def grad(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of `func` by the arguments `argnums`; with `has_aux`, (gradient, aux).

    Raises RuntimeError unless `func` returns a tensor of one element.

    >>> import torsh
    >>> from torsh.func import grad
    >>> grad(torsh.sin)(torsh.tensor(0.0))
    tensor(1.)
    >>> grad(grad(torsh.sin))(torsh.tensor(torsh.pi / 2))
    tensor(-1.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads
    return call


def _outputs(result: Any, what: str) -> tuple[list[Tensor], Structure]:
    outs, structure = flatten(result)
    for t in outs:
        if not isinstance(t, Tensor):
            raise RuntimeError(f"{what}: expected f(*args) to return only tensors, got unsupported type {type(t)}")
    if not outs:
        raise RuntimeError(f"{what}: expected f to return at least one tensor")
    return outs, structure


class _Traced:
    """A function run on entered arguments: what vjp, jvp and Jacobians have in common."""

    def __init__(self, what: str, func: Callable[..., Any], args: tuple[Any, ...], places: tuple[int, ...], has_aux: bool,
                 kwargs: dict[str, Any] | None = None) -> None:
        self.level = Level()
        with enable_grad():
            by, self.ins, self.in_structure = _entered_tree([args[i] for i in places], what)
            result, aux = _with_aux(func(*_replaced(args, places, by), **(kwargs or {})), has_aux, what)
            self.outs, self.out_structure = _outputs(result, what)
        self.tracked = self.level.tracking and any(self.level.outside(t) for t in self.outs)
        self.aux = tree_map(self.level.left, aux)

    def value(self) -> Any:
        return unflatten([self.level.left(t) for t in self.outs], self.out_structure)

    def pull(self, outs: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """The gradients of all inputs."""
        create = state.enabled and (self.tracked or any(requires_grad(g) for g in grads))
        level = Level()
        level.start = self.level.start
        with enable_grad():
            found = _filled(_pulled(outs, self.ins, grads, create, True), self.ins)
        return [level.left(g) for g in found]

    def linear(self) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        """tangents of the inputs -> tangents of the outputs."""
        with enable_grad():
            probes = [entered(zeros_like_shape(t._shape, t)) if t._dtype.category >= 2 else None for t in self.outs]
            pairs = [(t, u) for t, u in zip(self.outs, probes, strict=True) if u is not None]
            back = _pulled([t for t, _ in pairs], self.ins, [u for _, u in pairs], True, True) if pairs else [None] * len(self.ins)
        by = [u for _, u in pairs]

        def push(tangents: Sequence[Tensor]) -> list[Tensor]:
            used = [(g, v) for g, v in zip(back, tangents, strict=True) if g is not None]
            create = state.enabled and (self.tracked or any(requires_grad(v) for v in tangents))
            level = Level()
            level.start = self.level.start
            with enable_grad():
                pulled = _pulled([g for g, _ in used], by, [v for _, v in used], create, True) if used else [None] * len(by)
                found = iter(_filled(pulled, by))
            return [level.left(next(found)) if u is not None else zeros_like(t) for t, u in zip(self.outs, probes, strict=True)]
        return push


def _matching(given: Any, structure: Structure, like: Sequence[Tensor], what: str, name: str) -> list[Tensor]:
    leaves, found = flatten(given)
    if found != structure and not (len(leaves) == len(like) == 1):
        raise RuntimeError(f"{what}: Expected pytree structure of {name} to be the same as that of what they belong to, got {len(leaves)} leaves for "
                           f"{len(like)}")
    for v, t in zip(leaves, like, strict=True):
        if not isinstance(v, Tensor):
            raise RuntimeError(f"{what}: expected {name} to be tensors, got {type(v)}")
        if v._shape != t._shape:
            raise RuntimeError(f"{what}: expected {name} to have the shape of what they belong to, got {list(v._shape)} for {list(t._shape)}")
    return [cast_tensor(v, t._dtype) for v, t in zip(leaves, like, strict=True)]


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """(func(*primals), vjp function[, aux]): the function maps cotangents of the outputs to a tuple of gradients of the primals.

    Raises RuntimeError for outputs that are no tensors and for cotangents of other structure or shape.
    """
    traced = _Traced("vjp(f, *primals)", func, primals, tuple(range(len(primals))), has_aux)

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        grads = _matching(cotangents, traced.out_structure, traced.outs, "vjp_fn", "cotangents")
        return tuple(unflatten(traced.pull(traced.outs, grads), traced.in_structure))
    return (traced.value(), pull, traced.aux) if has_aux else (traced.value(), pull)


def jvp(func: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...], *, strict: bool = False, has_aux: bool = False) -> tuple[Any, ...]:
    """(func(*primals), its directional derivative along `tangents`[, aux]).

    Raises RuntimeError for primals and tangents that are no non-empty tuples of one structure; with `strict`, also for an output
    that does not depend on the primals.

    >>> import torsh
    >>> torsh.func.jvp(torsh.sin, (torsh.tensor(0.0),), (torsh.tensor(2.0),))
    (tensor(0.), tensor(2.))
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple) or not given:
            raise RuntimeError(f"jvp(f, primals, tangents): Expected {name} to be a non-empty tuple, got {type(given)}")
    traced = _Traced("jvp(f, primals, tangents)", func, primals, tuple(range(len(primals))), has_aux)
    if strict and not all(requires_grad(t) for t in traced.outs):
        raise RuntimeError("jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not allowed with strict=True.")
    along = _matching(list(tangents), traced.in_structure, traced.ins, "jvp(f, primals, tangents)", "tangents")
    out = unflatten(traced.linear()(along), traced.out_structure)
    return (traced.value(), out, traced.aux) if has_aux else (traced.value(), out)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(func(*primals), jvp function of the tangents): for many tangents at one point, without running `func` again."""
    traced = _Traced("linearize(f, *primals)", func, primals, tuple(range(len(primals))), False)
    push = traced.linear()

    def call(*tangents: Any) -> Any:
        given = _matching(list(tangents), traced.in_structure, traced.ins, "jvp_fn", "tangents")
        return unflatten(push(given), traced.out_structure)
    return traced.value(), call


# ---- Jacobians


def _basis(t: Tensor) -> Tensor:
    n = numel(t._shape)
    return eye(n, dtype=t._dtype).reshape(n, *t._shape)  # type: ignore[attr-defined,no-any-return]


def _jacobian_trees(traced: _Traced, blocks: list[list[Tensor]], single: bool) -> Any:
    """blocks[output][input] as the tree of outputs, of the tree of inputs."""
    rows = []
    for row in blocks:
        found = unflatten(row, traced.in_structure)
        rows.append(found[0] if single else tuple(found))
    return unflatten(rows, traced.out_structure)


def jacrev(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, chunk_size: int | None = None,
           _preallocate_and_copy: bool = False) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func`, row by row in one vmapped backward: [*output shape, *input shape].

    `chunk_size` rows at a time, if given.

    >>> import torsh
    >>> torsh.func.jacrev(torsh.square)(torsh.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    @functools.wraps(func, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        places = _chosen(argnums, args, "jacrev")
        traced = _Traced("jacrev(f)(*args)", func, args, places, has_aux, kwargs)
        blocks = []
        for out in traced.outs:
            def row(u: Tensor, out: Tensor = out) -> tuple[Tensor, ...]:
                return tuple(traced.pull([out], [u]))
            n = numel(out._shape)
            found = vmap(row, chunk_size=chunk_size)(_basis(out)) if n else [zeros_like_shape((0, *t._shape), t) for t in traced.ins]
            blocks.append([g.reshape(*out._shape, *t._shape) for g, t in zip(found, traced.ins, strict=True)])
        result = _jacobian_trees(traced, blocks, isinstance(argnums, int))
        return (result, traced.aux) if has_aux else result
    return call


def jacfwd(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *, chunk_size: int | None = None,
           randomness: str = "error") -> Callable[..., Any]:
    """A function that gives the Jacobian of `func`, column by column in one vmapped forward derivative: [*output shape, *input shape].

    `chunk_size` columns at a time, if given. `func` runs once, so `randomness` may be anything `vmap` allows.
    """
    @functools.wraps(func, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        places = _chosen(argnums, args, "jacfwd")
        traced = _Traced("jacfwd(f)(*args)", func, args, places, has_aux, kwargs)
        push = traced.linear()
        columns: list[list[Tensor]] = []
        for i, t in enumerate(traced.ins):
            zeros = [zeros_like_shape(other._shape, other) for other in traced.ins]

            def column(v: Tensor, i: int = i, zeros: list[Tensor] = zeros) -> tuple[Tensor, ...]:
                return tuple(push([v if j == i else z for j, z in enumerate(zeros)]))
            n = numel(t._shape)
            found = vmap(column, out_dims=-1, randomness=randomness, chunk_size=chunk_size)(_basis(t)) if n else \
                [zeros_like_shape((*o._shape, 0), o) for o in traced.outs]
            columns.append([g.reshape(*o._shape, *t._shape) for g, o in zip(found, traced.outs, strict=True)])
        blocks = [[columns[i][o] for i in range(len(traced.ins))] for o in range(len(traced.outs))]
        result = _jacobian_trees(traced, blocks, isinstance(argnums, int))
        return (result, traced.aux) if has_aux else result
    return call


def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that gives the second derivatives of `func`: forward over reverse, `jacfwd(jacrev(func))`."""
    return jacfwd(jacrev(func, argnums), argnums)


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """`func` as a function that computes the same, writes to its arguments included, without in-place operations inside.

    What ToRSh records of any function is that already: values that never change, of which a storage names the present one. So this is `func`
    by its name, and `remove` ("mutations" or "mutations_and_views") says nothing more. Raises RuntimeError for another `remove`.

    >>> import torsh
    >>> functionalize(lambda x: x.clone().add_(1))(torsh.zeros(2))
    tensor([1., 1.])
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError("functionalize(f, remove='mutations'): received invalid argument for remove=. Valid options are:\n     remove='mutations': all "
                           "inplace and out= operators will be removed from the program, and replaced with their out-of-place equivalents.\n     "
                           "remove='mutations_and_views': In addition to the above, all aliasing operators {view} will be replaced with their non-aliasing "
                           "counterparts, {view}_copy.\n")

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)
    return call


__all__ = ["functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp"]
