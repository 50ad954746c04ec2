"""Files that the safetensors package reads and writes too; truncated ones are refused."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import torsh
from torsh.serialize import load_file, save_file


def test_every_dtype_and_shape_comes_back(tmp_path: Path) -> None:
    tensors = {"h": torsh.rand(3, 4).to(torsh.bfloat16), "t": torsh.rand(3, 4).t(), "i": torsh.arange(3), "s": torsh.ones(()), "e": torsh.zeros(0, 3),
               "b": torsh.tensor([True, False]), "d": torsh.rand(2, dtype=torsh.float64)}
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, {"key": "value"})
    loaded, theirs = load_file(path), safetensors.torch.load_file(path)
    assert sorted(loaded) == sorted(theirs) == sorted(tensors)
    for name, t in tensors.items():
        assert loaded[name].dtype is t.dtype
        assert loaded[name].tolist() == t.tolist() == theirs[name].tolist()
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_pytorchs_weights_load_into_a_module(tmp_path: Path) -> None:
    theirs, ours = torch.nn.Linear(3, 2), torsh.nn.Linear(3, 2)
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    ours.load_state_dict(load_file(tmp_path / "w.safetensors"))
    np.testing.assert_array_equal(ours.weight.detach().numpy(), theirs.weight.detach().numpy())


def test_a_truncated_file_is_refused_and_a_failed_save_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torsh.ones(4)}, path)
    whole = path.read_bytes()
    for size in (0, 5, len(whole) - 3):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="truncated"):
            load_file(path)
    path.write_bytes(whole)
    with pytest.raises(TypeError, match="expected a Tensor"):
        save_file({"a": 3}, path)  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="cannot hold"):
        save_file({"a": torsh.ones(2, dtype=torsh.complex64)}, path)
    assert load_file(path)["a"].tolist() == [1.0] * 4
    with pytest.raises(FileNotFoundError):
        load_file(tmp_path / "none")
