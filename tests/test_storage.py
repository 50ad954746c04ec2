"""Storages, classes of tensors by type, and memory shared with files and processes, compared with PyTorch's."""
from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torsh

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated", "ignore:.*set_default_tensor_type", "ignore:non-inplace resize",
                                        "ignore:The given buffer is not writable")


def shown(value: Any) -> Any:
    """What a result is, in words that both libraries share."""
    if isinstance(value, (torsh.Tensor, torch.Tensor)):
        return "tensor", repr(value.dtype).split(".")[1], tuple(value.shape), value.tolist()
    if isinstance(value, (tuple, list)):
        return [shown(v) for v in value]
    if torsh.is_storage(value) or torch.is_storage(value):
        return "storage", repr(getattr(value, "dtype", None)).split(".")[-1], value.tolist()
    if isinstance(value, type):
        return value.__name__
    return repr(value).replace("torsh", "torch")


def outcome(f: Callable[[], Any]) -> Any:
    try:
        return shown(f())
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        return type(error)


def _aliased(m: Any) -> Any:
    x = m.arange(6.0)
    s = x.untyped_storage()
    s.fill_(0)
    s[3] = 64
    s[7] = 64
    typed = x[2:].storage()
    typed[5] = 7
    return x, typed, x[2:].untyped_storage().data_ptr() == x.data_ptr(), s is x[1:].untyped_storage()


def _slice_is_a_view(m: Any) -> Any:
    x = m.ones(2)
    part = x.untyped_storage()[4:]
    part.fill_(0)
    return x, part


def _resized(m: Any) -> Any:
    x = m.arange(4.0)
    s = x.untyped_storage()
    s.resize_(32)
    bigger = s.nbytes()
    s.resize_(8)
    return bigger, s.nbytes(), s


def _storage_of_ints(m: Any) -> Any:
    s = m.IntStorage([1, 2, 3])
    return s.type(), s.float(), s.long(), s.size(), s.nbytes(), s.element_size(), s.dtype, s.tolist(), list(s), s[1], s[-1]


@pytest.mark.parametrize("f", [
    _aliased, _slice_is_a_view, _resized, _storage_of_ints, lambda m: m.UntypedStorage([1, 2, 3]), lambda m: m.UntypedStorage(4).size(),
    lambda m: m.ones(2).untyped_storage(), lambda m: m.ones(2).storage(), lambda m: m.FloatStorage(3).fill_(1), lambda m: m.FloatStorage([1, 2, 3]),
    lambda m: m.TypedStorage([1, 2], dtype=m.int32), lambda m: m.TypedStorage(wrap_storage=m.UntypedStorage([1, 0, 0, 0]), dtype=m.int32),
    lambda m: [m.is_storage(v) for v in (m.ones(2).storage(), m.ones(2).untyped_storage(), 2)], lambda m: m.ones(2).untyped_storage()[0],
    lambda m: m.ones(2).untyped_storage()[0:3], lambda m: m.ones(2).storage()[0:1], lambda m: m.ones(2).storage()[5], lambda m: m.UntypedStorage(2)["a"],
    lambda m: m.ones(2).storage().type(), lambda m: m.ones(2).untyped_storage().type(), lambda m: m.ones(2).storage().dtype,
    lambda m: [isinstance(m.ones(2).storage(), k) for k in (m.FloatStorage, m.LongStorage, m.TypedStorage, m.UntypedStorage)], lambda m: m.FloatStorage.dtype,
    lambda m: m.ones(2).storage().pickle_storage_type(), lambda m: m.ones(2).storage_type(), lambda m: m.ones(2, dtype=m.int8).storage_type(),
    lambda m: m.FloatStorage.from_buffer(b"12345678", byte_order="little"), lambda m: m.FloatStorage.from_buffer(b"12345678", byte_order="big"),
    lambda m: m.UntypedStorage.from_buffer(b"12345678", dtype=m.int16, byte_order="little", offset=2, count=2),
    lambda m: m.UntypedStorage(5).copy_(m.UntypedStorage(5).fill_(1)), lambda m: m.UntypedStorage(5).copy_(m.UntypedStorage(4)),
    lambda m: m.IntStorage(2).copy_(m.FloatStorage([1.5, 2.5])), lambda m: m.ones(2).set_(m.FloatStorage([1, 2, 3])),
    lambda m: m.ones(2).set_(m.FloatStorage([1, 2, 3]), 1, (2,), (1,)), lambda m: m.ones(2).set_(m.FloatStorage([1, 2, 3]), 2, (2,), (1,)),
    lambda m: m.ones(2).set_(m.IntStorage([1])), lambda m: m.ones(2).set_(m.UntypedStorage([0, 0, 128, 63])),
    lambda m: m.ones(2).set_(m.ones(2, dtype=m.int32)),
    lambda m: m.ones(2).set_().shape, lambda m: m.ones(2).set_(m.arange(3.0)), lambda m: copy.deepcopy(m.FloatStorage([1, 2])),
    lambda m: m.LongStorage([1]).clone(),
    lambda m: m.arange(3.0).untyped_storage().clone(), lambda m: m.ones(2, dtype=m.complex64).conj().untyped_storage().nbytes(),
    lambda m: m.ones(2).untyped_storage().resizable(), lambda m: m.FloatStorage([1, 2]).untyped(), lambda m: m.ones(2).storage() == m.ones(2).storage(),
    lambda m: (lambda x: x.storage() == x.storage())(m.ones(2)), lambda m: m.ones(3).untyped_storage().filename,
    lambda m: len(m.DoubleStorage(3)), lambda m: m.BoolStorage([True, False]).tolist(), lambda m: m.tensor([1, 2], dtype=m.int16).untyped_storage(),
    lambda m: (lambda s: (s.byteswap(m.int16), s)[1])(m.UntypedStorage([1, 2, 3, 4])),
])
def test_storages(f: Callable[[Any], Any]) -> None:
    assert outcome(lambda: f(torsh)) == outcome(lambda: f(torch))


