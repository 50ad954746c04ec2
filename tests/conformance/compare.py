"""When two results are the same: values, dtypes, shapes, aliasing; results that are not unique; results that are random."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import torsh
from tests.conformance.convert import from_numpy, tensors_in, to_numpy

# rtol and atol of a value by dtype; a gradient may be off by five times as much.
TOLERANCE = {"float32": (2e-4, 2e-4), "complex64": (2e-4, 2e-4), "float64": (1e-7, 1e-7), "complex128": (1e-7, 1e-7),
             "bfloat16": (1.6e-2, 1e-5), "float16": (1e-3, 1e-5)}
GRADIENT = 5.0

# Memory that nobody has written: only its geometry is compared.
UNWRITTEN = frozenset(("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"))
# Resizing keeps what was there; what is new is unwritten.
RESIZING = frozenset(("resize_", "resize_as_"))


class Differs(AssertionError):
    """Two results are not the same."""


def dtype_name(t: Any) -> str:
    return repr(t.dtype).split(".")[1]


def same(ours: Any, theirs: Any, loose: float = 1.0, values: bool = True, where: str = "result", exact: Any = None) -> None:
    """Equal in structure, shape, dtype and value. Raises Differs.

    `exact`, of the same structure, is PyTorch's result in wider types: an element may agree with that instead, within the same tolerance.
    """
    if isinstance(theirs, torch.Tensor):
        if not isinstance(ours, torsh.Tensor):
            raise Differs(f"{where} is a {type(ours).__name__}, PyTorch's a Tensor")
        same_tensor(ours, theirs, loose, values, where, exact)
    elif isinstance(theirs, (list, tuple)):
        if not isinstance(ours, (list, tuple)):
            raise Differs(f"{where} is a {type(ours).__name__}, PyTorch's a {type(theirs).__name__}")
        if len(ours) != len(theirs):
            raise Differs(f"{where} has {len(ours)} parts, PyTorch's {len(theirs)}")
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            same(a, b, loose, values, f"{where}[{i}]", None if exact is None else exact[i])
    elif isinstance(theirs, torch.dtype):
        if repr(ours).split(".")[-1] != repr(theirs).split(".")[-1]:
            raise Differs(f"{where} is {ours}, PyTorch's {theirs}")
    elif isinstance(theirs, (float, complex)):
        if type(ours) is not type(theirs) or not np.allclose(ours, theirs, *TOLERANCE["float64"], equal_nan=True):
            raise Differs(f"{where} is {ours!r}, PyTorch's {theirs!r}")
    elif isinstance(ours, torsh.Tensor) or (type(ours) is not type(theirs) and not isinstance(theirs, torch.Size)) or bool(ours != theirs):
        raise Differs(f"{where} is {ours!r}, PyTorch's {theirs!r}")


def same_tensor(ours: Any, theirs: torch.Tensor, loose: float, values: bool, where: str, exact: torch.Tensor | None) -> None:
    if tuple(ours.shape) != tuple(theirs.shape):
        raise Differs(f"{where} has shape {list(ours.shape)}, PyTorch's {list(theirs.shape)}")
    name = dtype_name(theirs)
    if dtype_name(ours) != name:
        raise Differs(f"{where} is {dtype_name(ours)}, PyTorch's {name}")
    if not values:
        return
    a, b = to_numpy(ours), to_numpy(theirs)
    wrong = differing(a, b, loose)
    if exact is not None and wrong.any():
        wrong &= differing(a, to_numpy(exact).astype(a.dtype), loose)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0]) if a.ndim else ()
        in_wide = "" if exact is None else f", in wider types {to_numpy(exact)[at]}"
        raise Differs(f"{where} differs at {int(wrong.sum())} of {wrong.size} elements, first at {list(at)}: {a[at]}, PyTorch's {b[at]}{in_wide}")


def differing(a: np.ndarray, b: np.ndarray, loose: float = 1.0) -> np.ndarray:
    """Which elements of two arrays of one dtype are further apart than its tolerance. A complex number with a part that is not
    finite is compared part by part."""
    if a.dtype.name not in TOLERANCE:
        return np.asarray(a != b)
    rtol, atol = (loose * t for t in TOLERANCE[a.dtype.name])
    if a.dtype.itemsize == 2:
        a, b = a.astype(np.float32), b.astype(np.float32)
    with np.errstate(all="ignore"):
        near = np.isclose(a, b, rtol, atol, equal_nan=True)
        if a.dtype.kind == "c" and not near.all():
            near |= ~np.isfinite(b) & np.isclose(a.real, b.real, rtol, atol, True) & np.isclose(a.imag, b.imag, rtol, atol, True)
        return ~near


def same_aliasing(ours: Any, theirs: Any, inputs_ours: list[Any], inputs_theirs: list[torch.Tensor]) -> None:
    """An output that is a view of an input's memory in PyTorch is one in ToRSh, with the same strides. Raises Differs."""
    for i, (a, b) in enumerate(zip(tensors_in(ours), tensors_in(theirs), strict=True)):
        pointer = b.untyped_storage().data_ptr()
        if not pointer or not b.numel() or b.is_conj() or b.is_neg():
            continue
        for x, y in zip(inputs_ours, inputs_theirs, strict=True):
            if y.untyped_storage().data_ptr() == pointer and not y.is_conj() and x.dtype is a.dtype:
                if a._storage is not x._storage:
                    raise Differs(f"result {i} does not share the memory of its input, PyTorch's does")
                if tuple(a.stride()) != tuple(b.stride()) and b.numel() > 1:
                    raise Differs(f"result {i}, a view, has strides {list(a.stride())}, PyTorch's {list(b.stride())}")
                break


