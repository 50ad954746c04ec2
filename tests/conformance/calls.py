"""Calls in both worlds: what they return or raise, on samples of their own, in wider types, under other seeds."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import torsh
from tests.conformance import compare
from tests.conformance.compare import Differs
from tests.conformance.convert import HAVE, Converter, Unconvertible, tensors_in, to_numpy
from tests.conformance.resolve import Missing, Seed, lookup


class Raised:
    """A call that raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def outcome(call: Callable[[], Any]) -> Any:
    try:
        result = call()
        for t in tensors_in(result):
            if isinstance(t, torsh.Tensor):
                t.detach()._node()
                to_numpy(t)
        return result
    except (Missing, Unconvertible):
        raise
    except Exception as error:
        return Raised(error)


def agree_on_error(ours: Any, theirs: Any) -> bool:
    """Whether PyTorch raised; then ToRSh must have raised the same. Raises Differs, or what ToRSh raised alone."""
    if not isinstance(theirs, Raised):
        if isinstance(ours, Raised):
            raise ours.error
        return False
    if not isinstance(ours, Raised):
        raise Differs(f"no error; PyTorch raises {type(theirs.error).__name__}: {theirs.error}")
    if not isinstance(ours.error, error_type(type(theirs.error))):
        raise Differs(f"{type(ours.error).__name__}: {ours.error}; PyTorch raises {type(theirs.error).__name__}: {theirs.error}")
    return True


def error_type(theirs: Any) -> Any:
    """ToRSh's exception type for one of PyTorch's."""
    if isinstance(theirs, tuple):
        return tuple(map(error_type, theirs))
    return lookup(f"linalg.{theirs.__name__}") if theirs.__name__ == "LinAlgError" else theirs


def invoke(op: Callable[..., Any], sample: tuple[Any, tuple[Any, ...], dict[str, Any]], **more: Any) -> Any:
    return op(sample[0], *sample[1], **sample[2], **more)


def seeded(seed: int, call: Callable[[], Any]) -> Any:
    Seed.value = seed
    torch.manual_seed(seed)
    torsh.manual_seed(seed)
    return call()


def split(sample: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    return sample.input, tuple(sample.args), dict(sample.kwargs)


def detached(value: Any, requires_grad: bool = False) -> Any:
    """A sample with tensors of its own, strides kept: what an operation writes into it stays there."""
    memo: dict[int, Any] = {}

    def copy(v: Any) -> Any:
        if isinstance(v, torch.Tensor):
            if id(v) not in memo:
                if v.layout is not torch.strided or v.is_conj() or v.is_neg() or v.dtype not in HAVE:
                    memo[id(v)] = v.detach().clone().requires_grad_(v.requires_grad)
                else:
                    flat = torch.as_strided(v.detach(), (v.untyped_storage().nbytes() // v.element_size(),), (1,), 0).clone()
                    memo[id(v)] = flat.as_strided(v.shape, v.stride(), v.storage_offset()).detach().requires_grad_(v.requires_grad)
            return memo[id(v)]
        if type(v) in (list, tuple):
            return type(v)(map(copy, v))
        if isinstance(v, dict):
            return {k: copy(x) for k, x in v.items()}
        return v
    return copy(value)


WIDE = {torch.bfloat16: torch.float64, torch.float16: torch.float64, torch.float32: torch.float64, torch.complex64: torch.complex128}


def widened(value: Any) -> Any:
    """A sample with every type in its widest form, of the same values."""
    if isinstance(value, torch.Tensor):
        return value.detach().to(WIDE[value.dtype]).requires_grad_(value.requires_grad) if value.dtype in WIDE else value
    if isinstance(value, torch.dtype):
        return WIDE.get(value, value)
    if type(value) in (list, tuple):
        return type(value)(map(widened, value))
    return {k: widened(v) for k, v in value.items()} if isinstance(value, dict) else value


def in_wider_types(entry: Any, sample: Any, theirs_out: Any) -> Any:
    """PyTorch's result for the same values (and draws) in wider types; None where there are none, or the result has another structure."""
    if not any(t.dtype in WIDE for t in tensors_in(theirs_out)):
        return None
    exact = outcome(lambda: seeded(0, lambda: invoke(entry.op, widened(detached(split(sample))))))
    return exact if shapes_of(exact) == shapes_of(theirs_out) else None


def shapes_of(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [shapes_of(v) for v in value]
    return tuple(value.shape) if isinstance(value, torch.Tensor) else type(value)


def is_random(entry: Any, sample: Any) -> bool:
    """Whether PyTorch itself gives other results under another seed."""
    def draw(seed: int) -> list[np.ndarray]:
        return [to_numpy(t) for t in tensors_in(seeded(seed, lambda: invoke(entry.op, detached(split(sample)))))]
    return not all(np.array_equal(a, b, equal_nan=a.dtype.kind not in "iub") for a, b in zip(draw(1), draw(2), strict=True))


def alike_over_seeds(theirs: Any, ours: Any, sample: Any, wanted: int = 3000, most: int = 300) -> None:
    def draws(op: Any, convert: Callable[[Any], Any], first: int) -> list[np.ndarray]:
        found: list[list[np.ndarray]] = []
        for seed in range(first, first + most):
            found.append([to_numpy(t).astype(np.complex128 if to_numpy(t).dtype.kind == "c" else np.float64)
                          for t in tensors_in(seeded(seed, lambda: invoke(op, convert(detached(split(sample))))))])
            if sum(a.size for row in found for a in row[:1]) >= wanted:
                break
        return [np.concatenate([row[i].ravel() for row in found]) for i in range(len(found[0]))]
    compare.alike(draws(ours, lambda v: Converter()(v), 1), draws(theirs, lambda v: v, 100_001))
