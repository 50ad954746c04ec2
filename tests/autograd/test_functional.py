"""torch.autograd.functional and forward_ad against PyTorch's."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import same, to_torsh
from torsh.autograd import forward_ad

LOOSE = (1e-9, 1e-11)
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # of PyTorch's own forward mode


def _pairs(rng: np.random.Generator) -> tuple[Any, Any]:
    a, b = (torch.tensor(rng.standard_normal(3) + 2) for _ in range(2))
    return (a, b), (to_torsh(a), to_torsh(b))


def _vector(a: Any, b: Any) -> Any:
    return (a * b).exp(), (a / b).sum()


def _number(a: Any, b: Any) -> Any:
    return (a * a * b).sum() + (b ** 3).prod()


def _nested(x: Any) -> Any:
    return [t for y in (x if isinstance(x, (tuple, list)) else (x,)) for t in (y if isinstance(y, (tuple, list)) else (y,))]


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_jacobian(strategy: str, rng: np.random.Generator) -> None:
    theirs, ours = _pairs(rng)
    found = torsh.autograd.functional.jacobian(_vector, ours, strategy=strategy, vectorize=True)
    same(_nested(found), _nested(torch.autograd.functional.jacobian(_vector, theirs, strategy=strategy, vectorize=True)), *LOOSE)
    assert not any(t.requires_grad for t in _nested(found))
    one = torsh.autograd.functional.jacobian(torsh.sin, ours[0])
    same(one, torch.autograd.functional.jacobian(torch.sin, theirs[0]), *LOOSE)


@pytest.mark.parametrize("name", ["vjp", "jvp", "vhp", "hvp", "hessian"])
def test_products(name: str, rng: np.random.Generator) -> None:
    theirs, ours = _pairs(rng)
    f = _number if name in ("vhp", "hvp", "hessian") else _vector
    arguments: tuple[Any, Any] = ((), ())
    if name == "vjp":
        arguments = ((theirs[0], torch.tensor(2.0, dtype=torch.float64)),), ((ours[0], torsh.tensor(2.0, dtype=torsh.float64)),)
    elif name != "hessian":
        arguments = (theirs[::-1],), (ours[::-1],)
    found = getattr(torsh.autograd.functional, name)(f, ours, *arguments[1])
    wanted = getattr(torch.autograd.functional, name)(f, theirs, *arguments[0])
    same(_nested(found), _nested(wanted), *LOOSE)


def test_create_graph_and_strict(rng: np.random.Generator) -> None:
    (t, _), (x, _) = _pairs(rng)
    t.requires_grad_()
    x.requires_grad_()
    for m, p in ((torch, t), (torsh, x)):
        m.autograd.functional.jacobian(lambda a: a ** 3, p, create_graph=True).sum().backward()
    same(x.grad, t.grad, *LOOSE)
    for call in (lambda m, p: m.autograd.functional.jacobian(lambda a: p * 2, p.detach(), strict=True),
                 lambda m, p: m.autograd.functional.vjp(lambda a: a * 2, p), lambda m, p: m.autograd.functional.hessian(lambda a: a, p),
                 lambda m, p: m.autograd.functional.jvp(lambda a: a, p, p[:2])):
        for m, p in ((torch, t), (torsh, x)):
            with pytest.raises(RuntimeError):
                call(m, p)
    with pytest.raises(TypeError):
        torsh.autograd.functional.vjp(lambda a: 1, x)


def test_dual_tensors(rng: np.random.Generator) -> None:
    (t, s), (x, y) = _pairs(rng)
    with torch.autograd.forward_ad.dual_level():
        d = torch.autograd.forward_ad.make_dual(t, s)
        theirs = torch.autograd.forward_ad.unpack_dual(torch.outer(d.sin(), s) @ d)
    with forward_ad.dual_level():
        d = forward_ad.make_dual(x, y)
        ours = forward_ad.unpack_dual(torsh.outer(d.sin(), y) @ d)
        assert forward_ad.unpack_dual(y * 2).tangent is None
        assert forward_ad.unpack_dual(d).tangent.tolist() == y.tolist()
        with pytest.raises(RuntimeError, match="Nested"), forward_ad.dual_level():
            pass
        with pytest.raises(RuntimeError, match="shape"):
            forward_ad.make_dual(x, y[:2])
    same(tuple(ours), tuple(theirs), *LOOSE)
    assert not ours.tangent.requires_grad
    with pytest.raises(RuntimeError, match="no level exists"):
        forward_ad.make_dual(x, y)
    assert forward_ad.unpack_dual(x).tangent is None


def test_forward_over_reverse() -> None:
    x = torsh.tensor(2.0, requires_grad=True)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(forward_ad.make_dual(x, torsh.tensor(1.0)) ** 3).tangent
    tangent.backward()
    assert (tangent.item(), x.grad.item()) == (12.0, 12.0)


def test_a_batch_of_cotangents(rng: np.random.Generator) -> None:
    (t, s), (x, y) = _pairs(rng)
    found = []
    for m, a, b in ((torch, t, s), (torsh, x, y)):
        a.requires_grad_()
        out = (a * b).exp()
        found.append(m.autograd.grad(out, (a,), m.eye(3, dtype=m.float64), is_grads_batched=True))
    same(found[1], found[0], *LOOSE)
