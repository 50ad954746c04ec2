"""From a call with tensors to a node: promotion, recording, in-place and `out=` forms, and the public names.

`public` is how an operation gets its names: `torsh.f`, `Tensor.f`, `Tensor.f_` and `out=` all come from one function.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from torsh.autograd.autocast import outside
from torsh.autograd.entered import entered
from torsh.autograd.grad_mode import state
from torsh.autograd.graph import grad_fn, needs_record, record, snapshot
from torsh.core import dtypes
from torsh.core.dtypes import PROMOTE, dtype
from torsh.core.shapes import Shape, broadcast, contiguous_strides, memory_order, strides_of
from torsh.graph.node import Node, Op, several
from torsh.graph.primitives import CAST, cast, const, expand
from torsh.tensor.tensor import Tensor, alias, attribute, node_of, wrap

F = TypeVar("F", bound=Callable[..., Any])

#: torsh.<name> for every public function of the operation families.
FUNCTIONS: dict[str, Callable[..., Any]] = {}
#: The module that defines each public function which is loaded when first used (see `ops.late`).
LATE: dict[str, str] = {}


def late(name: str) -> Callable[..., Any]:
    """The public function `name`, its module loaded if need be. Raises KeyError for an unknown name."""
    found = FUNCTIONS.get(name)
    if found is None:
        import_module(LATE[name])
        found = FUNCTIONS[name]
    return found


def apply(op: Op, tensors: tuple[Tensor, ...], arg: Any, shape: Shape, dt: dtype, nodes: tuple[Node, ...] | None = None) -> Tensor:
    """One output: make the node, record the call. `nodes` are the sources when they differ from the tensors' own nodes."""
    if nodes is None:
        nodes = tuple([node_of(t) for t in tensors])
    out = wrap(Node(op, nodes, arg, shape, dt))
    _finish(op, arg, tensors, (out,))
    return out


def apply_several(op: Op, tensors: tuple[Tensor, ...], arg: Any, outputs: tuple[tuple[Shape, dtype], ...],
                  nodes: tuple[Node, ...] | None = None) -> tuple[Tensor, ...]:
    """Several outputs of one node."""
    if nodes is None:
        nodes = tuple([node_of(t) for t in tensors])
    outs = tuple([wrap(n) for n in several(op, nodes, arg, outputs)])
    _finish(op, arg, tensors, outs)
    return outs


def _finish(op: Op, arg: Any, tensors: tuple[Tensor, ...], outs: tuple[Tensor, ...]) -> None:
    if op.vjp is not None and needs_record(tensors):
        record(op, arg, tensors, outs)
    elif entered.inference and state.inference:
        for o in outs:
            o._inference = True


def recorded(op: Op, arg: Any, tensors: tuple[Tensor, ...], out: Tensor) -> Tensor:
    """Record `out`, made by hand from `tensors`, as a result of `op`."""
    _finish(op, arg, tensors, (out,))
    return out


def scalar_tensor(value: Any, dt: dtype) -> Tensor:
    """A 0-dimensional tensor of a Python number."""
    return wrap(const(value, dt))


def result_type_of(a: Any, b: Any) -> dtype:
    """PyTorch's promotion of two operands: tensors with dimensions outrank 0-dimensional ones, those outrank numbers,
    within one category."""
    ta, tb = isinstance(a, Tensor), isinstance(b, Tensor)
    if ta and tb:
        da, db = a._dtype, b._dtype
        if da is db:
            return da
        pa, pb = bool(a._shape), bool(b._shape)
        if pa == pb:
            return PROMOTE[da, db]
        high, low = (da, db) if pa else (db, da)
        return high if low.category <= high.category else PROMOTE[high, low]
    if not ta and not tb:
        return PROMOTE[dtypes.of_scalar(a), dtypes.of_scalar(b)]
    tensor, number = (a, b) if ta else (b, a)
    own, other = tensor._dtype, dtypes.of_scalar(number)
    if other.category <= own.category:
        return own
    return own.to_complex() if other.category == 3 and own.category == 2 else other


