"""Matrix products: one contraction primitive, [batch, m, k] times [batch, k, n], and PyTorch's forms of it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from torsh.autograd.autocast import lower_type, lowered, outside
from torsh.autograd.entered import entered
from torsh.autograd.grad_mode import state
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import dtype, float32
from torsh.core.shapes import broadcast, numel
from torsh.graph.primitives import CONTRACT
from torsh.ops.composite import HALF, rule
from torsh.ops.dispatch import apply, cast_tensor, coarse, public, wide, write_out
from torsh.ops.pointwise import conj_if
from torsh.ops.reduce import sum, sum_to
from torsh.tensor.tensor import Tensor, attribute


def _contract_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    a, b = ctx[0], ctx[1]
    if ctx.shapes[0][0] != ctx.shapes[1][0]:  # products are summed over a batch: of half types, before they are rounded
        a, b, g = wide(a), wide(b), wide(g)
    ga = contract(g, conj_if(b).transpose(1, 2)) if ctx.needs[0] else None  # type: ignore[attr-defined]
    gb = contract(conj_if(a).transpose(1, 2), g) if ctx.needs[1] else None  # type: ignore[attr-defined]
    return (None if ga is None else sum_to(ga, ctx.shapes[0])), (None if gb is None else sum_to(gb, ctx.shapes[1]))


CONTRACT.vjp, CONTRACT.save_inputs, CONTRACT.grad_name = _contract_vjp, (0, 1), "BmmBackward0"


def contract(a: Tensor, b: Tensor, dt: dtype | None = None) -> Tensor:
    """[batch, m, k] times [batch, k, n]; a batch of 1 broadcasts. The caller has checked shapes and dtypes.

    With `dt` float32, products of half types are given as they are summed, not rounded; that has no derivative.
    """
    shape = max(a._shape[0], b._shape[0]) if 0 not in (a._shape[0], b._shape[0]) else 0, a._shape[1], b._shape[2]
    return apply(CONTRACT, (a, b), None, shape, dt or a._dtype)


def _same_type(what: str, a: Tensor, b: Tensor) -> dtype:
    if a._dtype is not b._dtype:
        raise RuntimeError(f"{what}: expected m1 and m2 to have the same dtype, but got: {a._dtype.name} != {b._dtype.name}")
    return a._dtype


def _check_2d(what: str, a: Tensor, b: Tensor) -> None:
    if len(a._shape) != 2 or len(b._shape) != 2:
        raise RuntimeError(f"{what}: the matrices must be 2-D, got shapes {list(a._shape)} and {list(b._shape)}")
    if a._shape[1] != b._shape[0]:
        raise RuntimeError(f"{what}: mat1 and mat2 shapes cannot be multiplied ({a._shape[0]}x{a._shape[1]} and {b._shape[0]}x{b._shape[1]})")


@public(out=True)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """[m, k] times [k, n]. Raises RuntimeError for other shapes and for different dtypes."""
    if entered.autocast and lower_type() is not None:
        return lowered(mm, input, mat2)  # type: ignore[no-any-return]
    _check_2d("mm", input, mat2)
    _same_type("mm", input, mat2)
    return apply(_MM, (input, mat2), (), (input._shape[0], mat2._shape[1]), input._dtype)


def _mm(a: Tensor, b: Tensor) -> Tensor:
    return contract(a.unsqueeze(0), b.unsqueeze(0)).squeeze(0)  # type: ignore[attr-defined,no-any-return]


def _mm_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    dt = ctx.dtypes[0]
    return (_mm_left((g, ctx[1]), (), ctx.shapes[0], dt) if ctx.needs[0] else None), (_mm_right((g, ctx[0]), (), ctx.shapes[1], dt) if ctx.needs[1] else None)


_mm_left = rule("mm_backward_left", lambda g, b: mm(g, conj_if(b).t()))  # type: ignore[attr-defined]
_mm_right = rule("mm_backward_right", lambda g, a: mm(conj_if(a).t(), g))  # type: ignore[attr-defined]
_MM: Final = coarse("mm", _mm, _mm_vjp, (0, 1))


@public(out=True)
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """[b, m, k] times [b, k, n]. Raises RuntimeError for other shapes and for different dtypes."""
    if entered.autocast and lower_type() is not None:
        return lowered(bmm, input, mat2)  # type: ignore[no-any-return]
    a, b = input._shape, mat2._shape
    if len(a) != 3 or len(b) != 3:
        raise RuntimeError(f"bmm: batch1 and batch2 must be 3D tensors, got shapes {list(a)} and {list(b)}")
    if a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(f"bmm: Expected size for first two dimensions of batch2 tensor to be: [{a[0]}, {a[2]}] but got: [{b[0]}, {b[1]}].")
    _same_type("bmm", input, mat2)
    return contract(input, mat2)


@public(out=True)
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """[m, k] times [k]. Raises RuntimeError for other shapes."""
    if len(input._shape) != 2 or len(vec._shape) != 1 or input._shape[1] != vec._shape[0]:
        raise RuntimeError(f"mv: size mismatch, got input {list(input._shape)}, vec {list(vec._shape)}")
    _same_type("mv", input, vec)
    return contract(input.unsqueeze(0), vec.reshape(1, -1, 1)).reshape(-1)  # type: ignore[attr-defined,no-any-return]


@public(out=True)
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of products of two vectors. Raises RuntimeError for other shapes and for different dtypes."""
    if len(input._shape) != 1 or len(tensor._shape) != 1:
        raise RuntimeError(f"1D tensors expected, but got {len(input._shape)}D and {len(tensor._shape)}D tensors")
    if input._shape != tensor._shape:
        raise RuntimeError(f"inconsistent tensor size, expected tensor {list(input._shape)} and src {list(tensor._shape)} to have the same number of "
                           f"elements, but got {input._shape[0]} and {tensor._shape[0]} elements respectively")
    if input._dtype is not tensor._dtype:
        raise RuntimeError(f"dot : expected both vectors to have same dtype, but found {input._dtype.title} and {tensor._dtype.title}")
    return (input * tensor).sum(dtype=input._dtype)  # type: ignore[attr-defined,no-any-return]


