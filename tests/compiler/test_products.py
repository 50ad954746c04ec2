"""Matrix products through the compiler: shapes with primes, ones and zeros, every transposition, on one and two threads."""
from __future__ import annotations

import numpy as np
import pytest

import torsh

EPS = {"float32": 2.0**-24, "float64": 2.0**-53, "bfloat16": 2.0**-8}
SIZES = (0, 1, 2, 7, 13, 16, 31, 64, 127, 200, 331)


def products(dtype: str, threads: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Operands and products of random shapes, as float64; equal for equal arguments."""
    torsh.set_num_threads(threads)
    rng = np.random.default_rng(len(dtype))
    found = []
    for _ in range(30):
        m, n, k = (int(rng.choice(SIZES)) for _ in range(3))
        batch = tuple(rng.integers(1, 4, rng.integers(0, 2)).tolist())
        operands = []
        for shape in ((m, k), (k, n)):
            turned = bool(rng.integers(2))
            made = torsh.tensor(rng.standard_normal((*batch, *(shape[::-1] if turned else shape))), dtype=getattr(torsh, dtype))
            operands.append(made.transpose(-1, -2) if turned else made)
        a, b = operands
        found.append(tuple(x.double().numpy() for x in (a, b, a @ b)))
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_products(dtype: str) -> None:
    before = torsh.get_num_threads()
    try:
        one, two = products(dtype, 1), products(dtype, 2)
    finally:
        torsh.set_num_threads(before)
    for (a, b, c), (_, _, again) in zip(one, two, strict=True):
        exact = a @ b
        bound = EPS["float64" if dtype == "float64" else "float32"] * (a.shape[-1] + 3) * (np.abs(a) @ np.abs(b))
        assert (np.abs(c - exact) <= bound * (1 + EPS[dtype]) + EPS[dtype] * np.abs(exact) + 2.0**-48 * bound).all()
        assert c.tobytes() == again.tobytes()


@pytest.mark.parametrize("columns", [1, 4, 5, 8, 9, 10, 12, 13])
def test_few_columns_with_a_bias_and_a_function(columns: int) -> None:
    """Kernels that stream the many rows make the transpose, in which these steps cannot be."""
    rng = np.random.default_rng(columns)
    for rows in (16, 64, 300, 5000):
        for k in (64, 1568):
            x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((rows, k), (columns, k), (columns,)))
            found = torsh.nn.functional.linear(torsh.from_numpy(x), torsh.from_numpy(w), torsh.from_numpy(b)).relu().numpy()
            np.testing.assert_allclose(found, np.maximum(x.astype(np.float64) @ w.T.astype(np.float64) + b, 0), rtol=1e-4, atol=2e-5 * k ** 0.5)