@pytest.mark.parametrize("f", [
    lambda m: m.FloatTensor([1, 2]), lambda m: m.LongTensor([1.5, 2]), lambda m: m.LongTensor(m.ones(2)), lambda m: m.LongTensor(m.tensor([1, 2])),
    lambda m: m.LongTensor(), lambda m: m.LongTensor(m.Size([2])).shape, lambda m: m.LongTensor(range(3)), lambda m: m.FloatTensor(3.5),
    lambda m: m.FloatTensor(m.FloatStorage([1, 2])), lambda m: m.FloatTensor(2, 3).shape, lambda m: m.BoolTensor([True]), lambda m: m.HalfTensor([1.5]),
    lambda m: [isinstance(m.ones(2), k) for k in (m.FloatTensor, m.LongTensor, m.DoubleTensor)], lambda m: isinstance(2, m.LongTensor),
    lambda m: (m.FloatTensor.dtype, m.FloatTensor.is_cuda, m.FloatTensor.is_sparse, m.FloatTensor.__name__, m.FloatTensor.layout),
    lambda m: m.ones(2).type(m.LongTensor), lambda m: m.ones(2).type("torch.LongTensor"), lambda m: m.ones(2).type("torch.foo"), lambda m: m.ones(2).type(3),
    lambda m: m.ones(2).type(m.float64), lambda m: m.ones(2).type(), lambda m: m.ByteTensor(np.array([1, 2])), lambda m: m.IntTensor([[1, 2], [3, 4]]),
    lambda m: m.FloatTensor(np.ones((2, 3))), lambda m: issubclass(m.FloatTensor, m.Tensor),
])
def test_classes_by_type(f: Callable[[Any], Any]) -> None:
    assert outcome(lambda: f(torsh)) == outcome(lambda: f(torch))


def test_default_types() -> None:
    for m in (torsh, torch):
        try:
            for given in (m.DoubleTensor, "torch.DoubleTensor"):
                m.set_default_tensor_type(given)
                assert m.get_default_dtype() is m.float64
                assert m.tensor([1.0]).dtype is m.float64
                m.set_default_tensor_type(m.FloatTensor)
            with pytest.raises(TypeError):
                m.set_default_tensor_type(m.LongTensor)
        finally:
            m.set_default_dtype(m.float32)


