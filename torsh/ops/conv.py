"""Convolutions in one to three dimensions, as contractions over windows.

y = conv(x, w) is linear in both, and the three ways to leave one of (x, w, y) open (the convolution, its transpose, the
gradient of the weight) are each other's derivatives: three coarse operations that are differentiable any number of times.
The windows of the padded input are the operand of one batched matrix product (im2col without the copy; Chellapilla,
Puri & Simard, 2006), groups in the batch.
"""
from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from math import gcd
from typing import Any

import numpy as np

from torsh.autograd.autocast import lower_type, lowered
from torsh.autograd.entered import entered
from torsh.autograd.graph import GradNode, needs_record
from torsh.core.dtypes import float32
from torsh.core.layouts import contiguous_format
from torsh.core.shapes import Shape, contiguous_strides, numel
from torsh.graph.node import Node
from torsh.graph.primitives import CONVOLVE, CONVOLVE_WEIGHT, EMPTY, VIEW, WINDOWS, WINOGRAD, WINOGRAD_WEIGHTS
from torsh.ops.composite import in_float32, rounded_once
from torsh.ops.dispatch import apply, coarse
from torsh.ops.matmul import contract
from torsh.ops.pointwise import conj_if
from torsh.ops.views import region_assigned
from torsh.ops.windows import filled, numbers, reversed_last, tap, windows
from torsh.tensor.creation import from_array
from torsh.tensor.tensor import Tensor, wrap

#: Grouped convolutions with at most this many outputs and weights (an output) in a group are computed without a matrix product.
_FEW_OUTPUTS, _FEW_WEIGHTS = 4, 32
#: Images with at most this many windows are multiplied together: alone, they would not fill the columns of a product.
_FEW_WINDOWS = 64
#: Remainders by a stride for which a gradient of an image with few channels in a group is one convolution of what is spread, rather than one for each.
_MOST_SPREAD = 4
#: Groups from which work items that take whole groups keep all threads busy.
_SHARED_GROUPS = 8
_PRODUCTS = frozenset(("float16", "bfloat16", "float32", "float64"))

# Arguments of the three: (stride, padding before, dilation, groups, spatial size of the result). Shapes:
# x [n, groups * c, *size], w [groups * o, c, *kernel], y [n, groups * o, *out].


def _convolve(x: Tensor, w: Tensor, stride: Shape, before: Shape, dilation: Shape, groups: int, out: Shape, kept: bool = False,
              tile: int | None = None, banded: bool | None = None) -> Tensor:
    """`tile` is that of Winograd's algorithm, 0 for another way; `banded` whether that goes band by band. Both are chosen here if they are not given."""
    n, kernel = x._shape[0], w._shape[2:]
    c, o = w._shape[1], w._shape[0] // groups
    k = len(kernel)
    if x._dtype is float32 and groups == 1 and kernel == (3, 3) and stride == dilation == (1, 1):
        tile = _winograd_tile(x._shape[0], c, o, out, kept) if tile is None else tile
        if tile:
            return _winograd(x, w, tile, before, out, kept)
    banded = _thin(x._dtype, n, groups, c, o, kernel, stride, dilation, out) or banded
    direct = not banded and groups > 1 and o <= _FEW_OUTPUTS and c * numel(kernel) <= _FEW_WEIGHTS and not x._dtype.is_complex
    product = x._dtype.name in _PRODUCTS and not direct
    if numel(kernel) == 1 and any(s > 1 for s in stride) and not any(before) and product:
        x = x[(slice(None), slice(None), *[slice(0, (m - 1) * s + 1, s) for m, s in zip(out, stride, strict=True)])].contiguous()  # type: ignore[attr-defined]
        stride = (1,) * k
    rows = w.reshape(groups, o, c * numel(kernel))  # type: ignore[attr-defined]
    plain = numel(kernel) == 1 and all(s == 1 for s in stride) and not any(before) and (n == 1 or numel(out) > _FEW_WINDOWS)
    if product and not plain:
        if banded is None:
            banded = _in_bands(x._dtype, n, groups, c, o, x._shape[2:], kernel, stride, before, dilation, out)
        if banded:
            return _banded(rows, x, (groups, kernel, stride, before, dilation, False, (1,) * k), out)
        seen = _seen(x, out, kernel, stride, before, dilation)
        return _with_windows(rows, seen, n, groups, out, (c, *kernel), (seen.channel, *seen.inside), 0)
    if direct:
        return in_float32(_convolve_directly)(x, w, stride, before, dilation, groups, out)
    view = windows(x, out, kernel, stride, before, dilation)  # [n, groups * c, *out, *kernel]
    order = [0, 1, *range(2 + k, 2 + 2 * k), *range(2, 2 + k)]
    columns = view.permute(order).reshape(n * groups, c * numel(kernel), numel(out))  # type: ignore[attr-defined]
    if groups > 1 and n > 1:
        rows = rows.unsqueeze(0).expand(n, *rows._shape).reshape(n * groups, o, -1)
    return contract(rows, columns).reshape(n, groups * o, *out)  # type: ignore[attr-defined,no-any-return]