@public(out=True)
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """`dot` with the conjugate of the first vector. Raises as it does."""
    return dot(conj_if(input), other)


@public("outer", "ger", out=True)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of the elements of two vectors, [n, m]. Raises RuntimeError for other shapes."""
    if len(input._shape) != 1 or len(vec2._shape) != 1:
        raise RuntimeError(f"outer: Expected 1-D argument self and vec2, but got {len(input._shape)}-D and {len(vec2._shape)}-D")
    return input.unsqueeze(1) * vec2  # type: ignore[attr-defined,no-any-return]


@public(out=True)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products over the last dimension of both; a 0-dimensional operand scales the other. Raises RuntimeError for sizes that differ."""
    a, b = input, other
    if not a._shape or not b._shape:
        return a * b  # type: ignore[no-any-return]
    if entered.autocast and lower_type() is not None:
        return lowered(inner, a, b)  # type: ignore[no-any-return]
    _same_type("inner", a, b)
    if a._shape[-1] != b._shape[-1]:
        raise RuntimeError(f"inner() the last dimension must match on both input tensors but got shapes {list(a._shape)} and {list(b._shape)}")
    rows = matmul(_rows(a), _rows(b).t())  # type: ignore[attr-defined]
    return rows.reshape(*a._shape[:-1], *b._shape[:-1])  # type: ignore[attr-defined,no-any-return]


def _rows(t: Tensor) -> Tensor:
    """All dimensions but the last made one."""
    return t if len(t._shape) == 2 else t.reshape(numel(t._shape[:-1]), t._shape[-1])  # type: ignore[attr-defined,no-any-return]