# ---- results that are not unique: a check that accepts what PyTorch's documentation accepts. Each raises Differs.


def _torch(value: Any) -> Any:
    return from_numpy(to_numpy(value)) if isinstance(value, torsh.Tensor) else type(value)(map(_torch, value)) if type(value) in (list, tuple) else value


def _wide(t: torch.Tensor) -> torch.Tensor:
    return t.detach().to(torch.complex128 if t.is_complex() else torch.float64)


def _near(a: torch.Tensor, b: torch.Tensor, of: torch.Tensor, what: str) -> None:
    """What follows from factors, in wide types, is within the plain tolerance of the type of `of`, a factor."""
    if a.shape != b.shape:
        raise Differs(f"{what}: shape {list(a.shape)}, wanted {list(b.shape)}")
    kind = of.resolve_conj().numpy().dtype if a.is_complex() == of.is_complex() else _torch_complex(of)
    wrong = differing(a.resolve_conj().numpy().astype(kind), b.resolve_conj().numpy().astype(kind))
    if wrong.any():
        raise Differs(f"{what}: off by {float((a - b).abs().max())}")


def _torch_complex(of: torch.Tensor) -> Any:
    return np.complex64 if of.dtype is torch.float32 else np.complex128


def _unitary(q: torch.Tensor, what: str) -> None:
    n, w = q.shape[-1], _wide(q)
    if q.numel():
        _near(w.mH @ w, torch.eye(n, dtype=w.dtype).expand(*q.shape[:-2], n, n), q, what)


def _svd(sample: Any, ours: Any, theirs: Any) -> None:
    u, s, v = map(_torch, ours)
    same(ours[1], theirs[1])
    if not all(a.shape == b.shape and a.dtype == b.dtype for a, b in zip((u, s, v), theirs, strict=True)):
        raise Differs("U, S, V differ in shape or dtype")
    if not theirs[0].numel() or not theirs[0].any():
        return
    k = s.shape[-1]
    left, right = _wide(u)[..., :k] * _wide(s).unsqueeze(-2), _wide(v)[..., :k, :] if "linalg" in sample.name else _wide(v)[..., :k].mH
    _near(left @ right, _wide(sample.input), u, "U S V^H")
    _unitary(u, "U^H U")
    _unitary(v.mH if "linalg" in sample.name else v, "V^H V")


def _eigh(sample: Any, ours: Any, theirs: Any) -> None:
    w, v = map(_torch, ours)
    same(ours[0], theirs[0])
    _near((_wide(v) * _wide(w).unsqueeze(-2)) @ _wide(v).mH, (_wide(theirs[1]) * _wide(theirs[0]).unsqueeze(-2)) @ _wide(theirs[1]).mH, v, "V W V^H")
    _unitary(v, "V^H V")


def _eig(sample: Any, ours: Any, theirs: Any) -> None:
    w, v = map(_torch, ours)
    _near(_wide(sample.input).to(torch.complex128) @ _wide(v), _wide(v) * _wide(w).unsqueeze(-2), v, "A V - V W")
    _eigvals(sample, ours[0], theirs[0])


def _eigvals(sample: Any, ours: Any, theirs: Any) -> None:
    """Eigenvalues come in no order: each of PyTorch's has one of ours near it."""
    w = _torch(ours)
    if w.shape != theirs.shape or w.dtype != theirs.dtype:
        raise Differs(f"eigenvalues {list(w.shape)} {w.dtype}, PyTorch's {list(theirs.shape)} {theirs.dtype}")
    if w.numel():
        distance, (rtol, atol) = (w.unsqueeze(-1) - theirs.detach().unsqueeze(-2)).abs(), TOLERANCE[dtype_name(theirs)]
        near = distance <= atol + rtol * theirs.detach().abs().unsqueeze(-2)
        if not bool((near.any(-1) & near.any(-2)).all()):
            raise Differs(f"eigenvalues off by up to {max(float(distance.min(-1).values.max()), float(distance.min(-2).values.max()))}")


