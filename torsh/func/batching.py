"""Batching rules: from the graph of one example to the graph of all of them.

A node that depends on an example becomes one of shape [batch, *shape]. Each kind of primitive has one rule, so every
operation, written in tensor operations or as a coarse node, has one too. Host steps say where they are declared how
they take a batch (`graph.primitives.batched`); those that do not are an error here.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torsh.core.shapes import Shape, contiguous_strides
from torsh.graph import primitives as p
from torsh.graph.node import ITEM, Node, Op, several
from torsh.graph.primitives import expand, reshape, view

Batched = Node | tuple[Node, ...] | None
Rule = Callable[[Node, Sequence[Node], Sequence[Node | None], int], Any]

#: Coarse operations that take a batch as they are: a rule may return None where it does not apply.
COARSE: dict[Op, Rule] = {}


def _escaped(node: Node) -> Any:
    raise RuntimeError("vmap: the value of a tensor was needed inside a function that is being vmapped (item(), bool(), numpy(), or an "
                       "operation whose result's shape depends on values), or a tensor of one example was used after its vmap. Such a tensor has no "
                       "value of its own there: use operations like torsh.where instead of control flow on values.")


#: A tensor that stands for one example of a batch. It can be read by operations but never computed.
EXAMPLE = Op("vmap_example", "coarse", None, _escaped)


def batch_nodes(wanted: Sequence[Node], size: int, known: dict[Node, Batched], done: dict[Node, Batched] | None = None) -> list[Node | None]:
    """For each node the one of all examples, [size, *shape], or None if it does not depend on an example.

    `known` has the examples and what was batched before; `done`, if given, is filled with all that is batched now. Raises
    RuntimeError for a host step without a rule.
    """
    done = {} if done is None else done
    done.update(known)
    expansions: dict[Node, Any] = {}
    stack: list[tuple[Node, int]] = [(n, 0) for n in reversed(wanted)]
    while stack:
        node, stage = stack.pop()
        if node in done:
            continue
        if stage == 0:
            if node.buffer is not None or not node.srcs:
                done[node] = None  # also an example of a vmap around this one
                continue
            stack.append((node, 1))
            stack.extend([(s, 0) for s in node.srcs])
            continue
        if stage == 2:
            found = expansions[node]
            done[node] = tuple([_whole(done[e], e, size) for e in found]) if isinstance(found, tuple) else done[found]  # type: ignore[misc]
            continue
        sources: list[Any] = [done[s] for s in node.srcs]
        if all(s is None for s in sources):
            done[node] = None
        elif node.op is ITEM:
            done[node] = sources[0][node.arg]
        elif node.op.kind == "coarse":
            rule = COARSE.get(node.op)
            made = None if rule is None else rule(node, node.srcs, sources, size)
            if made is not None:
                done[node] = made
                continue
            found = expansions[node] = node.op.expand(node, *node.srcs)  # type: ignore[misc]
            stack.append((node, 2))
            stack.extend([(e, 0) for e in (found if isinstance(found, tuple) else (found,))])
        else:
            done[node] = _RULES[node.op.kind](node, node.srcs, sources, size)
    return [done[n] for n in wanted]  # type: ignore[misc]


def depend(wanted: Sequence[Node], known: dict[Node, Batched]) -> list[bool]:
    """Whether each node depends on an example."""
    done: dict[Node, bool] = dict.fromkeys(known, True)
    stack: list[tuple[Node, bool]] = [(n, False) for n in wanted]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if ready or node.buffer is not None or not node.srcs:
            done[node] = node.buffer is None and any(done[s] for s in node.srcs)
        else:
            stack.append((node, True))
            stack.extend([(s, False) for s in node.srcs])
    return [done[n] for n in wanted]


def _whole(batched: Batched, node: Node, size: int) -> Node:
    """A batched node; one that does not depend on the example, repeated."""
    return expand(node, (size, *node.shape)) if batched is None else batched  # type: ignore[return-value]


def _all_whole(node: Node, sources: Sequence[Node | None], size: int) -> list[Node]:
    return [_whole(b, s, size) for s, b in zip(node.srcs, sources, strict=True)]


def aligned(batched: Node, ndim: int) -> Node:
    """[batch, *shape] with dimensions of size 1 put in, so that `shape` broadcasts to `ndim` dimensions."""
    missing = ndim + 1 - len(batched.shape)
    return reshape(batched, (batched.shape[0], *(1,) * missing, *batched.shape[1:])) if missing else batched


def _pointwise(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    ndim = len(node.shape)
    operands = tuple([s if b is None else aligned(b, ndim) for s, b in zip(srcs, sources, strict=True)])
    return Node(node.op, operands, node.arg, (size, *node.shape), node.dtype)


def _view(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    shape, strides, offset = node.arg
    return view(sources[0], (size, *shape), (srcs[0].numel, *strides), offset)  # type: ignore[arg-type]


def _bitcast(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    return reshape(Node(p.BITCAST, (sources[0],), None, (size * node.numel,), node.dtype), (size, *node.shape))  # type: ignore[arg-type]


def _assign(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    shape, strides, offset = node.arg
    old, value = sources
    if old is None:
        old = Node(p.EMPTY, (), None, (size, *node.shape), node.dtype) if srcs[0].op is p.EMPTY else expand(srcs[0], (size, *node.shape))
    value = _whole(value, srcs[1], size)
    return Node(p.ASSIGN, (old, value), ((size, *shape), (node.numel, *strides), offset), (size, *node.shape), node.dtype)


def _reduce(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    return Node(node.op, (sources[0],), tuple([a + 1 for a in node.arg]), (size, *node.shape), node.dtype)  # type: ignore[arg-type]


def _scan(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    return Node(node.op, (sources[0],), node.arg + 1, (size, *node.shape), node.dtype)  # type: ignore[arg-type]


def _indices(srcs: Sequence[Node], sources: Sequence[Node | None], shape: Shape) -> tuple[Node, ...]:
    return tuple([s if b is None else aligned(b, len(shape)) for s, b in zip(srcs, sources, strict=True)])


def _padded(node: Node, base: Node, size: int) -> Node:
    strides, offset, bounds, value = node.arg
    arg = ((base.numel // size, *strides), offset, tuple([(axis + 1, low, high) for axis, low, high in bounds]), value)
    return Node(node.op, (base,), arg, (size, *node.shape), node.dtype)


def _gather(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    if node.op is p.PADDED:
        return _padded(node, sources[0], size)  # type: ignore[arg-type]
    shape, strides, offset, index_strides, index_sizes = node.arg
    base, step = (srcs[0], 0) if sources[0] is None else (sources[0], srcs[0].numel)
    places = ((size, *shape), (step, *strides), offset, index_strides, index_sizes)
    return Node(p.GATHER, (base, *_indices(srcs[1:], sources[1:], shape)), places, (size, *node.shape), node.dtype)


def _scatter(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    shape, strides, offset, index_strides, index_sizes, mode = node.arg
    base, value = _whole(sources[0], srcs[0], size), _whole(sources[1], srcs[1], size)
    places = ((size, *shape), (srcs[0].numel, *strides), offset, index_strides, index_sizes, mode)
    return Node(p.SCATTER, (base, value, *_indices(srcs[2:], sources[2:], shape)), places, (size, *node.shape), node.dtype)


# ---- products


def _contract(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    """The batch becomes part of the product's own batch or, where the other factor is the same for all examples, of its rows or columns."""
    (a, b), (many_a, many_b) = srcs, sources
    batches, m, n = node.shape
    k = a.shape[2]
    if many_a is not None and many_b is not None:
        if a.shape[0] != b.shape[0]:
            many_a, many_b = (x if s.shape[0] == batches else expand(x, (size, batches, *s.shape[1:])) for x, s in ((many_a, a), (many_b, b)))
        made = _product(reshape(many_a, (size * batches, m, k)), reshape(many_b, (size * batches, k, n)), (size * batches, m, n), node)
        return reshape(made, (size, *node.shape))
    if many_a is not None:
        if a.shape[0] == b.shape[0]:  # [size, g, m, k] and [g, k, n]: as [g, size * m, k] and [g, k, n]
            g = a.shape[0]
            rows = view(many_a, (g, size, m, k), (m * k, g * m * k, k, 1), 0)
            made = _product(reshape(rows, (g, size * m, k)), b, (g, size * m, n), node)
            return view(made, (size, g, m, n), (m * n, size * m * n, n, 1), 0)
        if b.shape[0] == 1:  # [size, g, m, k] and [1, k, n]
            return reshape(_product(reshape(many_a, (1, size * batches * m, k)), b, (1, size * batches * m, n), node), (size, *node.shape))
        rows = reshape(many_a, (1, size * m, k))
        made = _product(rows, b, (batches, size * m, n), node)  # [size, 1, m, k] and [g, k, n]
        return view(made, (size, batches, m, n), (m * n, size * m * n, n, 1), 0)
    assert many_b is not None
    if a.shape[0] == 1:  # [1, m, k] and [size, g, k, n]
        return reshape(_product(a, reshape(many_b, (size * batches, k, n)), (size * batches, m, n), node), (size, *node.shape))
    g = b.shape[0]  # [batches, m, k] and [size, g, k, n], g being batches or 1: as [g, k, size * n]
    columns = reshape(view(many_b, (g, k, size, n), (k * n, n, g * k * n, 1), 0), (g, k, size * n))
    made = _product(a, columns, (batches, m, size * n), node)
    return view(made, (size, batches, m, n), (n, m * size * n, size * n, 1), 0)