def operand(x: Any, dt: dtype, what: str) -> Node:
    """The node of an operand (tensor or number) as type `dt`. Raises TypeError for anything else."""
    if isinstance(x, Tensor):
        return cast(node_of(x), dt)
    try:
        return const(dt.np.type(x).item() if dt.category == 1 and not isinstance(x, int) else x, dt)
    except (TypeError, ValueError):
        raise TypeError(f"{what}(): expected a Tensor or a number, got {type(x).__name__}") from None


def shape_of(x: Any) -> Shape:
    return x._shape if isinstance(x, Tensor) else ()


def tensors_of(*xs: Any) -> tuple[Tensor, ...]:
    """The operands as tensors for recording; a number becomes a tensor that needs no gradient."""
    return tuple([x if isinstance(x, Tensor) else scalar_tensor(x, dtypes.of_scalar(x)) for x in xs])


def pointwise(op: Op, args: tuple[Any, ...], compute: dtype, result: dtype, what: str, arg: Any = None) -> Tensor:
    """A pointwise call: operands cast to `compute`, broadcast, and an output of type `result`."""
    shape: Shape = ()
    for x in args:
        s = shape_of(x)
        if s != shape:
            shape = broadcast(shape, s, what) if shape else s if s else shape
    order: Shape | None = None
    for x in args:
        if isinstance(x, Tensor) and x._strides is not None and len(shape) > 1:
            order = memory_order(shape, [strides_in(x, shape) for x in args if isinstance(x, Tensor)])
            break
    if order is None:
        out = wrap(Node(op, tuple([operand(x, compute, what) for x in args]), arg, shape, result))
    else:  # computed in the order in which the operands lie in memory, in which the result lies too
        lying = [in_order(x, shape, order) if isinstance(x, Tensor) else x for x in args]
        out = wrap(Node(op, tuple([operand(x, compute, what) for x in lying]), arg, tuple([shape[d] for d in order]), result))
        out._shape, out._strides = shape, strides_of(shape, order)
    if op.vjp is not None:
        for x in args:
            if isinstance(x, Tensor) and (x._requires_grad or x._base is not None) and needs_record((x,)):
                record(op, arg, tuple([a if isinstance(a, Tensor) else scalar_tensor(a, compute) for a in args]), (out,))
                return out
    if entered.inference and state.inference:
        out._inference = True
    return out


def same_type(op: Op, a: Tensor, b: Tensor, what: str) -> Tensor:
    """As `pointwise`, for two tensors of the type in which the operation computes and that it gives: the shortest way there is."""
    if a._strides is not None or b._strides is not None:
        return pointwise(op, (a, b), a._dtype, a._dtype, what)
    shape = a._shape
    if b._shape is not shape and b._shape != shape:
        shape = broadcast(shape, b._shape, what)
    out = wrap(Node(op, (node_of(a), node_of(b)), None, shape, a._dtype))
    if (a._requires_grad or b._requires_grad or a._base is not None or b._base is not None) and op.vjp is not None and needs_record((a, b)):
        record(op, None, (a, b), (out,))
    elif entered.inference and state.inference:
        out._inference = True
    return out


def strides_in(t: Tensor, shape: Shape) -> Shape:
    """Strides of a tensor read as the shape it broadcasts to."""
    lead = len(shape) - len(t._shape)
    strides = t._strides if t._strides is not None else contiguous_strides(t._shape)
    return (0,) * lead + tuple([0 if n == 1 and m != 1 else s for n, m, s in zip(t._shape, shape[lead:], strides)])


def in_order(t: Tensor, shape: Shape, order: Shape) -> Tensor:
    """`t` broadcast to `shape` with its dimensions in another order, without history. One of no dimensions stays that."""
    if not t._shape:
        return t
    strides = strides_in(t, shape)
    return alias(t, tuple([shape[d] for d in order]), tuple([strides[d] for d in order]), t._offset)


# ---- in place and out=


