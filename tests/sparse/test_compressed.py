"""Compressed sparse layouts against PyTorch's."""
from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import torsh
from tests.sparse.samples import PAIR, agree, facts, numbers

pytestmark = pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC|BSR|BSC) tensor support is in beta state", "ignore:Sparse invariant checks")
LAYOUTS = ("csr", "csc", "bsr", "bsc")


def _parts(s: Any) -> list[Any]:
    rows = "csr" in str(s.layout) or "bsr" in str(s.layout)
    outer, inner = (s.crow_indices(), s.col_indices()) if rows else (s.ccol_indices(), s.row_indices())
    return [facts(s), outer.tolist(), inner.tolist(), s.values().tolist(), s._nnz(), s.sparse_dim(), s.dense_dim()]


def _dense(shape: tuple[int, ...] = (4, 6)) -> np.ndarray:
    return numbers(1, *shape) * (numbers(2, *shape) > 0.3)


def _made(x: Any, name: str) -> Any:
    return getattr(x, "to_sparse_" + name)(*(((2, 3),) if name[0] == "b" else ()))


@pytest.mark.parametrize("name", LAYOUTS)
def test_conversions_are_pytorchs(name: str) -> None:
    found = []
    for t in PAIR:
        s = _made(t.tensor(_dense()), name)
        other = [_made(s, "csr" if name != "csr" else "bsc"), _made(s.to_sparse(), name), _made(s, name)] if name[0] != "b" else [s]
        found.append([_parts(s), s.to_dense().tolist(), s.to_sparse().to_dense().tolist(), *[_parts(o) for o in other]])
    assert found[0] == found[1]
    assert _parts(pickle.loads(pickle.dumps(_made(torsh.tensor(_dense()), name)))) == found[1][0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_making_of_parts_is_pytorchs(name: str) -> None:
    found = []
    for t in PAIR:
        s = _made(t.tensor(_dense()), name)
        rows = name[1:] == "sr"
        parts = [t.tensor(p) for p in (_parts(s)[1], _parts(s)[2])]
        make = getattr(t, f"sparse_{name}_tensor")
        again = [make(*parts, s.values(), (4, 6)), make(*[p.to(t.int32) for p in parts], s.values(), (4, 6), dtype=t.float32),
                 t.sparse_compressed_tensor(*parts, s.values(), (4, 6), layout=getattr(t, "sparse_" + name)), make(*parts, s.values())]
        found.append([_parts(a) for a in again])
        copies = ("crow_indices_copy", "col_indices_copy") if rows else ("ccol_indices_copy", "row_indices_copy")
        assert [getattr(t, c)(s).tolist() for c in copies] == [p.tolist() for p in parts]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["csr", "bsr"])
def test_batches_and_dense_dimensions_are_pytorchs(name: str) -> None:
    found = []
    for t in PAIR:
        batched = t.tensor(np.stack([_dense(), _dense()[::-1].copy()])) if name == "csr" else t.ones(2, 4, 6, dtype=t.float64)
        made = _made(batched, name)
        hybrid = getattr(t.tensor(numbers(3, 4, 6, 2)), "to_sparse_" + name)(*(((2, 3),) if name == "bsr" else ()), dense_dim=1)
        found.append([_parts(made), made.to_dense().tolist(), _parts(hybrid), hybrid.to_dense().tolist()])
    assert found[0] == found[1]
    with pytest.raises(RuntimeError, match="same number of specified elements per batch"):
        torsh.tensor([[[1.0, 1.0]], [[0.0, 1.0]]]).to_sparse_csr()


@pytest.mark.parametrize("f", [
    lambda t, s, d: s @ d, lambda t, s, d: s * 2, lambda t, s, d: s + s, lambda t, s, d: s.sin(), lambda t, s, d: s.abs(), lambda t, s, d: -s,
    lambda t, s, d: s.sum(), lambda t, s, d: s.detach() * s.detach(), lambda t, s, d: s.detach() @ s.detach().t(), lambda t, s, d: s.to_dense(),
    lambda t, s, d: s.detach()[1], lambda t, s, d: s.t(), lambda t, s, d: d.detach().t() + s.detach(), lambda t, s, d: s.detach() * d.detach().t(),
    lambda t, s, d: s.float(),
    lambda t, s, d: t.sparse.mm(s, d), lambda t, s, d: s.detach() @ d.detach()[:, 0], lambda t, s, d: t.sparse.mm(s.detach(), d.detach(), "mean"),
    lambda t, s, d: t.sparse.mm(s.detach(), d.detach(), "amax"), lambda t, s, d: t.sparse.mm(s.detach(), d.detach(), "amin"),
    lambda t, s, d: t.sparse.sampled_addmm(s.detach(), t.ones(4, 3, dtype=t.float64), d.detach()[:3, :1] * t.ones(3, 5, dtype=t.float64), beta=0.5, alpha=2),
    lambda t, s, d: d.t().sparse_mask(s.detach()), lambda t, s, d: t.addmm(t.ones(4, 4, dtype=t.float64), s.detach(), d.detach(), beta=2),
])
def test_operations_are_pytorchs(f: Any) -> None:
    agree(lambda t, s, d: f(t, s.coalesce().to_sparse_csr(), d), repeats=False)


@pytest.mark.parametrize("call", [
    lambda t: t.sparse_csr_tensor(t.tensor([0, 1, 5]), t.tensor([0, 1]), t.ones(2), (2, 2), check_invariants=True),
    lambda t: t.sparse_csr_tensor(t.tensor([0, 1]), t.tensor([0, 1]), t.ones(2), (2, 2), check_invariants=True),
    lambda t: t.sparse_csr_tensor(t.tensor([0, 1, 2]), t.tensor([0, 7]), t.ones(2), (2, 2), check_invariants=True),
    lambda t: t.sparse_csr_tensor(t.tensor([0, 1, 2]), t.tensor([0, 1, 1]), t.ones(2), (2, 2), check_invariants=True),
    lambda t: t.sparse_csr_tensor(t.tensor([1, 1, 2]), t.tensor([0, 1]), t.ones(2), (2, 2), check_invariants=True),
    lambda t: t.sparse_compressed_tensor(t.tensor([0, 1, 2]), t.tensor([0, 1]), t.ones(2), (2, 2)),
    lambda t: t.ones(4, 6).to_sparse_bsr((3, 3)), lambda t: t.ones(4, 6).to_sparse_csr().coalesce(), lambda t: t.ones(4, 6).to_sparse_csr().ccol_indices(),
    lambda t: t.ones(4, 6).to_sparse(layout=t.sparse_csr, blocksize=(2, 2)),
    lambda t: t.ones(4, 6).to_sparse_csr().exp()])
def test_parts_that_do_not_fit_are_refused(call: Any) -> None:
    for t in PAIR:
        with pytest.raises(RuntimeError):
            call(t)


def test_a_leaf_of_compressed_rows_has_a_gradient_of_its_kind() -> None:
    found = []
    for t in PAIR:
        s = t.tensor(_dense()).to_sparse_csr().detach().requires_grad_()
        (s @ t.tensor(numbers(5, 6, 2))).sum().backward()
        found.append(s.grad.to_dense() * (s.detach().to_dense() != 0))  # PyTorch's is strided
        if t is torsh:
            assert s.grad.layout is torsh.sparse_csr
    np.testing.assert_allclose(found[0].numpy(), found[1].numpy())