def _indexed(sample: Any, ours: Any, theirs: Any) -> None:
    """(values, indices): equal values, and indices that point at them, wherever there are ties."""
    same(ours[0], theirs[0])
    same(ours[1], theirs[1], values=False)
    _points(sample, ours[1], theirs[1])


def _points(sample: Any, ours: Any, theirs: Any) -> None:
    """Indices whose elements equal those that PyTorch's indices point at."""
    x = sample.input.detach()
    dim = _dim(sample)
    same(ours, theirs, values=False)
    if dtype_name(ours) != "int64":
        raise Differs(f"indices of dtype {ours.dtype}")
    i, j = _torch(ours), theirs
    if sample.kwargs.get("stable") or (sample.args and sample.args[0] is True):
        same(ours, theirs)
    if x.ndim == 0 or not j.numel():
        return
    if i.ndim < x.ndim and dim is not None:
        i, j = i.unsqueeze(dim), j.unsqueeze(dim)
    flat = x.reshape(-1) if dim is None or j.ndim == 0 else None
    a, b = (flat[i], flat[j]) if flat is not None else (x.gather(dim, i), x.gather(dim, j))
    if not bool(((a == b) | ((a != a) & (b != b))).all()):
        raise Differs("indices point at other values than PyTorch's")


def gradients_among_ties(sample: Any, ours: Any, theirs: Any) -> None:
    """Gradients of an input from which elements were chosen: which of equal elements got one is open, how many did and what they got together is not."""
    same(ours, theirs, values=False)
    x, dim = to_numpy(sample.input), _dim(sample)
    arrays = (x, to_numpy(ours), to_numpy(theirs))
    rows = [np.moveaxis(a, dim, -1).reshape(-1, a.shape[dim]) if dim is not None and a.ndim else a.reshape(1, -1) for a in arrays]
    for values, a, b in zip(*rows, strict=True):
        _, which = np.unique(values, return_inverse=True)
        for f in (lambda g: g.astype(np.float64), lambda g: (g != 0).astype(np.float64)):
            mine, hers = (np.bincount(which, f(g)) for g in (a, b))
            wrong = differing(mine.astype(a.dtype), hers.astype(b.dtype), GRADIENT)
            if wrong.any():
                raise Differs(f"gradients of equal elements differ: {mine[wrong][0]}, PyTorch's {hers[wrong][0]}")


def _dim(sample: Any) -> int | None:
    return sample.kwargs.get("dim", next((a for a in sample.args if isinstance(a, int) and not isinstance(a, bool)), -1))


def _topk(sample: Any, ours: Any, theirs: Any) -> None:
    """Top values and indices; with dim given second."""
    sample = type(sample)(sample.input, args=(), kwargs={"dim": sample.kwargs.get("dim", sample.args[1] if len(sample.args) > 1 else -1)})
    if sample.kwargs["dim"] is None:
        sample.kwargs["dim"] = -1
    _indexed(sample, ours, theirs)


def _low_rank(sample: Any, ours: Any, theirs: Any) -> None:
    """A randomized factorization: the same product within what the rank kept allows."""
    same(ours, theirs, values=False)
    mine, hers = tuple(map(_torch, ours)), tuple(tensors_in(theirs))
    products = [(_wide(m[0]) * _wide(m[1]).unsqueeze(-2)) @ _wide(m[2]).mH for m in (mine, hers)]
    _near(products[0], products[1], mine[0], "U S V^H")


EQUIVALENT: dict[str, Callable[[Any, Any, Any], None]] = {
    "svd": _svd, "linalg.svd": _svd, "linalg.eigh": _eigh, "linalg.eig": _eig, "linalg.eigvals": _eigvals, "sort": _indexed, "argsort": _points,
    "msort": lambda s, a, b: same(a, b), "topk": _topk, "kthvalue": _topk, "mode": _indexed, "median": _indexed, "nanmedian": _indexed,
    "svd_lowrank": _low_rank, "pca_lowrank": _low_rank,
}
INDEXED = frozenset(name for name, check in EQUIVALENT.items() if check in (_indexed, _topk)) | {"msort"}


# ---- random results


def alike(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Two samples of numbers come from one distribution (Kolmogorov-Smirnov, at a millionth). Raises Differs."""
    from scipy.stats import ks_2samp
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        a, b = (np.concatenate([x.real.ravel(), x.imag.ravel()]) if x.dtype.kind == "c" else x.ravel().astype(np.float64) for x in (a, b))
        if a.size != b.size:
            raise Differs(f"result {i}: {a.size} numbers, PyTorch gave {b.size}")
        if a.size:
            a, b = np.nan_to_num(a), np.nan_to_num(b)
            p = ks_2samp(np.round(a, 6), np.round(b, 6)).pvalue
            if p < 1e-6:
                raise Differs(f"result {i} has another distribution than PyTorch's (p = {p:.1e}; means {a.mean():.4g}, {b.mean():.4g}; deviations "
                              f"{a.std():.4g}, {b.std():.4g})")
