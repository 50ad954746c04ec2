"""Autocast: every operation gives the type that PyTorch's gives under it, and what it computes is as exact as that type."""
from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import to_torsh
from torsh.autograd.entered import entered

EXPRESSIONS = """
nn.LSTM(4, 4)(x3) | nn.GRU(4, 4)(x3) | nn.RNN(4, 4)(x3) | nn.LSTMCell(4, 4)(x) | nn.GRUCell(4, 4)(x) | nn.RNNCell(4, 4)(x) | nn.GRU(4, 4)(x3.bfloat16())
nn.LSTM(4, 4, proj_size=2)(x3) | nn.LSTM(4, 4, 2, bidirectional=True)(x3) | nn.MultiheadAttention(4, 2)(x3, x3, x3) | nn.TransformerEncoderLayer(4, 2, 8)(x3)
m.einsum('ij,jk->ik', x, x) | m.einsum('ij->i', x) | m.tensordot(x, x, 1) | m.bilinear(x, x, x3) | m.linalg.multi_dot([x, x, x])
m.matrix_power(x, 3) | m.linalg.matrix_exp(x) | m.mv(x, x[0]) | m.dot(x[0], x[0]) | m.addmv(x[0], x, x[0]) | m.addr(x, x[0], x[0]) | m.addmm(x, x, x)
m.addmm(x, b, x) | m.addmm(d, d, d) | x @ x | x @ d | b @ x | d @ d | m.outer(x[0], x[0]) | m.cdist(x, x) | m.cdist(b, b) | m.kron(x, x) | m.inner(x, x)
m.vdot(x[0], x[0]) | m.baddbmm(x3, x3, x3) | m.addbmm(x, x3, x3) | m.linalg.vecdot(x, x) | m.matmul(x3, x) | m.bmm(x3, x3) | m.mm(x, x)
F.linear(x, x, x[0]) | F.linear(d, d) | F.conv1d(x3, x3.new_ones(4, 4, 3)) | F.conv_transpose1d(x3, x3.new_ones(4, 4, 3)) | F.prelu(x, x[0, :1])
F.conv2d(x3, x3.new_ones(1, 2, 3, 3), padding='same') | F.scaled_dot_product_attention(x3, x3, x3) | F.scaled_dot_product_attention(d, d, d)
F.mse_loss(b, b) | F.mse_loss(b, x) | F.mse_loss(b, d) | F.cross_entropy(b, i) | F.nll_loss(b, i) | F.l1_loss(b, b) | F.gaussian_nll_loss(b, b, b.abs())
F.smooth_l1_loss(b, b) | F.huber_loss(b, b) | F.kl_div(b, b) | F.soft_margin_loss(b, b) | F.multi_margin_loss(b, i) | F.poisson_nll_loss(b, b)
F.hinge_embedding_loss(b, b) | F.margin_ranking_loss(b, b, b) | F.triplet_margin_loss(b, b, b) | F.multilabel_margin_loss(b, i.expand(4, 4))
F.cosine_embedding_loss(b, b, b[0]) | F.binary_cross_entropy(b.sigmoid(), b.sigmoid()) | F.binary_cross_entropy_with_logits(b, b)
F.multilabel_soft_margin_loss(b, b) | F.pad(b[None], (1, 1), mode='reflect') | F.pad(b[None], (1, 1), mode='circular') | F.pad(b, (1, 1))
F.pad(b[None], (1, 1), mode='replicate') | F.grid_sample(b[None, None], m.zeros(1, 2, 2, 2)) | F.softmax(b, -1) | F.layer_norm(b, (4,)) | F.layer_norm(x, (4,))
F.interpolate(b[None, None], scale_factor=2, mode='bilinear') | F.avg_pool2d(b[None], 2) | F.avg_pool3d(b.reshape(1, 4, 2, 2), 2) | F.max_pool2d(b[None], 2)
F.max_pool3d(b.reshape(1, 4, 2, 2), 2) | F.adaptive_avg_pool1d(x3, 3) | F.adaptive_avg_pool2d(b[None], 3) | F.adaptive_avg_pool3d(b.reshape(1, 4, 2, 2), 2)
F.adaptive_max_pool3d(b.reshape(1, 4, 2, 2), 2) | F.fractional_max_pool2d(b[None], 2, 2) | F.unfold(b[None, None], 2) | F.linear_cross_entropy(x, x, i)
F.interpolate(x[None, None], size=(3, 3), mode='bilinear', antialias=True) | m.cat([x, b]) | m.stack([x, b]) | m.cat([b, b]) | m.index_copy(x, 0, i, b)
m.index_copy(b, 0, i, x) | m.prod(b) | m.prod(b, 1) | m.quantile(b, 0.5) | m.nanquantile(b, 0.5) | m.trace(b) | m.polar(b, b) | m.view_as_complex(b[:, :2])
m.fft.fft(b) | m.fft.irfft(b) | m.fft.fft2(b) | m.fft.rfftn(b) | m.fft.fftshift(b) | m.linalg.inv(b) | m.linalg.norm(b) | m.linalg.solve(b, b)
m.linalg.svdvals(b) | m.linalg.qr(b) | m.linalg.eigvals(b) | m.svd(b) | m.pinverse(b) | m.linalg.cond(b) | m.linalg.matrix_rank(b) | m.inverse(b) | m.qr(b)
b + x | x + x | x.sum() | m.mm(x, x, out=m.empty(4, 4)) | m.matmul(x, x, out=m.empty(4, 4)) | x.clone().addmm_(x, x)
F.cosine_similarity(x, x) | m.linalg.det(x) | m.linalg.slogdet(x) | m.logdet(x) | x.exp() | b.exp() | x.softmax(0)
m.convolution(x3, x3.new_ones(4, 4, 3), None, [1], [0], [1], False, [0], 1) | m.lstm_cell(x, (x, x), x.new_ones(16, 4), x.new_ones(16, 4)) | x3.cumsum(0)
m.baddbmm(x3, x3, x3, beta=0)
"""
CASES = [c.strip() for c in EXPRESSIONS.replace("\n", " | ").split("|") if c.strip()]


