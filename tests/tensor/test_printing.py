"""What prints is what PyTorch prints, character for character, once `torsh.` is read as `torch.`."""
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torsh.core import dtypes
from torsh.tensor import printing
from torsh.tensor.printing import format_tensor, printoptions, set_printoptions, shown_edges

SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-4, 9.9999e-5, 1e8, 1.00000001e8, 5e-324, 1.7e308, 65504.0, 0.5]


@pytest.fixture(autouse=True)
def _restored_options():
    ours, theirs = printing.get_printoptions(), torch._tensor_str.get_printoptions()
    yield
    set_printoptions(**ours)
    torch.set_printoptions(**theirs)


def torch_tensor(array: np.ndarray, dtype: dtypes.dtype) -> torch.Tensor:
    """The same bits as a PyTorch tensor."""
    if dtype is dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    if dtype in dtypes.FLOAT8:
        return torch.from_numpy(array.view(np.uint8).copy()).view(getattr(torch, dtype.name))
    return torch.from_numpy(array.copy())


def cast(values: np.ndarray, dtype: dtypes.dtype) -> np.ndarray:
    with np.errstate(all="ignore"):  # values that the type cannot hold become infinite, which is wanted here
        return values.astype(dtype.np)


def check(array: np.ndarray, dtype: dtypes.dtype, **suffixes: object) -> None:
    ours = format_tensor(array, dtype, **suffixes)
    assert ours.replace("torsh.", "torch.") == repr(torch_tensor(array, dtype))


def integers(dtype: dtypes.dtype) -> st.SearchStrategy[int]:
    if dtype is dtypes.bool_:
        return st.integers(0, 1)
    bounds = np.iinfo(dtype.np)
    return st.integers(bounds.min, bounds.max) | st.integers(max(-9, bounds.min), 9)


FAMILIES = st.sampled_from([
    st.sampled_from(SPECIAL),
    st.floats(-10, 10),
    st.floats(),
    st.integers(-20, 20).map(float),
    st.integers(-10**9, 10**9).map(float),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0]),
    st.floats(0.001, 1.0),
])


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, dtypes.dtype]:
    """A tensor of 0 to 4 dimensions and up to 1200 elements, from a small pool of values of one or two kinds."""
    dtype = draw(st.sampled_from(dtypes.ALL))
    shape: list[int] = []
    for _ in range(draw(st.integers(0, 4))):
        room = max(1, 1200 // max(1, math.prod(shape)))
        shape.append(draw(st.integers(0, min(room, 8)) | st.integers(0, room)))
    if dtype.is_floating_point or dtype.is_complex:
        values = draw(FAMILIES) | draw(FAMILIES)
        pool = np.array(draw(st.lists(values, min_size=1, max_size=12)), np.float64)
        if dtype.is_complex:
            other = np.array(draw(st.lists(values, min_size=pool.size, max_size=pool.size)), np.float64)
            pool = np.stack([pool, other], -1).view(np.complex128)[:, 0]
    else:
        pool = np.array(draw(st.lists(integers(dtype), min_size=1, max_size=12)), dtype.np)
    choice = np.random.default_rng(draw(st.integers(0, 2**32))).integers(pool.size, size=shape)
    return np.asarray(cast(pool, dtype)[choice]), dtype


OPTIONS = st.fixed_dictionaries({}, optional={
    "precision": st.integers(0, 9),
    "threshold": st.sampled_from([0, 1, 5, 50, 1000, math.inf]),
    "edgeitems": st.integers(0, 5),
    "linewidth": st.integers(1, 200),
    "profile": st.sampled_from(["default", "short", "full"]),
    "sci_mode": st.sampled_from([True, False, None]),
})


@given(samples())
def test_default_options(sample):
    check(*sample)


@given(samples(), OPTIONS)
def test_all_options(sample, options):
    with printoptions(profile="default"), torch._tensor_str.printoptions(profile="default"):
        set_printoptions(**options)
        torch.set_printoptions(**options)
        assert printing.get_printoptions() == torch._tensor_str.get_printoptions()
        check(*sample)


@pytest.mark.parametrize("values", [
    [0.5, 500.0], [0.5, 500.1], [1e-4, 2e-4], [0.99999e-4, 2e-4], [1e8 - 0.5, 1e8], [1e8, 1e8 + 0.5], [5e-324, 1.7e308],
    [1.0, 1000.0], [1.0, 1001.0], [1e8, 1e7], [1e8 + 1, 1e8], [math.nan, -math.inf], [math.inf, 1.0, -2.0], [-0.0, 1.5],
    [0.00005, 0.00015, 99.99995],
])
def test_where_notations_change(values):
    for sign in (1, -1):
        array = sign * np.array(values)
        for dtype in [d for d in dtypes.ALL if d.category >= 2]:
            check(cast(array, dtype), dtype)
        check(np.stack([array, array[::-1]], -1).view(np.complex128)[:, 0], dtypes.complex128)


@pytest.mark.parametrize("linewidth", range(8, 100))
def test_every_line_width(linewidth):
    set_printoptions(linewidth=linewidth)
    torch.set_printoptions(linewidth=linewidth)
    for shape in [(), (3,), (11,), (2, 9), (1, 2, 7)]:
        array = np.arange(0, 1.5 * math.prod(shape), 1.5).reshape(shape)
        for dtype in (dtypes.int16, dtypes.float64, dtypes.complex64, dtypes.complex128):
            check(cast(array, dtype), dtype)
        grad = torch_tensor(array, dtypes.float64).requires_grad_()
        ours = format_tensor(array, dtypes.float64, requires_grad=True)
        assert ours.replace("torsh.", "torch.") == repr(grad)
        ours = format_tensor(array, dtypes.float64, requires_grad=True, grad_fn_name="MulBackward0")
        assert ours.replace("torsh.", "torch.") == repr(grad * 1)


@pytest.mark.parametrize("edgeitems", range(4))
def test_where_summaries_begin(edgeitems):
    for shape in [(), (1,), (6,), (7,), (2, 3), (3, 4), (2, 7), (7, 2), (2, 3, 4), (0, 3)]:
        array = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
        for threshold in (0, array.size - 1, array.size):
            options = {"edgeitems": edgeitems, "threshold": threshold}
            set_printoptions(**options)
            torch.set_printoptions(**options)
            check(array, dtypes.float32)


@pytest.mark.parametrize("profile", ["default", "short", "full"])
def test_profiles(profile):
    set_printoptions(profile=profile)
    torch.set_printoptions(profile=profile)
    assert printing.get_printoptions() == torch._tensor_str.get_printoptions()
    check(np.arange(1001) / 8, dtypes.float64)


@given(samples(), OPTIONS)
def test_corners_alone_print_as_the_whole(sample, options):
    array, dtype = sample
    with printoptions(**options):
        corners = array
        for axis, edge in enumerate(shown_edges(array.shape)):
            if edge is not None:
                ends = [*range(edge), *range(array.shape[axis] - edge, array.shape[axis])]
                corners = np.take(corners, ends, axis)
        assert format_tensor(corners, dtype, shape=array.shape) == format_tensor(array, dtype)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_suffix_of_dtype_follows_the_default(name):
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, name))
    dtypes.set_default_dtype(dtypes.by_name(name))
    try:
        for dtype in dtypes.ALL:
            check(cast(np.ones(2), dtype), dtype)
            check(cast(np.ones((2, 0)), dtype), dtype)
            meta = torch.empty(2, 3, dtype=getattr(torch, dtype.name), device="meta")
            ours = format_tensor(None, dtype, device="meta", shape=(2, 3))
            assert ours.replace("torsh.", "torch.") == repr(meta)
    finally:
        torch.set_default_dtype(default)


