"""Sampling images at places given by a grid, and grids of affine maps. Jaderberg et al., 2015 (spatial transformers)."""
from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from torsh.autograd.autocast import in_full_precision
from torsh.core.shapes import Shape, numel
from torsh.ops.composite import wide
from torsh.ops.dispatch import cast_tensor
from torsh.ops.gather import gather
from torsh.ops.matmul import contract
from torsh.ops.pointwise import abs, floor, maximum, minimum, round, where
from torsh.tensor.creation import from_array
from torsh.tensor.tensor import Tensor

_CHANGED = ("Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify align_corners=True if the "
            "old behavior is desired. See the documentation of grid_sample for details.")


def _unnormalized(x: Tensor, size: int, align: bool) -> Tensor:
    """From [-1, 1] to positions: the ends are the centres of the outer elements (`align`) or their outer edges."""
    if align:
        return (x + 1) / 2 * (size - 1)  # type: ignore[no-any-return]
    return ((x + 1) * size - 1) / 2  # type: ignore[no-any-return]


def _reflected(x: Tensor, twice_low: int, twice_high: int) -> Tensor:
    """Positions folded back at two ends (given doubled, since they may be halves)."""
    if twice_low == twice_high:
        return x * 0
    low, span = twice_low / 2, (twice_high - twice_low) / 2
    distance = abs(x - low)
    turns = floor(distance / span).detach()  # type: ignore[attr-defined]
    rest = distance - turns * span
    return where(turns % 2 == 0, rest + low, span - rest + low)  # type: ignore[no-any-return]


def _clipped(x: Tensor, size: int) -> Tensor:
    """Positions limited to an image, with no gradient at its ends either (`clamp` has one there)."""
    return where((x > 0) & (x < size - 1), x, minimum(maximum(x, 0), size - 1).detach())  # type: ignore[attr-defined,no-any-return]


def _placed(x: Tensor, size: int, padding_mode: str, align: bool) -> Tensor:
    """Positions brought inside by the padding mode ("zeros" leaves them)."""
    if padding_mode == "reflection":
        x = _reflected(x, 0, 2 * (size - 1)) if align else _reflected(x, -1, 2 * size - 1)
    return x if padding_mode == "zeros" else _clipped(x, size)


def _read(flat: Tensor, at: list[Tensor], size: Shape, zeros: bool) -> Tensor:
    """Elements [n, c, points] of [n, c, positions] at whole positions (one [n, points] for each dimension); 0 outside if `zeros`."""
    inside: Any = None
    place: Any = None
    for x, n in zip(at, size, strict=True):
        if zeros:
            here = (x >= 0) & (x <= n - 1)
            inside = here if inside is None else inside & here
        whole = cast_tensor(where((x >= 0) & (x <= n - 1), x, 0.0).detach(), _INT64)
        place = whole if place is None else place * n + whole
    n, c, _ = flat._shape
    found = gather(flat, 2, place.unsqueeze(1).expand(n, c, place._shape[1]))
    return found if inside is None else where(inside.unsqueeze(1), found, 0.0)  # type: ignore[no-any-return]


_INT64 = from_array(np.zeros(0, np.int64))._dtype


def _cubic(t: Tensor, a: float = -0.75) -> list[Tensor]:
    """The weights of the four neighbours at distance t past the second. Keys, 1981."""
    def near(x: Any) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _check_grid(x: Tensor, grid: Tensor, mode: str) -> None:
    s, g = x._shape, grid._shape
    what = "grid_sampler(): expected"
    if x._dtype is not grid._dtype:
        raise RuntimeError(f"{what} input and grid to have same dtype, but input has {x._dtype.name} and grid has {grid._dtype.name}")
    if len(s) not in (4, 5) or len(g) != len(s):
        raise RuntimeError(f"{what} 4D or 5D input and grid with same number of dimensions, but got input with sizes {list(s)} and grid with sizes {list(g)}")
    if s[0] != g[0]:
        raise RuntimeError(f"{what} grid and input to have same batch size, but got input with sizes {list(s)} and grid with sizes {list(g)}")
    if g[-1] != len(s) - 2:
        raise RuntimeError(f"{what} grid to have size {len(s) - 2} in last dimension, but got grid with sizes {list(g)}")
    if not numel(s[2:]):
        raise RuntimeError(f"{what} input to have non-empty spatial dimensions, but input has sizes {list(s)}")
    if mode == "bicubic" and len(s) == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


