"""Who sees a write: the same program on PyTorch and ToRSh, for tensors, views and arrays that share memory."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh


def array(x: Any) -> Any:
    return np.array(x.detach().tolist()) if hasattr(x, "detach") else np.array(x)


def after_add(T: Any) -> Any:
    a = T.arange(4.0)
    b = a + 1
    a += 1
    return a, b


def after_slice(T: Any) -> Any:
    a = T.arange(4.0)
    b = a * 2
    a[:1] = 9
    return a, b


def through_reshape(T: Any) -> Any:
    a = T.arange(4.0)
    r = a.reshape(2, 2)
    r[0] = 7
    return a, r


def through_transpose(T: Any) -> Any:
    a = T.arange(6.0).reshape(2, 3)
    b = a.t()
    b.mul_(2)
    return a, b


def array_in(T: Any) -> Any:
    n = np.ones(3)
    x = T.from_numpy(n)
    y = x + 1
    n[0] = 5
    return x, y, n


def array_out(T: Any) -> Any:
    x = T.arange(3.0)
    n = x.numpy()
    x.add_(1)
    return x, n


def array_out_of_view(T: Any) -> Any:
    x = T.arange(6.0).reshape(2, 3)
    n = x.t()[1:].numpy()
    x.mul_(3)
    n[0, 0] = 50
    return x, n, x[:, 1] + 0


def array_written_before_read(T: Any) -> Any:
    x = T.arange(3.0)
    y = x * 2
    n = x.numpy()
    n[1] = 40
    z = x * 2
    n[1] = 80
    return x, y, z, n


def array_gone(T: Any) -> Any:
    x = T.arange(3.0)
    n = x.numpy()
    n[0] = 8
    del n
    y = x + 1
    x.add_(1)
    n = x.numpy()
    n[2] = 9
    return x, y, n


def two_arrays(T: Any) -> Any:
    x = T.zeros(4)
    n, m = x.numpy(), x[1:].numpy()
    m[0] = 3
    x[2] = 4
    n[3] = 5
    return x, n, m


def slice_of_array(T: Any) -> Any:
    n = np.arange(12.0).reshape(3, 4)
    x = T.from_numpy(n[:, 1:3])
    x.zero_()
    n[2, 2] = 7
    return x, n


def array_of_array(T: Any) -> Any:
    n = np.arange(4.0)
    x = T.from_numpy(n)
    m = x.numpy()
    x.add_(1)
    m[0] = -1
    n[1] = -2
    return x, n, m


def clone_of_array(T: Any) -> Any:
    n = np.arange(4.0)
    x = T.from_numpy(n).clone()
    n[:] = 0
    x[0] = 5
    return x, n


def same_base_views(T: Any) -> Any:
    a = T.arange(6.0)
    even, odd = a[::2], a[1::2]
    even.copy_(odd)
    odd.zero_()
    return a, even, odd


def swap_through_clone(T: Any) -> Any:
    a = T.arange(4.0)
    old = a.clone()
    a[:2] = a[2:].clone()
    a[2:] = old[:2]
    return a, old


def view_of_view(T: Any) -> Any:
    a = T.arange(12).reshape(3, 4)
    v = a[1:].t()[::2]
    v += 100
    v[0, 0] = -1
    return a, v


def diagonal(T: Any) -> Any:
    a = T.zeros(3, 3)
    a.diagonal().fill_(2)
    a.diagonal(1)[0] = 5
    return a


def expanded_reads(T: Any) -> Any:
    a = T.arange(3.0)
    e = a.expand(2, 3)
    a[1] = 7
    return e, e + a


def reshape_that_copies(T: Any) -> Any:
    a = T.arange(6.0).reshape(2, 3)
    b = a.t().reshape(-1)
    b[0] = 99
    return a, b


def contiguous_aliases(T: Any) -> Any:
    a = T.arange(6.0).reshape(2, 3)
    same, other = a.contiguous(), a.t().contiguous()
    same[0, 0] = 1
    other[0, 0] = 2
    return a, same, other


def dtype_view(T: Any) -> Any:
    a = T.zeros(2)
    a.view(T.int32)[1] = 1065353216
    return a


def integer_from_float(T: Any) -> Any:
    a = T.zeros(3, dtype=T.int64)
    a.copy_(T.tensor([1.7, -1.7, 2.5]))
    a[0] = 5.9
    return a


def self_operand(T: Any) -> Any:
    a = T.arange(1, 4)
    a.mul_(a).add_(a)
    return a


def unbound(T: Any) -> Any:
    a = T.arange(6.0).reshape(3, 2)
    for row in a.unbind():
        row.add_(row[0].clone())
    for row in a:
        row[1] = 0
    return a


def augmented_item(T: Any) -> Any:
    a = T.arange(6).reshape(2, 3)
    a[0] += 1
    a[:, 1] *= 10
    a[[0, 1], [2, 2]] -= 5
    return a


def detached_shares(T: Any) -> Any:
    a = T.ones(3, requires_grad=True)
    d = a.detach()
    d[0] = 5
    a.data[1] = 6
    return a, d


def out_argument(T: Any) -> Any:
    a = T.zeros(2, 3)
    T.add(T.ones(3), 2, out=a[1])
    return a


PROGRAMS = [after_add, after_slice, through_reshape, through_transpose, array_in, array_out, array_out_of_view, array_written_before_read, array_gone,
            two_arrays, slice_of_array, array_of_array, clone_of_array, same_base_views, swap_through_clone, view_of_view, diagonal, expanded_reads,
            reshape_that_copies, contiguous_aliases, dtype_view, integer_from_float, self_operand, unbound, augmented_item, detached_shares,
            out_argument]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_aliasing(program: Callable[[Any], Any]) -> None:
    expected, found = program(torch), program(torsh)
    expected, found = [x if isinstance(x, tuple) else (x,) for x in (expected, found)]
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert np.array_equal(array(a), array(b)), f"result {i}: PyTorch {a}, ToRSh {b}"


def test_a_view_has_the_address_of_its_elements() -> None:
    a = torsh.arange(6.0)
    assert a[2:].data_ptr() == a.data_ptr() + 8
    assert a.t().data_ptr() == a.data_ptr()


def test_a_write_counts_a_version_for_all_views() -> None:
    for T in (torch, torsh):
        a = T.zeros(3)
        v, d = a[:2], a.detach()
        v.add_(1)
        a.zero_()
        assert (a._version, v._version, d._version, (a + 1)._version) == (2, 2, 2, 0)