@given(samples(), st.integers(20, 120))
def test_suffixes_of_autograd_wrap(sample, linewidth):
    array, dtype = sample
    tensor = torch_tensor(array, dtype)
    if not tensor.is_floating_point() and not tensor.is_complex():
        return
    tensor.requires_grad_()
    result = tensor.view(tensor.shape)
    with printoptions(linewidth=linewidth), torch._tensor_str.printoptions(linewidth=linewidth):
        leaf = format_tensor(array, dtype, requires_grad=True)
        assert leaf.replace("torsh.", "torch.") == repr(tensor)
        made = format_tensor(array, dtype, requires_grad=True, grad_fn_name=type(result.grad_fn).__name__)
        assert made.replace("torsh.", "torch.") == repr(result)
        parameter = format_tensor(array, dtype, requires_grad=True, parameter=True)
        assert parameter.replace("torsh.", "torch.") == repr(torch.nn.Parameter(tensor.detach()))


def test_subclasses_name_themselves():
    class Weights(torch.Tensor):
        pass

    class Scale(torch.nn.Parameter):
        pass

    array = np.arange(40, dtype=np.float32).reshape(2, 20)
    tensor = torch.from_numpy(array)
    assert format_tensor(array, dtypes.float32, class_name="Weights") == repr(tensor.as_subclass(Weights))
    ours = format_tensor(array, dtypes.float32, class_name="Scale", requires_grad=True, parameter=True)
    assert ours == repr(Scale(tensor))


def test_device_comes_first_and_wraps():
    text = format_tensor(np.ones(2), dtypes.float64, device="cuda:0", grad_fn_name="MulBackward0")
    assert text == "tensor([1., 1.], device='cuda:0', dtype=torsh.float64, grad_fn=<MulBackward0>)"
    with printoptions(linewidth=40):
        text = format_tensor(np.ones(2), dtypes.float64, device="cuda:0")
    assert text == "tensor([1., 1.], device='cuda:0',\n       dtype=torsh.float64)"


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16, dtypes.float32])
def test_nan_with_any_payload_prints_without_a_warning(dtype):
    exponent = {"float16": 0x7C01, "bfloat16": 0x7F81, "float32": 0x7F800001}[dtype.name]
    signalling = np.array([exponent, 0], np.uint32 if dtype.itemsize == 4 else np.uint16).view(dtype.np)
    check(signalling, dtype)
    check(-signalling, dtype)


def test_strided_views_print_their_own_elements():
    array = np.arange(2000, dtype=np.float64).reshape(40, 50) / 7
    check(array.T[::-1, ::3], dtypes.float64)


def test_sci_mode_is_reset_by_every_call_as_in_pytorch():
    set_printoptions(sci_mode=True)
    set_printoptions(precision=2)
    assert printing.get_printoptions()["sci_mode"] is None


def test_errors_name_what_would_fix_them():
    with pytest.raises(ValueError, match="unknown profile 'tiny', it is one of default, short, full"):
        set_printoptions(profile="tiny")
    with pytest.raises(ValueError, match=r"shape \(3,\) is neither a tensor of shape \(2000,\) nor its corners \(6,\)"):
        format_tensor(np.ones(3), dtypes.float64, shape=(2000,))
    with pytest.raises(ValueError, match="needs its shape"):
        format_tensor(None, dtypes.float64)
