"""Host libraries' functions under vmap and the transforms built on it: as the batched calls give them."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import torsh
from tests.ops.complex_oracle import complexes, reals

SQUARE: dict[str, Callable[[Any], Any]] = {
    "inv": torsh.linalg.inv, "det": torsh.linalg.det, "slogdet": lambda a: torsh.linalg.slogdet(a)[1], "pinv": torsh.linalg.pinv,
    "solve": lambda a: torsh.linalg.solve(a, a[:, 0]), "qr": lambda a: torsh.linalg.qr(a).R, "lu": lambda a: torsh.linalg.lu(a).U,
    "cholesky": lambda a: torsh.linalg.cholesky(a @ a.mH + torsh.eye(3, dtype=a.dtype)), "svdvals": torsh.linalg.svdvals,
    "eigh": lambda a: torsh.linalg.eigh(a + a.mH).eigenvalues, "matrix_exp": torsh.matrix_exp,
    "lstsq": lambda a: torsh.linalg.lstsq(a[:, :2], a[:, 2:]).solution,
    "triangular": lambda a: torsh.linalg.solve_triangular(a, a, upper=True), "fft": lambda a: torsh.fft.fft(a, dim=0), "irfft2": torsh.fft.irfft2}
REAL: dict[str, Callable[[Any], Any]] = {"rfftn": torsh.fft.rfftn, "lgamma": torsh.lgamma, "zeta": lambda a: torsh.special.zeta(a.abs() + 2, a[0].abs() + 1),
                                         "eigvals": lambda a: torsh.linalg.eigvals(a).abs(), "i0": torsh.i0}


@pytest.mark.parametrize("name", [*SQUARE, *REAL])
def test_vmap_is_the_batched_call(name: str) -> None:
    for make in (reals, complexes) if name in SQUARE else (reals,):
        x = torsh.tensor(make(4, 3, 3))
        f = SQUARE.get(name) or REAL[name]
        one_by_one = torsh.stack([f(t) for t in x])
        np.testing.assert_allclose(torsh.func.vmap(f)(x).numpy(), one_by_one.numpy(), 1e-9, 1e-11)
        inner = torsh.func.vmap(torsh.func.vmap(f))(torsh.stack([x, 2 * x]))
        np.testing.assert_allclose(inner[0].numpy(), one_by_one.numpy(), 1e-9, 1e-11)


def test_jacobians() -> None:
    a = torsh.tensor(reals(3, 3))
    inverse = np.linalg.inv(reals(3, 3))
    found = torsh.func.jacrev(torsh.linalg.inv)(a)
    np.testing.assert_allclose(found.numpy(), -np.einsum("ik,lj->ijkl", inverse, inverse), 1e-9, 1e-11)
    np.testing.assert_allclose(torsh.func.hessian(torsh.logdet)(a @ a.mT).numpy(), torsh.func.jacrev(torsh.func.grad(torsh.logdet))(a @ a.mT).numpy(), 1e-9)


@pytest.mark.parametrize("name", ["eigh", "eig", "svd"])
def test_a_loss_that_depends_on_a_phase_is_refused(name: str) -> None:
    z = torsh.tensor(complexes(3, 3), requires_grad=True)
    a = z + z.mH if name == "eigh" else z
    vectors = getattr(torsh.linalg, name)(a)[0 if name == "svd" else 1]
    with pytest.raises(RuntimeError, match=f"{name}_backward: .* ill-defined"):
        (vectors * torsh.tensor(complexes(3, 3, seed=1))).sum().abs().backward()
