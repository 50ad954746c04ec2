"""Derivatives against central differences.

For y = f(x), (f(x + eps e_i) - f(x - eps e_i)) / (2 eps) approximates column i of the Jacobian with an error of
O(eps^2) + O(rounding / eps): inputs should be float64 or complex128.

Complex numbers count as pairs of reals, in a new last dimension: PyTorch's gradient of a complex tensor, read as reals, is the gradient
of its reals. That checks non-holomorphic functions too.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torsh.autograd.grad_mode import no_grad
from torsh.core.dtypes import complex128, float64
from torsh.core.shapes import Shape, numel
from torsh.tensor.creation import tensor
from torsh.tensor.tensor import Tensor


class GradcheckError(RuntimeError):
    """What `gradcheck` and `gradgradcheck` raise when derivatives are wrong."""


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _real_shape(t: Tensor) -> Shape:
    return (*t._shape, 2) if t._dtype.is_complex else t._shape


def _array(t: Tensor) -> np.ndarray:
    """The elements as reals."""
    if t._dtype.is_complex:
        return np.array(t.detach().to(complex128)._window(), np.complex128, order="C").reshape(-1).view(np.float64).reshape(_real_shape(t))
    return np.array(t.detach().to(float64).tolist(), np.float64).reshape(t._shape)  # type: ignore[attr-defined]


def _made(reals: np.ndarray, like: Tensor, lead: Shape = ()) -> Tensor:
    """A tensor of the shape and dtype of `like` (behind dimensions `lead`) with the given elements, as `_array` lays them out."""
    if like._dtype.is_complex:
        reals = np.ascontiguousarray(reals.reshape((*lead, *_real_shape(like)))).view(np.complex128)
    return tensor(reals.reshape((*lead, *like._shape)), dtype=like._dtype)


def _outputs(found: Any) -> list[Tensor]:
    """The outputs that have a gradient to check."""
    return [o for o in _tuple(found) if isinstance(o, Tensor) and o._dtype.category >= 2]


def _write(t: Tensor, values: np.ndarray) -> None:
    with no_grad():
        t.copy_(_made(values, t))  # type: ignore[attr-defined]


def _values(function: Callable[..., Any], inputs: tuple[Any, ...]) -> list[np.ndarray]:
    # Copies: a function that works in place must not change what is perturbed.
    copies = tuple([i.detach().clone().requires_grad_(i.requires_grad) if isinstance(i, Tensor) and not i.is_leaf else i for i in inputs])
    return [_array(o).reshape(-1) for o in _outputs(function(*copies))]


def _numerical(function: Callable[..., Any], inputs: tuple[Any, ...], x: Tensor, eps: float, direction: np.ndarray | None = None) -> list[np.ndarray]:
    """For each output a Jacobian (x.numel() rows, one column for each element of the output); one row along `direction` if given."""
    start, version = _array(x), x._storage.version
    rows: list[list[np.ndarray]] = []
    steps = [direction] if direction is not None else [np.eye(1, start.size, i).reshape(start.shape) for i in range(start.size)]
    try:
        for step in steps:
            _write(x, start + eps * step)
            high = _values(function, inputs)
            _write(x, start - eps * step)
            low = _values(function, inputs)
            rows.append([(h - lo) / (2 * eps) for h, lo in zip(high, low, strict=True)])
    finally:
        _write(x, start)
        x._storage.rewind(version)  # the values are what they were: what was saved for backward still holds
    if not rows:
        return [np.zeros((0, v.size)) for v in _values(function, inputs)]
    return [np.stack(column) for column in zip(*rows, strict=True)]


def _vjp(output: Tensor, inputs: list[Tensor], weights: np.ndarray, dtypes_checked: bool) -> list[np.ndarray]:
    from torsh.autograd import grad
    if not output.requires_grad:  # type: ignore[attr-defined]
        return [np.zeros(_real_shape(i)) for i in inputs]
    g = _made(weights, output)
    found = grad([output], inputs, [g], retain_graph=True, allow_unused=True)
    for f, i in zip(found, inputs, strict=True):
        if f is not None and f._shape != i._shape:
            raise GradcheckError(f"Gradient has incorrect size: {list(f._shape)} for an input of {list(i._shape)}")
        if f is not None and dtypes_checked and f._dtype is not i._dtype:
            raise GradcheckError(f"Gradient has dtype {f._dtype}, input has {i._dtype}")
    return [np.zeros(_real_shape(i)) if f is None else _array(f) for f, i in zip(found, inputs, strict=True)]


def _analytical(output: Tensor, inputs: list[Tensor], dtypes_checked: bool) -> list[np.ndarray]:
    """For each input the Jacobian of `output`, as `_numerical` lays it out."""
    n = numel(_real_shape(output))
    columns = [_vjp(output, inputs, np.eye(1, n, i), dtypes_checked) for i in range(n)]
    return [np.stack([c[k].reshape(-1) for c in columns], 1) if n else np.zeros((numel(_real_shape(t)), 0)) for k, t in enumerate(inputs)]


def _compare(numerical: np.ndarray, analytical: np.ndarray, output: int, input: int, rtol: float, atol: float, note: str = "") -> None:
    if not np.allclose(analytical, numerical, rtol=rtol, atol=atol, equal_nan=True):
        raise GradcheckError(f"Jacobian mismatch for output {output} with respect to input {input}{note},\nnumerical:{numerical}\n"
                             f"analytical:{analytical}\n")


def _check_linear(outputs: list[Tensor], inputs: list[Tensor], rtol: float, atol: float) -> None:
    """The gradient of all outputs together is the sum of those of each alone (where the others' gradients are undefined)."""
    from torsh.autograd import grad
    live = [o for o in outputs if o.requires_grad]  # type: ignore[attr-defined]
    if len(live) < 2:
        return
    random = np.random.default_rng(0)
    weights = [random.uniform(-1, 1, _real_shape(o)) for o in live]
    together = grad(live, inputs, [_made(w, o) for w, o in zip(weights, live, strict=True)], retain_graph=True, allow_unused=True)
    alone = [_vjp(o, inputs, w, False) for o, w in zip(live, weights, strict=True)]
    for k, g in enumerate(together):
        expected = sum(a[k] for a in alone)
        if not np.allclose(0.0 if g is None else _array(g), expected, rtol=rtol, atol=atol, equal_nan=True):
            raise GradcheckError("Expected backward function to handle undefined output grads: the gradient of all outputs together is not the sum "
                                 f"of those of each alone, for input {k}")


def _pushed(function: Callable[..., Any], args: tuple[Any, ...], x: Tensor, direction: np.ndarray) -> list[np.ndarray]:
    """The tangent of each output along a direction of one input."""
    from torsh.autograd import forward_ad
    with forward_ad.dual_level():
        made = forward_ad.make_dual(x.detach(), _made(direction, x))  # type: ignore[attr-defined]
        outputs = _outputs(function(*[made if a is x else a for a in args]))
        tangents = [forward_ad.unpack_dual(o).tangent for o in outputs]
    return [np.zeros(numel(_real_shape(o))) if t is None else _array(t).reshape(-1) for o, t in zip(outputs, tangents, strict=True)]


def _check_forward(function: Callable[..., Any], args: tuple[Any, ...], inputs: list[Tensor], eps: float, atol: float, rtol: float, fast: bool) -> None:
    """Forward mode against central differences."""
    random = np.random.default_rng(0)
    for k, x in enumerate(inputs):
        shape = _real_shape(x)
        directions = [random.normal(size=shape)] if fast else [np.eye(1, numel(shape), i).reshape(shape) for i in range(numel(shape))]
        for u in directions:
            for j, (n, found) in enumerate(zip(_numerical(function, args, x, eps, u), _pushed(function, args, x, u), strict=True)):
                _compare(n[0], found, j, k, rtol, atol, " (computed with forward mode)")


def _check_batched_forward(function: Callable[..., Any], args: tuple[Any, ...], inputs: list[Tensor], rtol: float, atol: float) -> None:
    """The tangents for a batch of directions are those for each."""
    from torsh.func.transforms import jvp
    from torsh.func.vmap import vmap
    random = np.random.default_rng(0)
    for k, x in enumerate(inputs):
        directions = [random.uniform(-1, 1, _real_shape(x)) for _ in range(2)]

        def along(u: Tensor, x: Tensor = x) -> tuple[Tensor, ...]:
            return jvp(lambda v: tuple(_outputs(function(*[v if a is x else a for a in args]))), (x,), (u,))[1]  # type: ignore[no-any-return]
        together = vmap(along)(_made(np.stack(directions), x, (2,)))
        for b, u in enumerate(directions):
            for j, (t, expected) in enumerate(zip(together, _pushed(function, args, x, u), strict=True)):
                if not np.allclose(_array(t[b]).reshape(-1), expected, rtol=rtol, atol=atol, equal_nan=True):
                    raise GradcheckError(f"For output {j} and input {k}, the tangents of a batch of directions (vmap) are not those of each direction")


def _check_batched(outputs: list[Tensor], inputs: list[Tensor], rtol: float, atol: float) -> None:
    """The gradients for a batch of cotangents are those for each."""
    from torsh.autograd import grad
    random = np.random.default_rng(0)
    for j, o in enumerate(outputs):
        if not o.requires_grad:  # type: ignore[attr-defined]
            continue
        weights = [random.uniform(-1, 1, _real_shape(o)) for _ in range(2)]
        together = grad([o], inputs, [_made(np.stack(weights), o, (2,))], retain_graph=True, allow_unused=True, is_grads_batched=True)
        for b, w in enumerate(weights):
            for k, (g, expected) in enumerate(zip(together, _vjp(o, inputs, w, False), strict=True)):
                if not np.allclose(0.0 if g is None else _array(g[b]), expected, rtol=rtol, atol=atol, equal_nan=True):
                    raise GradcheckError(f"For output {j} and input {k}, the gradients of a batch of cotangents (vmap) are not those of each cotangent")


def _check(function: Callable[..., Any], args: tuple[Any, ...], eps: float, atol: float, rtol: float, nondet_tol: float, undefined: bool,
           dtypes_checked: bool, fast: bool, batched: bool = False, forward: bool = False, backward: bool = True,
           batched_forward: bool = False) -> None:
    if not (forward or backward):
        raise ValueError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    inputs = [a for a in args if isinstance(a, Tensor) and a.requires_grad]  # type: ignore[attr-defined]
    if not inputs:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True.")
    for i, a in enumerate(args):
        if isinstance(a, Tensor) and a.requires_grad:  # type: ignore[attr-defined]
            if a._dtype not in (float64, complex128):
                warnings.warn(f"Input #{i} requires gradient and is not a double precision floating point. This check will likely fail if all the "
                              "inputs are not of double precision floating point.", stacklevel=4)
            a.retain_grad()  # type: ignore[attr-defined]
    if forward:
        _check_forward(function, args, inputs, eps, atol, rtol, fast)
    if batched_forward:
        if not forward:
            raise ValueError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
        _check_batched_forward(function, args, inputs, rtol, atol)
    if not backward:
        return
    outputs = _outputs(function(*args))
    random = np.random.default_rng(0)
    if batched:
        _check_batched(outputs, inputs, rtol, atol)
    if fast:
        for k, x in enumerate(inputs):
            u = random.normal(size=_real_shape(x))
            u = u / (float(np.linalg.norm(u)) or 1.0)
            for j, (o, rows) in enumerate(zip(outputs, _numerical(function, args, x, eps, u), strict=True)):
                v = random.uniform(size=numel(_real_shape(o)))
                found = float((_vjp(o, [x], v, dtypes_checked)[0] * u).sum())
                _compare(np.array(rows[0] @ v), np.array(found), j, k, rtol, atol, " (in fast mode, along a random direction)")
    else:
        columns = [_analytical(o, inputs, dtypes_checked) for o in outputs]
        for j, o in enumerate(outputs):
            again = _analytical(o, inputs, dtypes_checked)
            for k in range(len(inputs)):
                if again[k].size and not np.allclose(again[k], columns[j][k], rtol=0, atol=nondet_tol, equal_nan=True):
                    raise GradcheckError("Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
                                         f"different values (output {j}, input {k})")
        for k, x in enumerate(inputs):
            for j, n in enumerate(_numerical(function, args, x, eps)):
                _compare(n, columns[j][k], j, k, rtol, atol)
    if undefined:
        _check_linear(outputs, inputs, rtol, atol)


def gradcheck(func: Callable[..., Any], inputs: Sequence[Tensor] | Tensor, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
              raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
              check_batched_grad: bool = False, check_batched_forward_grad: bool = False, check_forward_ad: bool = False, check_backward_ad: bool = True,
              fast_mode: bool = False, masked: bool | None = None) -> bool:
    """Whether the gradients of `func`'s floating point outputs agree with central differences, for all inputs that require grad.

    Inputs are perturbed in place and put back. `fast_mode` compares along one random direction only. `check_batched_grad` compares
    vmapped backward with one cotangent at a time, `check_forward_ad` forward mode with differences, `check_batched_forward_grad` vmapped forward mode
    with one tangent at a time. `masked` concerns sparse inputs only. Raises GradcheckError (or
    returns False, unless `raise_exception`), and ValueError when no input requires grad.

    >>> import torsh
    >>> gradcheck(lambda x: x * x, torsh.tensor([1.0, 2.0], dtype=torsh.float64, requires_grad=True))
    True
    """
    try:
        _check(func, _tuple(inputs), eps, atol, rtol, nondet_tol, check_undefined_grad, check_grad_dtypes, fast_mode,
               check_batched_grad, check_forward_ad, check_backward_ad, check_batched_forward_grad)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func: Callable[..., Any], inputs: Sequence[Tensor] | Tensor, grad_outputs: Sequence[Tensor] | Tensor | None = None, *,
                  eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False,
                  raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
                  check_batched_grad: bool = False, check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True, fast_mode: bool = False,
                  masked: bool = False) -> bool:
    """Whether the gradients of the gradients agree with central differences, for inputs and `grad_outputs` (random unless given).

    `check_fwd_over_rev` differentiates the gradients in forward mode, `check_rev_over_rev` in reverse. Raises as `gradcheck`.
    """
    from torsh.autograd import grad
    args = _tuple(inputs)
    if grad_outputs is None:
        random = np.random.default_rng(1)
        weights = []
        for o in _outputs(func(*args)):
            w = _made(random.uniform(-1, 1, _real_shape(o)), o)
            if gen_non_contig_grad_outputs:
                w = w.unsqueeze(-1).expand(*w._shape, 2).clone().select(-1, 0).detach()  # type: ignore[attr-defined]
            weights.append(w.requires_grad_())  # type: ignore[attr-defined]
        directions = tuple(weights)
    else:
        directions = _tuple(grad_outputs)
    count = len(directions)

    def first(*both: Any) -> tuple[Tensor, ...]:
        own, given = both[:len(both) - count], both[len(both) - count:]
        outputs = _outputs(func(*own))
        live = [(o, g) for o, g in zip(outputs, given, strict=True) if o.requires_grad]  # type: ignore[attr-defined]
        wanted = [a for a in own if isinstance(a, Tensor) and a.requires_grad]  # type: ignore[attr-defined]
        found = grad([o for o, _ in live], wanted, [g for _, g in live], create_graph=True, allow_unused=True)
        return tuple([g for g in found if g is not None])

    return gradcheck(first, (*args, *directions), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception, nondet_tol=nondet_tol,
                     check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes, check_batched_grad=check_batched_grad,
                     check_forward_ad=check_fwd_over_rev, check_backward_ad=check_rev_over_rev, fast_mode=fast_mode)


__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]