def _product(a: Node, b: Node, shape: Shape, like: Node) -> Node:
    return Node(p.CONTRACT, (a, b), None, shape, like.dtype)


def _windows(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    """Examples of images are more images, examples of weights more rows. Where both differ (or images do not fill their memory), example by example."""
    images, groups, (image, group), *rest = node.arg
    batches, m, columns = node.shape
    if images == 1:
        image = srcs[1].numel
    if sources[0] is None and images * image == srcs[1].numel:
        made = Node(p.WINDOWS, (srcs[0], sources[1]), (size * images, groups, (image, group), *rest), (size * batches, m, columns), node.dtype)  # type: ignore[arg-type]
        return reshape(made, (size, *node.shape))
    if sources[1] is None:
        k = srcs[0].shape[2]
        rows = reshape(view(sources[0], (groups, size, m, k), (m * k, groups * m * k, k, 1), 0), (groups, size * m, k))  # type: ignore[arg-type]
        made = Node(p.WINDOWS, (rows, srcs[1]), node.arg, (batches, size * m, columns), node.dtype)
        return view(made, (size, *node.shape), (m * columns, size * m * columns, columns, 1), 0)
    return _one_by_one(node, srcs, sources, size)


def _one_by_one(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    """A node for each example, in one memory."""
    whole = Node(p.EMPTY, (), None, (size, *node.shape), node.dtype)
    for i in range(size):
        here = [s if b is None else view(b, s.shape, contiguous_strides(s.shape), i * s.numel) for s, b in zip(srcs, sources, strict=True)]
        one = Node(node.op, tuple(here), node.arg, node.shape, node.dtype)
        whole = Node(p.ASSIGN, (whole, one), (node.shape, contiguous_strides(node.shape), i * node.numel), whole.shape, node.dtype)
    return whole


def _convolve(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    """Examples of images are more images, examples of weights (without groups) more outputs. Where both differ, example by example."""
    if node.op is p.CONVOLVE_WEIGHT:
        return _one_by_one(node, srcs, sources, size)
    n, o, *out = node.shape
    if sources[0] is None:
        x = reshape(sources[1], (size * srcs[1].shape[0], *srcs[1].shape[1:]))  # type: ignore[arg-type]
        return reshape(Node(node.op, (srcs[0], x), node.arg, (size * n, *node.shape[1:]), node.dtype), (size, *node.shape))
    if sources[1] is None and node.arg[0] == 1 and node.arg[6] == (1, 1):
        made = Node(node.op, (reshape(sources[0], (1, size * o, srcs[0].shape[2])), srcs[1]), node.arg, (n, size * o, *out), node.dtype)
        inner = contiguous_strides((o, *out))
        return view(made, (size, *node.shape), (o * inner[0], size * o * inner[0], *inner), 0)
    return _one_by_one(node, srcs, sources, size)


def _winograd(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    """Examples of weights are more weights, examples of images more images. Where both differ, example by example."""
    if node.op is p.WINOGRAD_WEIGHTS:
        points, o, c = node.shape
        made = Node(node.op, (reshape(sources[0], (size * o, c, 3, 3)),), node.arg, (points, size * o, c), node.dtype)  # type: ignore[arg-type]
        return view(made, (size, points, o, c), (o * c, size * o * c, c, 1), 0)
    if sources[0] is not None:
        return _one_by_one(node, srcs, sources, size)
    x = reshape(sources[1], (size * srcs[1].shape[0], *srcs[1].shape[1:]))  # type: ignore[arg-type]
    made = Node(node.op, (srcs[0], x), node.arg, (size * node.shape[0], *node.shape[1:]), node.dtype)
    return reshape(made, (size, *node.shape))


def _order(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node:
    return Node(p.ORDER, (sources[0],), node.arg, (size, *node.shape), node.dtype)  # type: ignore[arg-type]


# ---- host steps


def _host(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Any:
    plain = node.op is p.HOST
    function, static, name = node.arg if plain else (node.op, node.arg or (), node.op.name)
    rule = p.HOST_BATCHING.get(function)
    batched = None if rule is None else rule(static, tuple([s.shape for s in srcs]))
    if batched is None:
        raise RuntimeError(f"vmap: there is no batching rule for the host step '{name}' (called with shapes {[list(s.shape) for s in srcs]}). Call it "
                           "outside of vmap, on the whole batch.")
    arg = (function, batched, name) if plain else None if node.arg is None else batched
    if rule is p.elementwise:
        whole = tuple([s if b is None else aligned(b, len(node.shape)) for s, b in zip(srcs, sources, strict=True)])
    else:
        whole = tuple(_all_whole(node, sources, size))
    if node.outputs is None:
        return Node(node.op, whole, arg, (size, *node.shape), node.dtype)
    return several(node.op, whole, arg, tuple([((size, *shape), dt) for shape, dt in node.outputs]))


_RULES: dict[str, Rule] = {"pointwise": _pointwise, "view": _view, "bitcast": _bitcast, "assign": _assign, "reduce": _reduce, "scan": _scan,
                           "gather": _gather, "scatter": _scatter, "contract": _contract, "windows": _windows, "winograd": _winograd, "convolve": _convolve,
                           "order": _order, "host": _host}


# ---- coarse operations that stay coarse


def _linear(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node | None:
    if any(b is not None for b in sources[1:]):
        return None
    return Node(node.op, (sources[0], *srcs[1:]), node.arg, (size, *node.shape), node.dtype)  # type: ignore[arg-type]


def _same_filter(node: Node, srcs: Sequence[Node], sources: Sequence[Node | None], size: int) -> Node | None:
    """Convolutions of many inputs with one filter: the examples join the samples."""
    if sources[1] is not None:
        return None
    samples = srcs[0].shape[0]
    x = reshape(sources[0], (size * samples, *srcs[0].shape[1:]))  # type: ignore[arg-type]
    made = Node(node.op, (x, srcs[1]), node.arg, (size * samples, *node.shape[1:]), node.dtype)
    return reshape(made, (size, *node.shape))


def _declare() -> None:
    from torsh.ops import conv, matmul
    COARSE[matmul._LINEAR] = _linear
    COARSE[conv.CONVOLUTION] = COARSE[conv._WITHOUT_RECORD] = COARSE[conv._TRANSPOSED] = _same_filter


_declare()
__all__ = ["COARSE", "EXAMPLE", "Batched", "aligned", "batch_nodes", "depend"]
