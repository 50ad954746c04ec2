"""Kernels of random numbers: called with anything wrong they do nothing, and they give the same bits on every machine."""
from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from torsh.runtime.cpu.draws import kernel
from torsh.runtime.cpu.mt19937 import MT19937Generator

_DIGEST = """
import hashlib, numpy as np
from torsh.runtime.cpu.mt19937 import MT19937Generator
o, found = MT19937Generator(5), hashlib.sha256()
for fill in (o.uniform, o.normal, o.exponential, o.cauchy):
    for kind in (np.float32, np.float64):
        found.update(fill(5003, kind).tobytes())
found.update(o.permutation(5000).tobytes() + o.multinomial(o.uniform(100), 99, True).tobytes() + o.bernoulli(100, 0.3).tobytes())
print(found.hexdigest())
"""


def test_the_same_bits_without_the_machines_wide_vectors() -> None:
    """Also of logarithms, sines and tangents: baseline code has 128-bit vectors and no fused multiply-add."""
    found = {subprocess.run([sys.executable, "-c", _DIGEST], env={**os.environ, "TORSH_CPU": cpu, "TORSH_INTERPRETED": "1"}, capture_output=True, text=True,
                            check=True).stdout for cpu in ("native", "baseline")}
    assert len(found) == 1


@pytest.mark.parametrize(("arguments", "error"), [((), SystemError), ((1, 2), SystemError), ((1, 2, 3, 0.0, 1.0, 1.0, 0), SystemError),
                                                  ((1, 2, 3, 0.0, 1.0, "1"), TypeError), ((1, 2, 2**64, 0.0, 1.0, 1.0), OverflowError),
                                                  ((1, 2, 3.5, 0.0, 1.0, 1.0), TypeError)])
def test_wrong_arguments_raise_before_anything_is_touched(arguments: tuple[object, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        kernel("uniform_float32")(*arguments)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 624, 625, 2047, 2048, 2049, 5000])
@pytest.mark.parametrize(("name", "itemsize", "parameters"), [
    ("uniform_float32", 4, (0.0, 1.0, 1.0)), ("uniform_float64", 8, (0.0, 1.0, 1.0)), ("bernoulli_bool", 1, (1 << 52,)), ("bernoulli_float32", 4, (1 << 52,)),
    ("exponential_float32", 4, (-1.0,)), ("log_normal_float64", 8, (0.0, 1.0)), ("pairs_float32", 4, (0.0, 1.0)), ("integers", 8, (0, 7, 1 / 7)),
    ("wide_integers", 8, (0, 7)), ("words", 4, ())])
def test_nothing_is_written_beside_the_numbers(name: str, itemsize: int, parameters: tuple[float, ...], count: int) -> None:
    o = MT19937Generator(3)
    o.words(5)  # blocks begin in the middle of the engine's
    room = np.full(count * itemsize + 128, 0xAB, np.uint8)
    kernel(name)(o.address, room.ctypes.data + 64, count, *parameters)
    assert (room[:64] == 0xAB).all()
    assert (room[64 + count * itemsize:] == 0xAB).all()
    if count > 15:
        assert not (room[64:64 + count * itemsize] == 0xAB).all()


@pytest.mark.parametrize("count", [16, 17, 31, 32, 33, 1024, 1039, 2049])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_groups_of_normal_numbers_stay_in_their_place(kind: type, count: int) -> None:
    size = np.dtype(kind).itemsize * count
    room = np.full(size + 128, 0xAB, np.uint8)
    o = MT19937Generator(3)
    kernel(f"normal_{np.dtype(kind).name}")(o.address, room.ctypes.data + 64, count, 0.0, 1.0, 1)
    assert (room[:64] == 0xAB).all()
    assert (room[64 + size:] == 0xAB).all()
    assert np.unique(room[64:64 + size].view(kind)).size > count * 0.99