def copy_into(target: Tensor, value: Tensor, what: str, overwrite: bool = False) -> Tensor:
    """`target` in place becomes `value` (broadcast and cast to it), with autograd's rules for in-place writes.

    With `overwrite` the value is somebody's tensor, from which the target becomes a copy of its own; without, it is the result
    of an operation made for this write, and its record becomes the target's.

    Raises RuntimeError for a leaf that requires grad, a shape that does not broadcast to the target's, a type that
    cannot be cast to the target's, and a target whose elements overlap.
    """
    if value._shape != target._shape:
        if broadcast(value._shape, target._shape, what) != target._shape:
            raise RuntimeError(f"{what}: output with shape {list(target._shape)} doesn't match the broadcast shape "
                               f"{list(broadcast(value._shape, target._shape, what))}")
    if value._dtype.category > target._dtype.category:
        raise RuntimeError(f"{what}: result type {value._dtype.title} can't be cast to the desired output type {target._dtype.title}")
    if _repeats(target):
        raise RuntimeError(_REPEATED.format(what))
    check_writable(target)
    tracked = needs_record((value, target))
    node = expand(cast(node_of(value), target._dtype), target._shape)
    if tracked:
        if value._shape != target._shape:
            value = value.expand(target._shape)  # type: ignore[attr-defined]
        if value._dtype is not target._dtype:
            value = value.to(target._dtype)  # type: ignore[attr-defined]
        rebase(target, value, node, overwrite)
    else:
        target._write(node)
    return target


def check_writable(target: Tensor) -> None:
    """Raises RuntimeError when autograd forbids writing to `target` in place."""
    if not state.enabled or not target._requires_grad:
        if target._inference and not state.inference:
            raise RuntimeError("Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a "
                               "normal tensor before doing inplace update.")
        return
    if target._of_several is not None:
        raise RuntimeError(f"{target._of_several} is a view and is being modified inplace. This view is the output of a function that returns multiple "
                           "views. Such functions do not allow the output views to be modified inplace. You should replace the inplace "
                           "operation by an out-of-place one.")
    if target._base is not None:
        if grad_fn(target._base) is None:
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    elif target._grad_fn is None:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")


#: Set by `ops.views`: gives `target` (or its base) the history of having been overwritten by `value`.
rebase: Callable[[Tensor, Tensor, Node, bool], None] = None  # type: ignore[assignment]