@public(out=True)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product with NumPy's rules: vectors gain a dimension for the product, batch dimensions broadcast.

    Raises RuntimeError for 0-dimensional operands, sizes that do not meet, and different dtypes.
    """
    if entered.autocast and lower_type() is not None:
        return lowered(matmul, input, other)  # type: ignore[no-any-return]
    a, b = input._shape, other._shape
    if not a or not b:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {len(a)}D and {len(b)}D")
    k = b[0] if len(b) == 1 else b[-2]
    if a[-1] != k:
        ra = f"{numel(a[:-1])}x{a[-1]}" if len(b) <= 2 else str(list(a))
        rb = f"{b[0]}x{b[1]}" if len(b) == 2 else str(list(b))
        raise RuntimeError(f"matmul: mat1 and mat2 shapes cannot be multiplied ({ra} and {rb})")
    _same_type("matmul", input, other)
    if len(a) == 1 and len(b) == 1:
        return dot(input, other)
    if len(a) == 2 and len(b) == 2:
        return mm(input, other)
    if len(b) == 1:
        return matmul(input, other.unsqueeze(1)).squeeze(-1)  # type: ignore[attr-defined,no-any-return]
    if len(a) == 1 and len(b) > 2:  # one product with all rows, so that the vector's gradient is summed there
        return matmul(other.transpose(-1, -2), input)  # type: ignore[attr-defined,no-any-return]
    if len(a) == 1:
        return matmul(input.unsqueeze(0), other).squeeze(-2)  # type: ignore[attr-defined,no-any-return]
    if len(b) == 2:  # one matrix for every batch: fold the batch into the rows
        return mm(_rows(input), other).reshape(*a[:-1], b[-1])  # type: ignore[attr-defined,no-any-return]
    batch = broadcast(a[:-2], b[:-2], "matmul")
    x = input.expand(*batch, *a[-2:]).reshape(numel(batch), *a[-2:]) if len(a) > 2 else input.unsqueeze(0)  # type: ignore[attr-defined]
    y = other.expand(*batch, *b[-2:]).reshape(numel(batch), *b[-2:])  # type: ignore[attr-defined]
    return contract(x, y).reshape(*batch, a[-2], b[-1])  # type: ignore[attr-defined,no-any-return]


def _fused(name: str, product: Callable[..., Tensor], meaning: str, lowers: bool = True) -> None:
    """`name(input, a, b, *, beta, alpha)`: beta * input + alpha * product(a, b), in half types rounded once, in integers by integer factors."""
    def function(input: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        if lowers and entered.autocast and lower_type() is not None:
            return lowered(function, input, a, b, beta=beta, alpha=alpha)  # type: ignore[no-any-return]
        dt = input._dtype
        if dt.category == 0:
            beta, alpha = bool(beta), bool(alpha)
        elif dt.category == 1:
            beta, alpha = int(beta), int(alpha)
        half = dt.category == 2 and dt.itemsize == 2 and a._dtype is dt and b._dtype is dt
        x, found = (cast_tensor(input, float32), product(cast_tensor(a, float32), cast_tensor(b, float32))) if half else (input, product(a, b))
        found = _scaled(found, alpha)
        shape = broadcast(input._shape, found._shape, name)
        if shape != found._shape:
            raise RuntimeError(f"{name}: input of shape {list(input._shape)} does not broadcast to the product's shape {list(found._shape)}")
        found = found if beta == 0 else _scaled(x, beta) + found
        return cast_tensor(found, dt) if half else found
    function.__name__ = name
    function.__doc__ = f"`beta * input + alpha * {meaning}`; with beta 0, input is not read. Raises RuntimeError for shapes that do not fit."
    public(inplace=True, out=True)(function)
    globals()[name] = function


def _scaled(t: Tensor, factor: Any) -> Tensor:
    return t if factor == 1 else t * factor


def _outer(a: Tensor, b: Tensor) -> Tensor:
    if len(a._shape) != 1 or len(b._shape) != 1:
        raise RuntimeError(f"addr: Expected 1-D argument vec1 and vec2, but got {len(a._shape)}-D and {len(b._shape)}-D")
    return a.unsqueeze(1) * b  # type: ignore[attr-defined,no-any-return]


_fused("addmm", mm, "(mat1 @ mat2)")
_fused("addmv", mv, "(mat @ vec)", False)
_fused("addr", _outer, "outer(vec1, vec2)", False)
_fused("baddbmm", bmm, "bmm(batch1, batch2)")
_fused("addbmm", lambda a, b: bmm(a, b).sum(0, dtype=a._dtype), "bmm(batch1, batch2).sum(0)")


def _linear(x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
    if not bias:
        return matmul(x, weight.t())
    if x._dtype in HALF and weight._dtype is x._dtype and not state.enabled:
        rows = _rows(x)
        product = contract(rows.unsqueeze(0), weight.t().unsqueeze(0), float32).reshape(*x._shape[:-1], weight._shape[0])  # type: ignore[attr-defined]
    else:
        product = matmul(wide(x), wide(weight).t())
    found = product + wide(bias[0])
    return cast_tensor(found, x._dtype) if bias[0]._dtype is x._dtype else found


def _linear_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, ...]:
    shapes, dt = ctx.shapes, ctx.dtypes[0]
    gx = _linear_input((g, ctx[1]), (), shapes[0], dt) if ctx.needs[0] else None
    gw = _linear_weight((g, ctx[0]), (), shapes[1], dt) if ctx.needs[1] else None
    return gx, gw, _linear_bias((g,), (), (g._shape[-1],), dt) if len(shapes) > 2 and ctx.needs[2] else None


_linear_input = rule("linear_backward_input", lambda g, weight: matmul(g, conj_if(weight)))
#: The weight's gradient is made in the weight's own layout, [out, in], so that nothing is transposed.
_linear_weight = rule("linear_backward_weight", lambda g, x: mm(_rows(g).t(), _rows(conj_if(x))))  # type: ignore[attr-defined]
_linear_bias = rule("linear_backward_bias", lambda g: sum(_rows(g), 0))
_LINEAR: Final = coarse("linear", _linear, _linear_vjp, (0, 1), grad_name="AddmmBackward0")


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None, *, out: Tensor | None = None) -> Tensor:
    """`input @ weight.T + bias`: [..., in] times [out, in] gives [..., out].

    Raises RuntimeError when the last dimension of the input is not the weight's, and for different dtypes.
    """
    if out is not None:
        return write_out(out, outside(linear, input, weight, bias) if entered.autocast else linear(input, weight, bias), "linear")
    if entered.autocast and lower_type() is not None:
        return lowered(linear, input, weight, bias)  # type: ignore[no-any-return]
    x, w = input._shape, weight._shape
    if not x or x[-1] != w[-1]:
        raise RuntimeError(f"linear: expected last dimension {w[-1]}, got {x[-1] if x else 'a 0-dimensional tensor'} (input {list(x)}, weight {list(w)}): "
                           f"mat1 and mat2 shapes cannot be multiplied ({numel(x[:-1])}x{x[-1] if x else 1} and {w[-1]}x{w[0] if len(w) > 1 else 1})")
    if len(w) != 2:  # a vector of weights: one output, without a dimension
        product = matmul(input, weight)
        return product if bias is None else product + bias
    dt = _same_type("linear", input, weight)
    tensors = (input, weight) if bias is None else (input, weight, bias)
    if bias is not None and (bias._dtype is not dt or (bias._shape != (w[0],) if len(x) == 1 else len(bias._shape) > 1)):
        return _linear(*tensors)  # a bias that broadcasts or promotes: by the general rules
    return apply(_LINEAR, tensors, (), (*x[:-1], w[0]), dt)


attribute("__matmul__", matmul)
attribute("__rmatmul__", lambda self, other: matmul(other, self))
attribute("__imatmul__", lambda self, other: self.copy_(matmul(self, other)))
