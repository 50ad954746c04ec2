"""The text of a tensor, character for character the one PyTorch prints.

A tensor with more than `threshold` elements shows only its corners: the first and last `edgeitems` entries along each
dimension. `shown_edges` says which dimensions are cut, so that a caller can fetch the corners alone; `format_tensor`
takes either the whole array or just those corners, renders each shown number once, and lays the cells out.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from torsh.core.dtypes import bool_ as bool_dtype
from torsh.core.dtypes import dtype, float8_e8m0fnu, get_default_dtype, int64

_PROFILES = {
    "default": (4, 1000, 3, 80),
    "short": (2, 1000, 2, 80),
    "full": (4, float("inf"), 3, 80),
}


class _Options:
    """The process-wide print options; the meaning of each is that of `set_printoptions`."""
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print; what is None stays as it is, except `sci_mode`.

    Args:
        precision: digits after the point of floating numbers (at first 4).
        threshold: a tensor with more elements than this shows its corners only (1000).
        edgeitems: how many entries those corners have at each end of a dimension (3).
        linewidth: the column at which lines break (80).
        profile: a set of the four above, which they then override: `"default"`, `"short"` or `"full"`.
        sci_mode: True or False for scientific notation always or never; None, also when left out, lets each tensor's
            values decide: largest above 1e8, smallest below 1e-4, or more than a factor of 1000 between them.

    Raises ValueError for an unknown profile.

    >>> import numpy as np
    >>> from torsh.core.dtypes import float32
    >>> with printoptions(precision=2):
    ...     print(format_tensor(np.float32([1.12345, 2]), float32))
    tensor([1.12, 2.00])
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: unknown profile {profile!r}, it is one of {', '.join(_PROFILES)}")
        _Options.precision, _Options.threshold, _Options.edgeitems, _Options.linewidth = _PROFILES[profile]
    if precision is not None:
        _Options.precision = precision
    if threshold is not None:
        _Options.threshold = threshold
    if edgeitems is not None:
        _Options.edgeitems = edgeitems
    if linewidth is not None:
        _Options.linewidth = linewidth
    _Options.sci_mode = sci_mode


def get_printoptions() -> dict[str, object]:
    """The present options, as keyword arguments for `set_printoptions`.

    >>> get_printoptions()
    {'precision': 4, 'threshold': 1000, 'edgeitems': 3, 'linewidth': 80, 'sci_mode': None}
    """
    return {name: getattr(_Options, name) for name in ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")}


@contextmanager
def printoptions(**options: object) -> Iterator[None]:
    """A context in which `set_printoptions(**options)` holds."""
    before = get_printoptions()
    set_printoptions(**options)  # type: ignore[arg-type]
    try:
        yield
    finally:
        set_printoptions(**before)  # type: ignore[arg-type]


def shown_edges(shape: Sequence[int]) -> tuple[int | None, ...]:
    """For each dimension of a tensor of this shape: None if it prints whole, else how many entries at each end.

    A caller that does not want to fetch a large tensor takes the first and last so many entries of each such
    dimension, and hands them to `format_tensor` together with the full shape.

    >>> shown_edges((2, 600))
    (None, 3)
    >>> shown_edges((2, 6))
    (None, None)
    """
    count = 1
    for size in shape:
        count *= size
    edge = _Options.edgeitems
    if count <= _Options.threshold:
        return (None,) * len(shape)
    return tuple(edge if size > 2 * edge else None for size in shape)


def format_tensor(
    array: np.ndarray | None,
    dtype: dtype,
    *,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    device: str | None = None,
    class_name: str = "tensor",
    shape: Sequence[int] | None = None,
    parameter: bool = False,
) -> str:
    """The representation of a tensor.

    Args:
        array: its values, whole or the corners that `shown_edges(shape)` tells; None if it has none (a meta tensor).
        dtype: its element type; named in the text unless a literal of these values would give it anyway.
        requires_grad: whether it is a leaf that collects a gradient.
        grad_fn_name: class of the autograd node that made it, e.g. `AddBackward0`; shown instead of `requires_grad`.
        device: its device when that is not the default one, e.g. `cuda:0`.
        class_name: `tensor`, or the name of the subclass of Tensor.
        shape: its full shape; not needed when `array` is the whole of it.
        parameter: whether it is an `nn.Parameter`.

    Raises ValueError if `array` is neither of the shape given nor its corners.

    >>> from torsh.core.dtypes import float32, float64
    >>> print(format_tensor(np.float64([[1, 2.5], [-3, 4]]), float64, grad_fn_name="AddBackward0"))
    tensor([[ 1.0000,  2.5000],
            [-3.0000,  4.0000]], dtype=torsh.float64, grad_fn=<AddBackward0>)
    >>> print(format_tensor(np.float32([[0, 1], [9998, 9999]]), float32, shape=(2, 5000)))
    Traceback (most recent call last):
    ...
    ValueError: format_tensor: an array of shape (2, 2) is neither a tensor of shape (2, 5000) nor its corners (2, 6)
    """
    if shape is None:
        if array is None:
            raise ValueError("format_tensor: a tensor without values needs its shape")
        shape = array.shape
    shape = tuple(shape)
    head = class_name + "("
    size_suffix = f"size={shape}"
    suffixes = [f"device='{device}'"] if device is not None else []
    default = get_default_dtype()
    if array is None:
        text = "..."
        suffixes.append(size_suffix)
        dtype_is_evident = dtype is default
    elif 0 in shape:
        text = "[]"
        if len(shape) != 1:
            suffixes.append(size_suffix)
        dtype_is_evident = dtype is default
    else:
        text = _values(array, dtype, shape, len(head))
        if not _Options.edgeitems:
            suffixes.append(size_suffix)
        dtype_is_evident = dtype in (default, default.to_complex(), int64, bool_dtype)
    if not dtype_is_evident:
        suffixes.append(f"dtype={dtype}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    text = _with_suffixes(head + text, suffixes, len(head))
    if not parameter:
        return text
    return "Parameter containing:\n" + (text if class_name == "tensor" else f"Parameter({text})")


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """`text`, then each suffix on the same line where it fits, and the closing parenthesis."""
    column = len(text) - text.rfind("\n") + 1  # two more than the line has, as PyTorch counts
    for suffix in suffixes:
        if column + len(suffix) + 2 > _Options.linewidth:
            text += ",\n" + " " * indent + suffix
            column = indent + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"


def _values(array: np.ndarray, dtype: dtype, shape: tuple[int, ...], indent: int) -> str:
    """The nested brackets of a tensor that is not empty, to be written from column `indent` on."""
    edges = shown_edges(shape)
    corners = tuple(size if edge is None else 2 * edge for size, edge in zip(shape, edges))
    if array.shape == shape:
        for axis, edge in enumerate(edges):
            if edge is not None:
                kept = np.r_[:edge, shape[axis] - edge:shape[axis]]
                array = array.take(kept, axis)
    elif array.shape != corners:
        raise ValueError(f"format_tensor: an array of shape {array.shape} is neither a tensor of shape {shape} "
                         f"nor its corners {corners}")
    cells, width = _cells(array.reshape(-1), dtype)
    per_line = max(1, int((_Options.linewidth - indent - max(0, len(shape) - 1)) // (width + 2)))
    return _nested(iter(cells), corners, edges, 0, indent, per_line)


def _cells(flat: np.ndarray, dtype: dtype) -> tuple[list[str], int]:
    """Each number as text, and the width of the column they make.

    A number outside the statistics of the column (zero, infinity, NaN) may be wider than that width, as in PyTorch.
    """
    if dtype.is_complex:
        real, real_width = _real_cells(flat.real)
        imag, imag_width = _real_cells(flat.imag)
        parts = (part.lstrip() for part in imag)
        joined = [r + (i if i[0] == "-" else "+" + i) + "j" for r, i in zip(real, parts)]
        return joined, real_width + imag_width + 1
    if dtype.is_floating_point:
        return _real_cells(flat, dtype is float8_e8m0fnu)
    cells = [str(value) for value in flat.tolist()]
    width = max(map(len, cells), default=1)
    return [cell.rjust(width) for cell in cells], width


def _real_cells(flat: np.ndarray, nan_counts: bool = False) -> tuple[list[str], int]:
    """`_cells` of floating numbers: one notation for all of them, chosen by those that are finite and not zero (in PyTorch's powers of two,
    which know no infinity, NaN counts as finite)."""
    with np.errstate(invalid="ignore"):  # widening a signalling NaN
        flat = flat.astype(np.float64)
    counted = (np.isfinite(flat) | (np.isnan(flat) & nan_counts)) & (flat != 0)
    finite = flat[counted]
    if finite.size and _is_scientific(finite):
        cells = [format(value, f".{_Options.precision}e") for value in flat.tolist()]
    elif (finite == np.ceil(finite)).all():
        cells = [format(value, ".0f") for value in flat.tolist()]
        cells = [cell if cell[-1] in "fn" else cell + "." for cell in cells]  # inf and nan have no point
    else:
        cells = [format(value, f".{_Options.precision}f") for value in flat.tolist()]
    width = max((len(cell) for cell, counts in zip(cells, counted.tolist()) if counts), default=1)
    return [cell.rjust(width) for cell in cells], width


def _is_scientific(finite: np.ndarray) -> bool:
    """Whether a column of these numbers, finite and not zero, is in scientific notation."""
    if _Options.sci_mode is not None:
        return _Options.sci_mode
    magnitude = np.abs(finite)
    low, high = float(magnitude.min()), float(magnitude.max())
    return high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4


def _nested(
    cells: Iterator[str], corners: tuple[int, ...], edges: tuple[int | None, ...], axis: int, indent: int, per_line: int
) -> str:
    """The part of the layout from dimension `axis` inwards, taking its numbers from `cells`."""
    if axis == len(corners):
        return next(cells)
    edge, innermost = edges[axis], axis == len(corners) - 1
    entries = [_nested(cells, corners, edges, axis + 1, indent + 1, per_line) for _ in range(corners[axis])]
    if edge is not None:
        # PyTorch sets the dots off by a space among numbers, where they stand in a column
        entries.insert(edge, " ..." if innermost and edge else "...")
    newline = "\n" + " " * (indent + 1)
    if not innermost:
        return "[" + ("," + "\n" * (len(corners) - axis - 2) + newline).join(entries) + "]"
    lines = [", ".join(entries[start:start + per_line]) for start in range(0, len(entries), per_line)]
    return "[" + ("," + newline).join(lines) + "]"
