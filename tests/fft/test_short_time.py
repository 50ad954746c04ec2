"""Short-time Fourier transforms against PyTorch."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.complex_oracle import agree, complexes, reals

pytestmark = pytest.mark.filterwarnings("ignore:stft with return_complex=False")
OPTIONS: list[dict[str, Any]] = [{}, {"center": False}, {"hop_length": 3}, {"win_length": 5}, {"normalized": True}, {"onesided": False},
                                 {"pad_mode": "constant"}, {"center": False, "hop_length": 1}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_stft(options: dict[str, Any]) -> None:
    n = options.get("win_length", 8)
    agree(lambda m, x, w: m.stft(x, 8, window=w, return_complex=True, **options), reals(2, 20), reals(n, seed=1), rtol=1e-9, atol=1e-11, twice=False)
    agree(lambda m, x, w: m.stft(x, 8, window=w, return_complex=False, **options), reals(20), reals(n, seed=1), rtol=1e-9, atol=1e-11, twice=False)
    if options.get("onesided") is not True:
        agree(lambda m, x, w: m.stft(x, 8, window=w, **{**options, "onesided": False}), complexes(20), reals(n, seed=1), rtol=1e-9, atol=1e-11, twice=False)


@pytest.mark.parametrize("options", [{}, {"hop_length": 2, "normalized": True}, {"win_length": 6}, {"length": 9}, {"center": False, "length": 12}], ids=str)
def test_istft(options: dict[str, Any]) -> None:
    window = np.abs(reals(options.get("win_length", 8), seed=1)) + 0.5
    if options.get("center") is False:
        window = np.abs(reals(8, seed=1)) + 0.5
    agree(lambda m, z, w: m.istft(z, 8, window=w, **options), complexes(2, 5, 6), window, rtol=1e-9, atol=1e-11, twice=False)
    agree(lambda m, z, w: m.istft(z, 8, window=w, onesided=False, return_complex=True, **options), complexes(8, 6), window, rtol=1e-9, atol=1e-11, twice=False)


@pytest.mark.parametrize("hop", [1, 2, 4])
def test_there_and_back(hop: int) -> None:
    x, window = torsh.tensor(reals(2, 32)), torsh.hann_window(8, dtype=torsh.float64)
    there = torsh.stft(x, 8, hop, window=window, return_complex=True)
    np.testing.assert_allclose(torsh.istft(there, 8, hop, window=window, length=32).numpy(), x.numpy(), 1e-9, 1e-12)
    assert x.stft(8, hop, window=window, return_complex=True).shape == there.shape


def test_errors() -> None:
    x, z, window = torsh.ones(20), torsh.ones(5, 6, dtype=torsh.complex64), torsh.ones(8)
    with pytest.raises(RuntimeError, match="return_complex parameter be given"):
        torsh.stft(x, 8, window=window)
    with pytest.raises(RuntimeError, match="window tensor of size equal to win_length=8"):
        torsh.stft(x, 8, window=torsh.ones(7), return_complex=True)
    with pytest.raises(RuntimeError, match="hop_length > 0"):
        torsh.stft(x, 8, hop_length=0, window=window, return_complex=True)
    with pytest.raises(RuntimeError, match="1D or 2D"):
        torsh.stft(torsh.ones(2, 2, 20), 8, window=window, return_complex=True)
    with pytest.raises(RuntimeError, match="expected 0 < n_fft"):
        torsh.stft(x, 30, window=torsh.ones(30), return_complex=True, center=False)
    with pytest.raises(RuntimeError, match="onesided output"):
        torsh.stft(x.cfloat(), 8, window=window, onesided=True)
    with pytest.raises(RuntimeError, match="complex-valued input"):
        torsh.istft(torsh.ones(5, 6), 8, window=window)
    with pytest.raises(RuntimeError, match="window overlap add min"):
        torsh.istft(z, 8, window=torsh.zeros(8))
    with pytest.raises(RuntimeError, match="n_fft / 2"):
        torsh.istft(z, 6, window=torsh.ones(6), onesided=True)
    with pytest.warns(UserWarning, match="window was not provided"):
        torsh.stft(x, 8, return_complex=True)
    with pytest.warns(UserWarning, match="padded with zeros"):
        assert torsh.istft(z, 8, window=window, length=30).shape == (30,)
    same_length = torch.istft(torch.ones(5, 6, dtype=torch.complex64), 8, window=torch.ones(8)).shape
    assert tuple(torsh.istft(z, 8, window=window).shape) == tuple(same_length)
