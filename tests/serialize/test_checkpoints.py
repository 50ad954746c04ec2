"""Checkpoints: what PyTorch writes is read and what is written PyTorch reads; damage is told; only what is allowed runs."""
from __future__ import annotations

import collections
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from torsh.serialize.archive import PyTorchFileReader

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated", "ignore:.*numpy.core")

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64", "complex128", "uint16", "uint32",
          "uint64", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")


def written(m: Any, obj: Any, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    m.save(obj, file, **options)
    file.seek(0)
    return file


def plain(value: Any) -> Any:
    """A loaded object in terms that both libraries share."""
    if isinstance(value, (torsh.Tensor, torch.Tensor)):
        raw = value.detach().resolve_conj().contiguous()
        numbers = raw.float() if "float8" in repr(raw.dtype) else raw.to(raw.dtype)
        kind = "Parameter" if isinstance(value, (torsh.nn.Parameter, torch.nn.Parameter)) else "Tensor"
        return kind, repr(value.dtype).split(".")[1], tuple(value.shape), value.stride(), value.storage_offset(), value.requires_grad, numbers.tolist()
    if isinstance(value, dict):
        extra = plain(value.__dict__) if getattr(value, "__dict__", None) else None
        return {k: plain(v) for k, v in value.items()}, extra
    if isinstance(value, (list, tuple, set)):
        return type(value).__name__, [plain(v) for v in value]
    if torsh.is_storage(value) or torch.is_storage(value):
        return "storage", value.tolist()
    return repr(value).replace("torsh", "torch")


def sample(m: Any, bytes_too: bool = True) -> Any:
    """Everything that a checkpoint of weights holds (in the older format, all but storages of bytes)."""
    x = m.arange(24.0).reshape(4, 6)
    p = m.nn.Parameter(m.ones(2, 3, dtype=m.bfloat16))
    q = m.nn.Parameter(m.zeros(2), requires_grad=False)
    q.note = "mine"
    marked = m.ones(1)
    marked.tag = [1, 2]
    c = m.complex(m.arange(3.0), m.ones(3))
    return {
        "whole": x, "row": x[2], "transposed": x.t()[1:], "strided": x[::2, 1::3], "scalar": m.tensor(3), "empty": m.zeros(0, 3), "p": p, "q": q,
        "marked": marked, "grad": m.ones(2, requires_grad=True), "conj": c.conj(), "same": c, "expanded": m.ones(1).expand(5),
        "types": [m.zeros(2, dtype=getattr(m, d)) for d in (DTYPES[:-1] if bytes_too else DTYPES[:12])],
        "dtype": m.float32, "size": m.Size([2, 3]), "device": m.device("cpu"), "layout": m.strided,
        "nested": (1, [2.5, {"a": None}], True, "text", b"bytes", 3j),
        "ordered": collections.OrderedDict(b=m.ones(1), a=2), "set": {1, 2}, "array": bytearray(b"ab"), "storage": m.IntStorage([1, 2]),
        "memory": m.UntypedStorage([1, 2, 3]) if bytes_too else None, "big": 2 ** 70, "count": collections.Counter("aab"),
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
def test_each_reads_the_other(zipped: bool, protocol: int) -> None:
    options = {"_use_new_zipfile_serialization": zipped, "pickle_protocol": protocol}
    wanted = plain(sample(torch, zipped))
    weights_only = protocol == 2  # PyTorch's restricted reader knows no more
    assert plain(torsh.load(written(torch, sample(torch, zipped), **options))) == wanted
    assert plain(torsh.load(written(torsh, sample(torsh, zipped), **options))) == wanted
    assert plain(torch.load(written(torsh, sample(torsh, zipped), **options), weights_only=weights_only)) == wanted
    assert plain(torsh.load(written(torch, sample(torch, zipped), **options), weights_only=False)) == wanted


@pytest.mark.parametrize("name", DTYPES)
def test_all_bits_of_each_type(name: str) -> None:
    raw = np.random.default_rng(0).integers(0, 2 if name == "bool" else 256, 480).astype(np.uint8)
    ours, theirs = torsh.tensor(raw).view(getattr(torsh, name)), torch.tensor(raw).view(getattr(torch, name))
    for found in (torsh.load(written(torch, theirs)), torch.load(written(torsh, ours))):
        assert bytes(found.untyped_storage().tolist()) == raw.tobytes()
        assert repr(found.dtype).split(".")[1] == name


def test_memory_is_shared_as_it_was() -> None:
    for reader, writer in ((torsh, torch), (torch, torsh), (torsh, torsh)):
        x = writer.arange(6.0)
        a, b, c = reader.load(written(writer, [x, x[2:], x.reshape(2, 3).t()]))
        a[3] = 100
        assert (b[1].item(), c[0, 1].item()) == (100, 100)
        pair = reader.load(written(writer, [x, x]))
        assert pair[0] is pair[1]
    x = torsh.zeros(1000)
    assert len(written(torsh, [x, x[1:], x[2:]]).getvalue()) < 2 * len(written(torsh, x).getvalue())


def train(m: Any, steps: int, model: Any = None, optimizer: Any = None) -> Any:
    if model is None:
        m.manual_seed(0)
        model = m.nn.Sequential(m.nn.Linear(4, 8), m.nn.BatchNorm1d(8), m.nn.ReLU(), m.nn.Linear(8, 2))
    optimizer = optimizer or m.optim.AdamW(model.parameters(), lr=0.01)
    x = m.tensor(np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32))
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
    return model, optimizer, loss.item()


@pytest.mark.parametrize(("writer", "reader"), [(torch, torsh), (torsh, torch), (torsh, torsh)])
def test_training_goes_on_in_the_other_library(writer: Any, reader: Any, tmp_path: Path) -> None:
    model, optimizer, _ = train(writer, 5)
    path = tmp_path / "checkpoint.pt"
    writer.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 5}, path)
    *_, wanted = train(writer, 5, model, optimizer)
    saved = reader.load(path)
    assert saved["model"]._metadata["1"] == {"version": 2}
    model = reader.nn.Sequential(reader.nn.Linear(4, 8), reader.nn.BatchNorm1d(8), reader.nn.ReLU(), reader.nn.Linear(8, 2))
    model.load_state_dict(saved["model"])
    optimizer = reader.optim.AdamW(model.parameters(), lr=0.01)
    optimizer.load_state_dict(saved["optimizer"])
    *_, found = train(reader, 5, model, optimizer)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_whole_modules() -> None:
    model = torsh.nn.Sequential(torsh.nn.Linear(3, 2), torsh.nn.ReLU())
    file = written(torsh, model)
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        torsh.load(file)
    file.seek(0)
    found = torsh.load(file, weights_only=False)
    assert found(torsh.ones(1, 3)).tolist() == model(torsh.ones(1, 3)).tolist()
    with pytest.raises(pickle.UnpicklingError, match="state_dict"):
        torsh.load(written(torch, torch.nn.Linear(2, 2)), weights_only=False)