def test_default_device() -> None:
    for m in (torsh, torch):
        m.set_default_device("cpu")
        assert m.get_default_device() == m.device("cpu")
        m.set_default_device(None)
        assert str(m.get_default_device()) == "cpu"
        with m.device("cpu", 0) as inside, inside:
            assert str(m.get_default_device()) == "cpu:0"
            assert m.ones(2).device.type == "cpu"
        assert str(m.get_default_device()) == "cpu"
    for refused in (lambda: torsh.set_default_device("cuda"), lambda: torsh.device("cuda").__enter__()):
        with pytest.raises(RuntimeError, match="not available"):
            refused()


@pytest.mark.parametrize("f", [
    lambda m: [getattr(m.ones(2), f"is_{n}") for n in ("ipu", "maia", "mtia", "vulkan", "xla")], lambda m: m.ones(2).is_distributed(), lambda m: m.ones(2).name,
    lambda m: m.is_distributed(m.ones(2)), lambda m: m.ones(3).pin_memory(), lambda m: m.ones(3).is_shared(), lambda m: m.ones(3).resize(4),
    lambda m: m.ones(4).resize(2, 2), lambda m: m.ones(4).resize_as(m.ones(2, 2)), lambda m: m.ones(4).module_load(m.zeros(4)),
    lambda m: m.ones(4).module_load(m.zeros(2), assign=True), lambda m: m.ones(2).as_subclass(int), lambda m: m.ones(2).as_subclass(3),
    lambda m: type(m.ones(2).as_subclass(m.nn.Parameter)), lambda m: m.from_file("/nowhere/at/all", False, 3), lambda m: m.ones(4).ipu(),
])
def test_attributes(f: Callable[[Any], Any]) -> None:
    assert outcome(lambda: f(torsh)) == outcome(lambda: f(torch))


def test_pointers() -> None:
    x = torsh.arange(4.0)
    assert x[1:].const_data_ptr() == x.data_ptr() + 4
    with pytest.raises(NotImplementedError):
        x.record_stream(torsh.Stream())
    assert torsh.IntStorage([1, 2]).type("torch.DoubleStorage").tolist() == [1.0, 2.0]
    for make in (torsh.UntypedStorage, torsh.FloatTensor):
        with pytest.raises(RuntimeError, match="not available"):
            make(2, device="cuda")
    for kind in ("xpu", "mtia"):
        with pytest.raises(RuntimeError, match="not available"):
            getattr(x, kind)()


def test_subclasses_keep_memory_and_history() -> None:
    for m in (torsh, torch):
        class Marked(m.Tensor):  # type: ignore[name-defined,misc]
            pass
        x = m.ones(3, requires_grad=True)
        y = (x * 2).as_subclass(Marked)
        assert isinstance(y, Marked)
        (y * 3).sum().backward()
        assert x.grad.tolist() == [6, 6, 6]
        z = m.arange(6.0)[2:].as_subclass(Marked)
        z.fill_(1)
        assert (z.tolist(), z.storage_offset()) == ([1, 1, 1, 1], 2)


def test_memory_of_a_file(tmp_path: Path) -> None:
    for m in (torsh, torch):
        path = tmp_path / m.__name__
        x = m.from_file(str(path), shared=True, size=4, dtype=m.float32)
        x.copy_(m.arange(4.0))
        x.add_(1)
        assert np.fromfile(path, np.float32).tolist() == [1, 2, 3, 4]
        assert x.untyped_storage().filename == str(path)
        y = m.from_file(str(path), shared=False, size=3)
        y.mul_(10)
        assert y.tolist() == [10, 20, 30]
        assert np.fromfile(path, np.float32).tolist() == [1, 2, 3, 4]
        with pytest.raises(RuntimeError):
            m.from_file(str(path), shared=False, size=5)
        s = m.FloatStorage.from_file(str(path), True, 6)
        s[5] = 9
        assert np.fromfile(path, np.float32).tolist() == [1, 2, 3, 4, 0, 9]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_memory_shared_with_a_child() -> None:
    x = torsh.arange(4.0).share_memory_()
    view = x[1:]
    assert x.is_shared()
    assert view.is_shared()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        view.add_(10)
        os._exit(0)
    os.waitpid(child, 0)
    assert x.tolist() == [0, 11, 12, 13]
    x.mul_(2)
    assert view.tolist() == [22, 24, 26]


def test_a_warning_comes_once() -> None:
    torsh.set_warn_always(True)
    try:
        with pytest.warns(UserWarning, match="TypedStorage is deprecated"):
            torsh.ones(1).storage()
    finally:
        torsh.set_warn_always(False)
