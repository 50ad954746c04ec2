"""Anomaly mode and saved-tensor hooks."""
from __future__ import annotations

from typing import Any

import pytest

import torsh
from torsh.autograd.graph import saved_tensors_hooks


def square_root_of_negative(x: torsh.Tensor) -> torsh.Tensor:
    return x.sqrt()


def test_nan_is_reported_with_the_forward_call() -> None:
    x = torsh.tensor([-1.0, 4.0], requires_grad=True)
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"):
        mode = torsh.autograd.detect_anomaly()
    with mode:
        y = square_root_of_negative(x).sum()
        with pytest.warns(UserWarning, match=r"(?s)Error detected in SqrtBackward0.*square_root_of_negative"), \
                pytest.raises(RuntimeError, match=r"Function 'SqrtBackward0' returned nan values in its 0th output\."):
            y.backward()
    assert not torsh.autograd.is_anomaly_enabled()
    square_root_of_negative(x).sum().backward()


def test_error_in_backward_names_the_forward_call() -> None:
    class Fails(torsh.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise ValueError("wrong")
    x = torsh.ones(1, requires_grad=True)
    with torsh.autograd.set_detect_anomaly(True, check_nan=False):
        y = Fails.apply(x)
        with pytest.warns(UserWarning, match=r"(?s)Error detected in FailsBackward.*test_error_in_backward"), pytest.raises(ValueError, match="wrong"):
            y.backward()


def test_hooks_pack_what_is_saved() -> None:
    packed: list[Any] = []

    def pack(t: torsh.Tensor) -> list[float]:
        assert not t.requires_grad
        packed.append(t.tolist())
        return packed[-1]
    x, w = torsh.tensor([2.0, 3.0], requires_grad=True), torsh.tensor([4.0, 5.0])
    with saved_tensors_hooks(pack, lambda p: torsh.tensor(p)):
        y = x * w
        z = y.exp()
    (x * 2).sum().backward()
    assert [4.0, 5.0] in packed
    assert [round(v, 2) for v in z.tolist()] in [[round(v, 2) for v in p] for p in packed]
    x.grad = None
    y.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [4.0, 5.0]


def test_hooks_keep_the_history() -> None:
    x = torsh.tensor([2.0, 3.0], requires_grad=True)
    with saved_tensors_hooks(lambda t: t.tolist(), lambda p: torsh.tensor(p)):
        y = (x * x).exp()
    g, = torsh.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    expected = [(2 + 4 * v * v) * float(e) for v, e in zip([2.0, 3.0], y.tolist(), strict=True)]
    assert x.grad.tolist() == pytest.approx(expected, rel=1e-5)


def test_hooks_nest_and_pack_may_not_write() -> None:
    x = torsh.ones(2, requires_grad=True)
    seen: list[str] = []

    def tag(name: str) -> Any:
        def pack(t: torsh.Tensor) -> torsh.Tensor:
            seen.append(name)
            return t
        return pack
    with saved_tensors_hooks(tag("outer"), lambda t: t):
        x * x
        count = len(seen)
        with saved_tensors_hooks(tag("inner"), lambda t: t):
            x * x
        assert set(seen[count:]) == {"inner"}
        x * x
        assert seen[-1] == "outer"
    w = torsh.ones(2)
    with saved_tensors_hooks(lambda t: t.add_(1), lambda t: t), pytest.raises(RuntimeError, match="modifying its input in place"):
        x * w


def test_unpack_must_give_a_tensor() -> None:
    x = torsh.ones(2, requires_grad=True)
    with saved_tensors_hooks(lambda t: t, lambda t: 5):
        y = x * x
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor"):
        y.sum().backward()
