"""Maxima over windows of one size whose places are spread at random over the input. Graham, 2014."""
from __future__ import annotations

from typing import Any

from torsh.autograd.autocast import in_full_precision
from torsh.core.dtypes import int64
from torsh.core.shapes import Shape, numel
from torsh.ops.dispatch import cast_tensor
from torsh.ops.gather import gather, iota
from torsh.ops.pointwise import where
from torsh.ops.pool import plane_index
from torsh.ops.random import rand
from torsh.ops.reduce import argmax
from torsh.ops.windows import numbers
from torsh.tensor.tensor import Tensor


def _starts(samples: Tensor, size: int, out: int, kernel: int) -> Tensor:
    """Where the windows of each plane begin, [n, c, out], for a number in [0, 1) of each plane: steps of irregular length, and the last
    window at the end."""
    if out == 1:
        return cast_tensor(samples.unsqueeze(-1) * 0, int64) + (size - kernel)  # type: ignore[attr-defined,no-any-return]
    step = (size - kernel) / (out - 1)
    i = cast_tensor(iota(out), samples._dtype)
    share: Any = samples.unsqueeze(-1)  # type: ignore[attr-defined]
    first = cast_tensor(share * step, int64)
    return where(iota(out) == out - 1, size - kernel, cast_tensor((i + share) * step, int64) - first)  # type: ignore[no-any-return]


def _pool(n: int, what: str, x: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Tensor | None) -> tuple[Tensor, Tensor]:
    if output_size is None and output_ratio is None:
        raise ValueError(f"{what} requires specifying either an output_size or an output_ratio")
    if len(x._shape) not in (n + 1, n + 2) or 0 in x._shape[-n - 1:]:
        raise RuntimeError(f"{what}(): Expected {n + 1}D or {n + 2}D tensor with optional 0 dim batch size, but got: {list(x._shape)}")
    size = x._shape[-n:]
    if output_size is None:
        ratios = tuple(output_ratio) if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * n
        if len(ratios) != n:
            raise ValueError(f"{what} requires output_ratio to either be a single Int or tuple of Ints.")
        output_size = [int(s * r) for s, r in zip(size, ratios, strict=True)]
    kernel, out = numbers(kernel_size, n, what, "kernel_size"), numbers(output_size, n, what, "output_size")
    for side, s, k, o in zip(("time", "height", "width")[-n:], size, kernel, out, strict=True):
        if o + k - 1 > s - (n == 3):
            raise RuntimeError(f"{what}(): pool {side} {k} too large relative to input {side} {s} (for an output of {o})")
        if o <= 0 or k <= 0:
            raise RuntimeError(f"{what}(): kernel_size and output_size must be positive, got {list(kernel)} and {list(out)}")
    batched = len(x._shape) == n + 2
    if not batched:
        x = x.unsqueeze(0)  # type: ignore[attr-defined]
    head = x._shape[:2]
    if samples is None:
        samples = rand(*head, n, dtype=x._dtype)
    elif len(samples._shape) != 3 or samples._shape[0] < head[0] or samples._shape[1:] != (head[1], n):
        raise RuntimeError(f"{what}: Expect _random_samples to have shape {[*head, n]}, got {list(samples._shape)}")
    else:
        samples = samples[:head[0]]
    picked = (0, 1, 2) if n == 3 else (1, 0)  # PyTorch's order: in two dimensions the number of the width comes first
    places = [_starts(samples[..., picked[d]], size[d], out[d], kernel[d]) for d in range(n)]
    coordinates = []
    for d in range(n):
        shape = [*head, *[1] * (2 * n)]
        shape[2 + d] = out[d]
        window = [1] * (2 * n)
        window[n + d] = kernel[d]
        coordinates.append(places[d].reshape(shape) + iota(kernel[d]).reshape(window))  # type: ignore[attr-defined]
    inner: Shape = (*out, *kernel)
    at: Any = plane_index(size, coordinates).expand(*head, *inner).reshape(*head, numel(out), numel(kernel))  # type: ignore[attr-defined]
    flat = x.reshape(*head, numel(size))  # type: ignore[attr-defined]
    best = argmax(gather(flat.detach(), 2, at.reshape(*head, numel(inner))).reshape(at._shape), -1, True)  # type: ignore[attr-defined]
    chosen = gather(at, 3, best).squeeze(3)  # type: ignore[attr-defined]
    y = gather(flat, 2, chosen).reshape(*head, *out)  # type: ignore[attr-defined]
    index = chosen.reshape(*head, *out)
    return (y, index) if batched else (y.squeeze(0), index.squeeze(0))


def _make(n: int) -> tuple[Any, Any]:
    def with_indices(input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
                     _random_samples: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return _pool(n, f"fractional_max_pool{n}d", input, kernel_size, output_size, output_ratio, _random_samples)

    def fractional_max_pool(input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
                            _random_samples: Tensor | None = None) -> Any:
        found = with_indices(input, kernel_size, output_size, output_ratio, return_indices, _random_samples)
        return found if return_indices else found[0]
    fractional_max_pool.__name__, with_indices.__name__ = f"fractional_max_pool{n}d", f"fractional_max_pool{n}d_with_indices"
    fractional_max_pool.__doc__ = (f"Maxima of windows of the last {n} dimensions at random places, so many that the result has `output_size` (or "
                                   "`output_ratio` times the input's size).\n\n    The places come from `_random_samples` in [0, 1), [n, c, "
                                   f"{n}], drawn if not given. Raises ValueError without a size, RuntimeError for sizes that do not fit.\n    ")
    with_indices.__doc__ = f"`fractional_max_pool{n}d` with the places of the maxima."
    return in_full_precision(fractional_max_pool), in_full_precision(with_indices)


fractional_max_pool2d, fractional_max_pool2d_with_indices = _make(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = _make(3)
