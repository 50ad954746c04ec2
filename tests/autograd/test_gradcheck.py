"""gradcheck and gradgradcheck accept right derivatives and refuse wrong ones."""
from __future__ import annotations

from typing import Any

import pytest

import torsh
from torsh.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck


def double(*values: float) -> torsh.Tensor:
    return torsh.tensor(values, dtype=torsh.float64, requires_grad=True)


class Square(torsh.autograd.Function):
    """x^2 with a derivative that is `factor` x g, where 2 is right."""

    @staticmethod
    def forward(ctx: Any, x: Any, factor: float) -> Any:
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return ctx.factor * ctx.saved_tensors[0] * g, None


@pytest.mark.parametrize("fast_mode", [False, True])
def test_right_and_wrong(fast_mode: bool) -> None:
    x = double(1.0, -2.0, 3.0)
    before = x.tolist()
    assert gradcheck(lambda t: Square.apply(t, 2.0), x, fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradcheck(lambda t: Square.apply(t, 2.1), x, fast_mode=fast_mode)
    assert gradcheck(lambda t: Square.apply(t, 2.1), x, fast_mode=fast_mode, raise_exception=False) is False
    assert (x.tolist() == before and x._version == 0) or x.tolist() == before


def test_several_inputs_and_outputs() -> None:
    x, y, k = double(1.0, 2.0), double(0.5), torsh.tensor([1, 2])
    assert gradcheck(lambda a, b, c: (a * b + c, a.exp(), c * 2), (x, y, k))
    assert gradgradcheck(lambda a, b, c: (a * b * b + c, a.exp()), (x, y, k))
    assert gradgradcheck(lambda a: (a * a).reshape(2, 1), x, gen_non_contig_grad_outputs=True)


def test_in_place_and_views() -> None:
    def f(a: Any) -> Any:
        b = a * a
        b.t()[1] *= 3
        b.view(-1)[::2].add_(a[0, 0])
        return b
    x = torsh.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torsh.float64, requires_grad=True)
    assert gradcheck(f, x)
    assert gradgradcheck(f, x)


def test_wrong_second_derivative() -> None:
    class Cube(torsh.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, = ctx.saved_tensors
            return 3 * x.detach() * x * g
    x = double(1.0, 2.0)
    assert gradcheck(Cube.apply, x)
    with pytest.raises(GradcheckError):
        gradgradcheck(Cube.apply, x)


def test_output_without_gradient_and_unused_input() -> None:
    assert gradcheck(lambda a, b: (a * 2, b.detach() * 0 + 1), (double(1.0), double(2.0)))


def test_nothing_to_check() -> None:
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(lambda t: t, torsh.ones(2))


def test_single_precision_warns() -> None:
    with pytest.warns(UserWarning, match="not a double precision floating point"):
        gradcheck(lambda t: t * 2, torsh.ones(2, requires_grad=True), eps=1e-2, atol=1e-2)


def test_forward_mode_and_batches() -> None:
    x = torsh.tensor([0.3, -0.8], dtype=torsh.float64, requires_grad=True)
    y = torsh.tensor([1.3, 0.8], dtype=torsh.float64, requires_grad=True)
    z = torsh.tensor([0.3 + 0.2j, -0.8j], dtype=torsh.complex128, requires_grad=True)
    every = {"check_forward_ad": True, "check_batched_grad": True}
    assert gradcheck(lambda x, y: ((x * y).exp(), x.cumsum(0)), (x, y), **every)
    assert gradcheck(lambda z: z * z.conj() * z, z, **every)
    assert gradcheck(lambda x: x ** 3, x, check_backward_ad=False, **every)
    assert gradgradcheck(lambda x, y: (x * y).exp(), (x, y), check_fwd_over_rev=True, check_batched_grad=True)

    class Wrong(torsh.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * 3
    with pytest.raises(GradcheckError, match="forward mode"):
        gradcheck(Wrong.apply, x, check_forward_ad=True, check_backward_ad=False)
    with pytest.raises(ValueError, match="at least one"):
        gradcheck(lambda x: x, x, check_backward_ad=False)


def test_older_arguments() -> None:
    x = torsh.tensor([2.0], requires_grad=True)
    y = x * x
    with pytest.warns(FutureWarning, match="only_inputs"):
        assert torsh.autograd.grad(y, x, None, True, False, False)[0].item() == 4.0
    with pytest.warns(FutureWarning, match="grad_variables"):
        torsh.autograd.backward(y, None, True, False, torsh.tensor([2.0]))
    assert x.grad.item() == 8.0
