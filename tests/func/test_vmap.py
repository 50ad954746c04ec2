"""vmap against PyTorch's: values, derivatives through it, nesting, randomness and errors."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import same, to_torsh


def _data(rng: np.random.Generator, *shapes: tuple[int, ...], kind: str = "float64") -> list[torch.Tensor]:
    return [torch.tensor(rng.standard_normal(s)).to(getattr(torch, kind)) for s in shapes]


def _both(f: Any, tensors: list[torch.Tensor], in_dims: Any = 0, out_dims: Any = 0, **options: Any) -> None:
    """`vmap(f)` gives the same, and so do the gradients of its result by every floating argument."""
    theirs_in = [t.clone().requires_grad_(t.is_floating_point()) for t in tensors]
    ours_in = [to_torsh(t) for t in theirs_in]
    theirs = torch.vmap(lambda *a: f(torch, *a), in_dims, out_dims, **options)(*theirs_in)
    ours = torsh.vmap(lambda *a: f(torsh, *a), in_dims, out_dims, **options)(*ours_in)
    same(ours, theirs, 1e-9, 1e-11)
    pairs = [(a, b) for a, b in zip(*(x if isinstance(x, (tuple, list)) else [x] for x in (ours, theirs)), strict=True) if b.requires_grad]
    assert all(a.requires_grad for a, _ in pairs)
    if not pairs:
        return
    sum((b.sin() * (i + 1)).sum() for i, (_, b) in enumerate(pairs)).backward()
    sum((a.sin() * (i + 1)).sum() for i, (a, _) in enumerate(pairs)).backward()
    for a, b in zip(ours_in, theirs_in, strict=True):
        if b.grad is not None:
            same(a.grad, b.grad, 1e-9, 1e-11)


_INDEX = {"torch": torch.tensor([2, 0, 1, 1]), "torsh": torsh.tensor([2, 0, 1, 1])}


def _index(m: Any) -> Any:
    return _INDEX[m.__name__]


# (name, function of (module, x [3, 4], y [3, 4], w [4, 5]))
_OPERATIONS: list[tuple[str, Any]] = [
    ("pointwise", lambda m, x, y, w: (x * y + x.exp()).tanh() / (1 + y * y)),
    ("broadcast", lambda m, x, y, w: x.unsqueeze(1) * y.unsqueeze(0) + x[0]),
    ("where", lambda m, x, y, w: m.where(x > y, x, y * 2)),
    ("clamp", lambda m, x, y, w: x.clamp(-0.5, 0.5) + y.clamp(min=0)),
    ("sum", lambda m, x, y, w: x.sum(0) + y.sum() + x.mean(-1, keepdim=True)),
    ("var", lambda m, x, y, w: x.var(0) + y.std(1, keepdim=True)),
    ("max", lambda m, x, y, w: x.max(0).values + y.amax(0)),
    ("argmax", lambda m, x, y, w: x.argmax(1)),
    ("prod", lambda m, x, y, w: x.prod(0)),
    ("cumsum", lambda m, x, y, w: x.cumsum(0) + y.cumprod(1)),
    ("logsumexp", lambda m, x, y, w: x.logsumexp(1) + y.softmax(1).sum(1)),
    ("matmul", lambda m, x, y, w: (x @ w) + y[:, :1]),
    ("vector", lambda m, x, y, w: x[0] @ w),
    ("outer", lambda m, x, y, w: m.outer(x[0], y[1])),
    ("gram", lambda m, x, y, w: x.t() @ y),
    ("views", lambda m, x, y, w: x.t().reshape(2, 6).flip(0)[:, 1::2]),
    ("diagonal", lambda m, x, y, w: x.diagonal() + y.unfold(1, 3, 1).sum((1, 2))),
    ("cat", lambda m, x, y, w: m.cat([x, y, w.t()[:1]])),
    ("stack", lambda m, x, y, w: m.stack([x, y], 1)),
    ("roll", lambda m, x, y, w: x.roll(1, 0) + m.tril(y)),
    ("pad", lambda m, x, y, w: m.nn.functional.pad(x, (1, 2)).repeat(2, 1)),
    ("index", lambda m, x, y, w: x[:, _index(m)] + y[1]),
    ("index_select", lambda m, x, y, w: x.index_select(1, _index(m))),
    ("gather", lambda m, x, y, w: x.gather(0, (y > 0).long())),
    ("scatter", lambda m, x, y, w: m.zeros_like(x).scatter_add(0, (y > 0).long(), x)),
    ("sort", lambda m, x, y, w: x.sort(1).values * m.arange(4.0, dtype=x.dtype)),
    ("topk", lambda m, x, y, w: x.topk(2, 0).values),
    ("median", lambda m, x, y, w: x.median(1).values), ("searchsorted", lambda m, x, y, w: m.searchsorted(w[0].sort().values, x.flatten().cumsum(0))),
    ("in_place", lambda m, x, y, w: x.clone().mul_(y).add_(1)),
    ("write", lambda m, x, y, w: _written(x, y)),
    ("several", lambda m, x, y, w: (x.sum(), y * 2)),
    ("linear", lambda m, x, y, w: m.nn.functional.linear(x, w.t())),
    ("layer_norm", lambda m, x, y, w: m.nn.functional.layer_norm(x, (4,), y[0], y[1])),
    ("cross_entropy", lambda m, x, y, w: m.nn.functional.cross_entropy(x, _index(m)[:3])),
    ("gelu", lambda m, x, y, w: m.nn.functional.gelu(x) + m.nn.functional.softplus(y)),
    ("norm", lambda m, x, y, w: x.norm() + y.norm(dim=0)),
    ("constant", lambda m, x, y, w: m.ones(2, dtype=x.dtype)),
]


def _written(x: Any, y: Any) -> Any:
    z = x.clone()
    z[1] = y[0] * 2
    z[:, 0] += y[:, 1]
    return z


@pytest.mark.parametrize("f", [f for _, f in _OPERATIONS], ids=[n for n, _ in _OPERATIONS])
@pytest.mark.parametrize("in_dims", [(0, 0, None), (0, None, None), (2, 1, 0)], ids=["both", "first", "all"])
def test_operations(f: Any, in_dims: Any, rng: np.random.Generator) -> None:
    shapes = [(3, 4), (3, 4), (4, 5)]
    batched = [s if d is None else (*s[:d], 2, *s[d:]) for s, d in zip(shapes, in_dims, strict=True)]
    _both(f, _data(rng, *batched), in_dims)


@pytest.mark.parametrize("in_dims", [(0, None, None), (None, 0, 0), (0, 0, 0), (0, 0, None)])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(in_dims: Any, groups: int, rng: np.random.Generator) -> None:
    shapes = [(2, 4, 6, 5), (6, 4 // groups, 3, 2), (6,)]
    batched = [s if d is None else (3, *s) for s, d in zip(shapes, in_dims, strict=True)]
    _both(lambda m, x, w, b: m.nn.functional.conv2d(x, w, b, stride=2, padding=1, groups=groups), _data(rng, *batched), in_dims)


def test_pooling_and_transposed_convolution(rng: np.random.Generator) -> None:
    def f(m: Any, x: Any, w: Any) -> Any:
        up = m.nn.functional.conv_transpose2d(x, w, stride=2)
        return m.nn.functional.max_pool2d(up, 2) + m.nn.functional.avg_pool2d(up, 2)
    _both(f, _data(rng, (3, 1, 2, 4, 4), (2, 3, 2, 2)), (0, None))


@pytest.mark.parametrize("batched", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("shapes", [((1, 2, 3), (1, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 2, 3), (1, 3, 4)), ((1, 2, 3), (5, 3, 4))])
def test_every_form_of_a_product(batched: Any, shapes: Any, rng: np.random.Generator) -> None:
    data = _data(rng, *[(6, *s) if b else s for s, b in zip(shapes, batched, strict=True)])
    _both(lambda m, a, b: a @ b, data, tuple(0 if b else None for b in batched))


def _definite(a: Any) -> Any:
    return a @ a.mT + 3 * a.new_ones(a.shape[-1]).diag_embed()


_HOST_STEPS: list[tuple[str, Any]] = [
    ("cholesky", lambda m, a, b: m.linalg.cholesky(_definite(a))), ("solve", lambda m, a, b: m.linalg.solve(_definite(a), b)),
    ("inv", lambda m, a, b: m.linalg.inv(_definite(a))), ("det", lambda m, a, b: m.linalg.det(a) + m.linalg.slogdet(a)[1]),
    ("triangular", lambda m, a, b: m.linalg.solve_triangular(_definite(a).tril(), b, upper=False)), ("qr", lambda m, a, b: m.linalg.qr(_definite(a))[1].abs()),
    ("eigh", lambda m, a, b: m.linalg.eigvalsh(_definite(a))), ("svd", lambda m, a, b: m.linalg.svdvals(a)), ("expm", lambda m, a, b: m.matrix_exp(a)),
    ("lu", lambda m, a, b: m.linalg.lu_factor(_definite(a))[0]), ("pinv", lambda m, a, b: m.linalg.pinv(_definite(a))),
    ("fft", lambda m, a, b: m.fft.fft(a, dim=0).abs()), ("rfft", lambda m, a, b: m.fft.irfft(m.fft.rfft(b, dim=1) * 2, n=2, dim=1)),
    ("fft2", lambda m, a, b: m.fft.fft2(a).real), ("lgamma", lambda m, a, b: m.lgamma(a.abs() + 1) + m.digamma(b.abs() + 1).sum()),
    ("broadcast", lambda m, a, b: m.special.xlogy(a.abs(), b[:, :1].abs() + 1)), ("zeta", lambda m, a, b: m.special.i0e(a[0]) + m.special.erfcx(b[0, 0]))]


@pytest.mark.parametrize("f", [f for _, f in _HOST_STEPS], ids=[n for n, _ in _HOST_STEPS])
@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (None, 1)], ids=["both", "first", "second"])
def test_host_steps(f: Any, in_dims: Any, rng: np.random.Generator) -> None:
    shapes = [(3, 3), (3, 2)]
    _both(f, _data(rng, *[s if d is None else (*s[:d], 4, *s[d:]) for s, d in zip(shapes, in_dims, strict=True)]), in_dims)


def test_nesting(rng: np.random.Generator) -> None:
    def f(m: Any, x: Any, y: Any) -> Any:
        return m.vmap(m.vmap(lambda a, b: (a * b).cumsum(0), (None, 0)), (0, None))(x, y)
    theirs_in = _data(rng, (3, 5), (4, 5))
    same(f(torsh, *map(to_torsh, theirs_in)), f(torch, *theirs_in), 1e-12)

    def g(m: Any, x: Any, y: Any) -> Any:
        return m.vmap(lambda a: m.func.grad(lambda b: m.vmap(lambda c: (b * c).sin().sum())(y).sum())(a))(x)
    same(g(torsh, *map(to_torsh, theirs_in)), g(torch, *theirs_in), 1e-12)


@pytest.mark.parametrize("out_dims", [0, 1, -1, (1, -1)])
def test_where_the_batch_goes(out_dims: Any, rng: np.random.Generator) -> None:
    f = (lambda m, x: (x * 2, x.sum(0, keepdim=True) + x)) if isinstance(out_dims, tuple) else (lambda m, x: x * 2)
    _both(f, _data(rng, (3, 4, 5)), 1, out_dims)


def test_trees_and_chunks(rng: np.random.Generator) -> None:
    x, y = _data(rng, (5, 3), (3, 5))
    for chunk in (None, 1, 2, 7):
        theirs = torch.vmap(lambda d, s: {"p": d["a"] * s + d["b"][0], "q": (s,)}, in_dims=({"a": 0, "b": (1,)}, None), out_dims={"p": 1, "q": (0,)},
                            chunk_size=chunk)({"a": x, "b": (y,)}, x[0])
        a, b = to_torsh(x), to_torsh(y)
        ours = torsh.vmap(lambda d, s: {"p": d["a"] * s + d["b"][0], "q": (s,)}, in_dims=({"a": 0, "b": (1,)}, None), out_dims={"p": 1, "q": (0,)},
                          chunk_size=chunk)({"a": a, "b": (b,)}, a[0])
        same(ours["p"], theirs["p"], 1e-12)
        same(ours["q"][0], theirs["q"][0], 1e-12)


def test_writing_to_an_argument_writes_to_the_batch() -> None:
    x = torsh.zeros(4, 3)
    torsh.vmap(lambda a, b: a.add_(b), (1, 0))(x, torsh.arange(3.0))
    assert x.tolist() == [[0.0, 1.0, 2.0]] * 4


def test_randomness() -> None:
    def draws(m: Any, mode: str) -> Any:
        m.manual_seed(0)
        return m.vmap(lambda x: m.rand(3) + 0 * x + m.nn.functional.dropout(m.ones(3), 0.5), randomness=mode)(m.zeros(2)).tolist()
    for mode in ("same", "different"):
        assert draws(torsh, mode) == draws(torch, mode)
    dropped = torsh.vmap(lambda x: torsh.nn.functional.dropout(x, 0.5), randomness="different")(torsh.ones(4, 100))
    assert len({tuple(row) for row in dropped.tolist()}) == 4
    with pytest.raises(RuntimeError, match="randomness error mode"):
        torsh.vmap(lambda x: torsh.randn(3) + x)(torsh.zeros(2))
    with pytest.raises(RuntimeError, match="Only allowed values"):
        torsh.vmap(torsh.sin, randomness="any")


def test_random_numbers_with_parameters_of_each_example() -> None:
    torsh.manual_seed(0)
    chance = torsh.tensor([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]])
    drawn = torsh.vmap(torsh.bernoulli, randomness="different")(chance)
    assert drawn[:, :2].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    rate = torsh.tensor([1.0, 1000.0], requires_grad=True)
    wide = torsh.vmap(lambda r: torsh.distributions.Gamma(r, 1.0, validate_args=False).rsample((500,)), randomness="different")(rate)
    assert abs(wide.mean(1) / rate - 1).max().item() < 0.3
    wide.mean(1).sum().backward()
    assert abs(rate.grad - 1).max().item() < 0.3
    picks = torsh.vmap(lambda w: torsh.multinomial(w, 4, True), randomness="different")(torsh.eye(3))
    assert picks.tolist() == [[0] * 4, [1] * 4, [2] * 4]
    assert torsh.vmap(lambda w: torsh.multinomial(torsh.ones(2), 3, True) + 0 * w, randomness="different")(torsh.zeros(5, dtype=torsh.int64)).shape == (5, 3)
    with pytest.raises(RuntimeError, match="same randomness with a batched"):
        torsh.vmap(torsh.bernoulli, randomness="same")(chance)


def test_values_are_not_there_inside() -> None:
    x = torsh.arange(3.0)
    for f in (lambda a: a.item(), lambda a: a if a > 0 else -a, lambda a: a.nonzero(), lambda a: torsh.tensor(a.numpy())):
        with pytest.raises(RuntimeError, match="value of a tensor was needed"):
            torsh.vmap(f)(x)


def test_a_tensor_from_outside_cannot_hold_one_value_for_each_example() -> None:
    outside = torsh.full((2,), 5.0)
    count = torsh.zeros(())

    def f(x: torsh.Tensor) -> torsh.Tensor:
        count.add_(1)
        outside.add_(x)
        return outside * 2
    with pytest.raises(RuntimeError, match="in-place arithmetic"):
        torsh.vmap(f)(torsh.arange(3.0))
    assert outside.tolist() == [5.0, 5.0]  # put back
    assert count.item() == 1.0  # once for all examples

    norm = torsh.nn.BatchNorm1d(3)
    with pytest.raises(RuntimeError, match="in-place arithmetic"):
        torsh.vmap(norm)(torsh.randn(2, 4, 3))
    assert norm.running_mean.tolist() == [0.0] * 3

    def local(x: torsh.Tensor) -> torsh.Tensor:
        z = torsh.zeros(2)
        z[0] = x
        return z
    assert torsh.vmap(local)(torsh.arange(2.0)).tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_arguments_that_do_not_fit() -> None:
    x = torsh.zeros(3, 2)
    for call, match in ((lambda: torsh.vmap(torsh.sin)(), "got no inputs"), (lambda: torsh.vmap(torsh.add)(x, x.t()), "same size in the mapped dimension"),
                        (lambda: torsh.vmap(torsh.add)(x, 1.0), "cannot vmap over non-Tensor"), (lambda: torsh.vmap(torsh.sin, 5)(x), "in_dim=5"),
                        (lambda: torsh.vmap(torsh.add, (0,))(x, x), "not compatible"), (lambda: torsh.vmap(lambda a: 1)(x), "must only return Tensors"),
                        (lambda: torsh.vmap(torsh.sin, out_dims=4)(x), "out_dim"), (lambda: torsh.vmap(torsh.sin, chunk_size=0)(x), "chunk_size")):
        with pytest.raises(ValueError, match=match):
            call()


def test_a_host_step_without_a_rule_is_named(rng: np.random.Generator) -> None:
    from torsh.graph.primitives import host
    from torsh.tensor.tensor import wrap
    with pytest.raises(RuntimeError, match="no batching rule for the host step 'unknown'"):
        torsh.vmap(lambda x: wrap(host(np.fft.fft, "unknown", (x._node(),), x._shape, x._dtype)))(torsh.zeros(2, 3))


def test_the_function_runs_once() -> None:
    calls = []

    def f(x: torsh.Tensor) -> torsh.Tensor:
        calls.append(x.shape)
        return (x * 2).exp().sum()
    torsh.vmap(f)(torsh.zeros(1000, 7)).tolist()
    assert calls == [torsh.Size([7])]


def test_printing_shows_every_example() -> None:
    shown = []

    def f(x: torsh.Tensor) -> torsh.Tensor:
        shown.append(repr(x * 2))
        shown.append(repr(torsh.ones(1)))
        return x
    torsh.vmap(f)(torsh.arange(3))
    assert shown == ["BatchedTensor(value=\n    tensor([0, 2, 4])\n)", "tensor([1.])"]


class _Cube(torsh.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torsh.Tensor) -> torsh.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: torsh.Tensor) -> torsh.Tensor:
        x, = ctx.saved_tensors
        return 3 * x * x * g


def test_functions_with_a_backward_of_their_own() -> None:
    x = torsh.tensor([1.0, 2.0, -3.0], requires_grad=True)
    F = torsh.func
    torsh.vmap(_Cube.apply)(x).sum().backward()
    assert x.grad.tolist() == [3.0, 12.0, 27.0]
    free = x.detach()
    assert torsh.vmap(F.grad(_Cube.apply))(free).tolist() == [3.0, 12.0, 27.0]
    assert torsh.vmap(F.grad(F.grad(_Cube.apply)))(free).tolist() == [6.0, 12.0, -18.0]
    assert F.jvp(_Cube.apply, (free,), (torsh.ones(3),))[1].tolist() == [3.0, 12.0, 27.0]


def test_the_tape_inside() -> None:
    """`torsh.autograd.grad` in the function, and the history of what it gives, outside."""
    x = torsh.tensor([1.0, 2.0, -3.0], requires_grad=True)

    def slope(a: torsh.Tensor) -> torsh.Tensor:
        return torsh.autograd.grad(a ** 3, a, create_graph=True)[0]
    found = torsh.vmap(slope)(x)
    assert found.tolist() == [3.0, 12.0, 27.0]
    found.sum().backward()
    assert x.grad.tolist() == [6.0, 12.0, -18.0]
    with torsh.no_grad():
        assert not torsh.vmap(lambda a: a * 2)(x).requires_grad
    from torsh.utils.checkpoint import checkpoint
    checkpointed = torsh.vmap(lambda a: checkpoint(torsh.sin, a, use_reentrant=False))(x)
    assert abs(torsh.autograd.grad(checkpointed.sum(), x)[0] - x.cos()).max().item() < 1e-6


def test_second_derivatives_through_a_vmap() -> None:
    x = torsh.tensor([[0.3, -0.4], [0.7, 0.2]], dtype=torsh.float64, requires_grad=True)
    w = torsh.tensor([1.5, -0.5], dtype=torsh.float64, requires_grad=True)
    assert torsh.autograd.gradgradcheck(lambda x, w: torsh.vmap(lambda a: (a * w).exp().prod() * a)(x), (x, w))