class _Seen:
    """Windows in a memory: how far apart images, channels and windows are, and the elements inside of one (by dimension a stride, or where each is)."""
    __slots__ = ("memory", "channels", "image", "channel", "places", "inside", "offset")

    def __init__(self, memory: Node, channels: int, image: int, channel: int, places: Shape, inside: tuple[int | Shape, ...], offset: int) -> None:
        self.memory, self.channels, self.image, self.channel = memory, channels, image, channel
        self.places, self.inside, self.offset = places, inside, offset


def _seen(x: Tensor, out: Shape, kernel: Shape, stride: Shape, before: Shape, dilation: Shape) -> _Seen:
    k = len(out)
    step, size = stride[-1], x._shape[2:]
    if step == 1 or numel(kernel) == 1:
        view = windows(x, out, kernel, stride, before, dilation)
        image, channel, *steps = view._strides or contiguous_strides(view._shape)
        return _Seen(view._storage.node, x._shape[1], image, channel, tuple(steps[:k]), tuple(steps[k:]), view._offset)
    # Columns by their remainder: so windows next to each other are next to each other in memory, whatever the stride.
    reach = tuple((m - 1) * s + (e - 1) * d + 1 for m, s, e, d in zip(out, stride, kernel, dilation, strict=True))
    wide = -(-reach[-1] // step)
    rows = tuple(max(b + i, r) for b, i, r in zip(before[:-1], size[:-1], reach[:-1], strict=True))
    shape = (*x._shape[:2], *rows, step, wide)
    strides = contiguous_strides(shape)
    base = filled(0, shape, x)
    lead = sum(b * s for b, s in zip(before[:-1], strides[2:], strict=False))
    for rest in range(step):
        first = (rest - before[-1]) % step
        at = (first + before[-1]) // step
        count = min(-(-(size[-1] - first) // step), wide - at)
        if count > 0:
            part = x[(..., slice(first, first + (count - 1) * step + 1, step))]
            base = region_assigned(base, part, part._shape, (*strides[:1 + k], 1), lead + rest * wide + at)
    columns = tuple(i * dilation[-1] % step * wide + i * dilation[-1] // step for i in range(kernel[-1]))
    return _Seen(base._node(), x._shape[1], strides[0], strides[1], (*[s * m for s, m in zip(strides[2:1 + k], stride[:-1], strict=True)], 1),
                 (*[s * m for s, m in zip(strides[2:1 + k], dilation[:-1], strict=True)], columns), 0)


def _with_windows(rows: Tensor, seen: _Seen, n: int, groups: int, out: Shape, terms: Shape, steps: tuple[int | Shape, ...], first: int) -> Tensor:
    """[groups, o, numel(terms)] times the windows of each image, [n, groups * o, *out]. The elements of a window are `terms` with `steps` in memory, from
    `first` on."""
    o, group = rows._shape[1], seen.channels // groups * seen.channel
    joined = n > 1 and numel(out) <= _FEW_WINDOWS
    if joined:  # the windows of all images side by side
        arg = (1, groups, (0, group), (terms, steps), ((n, *out), (seen.image, *seen.places)), seen.offset + first)
        y = wrap(Node(WINDOWS, (rows._node(), seen.memory), arg, (groups, o, n * numel(out)), rows._dtype))
        return y.reshape(groups * o, n, numel(out)).transpose(0, 1).reshape(n, groups * o, *out)  # type: ignore[attr-defined,no-any-return]
    arg = (n, groups, (seen.image, group), (terms, steps), (out, seen.places), seen.offset + first)
    y = wrap(Node(WINDOWS, (rows._node(), seen.memory), arg, (n * groups, o, numel(out)), rows._dtype))
    return y.reshape(n, groups * o, *out)  # type: ignore[attr-defined,no-any-return]


def _in_bands(dtype: Any, n: int, groups: int, c: int, o: int, size: Shape, kernel: Shape, stride: Shape, before: Shape, dilation: Shape, out: Shape) -> bool:
    """Whether a convolution is quicker band by band than as a product with the windows of a padded copy."""
    if len(kernel) > 2 or dtype.name not in ("float32", "float64"):
        return False
    from torsh.codegen import bands, cost, gemm
    from torsh.codegen.gemm_layout import Shape as Tile
    from torsh.codegen.target import host
    from torsh.compiler import choice
    given = dtype.name, n, groups, c, o, size, kernel, stride, before, dilation, out
    shape = Tile(host().vector_bytes, 32 if host().vector_bytes == 64 else 16, dtype.itemsize)
    fill: Shape = (1,) * (2 - len(out))
    geometry = bands.Geometry(*[(*fill, *axis) for axis in (kernel, stride, dilation)])  # type: ignore[arg-type]
    reach = tuple(max(b + m, (r - 1) * s + (k - 1) * d + 1) for b, m, r, s, k, d in zip(before, size, out, stride, kernel, dilation, strict=True))
    copied = _PADDED + _SORTED * min(stride[-1] - 1, 16) if stride[-1] > 1 or reach != size else 0
    adjacent = groups == 1 and gemm.windows_in_place(dtype.name, out, (reach[-1] * stride[0], 1) if len(out) == 2 else (1,))
    joined = n > 1 and numel(out) <= _FEW_WINDOWS
    ways = sorted((("bands", bands.cut(geometry, n * groups, c, o, (*fill, *out), shape, 1)[0]),  # type: ignore[arg-type]
                   ("windows", cost.windows(n * groups, c, o, numel(reach), (*fill, *out), c * numel(kernel), adjacent, copied, joined, shape))),
                  key=lambda way: way[1])
    way = ways[0][0]
    if choice.active():
        def timed(name: str) -> Callable[[], object]:
            return _timed((n, groups * c, *size), (groups * o, c, *kernel), dtype, (stride, before, dilation, groups, out, False, 0, name == "bands"))
        way = choice.choose("convolution", repr(given), ways, timed)
    return way == "bands"


def _thin(dtype: Any, n: int, groups: int, c: int, o: int, kernel: Shape, stride: Shape, dilation: Shape, out: Shape, whole: bool = False) -> bool | None:
    """Whether a convolution has so few outputs in a group that a load for each product is quickest; where `whole`, also the gradient of its
    weights, for which rows must not be cut."""
    if len(kernel) > 2 or dtype.name not in ("float32", "float64") or numel(kernel) * c == 1:
        return None
    from torsh.codegen import bands, thin
    from torsh.codegen.target import host
    fill: Shape = (1,) * (2 - len(out))
    geometry = bands.Geometry(*[(*fill, *axis) for axis in (kernel, stride, dilation)])  # type: ignore[arg-type]
    found = thin.cut(geometry, n * groups, c, o, (*fill, *out), host().vector_bytes, dtype.itemsize)  # type: ignore[arg-type]
    return (found is not None and (not whole or (found[2] == out[-1] and c * numel(kernel) <= thin.MOST_TERMS))) or None


#: Cycles for an element of a padded copy, and more of them for each remainder of a stride by which it is sorted (measured).
_PADDED, _SORTED = 1.3, 0.5


def _in_two_dimensions(x: Tensor, y: Tensor, how: tuple[Any, ...]) -> tuple[Tensor, Tensor, tuple[Any, ...]]:
    """Images or signals, and (groups, kernel, stride, zeros before, dilation, ...), with rows: one of them where there are none."""
    if len(x._shape) == 3:
        x, y = x.unsqueeze(2), y.unsqueeze(2)  # type: ignore[attr-defined]
        how = (how[0], *[(0 if i == 2 else 1, *axis) for i, axis in enumerate(how[1:5])], *how[5:6], *[(1, *axis) for axis in how[6:]])
    return x, y, how


def _banded(rows: Tensor, x: Tensor, how: tuple[Any, ...], out: Shape) -> Tensor:
    """Weights [groups, o, elements of a window] by the windows of x in one or two dimensions, [n, groups * o, *out], band by band of rows."""
    n, (groups, o, _) = x._shape[0], rows._shape
    x, _, how = _in_two_dimensions(x, x, how)
    made = wrap(Node(CONVOLVE, (rows._node(), x._node()), how, (n * groups, o, *((1,) * (2 - len(out))), *out), x._dtype))
    return made.reshape(n, groups * o, *out)  # type: ignore[attr-defined,no-any-return]


def _winograd(x: Tensor, w: Tensor, tile: int, before: Shape, out: Shape, kept: bool) -> Tensor:
    n, (o, c) = x._shape[0], w._shape[:2]
    u = Node(WINOGRAD_WEIGHTS, (w._node(),), (tile, kept), ((tile + 2) ** 2, o, c), float32)
    return wrap(Node(WINOGRAD, (u, x._node()), (tile, before), (n, o, *out), float32))


def _winograd_tile(n: int, c: int, o: int, out: Shape, kept: bool) -> int:
    """The results of a tile in each dimension with which Winograd's algorithm takes the least time, or 0 if it does not pay. `kept`: the weights'
    transform costs nothing."""
    from torsh.codegen import cost  # the compiler is loaded when something is first computed
    from torsh.compiler import choice
    ways = cost.convolution(n, c, o, out, kept, numel(out) <= _FEW_WINDOWS)
    way = ways[0][0]
    if choice.active():
        way = choice.choose("convolution 3x3", repr((n, c, o, out, kept)), ways, lambda name: _timed(
            (n, c, out[0] + 2, out[1] + 2), (o, c, 3, 3), float32, ((1, 1), (0, 0), (1, 1), 1, out, kept, _TILES[name])))
    return _TILES[way]


_TILES = {"direct": 0, "tiles of 4": 4, "tiles of 2": 2}


def _timed(x_shape: Shape, w_shape: Shape, dtype: Any, how: tuple[Any, ...]) -> Callable[[], object]:
    """Runs such a convolution; `how` are the other arguments of `_convolve`."""
    x, w = (from_array(np.full(shape, 0.5, dtype.np)) for shape in (x_shape, w_shape))
    made = _convolve(x, w, *how)
    from torsh.compiler import choice
    run = choice.graph(made._node())

    def call(leaves: Any = (x, w)) -> object:  # which keeps them
        return run()
    return call


def _convolve_without_record(x: Tensor, w: Tensor, stride: Shape, before: Shape, dilation: Shape, groups: int, out: Shape) -> Tensor:
    """Nobody is about to change the weights if no derivative is asked for: what is made from weights in memory is kept with them."""
    node = w._node()
    while node.op is VIEW:
        node = node.srcs[0]
    return _convolve(x, w, stride, before, dilation, groups, out, node.op.kind == "leaf")


def _convolve_directly(x: Tensor, w: Tensor, stride: Shape, before: Shape, dilation: Shape, groups: int, out: Shape) -> Tensor:
    """A term for each weight of an output, all in one pass over the result: little is gained from a product of such thin matrices."""
    n, k = x._shape[0], len(out)
    c, o, kernel = w._shape[1], w._shape[0] // groups, w._shape[2:]
    weights = w.reshape(groups, o, c, *kernel)  # type: ignore[attr-defined]
    by_group = x.reshape(n, groups, c, *x._shape[2:])  # type: ignore[attr-defined]
    total: Tensor | None = None
    for channel, *place in itertools.product(range(c), *map(range, kernel)):
        one = x if c == 1 else by_group.select(2, channel)
        here = tap(one, out, tuple(place), stride, before, dilation).reshape(n, groups, 1, *out)  # type: ignore[attr-defined]
        weight = weights[(slice(None), slice(None), channel, *place)].reshape(1, groups, o, *[1] * k)
        total = here * weight if total is None else total + here * weight
    assert total is not None
    return total.reshape(n, groups * o, *out)  # type: ignore[attr-defined,no-any-return]


def _convolve_back(y: Tensor, w: Tensor, stride: Shape, before: Shape, dilation: Shape, groups: int, size: Shape) -> Tensor:
    """The transpose: y convolved with the weight turned around, its channels exchanged.

    With a stride, position i meets those weights k only for which i + before - k * dilation is a multiple of it: for each remainder of
    i + before, a convolution of its own, without stride, with some of the weights.
    """
    kernel = w._shape[2:]
    o, k = w._shape[0] // groups, len(kernel)
    if all(s == 1 for s in stride):
        lead = tuple(d * (m - 1) - b for d, m, b in zip(dilation, kernel, before, strict=True))
        if y._dtype is float32 and groups == 1 and kernel == (3, 3) and dilation == (1, 1):
            tile = _winograd_tile(y._shape[0], o, w._shape[1], size, False)
            if tile:
                return _winograd(y, reversed_last(w, k).transpose(0, 1), tile, lead, size, False)  # type: ignore[attr-defined]
    # The products' rows: a channel's weights at each place, outputs last. All of them are turned at once, as one matrix.
    turned = w.reshape(groups, o, *w._shape[1:]).permute(0, *range(2, 3 + k), 1).clone(memory_format=contiguous_format)  # type: ignore[attr-defined]
    if all(s == 1 for s in stride):
        return _convolve_turned(y, turned, lead, dilation, size)
    n, channels = y._shape[0], w._shape[1] * groups
    if numel(stride) <= _MOST_SPREAD and _thin(y._dtype, n, groups, o, w._shape[1], kernel, (1,) * k, dilation, size):
        lead = tuple(d * (m - 1) - b for d, m, b in zip(dilation, kernel, before, strict=True))
        return _banded(turned.reshape(groups, w._shape[1], numel(kernel) * o), y,  # type: ignore[attr-defined]
                       (groups, kernel, (1,) * k, lead, dilation, True, stride), size)
    parts: list[tuple[Shape, Tensor]] = []
    covered = 0
    strides = contiguous_strides((n, channels, *size))
    for rest in itertools.product(*[range(s) for s in stride]):
        taps, first, space, at, lead, count = zip(*map(_remainder, rest, stride, before, dilation, w._shape[2:], size), strict=True)
        if 0 in count or 0 in taps:
            continue
        place: Any = tuple(slice(f, f + (t - 1) * s // gcd(s, d) + 1, s // gcd(s, d)) for f, t, s, d in zip(first, taps, stride, dilation, strict=True))
        part = turned[(slice(None), slice(None), *place)]
        parts.append((at, _convolve_turned(y, part, tuple(a * (t - 1) - b for a, t, b in zip(space, taps, lead, strict=True)), space, count)))
        covered += numel(count)
    whole = covered == numel(size)
    base = wrap(Node(EMPTY, (), None, (n, channels, *size), y._dtype)) if whole else filled(0, (n, channels, *size), y)
    steps = (*strides[:2], *[a * s for a, s in zip(strides[2:], stride, strict=True)])
    for at, part in parts:
        base = region_assigned(base, part, part._shape, steps, sum(a * s for a, s in zip(at, strides[2:], strict=True)))
    return base


def _remainder(rest: int, stride: int, before: int, dilation: int, kernel: int, size: int) -> tuple[int, int, int, int, int, int]:
    """In one dimension, of the positions i with (i + before) % stride == rest: how many weights they meet and the first of those, by how many windows the
    next one's window lies earlier, the first such i, the `before` of the convolution that gives them, and how many they are."""
    first = next((k for k in range(min(kernel, stride)) if k * dilation % stride == rest), kernel)
    step, space = stride // gcd(stride, dilation), dilation // gcd(stride, dilation)
    taps = max(0, -(-(kernel - first) // step))
    start = -(-(before - rest) // stride) if before > rest else 0
    at = rest + start * stride - before
    return taps, first, space, at, start - (first * dilation - rest) // stride, max(0, -(-(size - at) // stride))


def _convolve_turned(y: Tensor, turned: Tensor, before: Shape, dilation: Shape, size: Shape) -> Tensor:
    """The convolution without stride with weights [groups, c, *kernel, o] turned around."""
    groups, c, *kernel, o = turned._shape
    k = len(kernel)
    # Positions past what a window of the result can reach meet no weight.
    room = tuple(max(1, i + d * (m - 1) - b) for i, d, m, b in zip(size, dilation, kernel, before, strict=True))
    for j, most in enumerate(room):
        if y._shape[2 + j] > most:
            y = y.narrow(2 + j, 0, most)  # type: ignore[attr-defined]
    direct = groups > 1 and c <= _FEW_OUTPUTS and o * numel(tuple(kernel)) <= _FEW_WEIGHTS
    if direct or y._dtype.name not in _PRODUCTS:
        order = (0, 1, k + 2, *range(2, k + 2))
        w = reversed_last(turned.permute(order).clone(memory_format=contiguous_format), k)  # type: ignore[attr-defined]
        return _convolve(y, w.reshape(groups * c, o, *kernel), (1,) * k, before, dilation, groups, size)  # type: ignore[attr-defined]
    if _in_bands(y._dtype, y._shape[0], groups, o, c, y._shape[2:], tuple(kernel), (1,) * k, before, dilation, size):
        rows = turned.reshape(groups, c, numel(tuple(kernel)) * o)  # type: ignore[attr-defined]
        return _banded(rows, y, (groups, tuple(kernel), (1,) * k, before, dilation, True, (1,) * k), size)
    seen = _seen(y, size, tuple(kernel), (1,) * k, before, dilation)
    steps: Any = seen.inside
    rows = turned.reshape(groups, c, numel(tuple(kernel)) * o)  # type: ignore[attr-defined]
    first = sum((m - 1) * s for m, s in zip(kernel, steps, strict=True))
    return _with_windows(rows, seen, y._shape[0], groups, size, (*kernel, o), (*[-s for s in steps], seen.channel), first)


def _weight_gradient(x: Tensor, y: Tensor, stride: Shape, before: Shape, dilation: Shape, groups: int, kernel: Shape) -> Tensor:
    n, out, k = x._shape[0], y._shape[2:], len(kernel)
    c, o = x._shape[1] // groups, y._shape[1] // groups
    if groups >= _SHARED_GROUPS and _thin(x._dtype, n, groups, c, o, kernel, stride, dilation, out, True):
        x, y, how = _in_two_dimensions(x, y, (groups, kernel, stride, before, dilation))
        made = wrap(Node(CONVOLVE_WEIGHT, (y._node(), x._node()), how, (groups, o, c * numel(kernel)), x._dtype))
        return made.reshape(groups * o, c, *kernel)  # type: ignore[attr-defined,no-any-return]
    rows = y.reshape(n, groups, o, numel(out)).permute(1, 2, 0, 3).reshape(groups, o, n * numel(out))  # type: ignore[attr-defined]
    if x._dtype.name in _PRODUCTS:
        # The sum runs over the windows of all images. Where a row of a window is too short to be read at once, the channels are last in memory.
        short = kernel[-1] < 3 or dilation[-1] != 1
        seen = windows(x, out, kernel, stride, before, dilation, channels_last=short)
        image, channel, *steps = seen._strides or contiguous_strides(seen._shape)
        if not short:
            arg = (1, groups, (0, c * channel), ((n, *out), (image, *steps[:k])), ((c, *kernel), (channel, *steps[k:])), seen._offset)
            found = wrap(Node(WINDOWS, (rows._node(), seen._storage.node), arg, (groups, o, c * numel(kernel)), x._dtype))
            return found.reshape(groups * o, c, *kernel)  # type: ignore[attr-defined,no-any-return]
        arg = (1, groups, (0, c * channel), ((n, *out), (image, *steps[:k])), ((*kernel, c), (*steps[k:], channel)), seen._offset)
        found = wrap(Node(WINDOWS, (rows._node(), seen._storage.node), arg, (groups, o, numel(kernel) * c), x._dtype))
        return found.reshape(groups * o, *kernel, c).permute(0, k + 1, *range(1, k + 1))  # type: ignore[attr-defined,no-any-return]
    seen = windows(x, out, kernel, stride, before, dilation).reshape(n, groups, c, *out, *kernel)  # type: ignore[attr-defined]
    order = [1, 2, *range(3 + k, 3 + 2 * k), 0, *range(3, 3 + k)]
    columns = seen.permute(order).reshape(groups, c * numel(kernel), n * numel(out)).transpose(1, 2)
    return contract(rows, columns).reshape(groups * o, c, *kernel)  # type: ignore[attr-defined,no-any-return]


def _convolve_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    *how, _ = ctx.arg
    gx = _call(_TRANSPOSED, g, conj_if(ctx[1]), (*how, ctx.shapes[0][2:]), ctx.shapes[0]) if ctx.needs[0] else None
    return gx, _call(_WEIGHT, conj_if(ctx[0]), g, (*how, ctx.shapes[1][2:]), ctx.shapes[1]) if ctx.needs[1] else None


def _convolve_back_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    *how, _ = ctx.arg
    gy = _call(CONVOLUTION, g, conj_if(ctx[1]), (*how, ctx.shapes[0][2:]), ctx.shapes[0]) if ctx.needs[0] else None
    return gy, _call(_WEIGHT, g, conj_if(ctx[0]), (*how, ctx.shapes[1][2:]), ctx.shapes[1]) if ctx.needs[1] else None


def _weight_gradient_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    *how, _ = ctx.arg
    gx = _call(_TRANSPOSED, conj_if(ctx[1]), g, (*how, ctx.shapes[0][2:]), ctx.shapes[0]) if ctx.needs[0] else None
    return gx, _call(CONVOLUTION, conj_if(ctx[0]), g, (*how, ctx.shapes[1][2:]), ctx.shapes[1]) if ctx.needs[1] else None


CONVOLUTION = coarse("convolution", _convolve, _convolve_vjp, (0, 1))
_WITHOUT_RECORD = coarse("convolution_without_record", _convolve_without_record, None)
_TRANSPOSED = coarse("convolution_transposed", _convolve_back, _convolve_back_vjp, (0, 1), grad_name="ConvolutionBackward0")
_WEIGHT = coarse("convolution_weight", _weight_gradient, _weight_gradient_vjp, (0, 1), grad_name="ConvolutionBackwardBackward0")


def _call(op: Any, a: Tensor, b: Tensor, arg: tuple[Any, ...], shape: Shape) -> Tensor:
    if 0 in shape or 0 in a._shape or 0 in b._shape:
        return (a.sum() + b.sum()) * 0 + a.new_zeros(shape)  # type: ignore[attr-defined,no-any-return]
    if op is CONVOLUTION and not needs_record((a, b)):
        op = _WITHOUT_RECORD
    return apply(op, (a, b), arg, shape, a._dtype)


def _check(what: str, x: Tensor, w: Tensor, bias: Tensor | None, k: int, groups: int, transposed: bool) -> None:
    if len(w._shape) != k + 2 or len(x._shape) not in (k + 1, k + 2):
        raise RuntimeError(f"Expected {k + 1}D (unbatched) or {k + 2}D (batched) input to {what}, but got input of size: {list(x._shape)} "
                           f"and weight of size: {list(w._shape)}")
    for name, t in (("weight", w), ("bias", bias)):
        if t is not None and t._dtype is not x._dtype:
            raise RuntimeError(f"{what}: Input type ({x._dtype.name}) and {name} type ({t._dtype.name}) should be the same")
    if x._dtype.category < 1:
        raise RuntimeError(f"{what}: \"convolution\" not implemented for '{x._dtype.title}'")
    if groups <= 0:
        raise RuntimeError(f"{what}: non-positive groups is not supported")
    channels = x._shape[-k - 1]
    expected = w._shape[0] if transposed else w._shape[1] * groups
    if channels != expected or w._shape[0] % groups:
        raise RuntimeError(f"{what}: Given {'transposed=1, ' if transposed else ''}groups={groups}, weight of size {list(w._shape)}, expected input"
                           f"{list(x._shape)} to have {expected} channels, but got {channels} channels instead")
    outputs = w._shape[1] * groups if transposed else w._shape[0]
    if bias is not None and bias._shape != (outputs,):
        raise RuntimeError(f"{what}: Given weight of size {list(w._shape)}, expected bias to be 1-dimensional with {outputs} elements, but got bias of "
                           f"size {list(bias._shape)} instead")


def _positive(what: str, **values: Shape) -> None:
    for name, v in values.items():
        if any(i <= 0 for i in v):
            raise RuntimeError(f"{what}: non-positive {name} is not supported, got {list(v)}")


def _with_bias(y: Tensor, bias: Tensor | None, k: int, batched: bool) -> Tensor:
    if bias is not None:
        y = y + bias.reshape(-1, *[1] * k)  # type: ignore[attr-defined]
    return y if batched else y.squeeze(0)  # type: ignore[attr-defined,no-any-return]


def _conv(k: int, what: str, x: Tensor, w: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
    if entered.autocast and lower_type() is not None:
        return lowered(_conv, k, what, x, w, bias, stride, padding, dilation, groups)  # type: ignore[no-any-return]
    groups = operator.index(groups)
    _check(what, x, w, bias, k, groups, False)
    step, spacing = numbers(stride, k, what, "stride"), numbers(dilation, k, what, "dilation")
    _positive(what, stride=step, dilation=spacing)
    kernel = w._shape[2:]
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise RuntimeError(f"{what}: Invalid padding string: '{padding}'; expected 'same' or 'valid'")
        if padding == "same" and any(s != 1 for s in step):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        total = tuple(d * (n - 1) if padding == "same" else 0 for d, n in zip(spacing, kernel, strict=True))
        before = tuple(t // 2 for t in total)
    else:
        before = numbers(padding, k, what, "padding")
        if any(b < 0 for b in before):
            raise RuntimeError(f"{what}: negative padding is not supported, got {list(before)}")
        total = tuple(2 * b for b in before)
    batched = len(x._shape) == k + 2
    x = x if batched else x.unsqueeze(0)  # type: ignore[attr-defined]
    room = tuple(i + t - d * (n - 1) - 1 for i, t, d, n in zip(x._shape[2:], total, spacing, kernel, strict=True))
    if any(r < 0 for r in room):
        raise RuntimeError(f"{what}: Calculated padded input size per channel: {[i + t for i, t in zip(x._shape[2:], total, strict=True)]}. Kernel size: "
                           f"{[d * (n - 1) + 1 for d, n in zip(spacing, kernel, strict=True)]}. Kernel size can't be greater than actual input size")
    out = tuple(r // s + 1 for r, s in zip(room, step, strict=True))
    y = _call(CONVOLUTION, x, w, (step, before, spacing, groups, out), (x._shape[0], w._shape[0], *out))
    return _with_bias(y, bias, k, batched)


def _conv_transpose(k: int, what: str, x: Tensor, w: Tensor, bias: Tensor | None, stride: Any, padding: Any, output_padding: Any, groups: int,
                    dilation: Any) -> Tensor:
    if entered.autocast and lower_type() is not None:
        return lowered(_conv_transpose, k, what, x, w, bias, stride, padding, output_padding, groups, dilation)  # type: ignore[no-any-return]
    groups = operator.index(groups)
    _check(what, x, w, bias, k, groups, True)
    step, spacing = numbers(stride, k, what, "stride"), numbers(dilation, k, what, "dilation")
    before, extra = numbers(padding, k, what, "padding"), numbers(output_padding, k, what, "output_padding")
    _positive(what, stride=step, dilation=spacing)
    if any(b < 0 for b in before) or any(e < 0 for e in extra):
        raise RuntimeError(f"{what}: negative padding is not supported, got {list(before)} and output_padding {list(extra)}")
    if any(e >= max(s, d) for e, s, d in zip(extra, step, spacing, strict=True)):
        raise RuntimeError(f"{what}: output padding must be smaller than either stride or dilation, but got output_padding: {list(extra)} stride: "
                           f"{list(step)} dilation: {list(spacing)}")
    batched = len(x._shape) == k + 2
    x = x if batched else x.unsqueeze(0)  # type: ignore[attr-defined]
    size = tuple((i - 1) * s - 2 * b + d * (n - 1) + e + 1
                 for i, s, b, d, n, e in zip(x._shape[2:], step, before, spacing, w._shape[2:], extra, strict=True))
    if any(i <= 0 for i in size):
        raise RuntimeError(f"{what}: Given input size per channel: {list(x._shape[2:])}. Calculated output size per channel: {list(size)}. Output size is "
                           "too small")
    y = _call(_TRANSPOSED, x, w, (step, before, spacing, groups, size), (x._shape[0], w._shape[1] * groups, *size))
    return _with_bias(y, bias, k, batched)


#: With a bias, half precision is rounded once, after it is added.
_conv_rounded, _transpose_rounded = rounded_once(_conv), rounded_once(_conv_transpose)
_DOC = ("{k}-dimensional cross-correlation: input [n, c, *size] (or without n), weight [o, c / groups, *kernel], bias [o].\n\n"
        "    `padding` is a number of zeros for each side, \"same\" or \"valid\". Raises RuntimeError for shapes and types that do not fit.\n    ")
_TRANSPOSED_DOC = ("The transpose of `conv{k}d` (its gradient by the input): input [n, c, *size], weight [c, o / groups, *kernel], bias [o].\n\n"
                   "    Raises RuntimeError for shapes and types that do not fit.\n    ")


def _make(k: int) -> tuple[Any, Any]:
    def conv(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Tensor:
        return (_conv if bias is None else _conv_rounded)(k, f"conv{k}d", input, weight, bias, stride, padding, dilation, groups)

    def conv_transpose(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
                       groups: int = 1, dilation: Any = 1) -> Tensor:
        found = _conv_transpose if bias is None else _transpose_rounded
        return found(k, f"conv_transpose{k}d", input, weight, bias, stride, padding, output_padding, groups, dilation)
    conv.__name__, conv_transpose.__name__ = f"conv{k}d", f"conv_transpose{k}d"
    conv.__doc__, conv_transpose.__doc__ = _DOC.format(k=k), _TRANSPOSED_DOC.format(k=k)
    return conv, conv_transpose


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """`conv1d` of [time, n, c] with weight [kernel, c, o] and bias [o]: [time, n, o]. Raises RuntimeError for shapes and types that do not fit."""
    if len(input._shape) != 3 or len(weight._shape) != 3 or len(bias._shape) != 1:
        raise RuntimeError(f"conv_tbc: Input must have 3 dims: time, batch, in_channel, weight kernel width, in_channels, out_channels, and bias 1, but "
                           f"got shapes {list(input._shape)}, {list(weight._shape)} and {list(bias._shape)}")
    return conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, pad).permute(2, 0, 1)  # type: ignore[attr-defined,no-any-return]


conv1d, conv_transpose1d = _make(1)
conv2d, conv_transpose2d = _make(2)
conv3d, conv_transpose3d = _make(3)
