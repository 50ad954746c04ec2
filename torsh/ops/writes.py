"""What writing through a view means for autograd: the base gets a new history, from which its views take theirs."""
from __future__ import annotations

from collections.abc import Callable

from torsh.autograd import graph
from torsh.autograd.graph import GradNode, snapshot
from torsh.core.shapes import is_contiguous, numel
from torsh.graph.node import Node, Op
from torsh.ops import dispatch
from torsh.ops.dispatch import wrap
from torsh.ops.regions import Geometry, as_strided, dense, geometry_of, real_geometry, region_added, region_assigned, zeros_like_shape
from torsh.tensor.tensor import Tensor, node_of


def _through_storage(fn: Callable[[Tensor], Tensor], g: Tensor, base: Geometry, count: int) -> Tensor:
    """Apply `fn` in storage coordinates to a gradient that has a base's geometry."""
    shape, strides, offset = base
    if offset == 0 and is_contiguous(shape, strides) and numel(shape) == count:
        return fn(g)
    whole = region_assigned(zeros_like_shape((count,), g), g, shape, strides, offset)
    return as_strided(fn(whole), shape, strides, offset)


def _write_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    (shape, strides, offset), base, count, as_reals, mirrored = ctx.arg
    old = new = None
    if mirrored:  # the write went to the conjugate's memory: so does the gradient
        g = g.conj_physical()
    if as_reals:
        g = dense(g).resolve_conj().view_as_real()
    if ctx.needs[0]:
        old = _through_storage(lambda w: region_assigned(w, zeros_like_shape(shape, w), shape, strides, offset), g, base, count)
    if ctx.needs[1]:
        whole = g if base[2] == 0 and is_contiguous(base[0], base[1]) and numel(base[0]) == count else \
            region_assigned(zeros_like_shape((count,), g), g, *base)
        new = as_strided(dense(whole), shape, strides, offset)
    if as_reals and old is not None:
        old = dense(old).view_as_complex()
    return old.conj_physical() if mirrored and old is not None else old, new


_WRITE = Op("copy_slices", "history", None, None, _write_vjp, grad_name="CopySlices")
_COPY = Op("copy", "history", None, None, lambda ctx, g: (g, zeros_like_shape(ctx.shapes[1], g)), grad_name="CopyBackwards")


def _write_places(target: Tensor, base: Tensor) -> tuple[Geometry, Geometry, int, bool, bool]:
    """The places of a view and of its base, the storage's size, whether these count reals although the base is complex, and whether one
    of the two is on the conjugate of the other's storage.

    Where one is complex and the other real, everything counts reals: PyTorch's gradient of a complex tensor, read as reals, is the
    gradient of its reals.
    """
    region, whole = geometry_of(target), geometry_of(base)
    real = target._dtype is not base._dtype
    if real and base._dtype.is_complex:
        whole = real_geometry(*whole)
    elif real:
        region = real_geometry(*region)
    unit = (base._dtype.to_real() if real else base._dtype).itemsize
    node = base._storage.node
    return region, whole, node.numel * node.dtype.itemsize // unit, real and base._dtype.is_complex, target._storage is not base._storage


def _rebase(target: Tensor, value: Tensor, node: Node, overwrite: bool) -> None:
    base = target._base
    if base is None:
        fresh = not overwrite and value._grad_fn is not None and value._base is None
        fn = value._grad_fn if fresh else GradNode(_COPY, None, (value, snapshot(target)))
        if not fresh:
            fn.out_meta = ((target._shape, target._dtype),)
        nr = value._output_nr if fresh else 0
        target._write(node)
        target._grad_fn, target._output_nr, target._requires_grad = fn, nr, True
        return
    if target._dtype.is_complex and not base._dtype.is_complex:
        value = value.resolve_conj().view_as_real()
    fn = GradNode(_WRITE, _write_places(target, base), (snapshot(base), value))
    fn.out_meta = ((base._shape, base._dtype),)
    target._write(node)
    base._grad_fn, base._output_nr, base._requires_grad = fn, 0, True


def _regenerate(t: Tensor) -> None:
    base = t._base
    t._view_version = t._storage.version
    if base is None or not base._requires_grad:
        return
    fn = GradNode(_REGENERATED, (*_write_places(t, base), t._dtype), (base,))
    fn.out_meta = ((t._shape, t._dtype),)
    t._grad_fn, t._output_nr, t._requires_grad = fn, 0, True


def _regenerated_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    region, base, count, as_reals, mirrored, dt = ctx.arg
    shape, strides, offset = base
    if dt.is_complex and not ctx.dtypes[0].is_complex:
        g = dense(g).resolve_conj().view_as_real()
    if offset == 0 and is_contiguous(shape, strides) and numel(shape) == count:
        found = region_added(shape, g, region)
    else:
        found = as_strided(region_added((count,), g, region), shape, strides, offset)
    found = dense(found).view_as_complex() if as_reals else found
    return found.conj_physical() if mirrored else found


_REGENERATED = Op("as_strided_view", "history", None, None, _regenerated_vjp, grad_name="AsStridedBackward0")


def _overwritten(target: Tensor, fn: GradNode, nr: int) -> None:
    """`target` was written already, by the call that `fn` records: give it (or its base) that history."""
    if target._requires_grad and graph.grad_fn(target) is None:
        raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
    dispatch.check_writable(target)
    value = wrap(node_of(target))
    value._requires_grad, value._grad_fn, value._output_nr = True, fn, nr
    _rebase(target, value, value._storage.node, False)


dispatch.rebase = _rebase
graph.overwritten = _overwritten
graph.regenerate_view = _regenerate
