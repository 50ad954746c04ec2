"""The same expression in ToRSh and in PyTorch: values, dtypes, shapes, errors and first and second derivatives compared."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import torsh


def to_torsh(t: torch.Tensor) -> torsh.Tensor:
    """A ToRSh tensor with the elements and the requires_grad of a PyTorch tensor; a transposed or sliced one stays one."""
    if t.layout == torch.sparse_coo:
        return torsh.sparse_coo_tensor(to_torsh(t._indices()), to_torsh(t._values()), tuple(t.shape)).requires_grad_(t.requires_grad)
    dense = torch.as_strided(t.detach(), (t.untyped_storage().nbytes() // t.element_size(),), (1,), 0)
    made = torsh.tensor(dense.numpy().copy()).as_strided(tuple(t.shape), t.stride(), t.storage_offset())
    return made.detach().requires_grad_(t.requires_grad)


def to_numpy(t: Any) -> np.ndarray:
    return t.detach().resolve_conj().resolve_neg().numpy()


def same(ours: Any, theirs: Any, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Equal in structure, shape, dtype and value (to a tolerance, where one is given)."""
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b, rtol, atol)
        return
    if not isinstance(theirs, torch.Tensor):
        assert ours == theirs
        return
    assert tuple(ours.shape) == tuple(theirs.shape), (ours.shape, theirs.shape)
    assert repr(ours.dtype).split(".")[1] == repr(theirs.dtype).split(".")[1]
    a, b = to_numpy(ours), to_numpy(theirs)
    if rtol or atol:
        np.testing.assert_allclose(a, b, rtol, atol)
    else:
        np.testing.assert_array_equal(a, b)


def outcome(f: Callable[[], Any]) -> Any:
    """The result of a call, or the type of what it raised."""
    try:
        return f()
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        return type(error)


def agree(f: Callable[..., Any], *inputs: torch.Tensor, rtol: float = 0.0, atol: float = 0.0, grad: bool = True, twice: bool = True) -> None:
    """`f(module, *tensors)` gives the same in both; so do its derivatives by every floating input, and theirs (random directions)."""
    wanted = [i for i, t in enumerate(inputs) if grad and t.is_floating_point()]
    theirs_in = [t.clone().requires_grad_(i in wanted) if t.is_contiguous() else t.detach().requires_grad_(i in wanted) for i, t in enumerate(inputs)]
    ours_in = [to_torsh(t) for t in theirs_in]
    theirs, ours = f(torch, *theirs_in), f(torsh, *ours_in)
    same(ours, theirs, rtol, atol)
    if not wanted:
        return
    first = [t for t in (theirs if isinstance(theirs, (tuple, list)) else [theirs]) if t.requires_grad]
    mine = [t for t in (ours if isinstance(ours, (tuple, list)) else [ours]) if t.requires_grad]
    assert len(first) == len(mine)
    if not first:
        return
    rng = np.random.default_rng(0)
    directions = [rng.standard_normal(tuple(t.shape)) for t in first]
    loose = (max(rtol, 1e-9), max(atol, 1e-11))
    grads_t = torch.autograd.grad(sum((t * torch.tensor(d, dtype=t.dtype)).sum() for t, d in zip(first, directions, strict=True)),
                                  [theirs_in[i] for i in wanted], create_graph=twice, allow_unused=True)
    total = sum((t * torsh.tensor(d, dtype=t.dtype)).sum() for t, d in zip(mine, directions, strict=True))
    grads = torsh.autograd.grad(total, [ours_in[i] for i in wanted], create_graph=twice, allow_unused=True)
    for a, b in zip(grads, grads_t, strict=True):
        _same_gradient(a, b, loose)
    pairs = [(a, b) for a, b in zip(grads, grads_t, strict=True) if a is not None and b is not None and b.requires_grad and a.requires_grad]
    if not twice or not pairs:
        return
    directions = [rng.standard_normal(tuple(b.shape)) for _, b in pairs]
    again_t = torch.autograd.grad(sum((b * torch.tensor(d, dtype=b.dtype)).sum() for (_, b), d in zip(pairs, directions, strict=True)),
                                  [theirs_in[i] for i in wanted], allow_unused=True)
    again = torsh.autograd.grad(sum((a * torsh.tensor(d, dtype=a.dtype)).sum() for (a, _), d in zip(pairs, directions, strict=True)),
                                [ours_in[i] for i in wanted], allow_unused=True)
    for a, b in zip(again, again_t, strict=True):
        _same_gradient(a, b, loose)


def _same_gradient(a: Any, b: Any, loose: tuple[float, float]) -> None:
    """None and zeros say the same."""
    if a is not None and b is not None:
        same(a, b, *loose)
    else:
        assert all(t is None or not bool((t != 0).any()) for t in (a, b))
