"""`torsh.autograd.Function` does what PyTorch's does, call by call."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh


def leaf(T: Any, *values: float) -> Any:
    return T.tensor(values, dtype=T.float64, requires_grad=True)


def product(T: Any) -> Any:
    class Product(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, k: float, y: Any) -> Any:
            assert ctx.needs_input_grad == (True, False, True)
            ctx.save_for_backward(x, y)
            ctx.k = k
            return x * y * k

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, y = ctx.saved_tensors
            return g * y * ctx.k, None, g * x * ctx.k
    x, y = leaf(T, 1, 2), leaf(T, 3, 4)
    z = Product.apply(x, 5.0, y)
    assert z.grad_fn.name() == "ProductBackward"
    assert (z * 2).grad_fn.name() == "MulBackward0"
    assert x.view(2).grad_fn.next_functions[0][0].name() == "torch::autograd::AccumulateGrad"
    assert type(z.grad_fn).__name__ == "ProductBackward"
    gx, gy = T.autograd.grad(z.sum(), (x, y), create_graph=True)
    (gx * gy).sum().backward()
    return z, gx, gy, x.grad, y.grad


def with_setup_context(T: Any) -> Any:
    class Exp(T.autograd.Function):
        @staticmethod
        def forward(x: Any) -> Any:
            return x.exp()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            y, = ctx.saved_tensors
            return g * y
    x = leaf(T, 0.5, 1)
    y = Exp.apply(x)
    g, = T.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    return y, g, x.grad


def several_outputs(T: Any) -> Any:
    seen = []

    class Parts(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            whole = x.detach().to(T.int64)
            ctx.mark_non_differentiable(whole)
            return x * 2, whole, x * 3

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any, c: Any) -> Any:
            seen.append([None if t is None else t.tolist() for t in (a, c)])
            return a * 2 + c * 3
    x = leaf(T, 1.5, 2.5)
    a, b, c = Parts.apply(x)
    assert a.requires_grad
    assert not b.requires_grad
    assert c.requires_grad
    assert a.grad_fn is c.grad_fn
    c.sum().backward()
    assert seen == [[[0.0, 0.0], [1.0, 1.0]]]
    return a, b, c, x.grad


def undefined_gradients(T: Any) -> Any:
    class Two(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            assert a is None
            return b * 3
    x = leaf(T, 1, 2)
    Two.apply(x)[1].sum().backward()
    return x.grad


def dirty(T: Any) -> Any:
    class Double(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2
    x = leaf(T, 1, 2, 3)
    y = x * 5
    z = Double.apply(y)
    assert z is y
    assert type(y.grad_fn).__name__ == "DoubleBackward"
    (y * y).sum().backward()
    return y, x.grad


def input_given_back(T: Any) -> Any:
    class Scaled(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 7
    x = leaf(T, 1, 2)
    y = Scaled.apply(x)
    assert y is not x
    y.sum().backward()
    return y, x.grad


def broadcast_gradient(T: Any) -> Any:
    class Plus(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x + y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g, g
    x, y = T.ones(2, 3, dtype=T.float64, requires_grad=True), leaf(T, 1, 2, 3)
    Plus.apply(x, y).sum().backward()
    return x.grad, y.grad


def nothing_recorded(T: Any) -> Any:
    class Same(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            assert not T.is_grad_enabled()
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g
    a = Same.apply(T.ones(2))
    with T.no_grad():
        b = Same.apply(leaf(T, 1))
    assert not a.requires_grad
    assert not b.requires_grad
    return a, b


@pytest.mark.parametrize("program", [product, with_setup_context, several_outputs, undefined_gradients, dirty, input_given_back, broadcast_gradient,
                                     nothing_recorded], ids=lambda p: p.__name__)
def test_function(program: Callable[[Any], Any]) -> None:
    expected, found = program(torch), program(torsh)
    expected, found = [x if isinstance(x, tuple) else (x,) for x in (expected, found)]
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        np.testing.assert_allclose(np.array(b.tolist()), np.array(a.tolist()), rtol=1e-12, err_msg=f"result {i}")


def test_dirty_view_writes_its_base() -> None:
    class Double(torsh.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2
    x = torsh.ones(4, requires_grad=True)
    base = x * 3
    Double.apply(base[1:3])
    (base * torsh.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert base.tolist() == [3, 6, 6, 3]
    assert x.grad.tolist() == [3, 12, 18, 12]


def too_few(T: Any) -> None:
    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x + y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g
    F.apply(leaf(T, 1), leaf(T, 2)).backward()


def for_a_number(T: Any) -> None:
    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, k: Any) -> Any:
            return x * k

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g, g
    F.apply(leaf(T, 1), 2.0).backward()


def wrong_shape(T: Any) -> None:
    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.sum()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return T.ones(3, dtype=T.float64)
    F.apply(leaf(T, 1, 2)).backward()


def saved_twice_read(T: Any) -> None:
    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * ctx.saved_tensors[0] * g
    y = F.apply(leaf(T, 1))
    y.backward()
    y.backward()


def saved_modified(T: Any) -> None:
    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.save_for_backward(y)
            return x * y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.saved_tensors[0], None
    y = T.ones(1, dtype=T.float64)
    z = F.apply(leaf(T, 1), y)
    y.add_(1)
    z.backward()


def dirty_not_returned(T: Any) -> None:
    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x * 2
    F.apply(leaf(T, 1) * 1)


def dirty_leaf(T: Any) -> None:
    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.add_(1)
            ctx.mark_dirty(x)
            return x
    F.apply(leaf(T, 1))


def not_a_tensor_saved(T: Any) -> None:
    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(5)
            return x * 2
    F.apply(leaf(T, 1))


def once(T: Any) -> None:
    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @T.autograd.function.once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * ctx.saved_tensors[0] * g
    x = leaf(T, 3)
    constant, = T.autograd.grad(F.apply(x), x, create_graph=True)
    g, = T.autograd.grad(F.apply(x), x, leaf(T, 1), create_graph=True)
    assert g.tolist() == [6.0]
    assert not constant.requires_grad
    g.backward()


@pytest.mark.parametrize(("misuse", "message"), [
    (too_few, "returned an incorrect number of gradients (expected 2, got 1)"), (for_a_number, "returned a gradient different than None at position 2"),
    (wrong_shape, "returned an invalid gradient at index 0"), (saved_twice_read, "Trying to backward through the graph a second time"),
    (saved_modified, "modified by an inplace operation"), (dirty_not_returned, "marked as dirty"),
    (dirty_leaf, "a leaf Variable that requires grad has been used in an in-place operation"),
    (not_a_tensor_saved, "save_for_backward can only save variables"), (once, "once_differentiable"),
], ids=lambda p: getattr(p, "__name__", ""))
def test_misuse(misuse: Callable[[Any], None], message: str) -> None:
    errors = []
    for T in (torch, torsh):
        with pytest.raises((RuntimeError, TypeError)) as caught:
            misuse(T)
        errors.append(caught)
    assert message in str(errors[0].value)
    assert message in str(errors[1].value)
    assert errors[1].type is errors[0].type
