"""`torsh.autograd.forward_ad`: tensors that carry a tangent, and the tangents of what is computed from them.

A dual tensor is its primal with a record of its own. The tangent of a result is found when it is asked for, from the
records between: the vjp of the vjp (see `func.transforms`). So duals require grad, and operations under `no_grad` pass
no tangents on.
"""
from __future__ import annotations

from typing import Any, NamedTuple

from torsh.autograd import engine
from torsh.autograd.grad_mode import enable_grad, state
from torsh.autograd.graph import requires_grad
from torsh.func.transforms import Level, entered
from torsh.tensor.creation import zeros_like
from torsh.tensor.tensor import Tensor


class UnpackedDualTensor(NamedTuple):
    """A primal and its tangent (None where there is none)."""
    primal: Tensor
    tangent: Tensor | None


class _Running:
    """The level that is open: what is older than it, and its duals with their tangents."""
    level: Level | None = None
    duals: list[tuple[Tensor, Tensor]] = []


class dual_level:
    """Context manager in which dual tensors live; one at a time.

    >>> import torsh
    >>> from torsh.autograd import forward_ad
    >>> with forward_ad.dual_level():
    ...     x = forward_ad.make_dual(torsh.tensor(3.0), torsh.tensor(1.0))
    ...     forward_ad.unpack_dual(x * x).tangent
    tensor(6.)
    """

    def __enter__(self) -> int:
        if _Running.level is not None:
            raise RuntimeError("Nested forward mode AD is not supported at the moment")
        _Running.level, _Running.duals = Level(), []
        return 0

    def __exit__(self, *exc: object) -> None:
        _Running.level, _Running.duals = None, []


def _open(what: str) -> Level:
    if _Running.level is None:
        raise RuntimeError(f"Trying to {what} a dual Tensor but no level exists, make sure to enter_dual_level() first.")
    return _Running.level


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """`tensor` with `tangent` (of its shape and dtype).

    Raises RuntimeError outside of `dual_level` and for a tangent that does not fit, ValueError for integer types.
    """
    _open("create")
    if not (tensor._dtype.category >= 2):
        raise ValueError(f"Expected primal to be floating point or complex, but got: {tensor._dtype}")
    if not (tangent._dtype.category >= 2):
        raise ValueError(f"Expected tangent to be floating point or complex, but got: {tangent._dtype}")
    if tangent._shape != tensor._shape:
        raise RuntimeError(f"Expected tangent to have the shape of the primal, {list(tensor._shape)}, but got {list(tangent._shape)}")
    if tangent._dtype is not tensor._dtype:
        raise RuntimeError(f"Expected tangent to have the dtype of the primal, {tensor._dtype}, but got {tangent._dtype}")
    with enable_grad():
        made = entered(tensor)
    _Running.duals.append((made, tangent))
    return made


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """(primal, tangent). The tangent is None for a tensor that does not come from a dual; outside of a level it always is."""
    running = _Running.level
    if running is None:
        return UnpackedDualTensor(tensor, None)
    primal = running.left(tensor)
    if not requires_grad(tensor) or not _Running.duals:
        return UnpackedDualTensor(primal, None)
    with enable_grad():
        probe = entered(zeros_like(tensor))
        back = engine.grad([tensor], [d for d, _ in _Running.duals], [probe], True, True, True)
        pairs = [(g, v) for g, (_, v) in zip(back, _Running.duals, strict=True) if g is not None]
        if not pairs:
            return UnpackedDualTensor(primal, None)
        used = [(g, v) for g, v in pairs if requires_grad(g)]
        found: Any = [None]
        if used:
            found = engine.grad([g for g, _ in used], [probe], [v for _, v in used], True, state.enabled, True)
    tangent = zeros_like(tensor) if found[0] is None else found[0]
    return UnpackedDualTensor(primal, running.left(tangent))



def enter_dual_level() -> int:
    """Open a level without a context manager; `exit_dual_level` closes it."""
    return dual_level().__enter__()


def exit_dual_level(*, level: int | None = None) -> None:
    """Close the open level. Raises RuntimeError if there is none."""
    _open("unpack")
    dual_level().__exit__()


__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]
