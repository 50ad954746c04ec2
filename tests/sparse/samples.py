"""The same sparse tensors in both, and how to compare what comes out."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch

import torsh

PAIR = (torsh, torch)


def numbers(seed: int, *shape: int, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def places(seed: int, shape: tuple[int, ...], nnz: int, repeats: bool = True) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if repeats:
        return np.stack([rng.integers(0, n, nnz) for n in shape])
    return np.stack(np.unravel_index(rng.permutation(int(np.prod(shape)))[:nnz], shape))


def coo(t: Any, seed: int = 0, shape: tuple[int, ...] = (4, 5), nnz: int = 7, dense: tuple[int, ...] = (), repeats: bool = True) -> tuple[Any, Any]:
    """(the sparse tensor, its values as a leaf that requires grad)."""
    values = t.tensor(numbers(seed, nnz, *dense)).requires_grad_()
    return t.sparse_coo_tensor(t.tensor(places(seed + 1, shape, nnz, repeats)), values, (*shape, *dense)), values


def strided(x: Any) -> Any:
    return x.to_dense() if str(x.layout).split(".")[1] != "strided" else x


def facts(x: Any) -> tuple[Any, ...]:
    return str(x.layout).split(".")[1], str(x.dtype).split(".")[1], tuple(x.shape)


def _against_differences(f: Any, options: dict[str, Any]) -> None:
    s, values = coo(torsh, **options)
    d = torsh.tensor(numbers(9, 5, 4))
    assert torsh.autograd.gradcheck(lambda v: strided(f(torsh, torsh.sparse_coo_tensor(s._indices(), v, s.shape), d)).clone(), values)


def agree(f: Any, **options: Any) -> None:
    """`f(module, sparse, dense)` gives the same in both, and so do its gradients by the values and by a dense operand [5, 4]."""
    found = []
    for t in PAIR:
        s, values = coo(t, **options)
        d = t.tensor(numbers(9, 5, 4)).requires_grad_()
        out = f(t, s, d)
        plain = strided(out)
        weights = t.tensor(numbers(8, *plain.shape))
        grads: Any = (None, None)
        if plain.is_floating_point() and plain.requires_grad:
            try:
                grads = t.autograd.grad((plain * weights).sum(), [values, d], allow_unused=True)
            except (NotImplementedError, RuntimeError):
                assert t is torch  # which lacks this derivative: ours is compared with differences
                _against_differences(f, options)
                found[0] = (*found[0][:2], grads)
        found.append((facts(out), plain.detach().numpy(), grads))
    (ours_facts, ours, ours_grads), (their_facts, theirs, their_grads) = found
    assert ours_facts == their_facts
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)
    for a, b in zip(ours_grads, their_grads, strict=True):
        a, b = (None if g is None or not bool((g != 0).any()) else g.numpy() for g in (a, b))
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