@pytest.mark.parametrize("writer", [torch, torsh])
def test_mapped_files(writer: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    writer.save({"x": writer.arange(1000.0), "y": writer.ones(3, dtype=writer.int64)}, path)
    before = path.read_bytes()
    found = torsh.load(path, mmap=True)
    assert found["x"].sum().item() == 499500
    found["x"].add_(1)
    assert found["x"][0].item() == 1
    assert path.read_bytes() == before
    assert torch.load(path, mmap=True)["y"].tolist() == [1, 1, 1]
    reader = PyTorchFileReader(path)
    assert all(reader.get_record_offset(n) % 64 == 0 for n in reader.get_all_records() if n.startswith("data/"))
    with pytest.raises(ValueError, match="file name"):
        torsh.load(io.BytesIO(before), mmap=True)
    writer.save(1, path, _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="mmap"):
        torsh.load(path, mmap=True)


def test_places() -> None:
    seen = []

    def keep(storage: Any, location: str) -> Any:
        seen.append((storage.nbytes(), location))
    file = written(torch, torch.ones(3))
    for place in ("cpu", torsh.device("cpu"), {"cpu": "cpu"}, keep, lambda storage, location: storage, None):
        file.seek(0)
        assert torsh.load(file, map_location=place).tolist() == [1, 1, 1]
    assert seen == [(12, "cpu")]
    moved = file.getvalue()
    archive = zipfile.ZipFile(io.BytesIO(moved))
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as out:
        for name in archive.namelist():
            out.writestr(name, archive.read(name).replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    for place in (None, "cuda", {"cuda:0": "cuda"}):
        other.seek(0)
        with pytest.raises(RuntimeError, match=r"map_location|not available"):
            torsh.load(other, map_location=place)
    for place in ("cpu", {"cuda:0": "cpu"}):
        other.seek(0)
        assert torsh.load(other, map_location=place).tolist() == [1, 1, 1]


# ---- safety


class Touch:
    """An object whose pickle runs a function of the system."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


def test_no_code_runs(tmp_path: Path) -> None:
    target = str(tmp_path / "made")
    for zipped in (True, False):
        file = written(torsh, [torsh.ones(1), Touch(target)], _use_new_zipfile_serialization=zipped)
        with pytest.raises(pickle.UnpicklingError, match="mkdir"):
            torsh.load(file)
        assert not os.path.exists(target)
    file = written(torsh, Touch(target))
    assert torsh.serialization.get_unsafe_globals_in_checkpoint(file) == ["posix.mkdir"]
    file.seek(0)
    torsh.load(file, weights_only=False)
    assert os.path.exists(target)


def archive_of(data: bytes) -> io.BytesIO:
    file = io.BytesIO()
    writer = torsh.PyTorchFileWriter(file)
    writer.write_record("data.pkl", data)
    writer.write_end_of_file()
    file.seek(0)
    return file


@pytest.mark.parametrize("data", [
    b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.", b"ctorch\nTensor\n(tR}X\x05\x00\x00\x00numpyX\x01\x00\x00\x00xsb.",
    b"ctorch\nTensor\n}X\x05\x00\x00\x00shapeNsb.",
    b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00K\x01\x85K\x01\x85\x89NtR.", b"ctorch\nSize\n}X\x01\x00\x00\x00aK\x01sb.", b"Q.", b"NQ.", b"\x80\x02",
    b"", b"junk",
    b"ctorch\nFloatStorage\n(K\x02tRb.", b"K\x01K\x02R.", b"ctorch._tensor\n_rebuild_from_type_v2\n(cbuiltins\nprint\nNNNtR.",
    b"ctorch.serialization\n_get_layout\n(X\x02\x00\x00\x00ostR.", b"ccollections\nOrderedDict\n)R}X\x09\x00\x00\x00__class__Nsb.",
])
def test_hostile_pickles(data: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        torsh.load(archive_of(data))


def test_classes_that_are_allowed() -> None:
    file = written(torsh, {"p": Point(3), "n": np.float32(2.5), "i": np.int64(7)})
    with pytest.raises(pickle.UnpicklingError, match="add_safe_globals"):
        torsh.load(file)
    allowed = [Point, (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"), np.dtype, type(np.dtype(np.float32)), type(np.dtype(np.int64))]
    with torsh.serialization.safe_globals(allowed):
        file.seek(0)
        assert torsh.load(file) == {"p": Point(3), "n": np.float32(2.5), "i": np.int64(7)}
        assert Point in torsh.serialization.get_safe_globals()
    assert torsh.serialization.get_safe_globals() == []
    torsh.serialization.add_safe_globals([Point])
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError):
        torsh.load(file)
    torsh.serialization.clear_safe_globals()
    assert torsh.serialization.get_safe_globals() == []


# ---- damage


@pytest.mark.parametrize("zipped", [True, False])
def test_files_that_are_cut_off(zipped: bool) -> None:
    whole = written(torsh, {"x": torsh.arange(10.0), "y": [torsh.ones(2)]}, _use_new_zipfile_serialization=zipped).getvalue()
    for length in range(0, len(whole) - 1, 7):
        with pytest.raises((RuntimeError, pickle.UnpicklingError)):
            torsh.load(io.BytesIO(whole[:length]))


@pytest.mark.parametrize("zipped", [True, False])
def test_files_with_other_bytes(zipped: bool) -> None:
    """An archive's sums find each change of what was saved; in the older format, which has none, what is read is a value or an error."""
    whole = written(torsh, {"x": torsh.arange(10.0), "y": [torsh.ones(2)], "z": "text"}, _use_new_zipfile_serialization=zipped).getvalue()
    wanted, rng = plain(torsh.load(io.BytesIO(whole))), np.random.default_rng(0)
    for at in rng.permutation(len(whole))[:400]:
        changed = bytearray(whole)
        changed[at] ^= int(rng.integers(1, 256))
        try:
            found = torsh.load(io.BytesIO(bytes(changed)))
        except (RuntimeError, pickle.UnpicklingError):
            continue
        assert not zipped or plain(found) == wanted, at


def test_storages_that_are_too_small() -> None:
    source = zipfile.ZipFile(written(torch, torch.arange(6.0)))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name in source.namelist():
            out.writestr(name, source.read(name)[:8] if name.endswith("data/0") else source.read(name))
    file.seek(0)
    with pytest.raises(RuntimeError, match="has 8 bytes"):
        torsh.load(file)


@pytest.mark.parametrize("f", [
    lambda m: m.save([m.ones(2), m.ones(2).view(m.int32)], io.BytesIO()) and 0, lambda m: m.save([(lambda x: [x, x.view(m.int32)])(m.ones(2))], io.BytesIO()),
    lambda m: m.save(1, "/nowhere/at/all/x.pt"), lambda m: m.save(1, 3), lambda m: m.load(3), lambda m: m.load("/nowhere/x.pt"),
    lambda m: m.load(io.BytesIO(b"not a checkpoint at all")),
    lambda m: m.load(written(torch, 1), pickle_module=pickle, weights_only=True),
])
def test_errors(f: Callable[[Any], Any]) -> None:
    def kind(m: Any) -> Any:
        try:
            return f(m)
        except Exception as error:
            return type(error)
    assert kind(torsh) is kind(torch)


def test_other_pickles_are_told_apart() -> None:
    with pytest.raises(pickle.UnpicklingError, match="no checkpoint"):
        torsh.load(io.BytesIO(pickle.dumps({"a": 1})))
    with pytest.raises(RuntimeError, match="older format"):
        torsh.save(torsh.UntypedStorage(3), io.BytesIO(), _use_new_zipfile_serialization=False)


def test_a_write_that_fails_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torsh.save(torsh.ones(2), path)
    with pytest.raises(Exception, match="pickle"):
        torsh.save([torsh.ones(1000), lambda: 0], path)
    assert torsh.load(path).tolist() == [1, 1]
    assert os.listdir(tmp_path) == ["x.pt"]


def test_bytes_in_the_other_order() -> None:
    source = zipfile.ZipFile(written(torch, {"x": torch.tensor([1.0, 2.0]), "c": torch.tensor([1 + 2j]), "b": torch.tensor([1, 2], dtype=torch.uint8)}))
    file = io.BytesIO()
    sizes = {"data/0": 4, "data/1": 4, "data/2": 1}
    with zipfile.ZipFile(file, "w") as out:
        for name in source.namelist():
            data = source.read(name)
            short = name.split("/", 1)[1]
            if short in sizes:
                data = np.frombuffer(data, np.uint8).reshape(-1, sizes[short])[:, ::-1].tobytes()
            out.writestr(name, b"big" if short == "byteorder" else data)
    file.seek(0)
    found = torsh.load(file)
    assert (found["x"].tolist(), found["c"].tolist(), found["b"].tolist()) == ([1, 2], [1 + 2j], [1, 2])


def test_archives() -> None:
    file = io.BytesIO()
    writer = torsh.PyTorchFileWriter(file)
    writer.write_record("a", b"12345", 3)
    writer.write_record("b", "text")
    writer.write_record("c", b"")
    with pytest.raises(RuntimeError, match="there already"):
        writer.write_record("a", b"")
    writer.write_end_of_file()
    with pytest.raises(RuntimeError, match="complete"):
        writer.write_record("d", b"")
    file.seek(0)
    theirs = torch.PyTorchFileReader(file)
    assert [theirs.get_record(n) for n in "abc"] == [b"123", b"text", b""]
    ours = torsh.PyTorchFileReader(file)
    assert [ours.get_record(n) for n in "abc"] == [b"123", b"text", b""]
    assert ours.has_record("a")
    assert not ours.has_record("x")
    assert ours.version() == 3
    assert sorted(ours.get_all_records()) == sorted(theirs.get_all_records())
    with pytest.raises(RuntimeError, match="no record"):
        ours.get_record("x")
