"""What views give as tensors with memory of their own (`permute_copy`), views in place (`t_`), and regions replaced (`slice_scatter`)."""
from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

from torsh.autograd.grad_mode import state
from torsh.autograd.graph import grad_fn, needs_record, snapshot
from torsh.core.dtypes import PROMOTE
from torsh.core.shapes import contiguous_strides, wrap_dim
from torsh.graph.node import Op
from torsh.ops import views
from torsh.ops.complex_numbers import view_as_complex, view_as_real
from torsh.ops.dispatch import cast_tensor, public, recorded, write_out
from torsh.ops.views import as_strided, clone, region_assigned
from torsh.tensor.tensor import Tensor, alias

_ALIAS = Op("alias", "history", None, None, lambda ctx, g: g)


def _alias(input: Tensor) -> Tensor:
    """The tensor itself under another name, for `alias_copy`."""
    return recorded(_ALIAS, None, (input,), alias(input, input._shape, input._strides, input._offset))


def _detach(input: Tensor) -> Tensor:
    return views.detach(input)


def _copy(name: str, view: Callable[..., Any], method: bool = False) -> None:
    @functools.wraps(view)
    def function(input: Tensor, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        found = view(input, *args, **kwargs)
        several = isinstance(found, tuple)
        if out is None:
            return tuple([clone(t) for t in found]) if several else clone(found)
        if not several:
            return write_out(out, found, name)
        if len(out) != len(found):
            raise RuntimeError(f"{name}(): expected {len(found)} tensors in out, got {len(out)}")
        for o, t in zip(out, found, strict=True):
            write_out(o, t, name)
        return None
    function.__name__ = name
    function.__doc__ = f"`{name.removesuffix('_copy')}` as a tensor with memory of its own. Raises as it does."
    public(name, method=method)(function)


def _expand(input: Tensor, size: Sequence[int], *, implicit: bool = False) -> Tensor:
    return views.expand(input, size)


def _view(input: Tensor, size: Any = None, *, dtype: Any = None) -> Tensor:
    return views.view(input, size) if dtype is None else views.view(input, dtype=dtype)


def _narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    n = len(input._shape)
    if n and dim >= n:
        raise RuntimeError(f"narrow_copy(): Expected dim < {n}, but got dim={dim}")
    return views.narrow(input, dim, start, length)  # type: ignore[no-any-return]


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts of a dimension of the sizes given. Raises RuntimeError when they do not add up."""
    return views.split(input, list(split_sizes), dim)  # type: ignore[no-any-return]


def slice_(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """A view of `input[start:end:step]` along a dimension. Raises RuntimeError for a step that is not positive."""
    d, n = _sliced_dim(input, dim)
    first, last, step = _slice_bounds(n, start, end, step)
    return views.slice_dim(input, d, first, -(-(last - first) // step), step)


def _sliced_dim(input: Tensor, dim: int) -> tuple[int, int]:
    if not input._shape:
        raise RuntimeError("slice() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, len(input._shape), "slice")
    return d, input._shape[d]


def _slice_bounds(n: int, start: int | None, end: int | None, step: int) -> tuple[int, int, int]:
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    first, last, _ = slice(start, end).indices(n)
    return first, max(first, last), operator.index(step)


for _name, _function in (("alias", _alias), ("as_strided", as_strided), ("detach", _detach), ("diagonal", views.diagonal), ("expand", _expand),
                         ("permute", views.permute), ("select", views.select), ("slice", slice_), ("split", views.split),
                         ("split_with_sizes", split_with_sizes), ("squeeze", views.squeeze), ("t", views.t), ("transpose", views.transpose),
                         ("unbind", views.unbind), ("unfold", views.unfold), ("unsqueeze", views.unsqueeze), ("view", _view)):
    _copy(_name + "_copy", _function)
_copy("narrow_copy", _narrow, method=True)
_copy("view_as_real_copy", view_as_real)
_copy("view_as_complex_copy", view_as_complex)
public("split_with_sizes")(split_with_sizes)


def _plain(name: str, view: Callable[..., tuple[Tensor, ...]], shown: str) -> None:
    @functools.wraps(view)
    def function(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        return view(*args, **kwargs)
    function.__name__ = name
    function.__doc__ = f"`{shown}`, for callers that will not write to the parts."
    public(name)(function)


for _name, _parts in (("split", views.split), ("split_with_sizes", split_with_sizes), ("chunk", views.chunk)):
    _plain("unsafe_" + _name, _parts, _name)


def _split_along(name: str, needed: int, dim_of: Callable[[int], int]) -> None:
    def function(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
        n = len(input._shape)
        if n < needed:
            raise RuntimeError(f"torch.{name} requires a tensor with at least {needed} dimension{'s' if needed > 1 else ''}, but got a tensor with {n} "
                               "dimensions!")
        d = dim_of(n)
        if not isinstance(indices_or_sections, (int, Integral, tuple, list)):
            raise TypeError(f"{name}(): received an invalid combination of arguments: indices_or_sections must be int or tuple of ints, not "
                            f"{type(indices_or_sections).__name__}")
        if isinstance(indices_or_sections, (int, Integral)):
            if indices_or_sections <= 0 or input._shape[d] % indices_or_sections:
                raise RuntimeError(f"torch.{name} attempted to split along dimension {d}, but the size of the dimension {input._shape[d]} is not "
                                   f"divisible by the split_size {indices_or_sections}!")
        return views.tensor_split(input, indices_or_sections, d)  # type: ignore[no-any-return]
    function.__name__ = name
    function.__doc__ = f"`tensor_split` along one dimension ({name}), into equal parts or at indices. Raises RuntimeError where it cannot be."
    public()(function)


_split_along("hsplit", 1, lambda n: 0 if n == 1 else 1)
_split_along("vsplit", 2, lambda n: 0)
_split_along("dsplit", 3, lambda n: 2)


# ---- views in place: the tensor itself takes the view's geometry


def _in_place(name: str, view: Callable[..., Tensor]) -> None:
    @functools.wraps(view)
    def function(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        recording = state.enabled and needs_record((self,))
        if recording and self._base is None and grad_fn(self) is None:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        seen = view(snapshot(self) if recording else self, *args, **kwargs)
        self._shape, self._strides, self._offset = seen._shape, seen._strides, seen._offset
        self._storage.version += 1
        if recording:
            self._grad_fn, self._output_nr, self._view_version = seen._grad_fn, seen._output_nr, self._storage.version
        return self
    function.__name__ = name
    function.__doc__ = f"`{name[:-1]}` in place: the tensor keeps its memory and takes the new geometry. Raises as `{name[:-1]}` does."
    public(name, function=False)(function)


for _name, _function in (("t", views.t), ("transpose", views.transpose), ("swapaxes", views.transpose), ("swapdims", views.transpose),
                         ("squeeze", views.squeeze), ("unsqueeze", views.unsqueeze), ("as_strided", as_strided)):
    _in_place(_name + "_", _function)
public("as_strided_", method=False)(Tensor.as_strided_)  # type: ignore[attr-defined]


# ---- a copy with a region replaced


def _same_type(what: str, input: Tensor, src: Tensor) -> Tensor:
    if PROMOTE[input._dtype, src._dtype] is not input._dtype and src._dtype.category > input._dtype.category:
        raise RuntimeError(f"{what}: result type {src._dtype.title} can't be cast to the desired output type {input._dtype.title}")
    return cast_tensor(src, input._dtype)


@public(out=True)
def as_strided_scatter(input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """A copy of `input` (with its geometry) in which the region `as_strided(size, stride, storage_offset)` is `src`.

    Raises RuntimeError when the region reaches outside the storage, or `src` has another shape.
    """
    region = as_strided(input, size, stride, storage_offset)
    if src._shape != region._shape:
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src._shape)}, slice size = {list(region._shape)}")
    src = _same_type("as_strided_scatter", input, src)
    if input._strides is None and not input._offset and input.numel() == input._storage.node.numel:
        return region_assigned(input, src, region._shape, region.stride(), region._offset)
    whole = as_strided(input, (input._storage.node.numel,), (1,), 0)
    written = region_assigned(whole, src, region._shape, region.stride(), region._offset)
    return as_strided(written, input._shape, input.stride(), input._offset)


@public()
def slice_inverse(input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """What `input`, a slice of a tensor with the geometry of `src`, is a slice of: a view with that geometry on the same memory.

    Raises RuntimeError when it would reach outside the memory.
    """
    return as_strided(input, src._shape, src.stride(), src._offset)


@public(out=True)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of `input` in which `input.select(dim, index)` is `src`. Raises RuntimeError for `src` of another shape."""
    region = views.select(input, dim, index)
    if src._shape != region._shape:
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src._shape)}, slice size = {list(region._shape)}")
    d = wrap_dim(dim, len(input._shape), "select_scatter")
    strides = contiguous_strides(input._shape)
    i = operator.index(index)
    i = i + input._shape[d] if i < 0 else i
    return region_assigned(input, _same_type("select_scatter", input, src), src._shape, (*strides[:d], *strides[d + 1:]), i * strides[d])


@public(out=True)
def slice_scatter(input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """A copy of `input` in which `input[start:end:step]` along a dimension is `src`. Raises RuntimeError for `src` of another shape."""
    d, n = _sliced_dim(input, dim)
    first, last, step = _slice_bounds(n, start, end, step)
    count = -(-(last - first) // step)
    shape = (*input._shape[:d], count, *input._shape[d + 1:])
    if src._shape != shape:
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src._shape)}, slice size = {list(shape)}")
    strides = contiguous_strides(input._shape)
    return region_assigned(input, _same_type("slice_scatter", input, src), shape, (*strides[:d], strides[d] * step, *strides[d + 1:]), first * strides[d])


__all__ = ["as_strided_scatter", "select_scatter", "slice_scatter", "split_with_sizes"]