def write_out(out: Tensor, value: Tensor, what: str, exact: bool = False) -> Tensor:
    """`out=`: put `value` into `out`, which takes its shape. Raises RuntimeError when autograd would have to record it.

    `exact`: the dtypes must agree, or RuntimeError.
    """
    if not isinstance(out, Tensor):
        raise TypeError(f"{what}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if state.enabled and (value._requires_grad or out._requires_grad):
        raise RuntimeError(f"{what}(): functions with out=... arguments don't support automatic differentiation, but one of the "
                           "arguments requires grad.")
    if exact and out._dtype is not value._dtype:
        raise RuntimeError(f"{what}: Expected out tensor to have dtype {value._dtype.name}, but got {out._dtype.name} instead")
    if out._shape != value._shape:
        if _repeats(out):
            raise RuntimeError(_REPEATED.format(what))
        out.resize_(value._shape)  # type: ignore[attr-defined]
    return copy_into(out, value, what)


_REPEATED = "{}: unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please clone() the tensor " \
            "before performing the operation."


def _repeats(t: Tensor) -> bool:
    return t._strides is not None and t.numel() > 0 and any(s == 0 and n > 1 for s, n in zip(t._strides, t._shape))


def check_apart(out: Any, args: tuple[Any, ...], what: str) -> None:
    """Raises RuntimeError if a tensor to be written shares memory with one that is read."""
    outs = out if isinstance(out, (tuple, list)) else (out,)
    reads = [t for a in args for t in (a if isinstance(a, (tuple, list)) else (a,)) if isinstance(t, Tensor)]
    for o in outs:
        if isinstance(o, Tensor) and any(t is o or (o.numel() and t._storage is o._storage) for t in reads):
            raise RuntimeError(f"{what}: unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory "
                               "location. Please clone() the tensor before performing the operation.")


def public(*names: str, function: bool = True, method: bool = True, inplace: bool = False, out: bool | str = False) -> Callable[[F], F]:
    """Decorator: gives a function its public names.

    `function`: `torsh.name`; `method`: `Tensor.name`; `inplace`: `Tensor.name_` (and `torsh.name_`), the result written
    into the first argument; `out`: an `out=` argument (a tuple for several results; "exact" if that must be of the
    result's dtype and apart from the operands). Several names are synonyms.
    """
    def register(f: F) -> F:
        for name in names or (f.__name__.rstrip("_") if not f.__name__.endswith("_") else f.__name__,):
            shown = with_out(f, name, out == "exact") if out else f
            if function:
                FUNCTIONS[name] = shown
            if method:
                attribute(name, shown)
            if inplace:
                written = _in_place(f, name + "_")
                attribute(name + "_", written)
                if function:
                    FUNCTIONS[name + "_"] = written
        return f
    return register


def with_out(f: Callable[..., Any], name: str, exact: bool = False) -> Callable[..., Any]:
    """The function with an `out=` argument: a tensor, or a tuple of them for several results. `exact` as `write_out` takes it."""
    @functools.wraps(f)
    def call(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return f(*args, **kwargs)
        if exact:
            check_apart(out, args, name)
        value = outside(f, *args, **kwargs) if entered.autocast else f(*args, **kwargs)
        if isinstance(value, tuple):
            written = [write_out(o, v, name, exact) for o, v in zip(out, value, strict=True)]
            return type(value)(*written) if hasattr(value, "_fields") else tuple(written)
        return write_out(out, value, name, exact)
    call.__name__ = name
    return call


def _in_place(f: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(self)
        recording = state.enabled and needs_record((self, *[a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]))
        source = snapshot(self) if recording else self
        return copy_into(self, outside(f, source, *args, **kwargs) if entered.autocast else f(source, *args, **kwargs), name)
    call.__name__ = name
    call.__doc__ = f"In-place form of `{name[:-1]}`."
    return call


def coarse(name: str, function: Callable[..., Any], vjp: Callable[..., Any] | None, save_inputs: tuple[int, ...] = (),
           save_output: bool = False, grad_name: str | None = None) -> Op:
    """A coarse operation: `function(*tensors, *arg)` says in tensor operations what it computes."""
    def expand_nodes(node: Node, *srcs: Node) -> Any:
        enabled, inference = state.enabled, state.inference
        state.enabled, state.inference = False, False
        try:
            tensors = [wrap(s) for s in srcs]
            found = outside(function, *tensors, *node.arg) if entered.autocast else function(*tensors, *node.arg)
        finally:
            state.enabled, state.inference = enabled, inference
        return tuple(node_of(t) for t in found) if isinstance(found, (tuple, list)) else node_of(found)
    return Op(name, "coarse", None, expand_nodes, vjp, save_inputs, save_output, grad_name)


def rule(name: str, function: Callable[..., Tensor]) -> Callable[[tuple[Tensor, ...], tuple[Any, ...], Shape, dtype], Tensor]:
    """A formula of a backward rule: `function(*tensors, *arg)`, of a shape and dtype the caller knows.

    It is one coarse node while nobody will differentiate it again, and the operations it is made of under `create_graph`.
    """
    op = coarse(name, function, None)

    def call(tensors: tuple[Tensor, ...], arg: tuple[Any, ...], shape: Shape, dt: dtype) -> Tensor:
        return function(*tensors, *arg) if state.enabled else apply(op, tensors, arg, shape, dt)
    return call


def cast_tensor(t: Tensor, dt: dtype) -> Tensor:
    """`t` as another type, differentiably; `t` itself if it has that type."""
    if t._dtype is dt:
        return t
    if t._strides is not None:
        return pointwise(CAST, (t,), t._dtype, dt, "to")
    return recorded(CAST, None, (t,), wrap(cast(node_of(t), dt)))


def wide(t: Tensor) -> Tensor:
    """A half precision tensor as float32 (differentiably); others as they are."""
    return cast_tensor(t, dtypes.float32) if t._dtype.category == 2 and t._dtype.itemsize == 2 else t


def _cast_vjp(ctx: Any, g: Tensor) -> Tensor:
    return cast_tensor(g, ctx.dtypes[0])


CAST.vjp = _cast_vjp
CAST.grad_name = "ToCopyBackward0"
__all__ = ["FUNCTIONS", "LATE", "apply", "apply_several", "cast_tensor", "coarse", "copy_into", "late", "operand", "pointwise", "public", "recorded",
           "result_type_of", "rule", "scalar_tensor", "shape_of", "tensors_of", "wide", "with_out", "write_out"]