@in_full_precision
def grid_sample(input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None) -> Tensor:
    """[n, c, *out]: the input [n, c, *size] read at the positions grid [n, *out, k], whose last dimension is (x, y) or (x, y, z) in [-1, 1].

    Modes "bilinear" (trilinear for three dimensions), "nearest", "bicubic" (4-D); outside are "zeros", the "border" or a "reflection".
    Raises ValueError for another mode, RuntimeError for shapes and types that do not fit.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: '{padding_mode}'")
    if align_corners is None:
        warnings.warn(_CHANGED, stacklevel=2)
    align = bool(align_corners)
    _check_grid(input, grid, mode)
    dt, x = input._dtype, wide(input)
    n, c, size = x._shape[0], x._shape[1], x._shape[2:]
    out = grid._shape[1:-1]
    flat = x.reshape(n, c, numel(size))  # type: ignore[attr-defined]
    points = wide(grid).reshape(n, numel(out), len(size))  # type: ignore[attr-defined]
    if not numel(out) or not n or not c:
        return cast_tensor(flat.sum() * 0 + x.new_zeros((n, c, *out)), dt)  # type: ignore[attr-defined]
    places = [_unnormalized(points[..., k], m, align) for k, m in enumerate(reversed(size))][::-1]  # in the order of the dimensions
    zeros = padding_mode == "zeros"
    if mode == "nearest":
        at = [round(_placed(p, m, padding_mode, align)).detach() for p, m in zip(places, size, strict=True)]  # type: ignore[attr-defined]
        found = _read(flat, at, size, zeros)
    elif mode == "bilinear":
        found = _between(flat, [_placed(p, m, padding_mode, align) for p, m in zip(places, size, strict=True)], size)
    else:
        found = _bicubic(flat, places, size, padding_mode, align)
    return cast_tensor(found.reshape(n, c, *out), dt)  # type: ignore[attr-defined]


def _between(flat: Tensor, places: list[Tensor], size: Shape) -> Tensor:
    low = [floor(p).detach() for p in places]  # type: ignore[attr-defined]
    share = [p - q for p, q in zip(places, low, strict=True)]
    total: Any = None
    for corner in itertools.product((0, 1), repeat=len(size)):
        weight: Any = None
        for up, s in zip(corner, share, strict=True):
            w = s if up else 1 - s
            weight = w if weight is None else weight * w
        part = _read(flat, [q + up if up else q for q, up in zip(low, corner, strict=True)], size, True) * weight.unsqueeze(1)
        total = part if total is None else total + part
    return total  # type: ignore[no-any-return]


def _bicubic(flat: Tensor, places: list[Tensor], size: Shape, padding_mode: str, align: bool) -> Tensor:
    low = [floor(p).detach() for p in places]  # type: ignore[attr-defined]
    weights = [_cubic(p - q) for p, q in zip(places, low, strict=True)]
    total: Any = None
    for i in range(4):
        row: Any = None
        for j in range(4):
            at = [_placed(q + (k - 1), m, padding_mode, align) for q, k, m in zip(low, (i, j), size, strict=True)]
            part = _read(flat, at, size, padding_mode == "zeros") * weights[1][j].unsqueeze(1)  # type: ignore[attr-defined]
            row = part if row is None else row + part
        row = row * weights[0][i].unsqueeze(1)  # type: ignore[attr-defined]
        total = row if total is None else total + row
    return total  # type: ignore[no-any-return]


def _base(size: int, align: bool, real: Any) -> np.ndarray:
    if size <= 1:
        return np.zeros(size, real)
    ends = np.linspace(-1, 1, size, dtype=real)
    return ends if align else ends * real((size - 1) / size)


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Grids [n, h, w, 2] (or [n, d, h, w, 3]) for `grid_sample` that map by theta [n, 2, 3] (or [n, 3, 4]), for an output of `size` [n, c, ...].

    Raises ValueError for a theta that does not fit the size, NotImplementedError for other sizes.
    """
    shape = tuple(int(s) for s in size)
    if align_corners is None:
        warnings.warn(_CHANGED, stacklevel=2)
    align = bool(align_corners)
    if theta._dtype.category != 2:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if len(shape) not in (4, 5):
        raise NotImplementedError("affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
                                  f"Got size {list(size)}.")
    k = len(shape) - 2
    if len(theta._shape) != 3 or theta._shape[1:] != (k, k + 1):
        raise ValueError(f"Expected a batch of {k}D affine matrices of shape Nx{k}x{k + 1} for size {size}. Got {theta.shape}.")
    if align and min(shape[2:]) == 1:
        warnings.warn("Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. This is not an intended "
                      "use case of affine_grid. See the documentation of affine_grid for details.", stacklevel=2)
    elif min(shape) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    real = theta._dtype.np.type if theta._dtype.itemsize >= 4 else np.float32
    axes = np.meshgrid(*[_base(m, align, real) for m in shape[2:]], indexing="ij")
    points = np.stack([*axes[::-1], np.ones(shape[2:], real)], -1).reshape(1, -1, k + 1).astype(theta._dtype.np)
    n = shape[0]
    base = from_array(points).expand(n, *points.shape[1:])  # type: ignore[attr-defined]
    return contract(base, theta.transpose(1, 2)).reshape(n, *shape[2:], k)  # type: ignore[attr-defined,no-any-return]