def inputs(m: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x, x3 = m.tensor(rng.standard_normal((4, 4)).astype(np.float32)), m.tensor(rng.standard_normal((2, 4, 4)).astype(np.float32))
    return {"m": m, "nn": m.nn, "F": m.nn.functional, "x": x, "x3": x3, "b": x.bfloat16(), "d": x.double(), "i": m.tensor([0, 1, 2, 3])}


def types(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [types(v) for v in value]
    return repr(value.dtype).split(".")[1] if hasattr(value, "dtype") else value


def outcome(f: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return types(f())
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        return "error"


@pytest.mark.parametrize("case", CASES)
def test_types(case: str) -> None:
    found = {}
    for m in (torsh, torch):
        names = inputs(m)
        with m.autocast("cpu"):
            found[m.__name__] = outcome(lambda names=names: eval(case, names))
    assert found["torsh"] == found["torch"]
    assert not entered.autocast


def test_values_are_those_of_the_lower_type() -> None:
    for name in ("bfloat16", "float16"):
        with torch.autocast("cpu", getattr(torch, name)), torsh.autocast("cpu", getattr(torsh, name)):
            theirs, ours = inputs(torch), inputs(torsh)
            for case in ("x @ x", "F.linear(x, x, x[0])", "m.addmm(x, x, x)", "F.conv1d(x3, x3.new_ones(4, 4, 3))"):
                a, b = eval(case, ours), eval(case, theirs)
                assert repr(a.dtype).split(".")[1] == name
                np.testing.assert_allclose(a.float().numpy(), b.float().numpy(), rtol=2 ** -7, atol=2 ** -7)
    exact = inputs(torsh)
    with torsh.autocast("cpu"):  # what autocast leaves alone is as exact as outside
        np.testing.assert_allclose(torsh.linalg.pinv(exact["x"]).numpy(), np.linalg.pinv(exact["x"].numpy()), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(torsh.kron(exact["x"], exact["x"]).numpy(), np.kron(exact["x"].numpy(), exact["x"].numpy()), rtol=1e-6)


def model(m: Any) -> Any:
    m.manual_seed(0)
    return m.nn.Sequential(m.nn.Linear(6, 32), m.nn.ReLU(), m.nn.LayerNorm(32), m.nn.Linear(32, 4))


def test_training() -> None:
    """Losses fall as PyTorch's do; parameters and their gradients stay float32."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((64, 6)).astype(np.float32), rng.integers(0, 4, 64)
    losses: dict[str, list[float]] = {}
    for m in (torsh, torch):
        net = model(m)
        optimizer = m.optim.SGD(net.parameters(), lr=0.1)
        found = losses[m.__name__] = []
        for _ in range(8):
            optimizer.zero_grad()
            with m.autocast("cpu"):
                out = net(m.tensor(x))
                loss = m.nn.functional.cross_entropy(out, m.tensor(y))
            assert out.dtype is m.bfloat16
            assert loss.dtype is m.float32
            loss.backward()
            assert all(p.grad.dtype is m.float32 for p in net.parameters())
            optimizer.step()
            found.append(loss.item())
    np.testing.assert_allclose(losses["torsh"], losses["torch"], rtol=5e-3)
    assert losses["torsh"][-1] < losses["torsh"][0]


def test_values_asked_for_inside_do_not_change_what_is_computed() -> None:
    """A plan is made where the value is asked for; the operations it expands compute as they were recorded."""
    x = to_torsh(torch.tensor(np.random.default_rng(2).standard_normal((5, 8)).astype(np.float32)))
    w = torsh.ones(8, 8) / 7
    recorded = torsh.nn.functional.linear(x, w).softmax(1)
    with torsh.autocast("cpu"):
        inside = recorded.clone().numpy().copy()
    np.testing.assert_array_equal(inside, torsh.nn.functional.linear(x, w).softmax(1).numpy())


def test_parameters_are_cast_once_in_a_context() -> None:
    for m in (torsh, torch):
        w = m.ones(4, 4, requires_grad=True)
        with m.autocast("cpu"):
            a, b = m.ones(2, 4) @ w, m.ones(3, 4) @ w
            w.data.fill_(2.0)
        (a.sum() + b.sum()).backward()
        assert w.grad.tolist() == [[5.0] * 4] * 4
        with m.autocast("cpu"):
            assert (m.ones(1, 4) @ w)[0, 0].item() == 8.0


def test_compiled_functions_follow() -> None:
    f = torsh.compile(lambda x: x @ x)
    x = torsh.ones(3, 3)
    assert f(x).dtype is torsh.float32
    with torsh.autocast("cpu"):
        assert f(x).dtype is torsh.bfloat16
    assert f(x).dtype is torsh.float32


def test_checkpoint_runs_again_as_before() -> None:
    from torsh.utils.checkpoint import checkpoint
    w, x = torsh.ones(4, 4, requires_grad=True), torsh.ones(2, 4, requires_grad=True)
    with torsh.autocast("cpu"):
        out = checkpoint(lambda x: (x @ w).sin(), x)
    assert out.dtype is torsh.bfloat16
    out.float().sum().backward()
    assert w.grad is not None


@pytest.mark.parametrize("f", [
    lambda m: m.autocast("foo"), lambda m: m.autocast(3), lambda m: m.autocast("cpu")(3), lambda m: m.autocast("meta"), lambda m: m.is_autocast_enabled(),
    lambda m: m.autocast("cpu", m.float32)._enabled, lambda m: m.autocast("cuda")._enabled, lambda m: m.autocast("xla")._enabled,
    lambda m: [m.get_autocast_dtype(d) for d in ("cpu", "cuda", "xla", "ipu")], lambda m: m.get_autocast_dtype("foo"), lambda m: m.is_autocast_enabled("meta"),
    lambda m: [m.get_autocast_cpu_dtype(), m.get_autocast_gpu_dtype(), m.get_autocast_ipu_dtype(), m.get_autocast_xla_dtype()],
    lambda m: m.set_autocast_cpu_dtype(3), lambda m: m.set_autocast_cpu_enabled(3), lambda m: m.is_autocast_cache_enabled(),
    lambda m: m.set_autocast_dtype("cpu", 3),
    lambda m: [m.autocast_increment_nesting(), m.autocast_increment_nesting(), m.autocast_decrement_nesting(), m.autocast_decrement_nesting()],
    lambda m: [m.amp.is_autocast_available(d) for d in ("cpu", "cuda", "meta")], lambda m: m.amp.is_autocast_available("foo"),
    lambda m: m.amp.custom_fwd(device_type=3), lambda m: m.amp.custom_bwd(device_type=3),
])
def test_settings(f: Callable[[Any], Any]) -> None:
    def found(m: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return repr(f(m)).replace("torch.", "torsh.")
            except Exception as error:
                return type(error)
    assert found(torsh) == found(torch)


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_switches() -> None:
    for m in (torsh, torch):
        for name in ("cpu", "ipu", "xla"):
            getattr(m, f"set_autocast_{name}_enabled")(True)
            assert getattr(m, f"is_autocast_{name}_enabled")()
            assert m.is_autocast_enabled(name)
            getattr(m, f"set_autocast_{name}_enabled")(False)
            assert not m.is_autocast_enabled(name)
        for name in ("cpu", "ipu", "xla", "gpu"):
            before = getattr(m, f"get_autocast_{name}_dtype")()
            getattr(m, f"set_autocast_{name}_dtype")(m.float16)
            assert getattr(m, f"get_autocast_{name}_dtype")() is m.float16
            getattr(m, f"set_autocast_{name}_dtype")(before)
        m.set_autocast_enabled(True)
        assert m.is_autocast_enabled("cuda")
        m.set_autocast_enabled("cuda", False)
        assert not m.is_autocast_enabled()
        m.set_autocast_cache_enabled(False)
        assert not m.is_autocast_cache_enabled()
        m.set_autocast_cache_enabled(True)
    assert entered.autocast == 0


def test_contexts_nest_and_decorate_and_are_of_one_thread() -> None:
    for m in (torsh, torch):
        x = m.ones(2, 2)
        elsewhere: list[Any] = []
        with m.autocast("cpu"):
            with m.autocast("cpu", enabled=False):
                assert (x @ x).dtype is m.float32
            with m.autocast("cpu", m.float16):
                assert (x @ x).dtype is m.float16
            assert (x @ x).dtype is m.bfloat16
            thread = threading.Thread(target=lambda x=x, e=elsewhere: e.append((x @ x).dtype))
            thread.start()
            thread.join()
        assert elsewhere == [m.float32]
        assert m.autocast("cpu")(lambda x: x @ x)(x).dtype is m.bfloat16
        assert (x @ x).dtype is m.float32


def test_functions_of_one_s_own() -> None:
    for m in (torsh, torch):
        seen: list[Any] = []

        class Product(m.autograd.Function):
            @staticmethod
            @m.amp.custom_fwd(device_type="cpu", cast_inputs=m.float32)
            def forward(ctx: Any, a: Any, b: Any) -> Any:
                ctx.save_for_backward(a, b)
                seen.append((a.dtype, (a @ b).dtype))  # noqa: B023
                return a @ b

            @staticmethod
            @m.amp.custom_bwd(device_type="cpu")
            def backward(ctx: Any, g: Any) -> Any:
                a, b = ctx.saved_tensors
                seen.append((g @ b.t()).dtype)  # noqa: B023
                return g @ b.t(), a.t() @ g
        a = m.ones(2, 2, requires_grad=True)
        with m.autocast("cpu"):
            out = Product.apply(a.bfloat16(), a.bfloat16())
        out.sum().backward()
        assert seen == [(m.float32, m.float32), m.float32]
        assert a.grad.tolist() == [[4.0, 4.0], [4.0, 4.0]]
