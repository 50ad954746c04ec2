"""Comparison with PyTorch for real and complex inputs, with derivatives checked by differences."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import torsh
from tests.ops.oracle import same, to_torsh
from torsh.autograd.gradcheck import gradcheck, gradgradcheck


def reals(*shape: int, seed: int = 0) -> Any:
    """Standard normal numbers, float64."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def complexes(*shape: int, seed: int = 0, like: type = np.complex128) -> Any:
    """Complex numbers with standard normal parts."""
    rng = np.random.default_rng((seed, *shape))
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(like)


def agree(f: Callable[..., Any], *arrays: Any, rtol: float = 1e-12, atol: float = 1e-13, loose: float = 1e-9, twice: bool = True) -> None:
    """Values of `f(module, *tensors)` (a tensor or several) and gradients for random directions as PyTorch's; first and second derivatives by
    differences."""
    theirs_in = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    ours_in = [to_torsh(t) for t in theirs_in]
    theirs, ours = f(torch, *theirs_in), f(torsh, *ours_in)
    pairs = list(zip(ours, theirs, strict=True)) if isinstance(theirs, (tuple, list)) else [(ours, theirs)]
    for a, b in pairs:
        same(a.detach(), b.detach().resolve_conj().resolve_neg(), rtol, atol)
    directions = [complexes(*b.shape, seed=9) if b.is_complex() else reals(*b.shape, seed=9) for _, b in pairs]
    torch.autograd.backward([b for _, b in pairs], [torch.tensor(d, dtype=b.dtype) for d, (_, b) in zip(directions, pairs, strict=True)])
    torsh.autograd.backward([a for a, _ in pairs], [torsh.tensor(d, dtype=a.dtype) for d, (a, _) in zip(directions, pairs, strict=True)])
    for a, b in zip(ours_in, theirs_in, strict=True):
        same(a.grad, b.grad.resolve_conj(), loose, loose * 1e-2)
    fresh = [torsh.tensor(a, requires_grad=True) for a in arrays]
    assert gradcheck(lambda *xs: f(torsh, *xs), fresh)
    if twice:
        assert gradgradcheck(lambda *xs: f(torsh, *xs), fresh)
