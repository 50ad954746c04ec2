"""Convolutions in one to three dimensions, as contractions over windows.

y = conv(x, w) is linear in both, and the three ways to leave one of (x, w, y) open (the convolution, its transpose, the
gradient of the weight) are each other's derivatives: three coarse operations that are differentiable any number of times.
The windows of the padded input are the operand of one batched matrix product (im2col without the copy; Chellapilla,
Puri & Simard, 2006), groups in the batch.
"""
from __future__ import annotations

import itertools
from typing import Any

from torsh.autograd.autocast import lower_type, lowered
from torsh.autograd.entered import entered
from torsh.autograd.graph import GradNode
from torsh.core.shapes import Shape, contiguous_strides, numel
from torsh.graph.node import Node
from torsh.graph.primitives import WINDOWS
from torsh.ops.composite import in_float32, rounded_once
from torsh.ops.dispatch import apply, coarse
from torsh.ops.matmul import contract
from torsh.ops.pointwise import conj_if
from torsh.ops.windows import embedded, numbers, reversed_last, windows
from torsh.tensor.tensor import Tensor, wrap

#: Grouped convolutions with at most this many outputs and weights (an output) in a group are computed without a matrix product.
_FEW_OUTPUTS, _FEW_WEIGHTS = 4, 32
_PRODUCTS = frozenset(("float16", "bfloat16", "float32", "float64"))

# Arguments of the three: (stride, padding before, dilation, groups, spatial size of the result). Shapes:
# x [n, groups * c, *size], w [groups * o, c, *kernel], y [n, groups * o, *out].


def _convolve(x: Tensor, w: Tensor, stride: Shape, before: Shape, dilation: Shape, groups: int, out: Shape) -> Tensor:
    n, kernel = x._shape[0], w._shape[2:]
    c, o = w._shape[1], w._shape[0] // groups
    k = len(kernel)
    seen = windows(x, out, kernel, stride, before, dilation)  # [n, groups * c, *out, *kernel]
    if groups > 1 and o <= _FEW_OUTPUTS and c * numel(kernel) <= _FEW_WEIGHTS and not x._dtype.is_complex:
        return in_float32(_convolve_directly)(seen, w, groups, out)
    rows = w.reshape(groups, o, c * numel(kernel))  # type: ignore[attr-defined]
    if (numel(kernel) > 1 or any(s > 1 for s in stride)) and x._dtype.name in _PRODUCTS:
        image, channel, *steps = seen._strides or contiguous_strides(seen._shape)
        arg = (n, groups, (image, c * channel), ((c, *kernel), (channel, *steps[k:])), (out, tuple(steps[:k])), seen._offset)
        y = wrap(Node(WINDOWS, (rows._node(), seen._storage.node), arg, (n * groups, o, numel(out)), x._dtype))
        return y.reshape(n, groups * o, *out)  # type: ignore[attr-defined,no-any-return]
    order = [0, 1, *range(2 + k, 2 + 2 * k), *range(2, 2 + k)]
    columns = seen.permute(order).reshape(n * groups, c * numel(kernel), numel(out))  # type: ignore[attr-defined]
    if groups > 1 and n > 1:
        rows = rows.unsqueeze(0).expand(n, *rows._shape).reshape(n * groups, o, -1)
    return contract(rows, columns).reshape(n, groups * o, *out)  # type: ignore[attr-defined,no-any-return]


def _convolve_directly(seen: Tensor, w: Tensor, groups: int, out: Shape) -> Tensor:
    """A term for each weight of an output, all in one pass over the result: little is gained from a product of such thin matrices."""
    n, k = seen._shape[0], len(out)
    c, o, kernel = w._shape[1], w._shape[0] // groups, w._shape[2:]
    by_group = seen.reshape(n, groups, 1, c, *out, *kernel)  # type: ignore[attr-defined]
    weights = w.reshape(groups, o, c, *kernel)  # type: ignore[attr-defined]
    total: Tensor | None = None
    for channel, *place in itertools.product(range(c), *map(range, kernel)):
        here = by_group[(slice(None), slice(None), slice(None), channel, *[slice(None)] * k, *place)]
        weight = weights[(slice(None), slice(None), channel, *place)].reshape(1, groups, o, *[1] * k)
        total = here * weight if total is None else total + here * weight
    assert total is not None
    return total.reshape(n, groups * o, *out)  # type: ignore[attr-defined,no-any-return]


def _convolve_back(y: Tensor, w: Tensor, stride: Shape, before: Shape, dilation: Shape, groups: int, size: Shape) -> Tensor:
    """The transpose: y spread out by the stride, convolved with the weight turned around, its channels exchanged."""
    kernel = w._shape[2:]
    c, o = w._shape[1], w._shape[0] // groups
    lead = tuple(d * (k - 1) - b for d, k, b in zip(dilation, kernel, before, strict=True))
    if any(s > 1 for s in stride):
        y = embedded(y, (0,) * len(size), tuple((m - 1) * s + 1 for m, s in zip(y._shape[2:], stride, strict=True)), 0, stride)
    # Positions past what a window of the result can reach meet no weight.
    room = tuple(max(1, i + d * (k - 1) - a) for i, d, k, a in zip(size, dilation, kernel, lead, strict=True))
    for j, most in enumerate(room):
        if y._shape[2 + j] > most:
            y = y.narrow(2 + j, 0, most)  # type: ignore[attr-defined]
    turned = w.reshape(groups, o, c, *kernel).transpose(1, 2).contiguous()  # type: ignore[attr-defined]
    return _convolve(y, reversed_last(turned, len(kernel)).reshape(groups * c, o, *kernel), (1,) * len(size), lead, dilation, groups, size)  # type: ignore[attr-defined]


def _weight_gradient(x: Tensor, y: Tensor, stride: Shape, before: Shape, dilation: Shape, groups: int, kernel: Shape) -> Tensor:
    n, out, k = x._shape[0], y._shape[2:], len(kernel)
    c, o = x._shape[1] // groups, y._shape[1] // groups
    seen = windows(x, out, kernel, stride, before, dilation).reshape(n, groups, c, *out, *kernel)  # type: ignore[attr-defined]
    order = [1, 2, *range(3 + k, 3 + 2 * k), 0, *range(3, 3 + k)]
    columns = seen.permute(order).reshape(groups, c * numel(kernel), n * numel(out)).transpose(1, 2)
    rows = y.reshape(n, groups, o, numel(out)).permute(1, 2, 0, 3).reshape(groups, o, n * numel(out))  # type: ignore[attr-defined]
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
_TRANSPOSED = coarse("convolution_transposed", _convolve_back, _convolve_back_vjp, (0, 1), grad_name="ConvolutionBackward0")
_WEIGHT = coarse("convolution_weight", _weight_gradient, _weight_gradient_vjp, (0, 1), grad_name="ConvolutionBackwardBackward0")


def _call(op: Any, a: Tensor, b: Tensor, arg: tuple[Any, ...], shape: Shape) -> Tensor:
    if 0 in shape or 0 in a._shape or 0 in b._shape:
        return (a.sum() + b.sum()) * 0 + a.new_zeros(shape)  # type: ignore[attr-defined,no-any-return]
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
