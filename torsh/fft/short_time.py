"""Short-time Fourier transforms: of overlapping windows of a signal, and back by weighted overlap and add."""
from __future__ import annotations

import math
import operator
import warnings

from torsh.autograd.autocast import in_full_precision
from torsh.fft.transforms import complex_to_complex, complex_to_real, real_to_complex
from torsh.ops.complex_numbers import as_complex, view_as_real
from torsh.ops.dispatch import cast_tensor, public
from torsh.ops.join import constant_pad_nd
from torsh.ops.pad import pad
from torsh.ops.views import region_added, transpose, zeros_like_shape
from torsh.tensor.tensor import Tensor


def _window(what: str, window: Tensor | None, win_length: int, n_fft: int, like: Tensor) -> Tensor:
    """The window in the middle of n_fft elements. Raises RuntimeError for a window of another length."""
    if window is not None and window._shape != (win_length,):
        raise RuntimeError(f"{what}: expected a 1D window tensor of size equal to win_length={win_length}, but got window with size {list(window._shape)}")
    real = like._dtype.to_real()
    full = window if window is not None else zeros_like_shape((win_length,), zeros_like_shape((), like).real if like._dtype.is_complex else like) + 1
    if window is None and full._dtype is not real:
        full = cast_tensor(full, real)
    left = (n_fft - win_length) // 2
    return constant_pad_nd(full, (left, n_fft - win_length - left), 0) if win_length < n_fft else full


def _lengths(what: str, n_fft: int, hop_length: int | None, win_length: int | None) -> tuple[int, int]:
    hop = operator.index(n_fft // 4 if hop_length is None else hop_length)
    window = operator.index(n_fft if win_length is None else win_length)
    if hop <= 0:
        raise RuntimeError(f"{what}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < window <= n_fft:
        raise RuntimeError(f"{what}: expected 0 < win_length <= n_fft, but got win_length={window}")
    return hop, window


@public()
@in_full_precision
def stft(input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Tensor | None = None, center: bool = True,
         pad_mode: str = "reflect", normalized: bool = False, onesided: bool | None = None, return_complex: bool | None = None,
         align_to_window: bool | None = None) -> Tensor:
    """[*, frequencies, frames]: Fourier transforms of windows of `n_fft` samples of a signal ([n] or [batch, n]), `hop_length` (n_fft // 4) apart.

    `window` (ones) of `win_length` samples is put in the middle of n_fft ones; `center` pads the signal by n_fft // 2 on both sides, with
    `pad_mode`; `normalized` divides by sqrt(n_fft); `onesided` (for real signals and windows) gives n_fft // 2 + 1 frequencies. Raises
    RuntimeError for lengths that do not fit, and for a real signal unless `return_complex` is given (False: reals, [..., 2]).
    """
    n_fft = operator.index(n_fft)
    what = f"stft(input {list(input._shape)}, n_fft={n_fft})"
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    complex_window = window is not None and window._dtype.is_complex
    if window is None:
        warnings.warn("A window was not provided. A rectangular window will be applied, which is known to cause spectral leakage. Other windows such as "
                      "hann_window or hamming_window are recommended. To suppress this warning and use a rectangular window, set "
                      "`window=torsh.ones(n_fft)`.", stacklevel=3)
    if return_complex is None and not (input._dtype.is_complex or complex_window):
        raise RuntimeError("stft requires the return_complex parameter be given for real inputs, and will further require that return_complex=True in a "
                           "future PyTorch release.")
    if input._dtype.category < 2 or input._dtype.itemsize < 4:
        raise RuntimeError(f"{what}: expected a tensor of floating point or complex values, but got {input._dtype.title}")
    if len(input._shape) not in (1, 2):
        raise RuntimeError(f"{what}: expected a 1D or 2D tensor")
    batch = len(input._shape) == 2
    x = input if batch else input.unsqueeze(0)
    if center:
        half = n_fft // 2
        x = pad(x.unsqueeze(0), (half, half), pad_mode).squeeze(0)
    size = x._shape[-1]
    if not 0 < n_fft <= size:
        raise RuntimeError(f"{what}: expected 0 < n_fft < {size}, but got n_fft={n_fft}")
    hop, length = _lengths(what, n_fft, hop_length, win_length)
    frames = x.unfold(-1, n_fft, hop)
    if window is not None or length < n_fft:
        frames = frames * _window(what, window, length, n_fft, input)
    one = (not frames._dtype.is_complex) if onesided is None else onesided
    if one and frames._dtype.is_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    scale = "ortho" if normalized else "none"
    found = real_to_complex(frames, 2, scale) if one else complex_to_complex(as_complex(frames), (2,), True, scale)
    found = transpose(found, 1, 2)
    found = found if batch else found.squeeze(0)
    return found if return_complex or return_complex is None else view_as_real(found.clone())


def _overlap_added(frames: Tensor, hop: int) -> Tensor:
    """[*, frames, n] laid `hop` apart on a line and added: [*, n + hop (frames - 1)]."""
    *lead, count, n = frames._shape
    length = n + hop * (count - 1)
    batch = math.prod(lead)
    flat = frames.reshape(batch, count, n)
    return region_added((batch, length), flat, ((batch, count, n), (length, hop, 1), 0)).reshape(*lead, length)  # type: ignore[no-any-return]


@public()
def istft(input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Tensor | None = None, center: bool = True,
          normalized: bool = False, onesided: bool | None = None, length: int | None = None, return_complex: bool = False) -> Tensor:
    """The signal ([n] or [batch, n]) whose `stft` is nearest to `input`, [*, frequencies, frames]: windows transformed back, weighted by the window
    and added, over the sum of their squares there. `length` cuts or fills it up with zeros.

    Raises RuntimeError for a real `input`, lengths that do not fit, and windows that leave a sample uncovered.
    """
    n_fft, length = operator.index(n_fft), None if length is None else operator.index(length)
    what = f"istft(input {list(input._shape)}, n_fft={n_fft})"
    if not input._dtype.is_complex:
        raise RuntimeError("istft requires a complex-valued input tensor matching the output from stft with return_complex=True.")
    if window is None:
        warnings.warn("A window was not provided. A rectangular window will be applied. Please provide the same window used by stft to make the inversion "
                      "lossless. To suppress this warning and use a rectangular window, set `window=torsh.ones(n_fft)`.", stacklevel=3)
    if input.numel() == 0:
        raise RuntimeError(f"{what}: input tensor cannot be empty.")
    if len(input._shape) not in (2, 3):
        raise RuntimeError(f"{what}: expected a tensor with 2 or 3 dimensions, but got {len(input._shape)}")
    hop, win = _lengths(what, n_fft, hop_length, win_length)
    batch = len(input._shape) == 3
    x = input if batch else input.unsqueeze(0)
    rows, count = x._shape[1], x._shape[2]
    one = rows != n_fft if onesided is None else onesided
    if one and rows != n_fft // 2 + 1:
        raise RuntimeError(f"{what}: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft / 2 + 1 when onesided=True, "
                           f"but got {rows}")
    if not one and rows != n_fft:
        raise RuntimeError(f"{what}: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft when onesided=False, but got {rows}")
    if return_complex and one:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    weights = _window(what, window, win, n_fft, input)
    if weights._dtype.is_complex and not return_complex:
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    scale = "ortho" if normalized else "full"
    spectra = transpose(x, 1, 2)
    if return_complex:
        frames = complex_to_complex(spectra, (2,), False, scale)
    else:
        frames = complex_to_real(spectra if one else spectra[..., :n_fft // 2 + 1], 2, n_fft, scale)
    signal = _overlap_added(frames * weights, hop)
    cover = _overlap_added((weights * weights).expand(count, n_fft), hop)
    whole = n_fft + hop * (count - 1)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else whole - n_fft // 2 if center else whole
    signal, cover = signal[:, start:min(end, whole)], cover[start:min(end, whole)]
    lowest = float(cover.detach().abs().min().item()) if cover.numel() else 1.0
    if lowest <= 1e-11:
        raise RuntimeError(f"{what} window overlap add min: {lowest}")
    signal = signal / cover
    if end > whole:
        warnings.warn("The length of signal is shorter than the length parameter. Result is being padded with zeros in the tail. Please check your center "
                      "and hop_length settings.", stacklevel=3)
        signal = constant_pad_nd(signal, (0, end - whole), 0)
    return signal if batch else signal.squeeze(0)  # type: ignore[no-any-return]


__all__ = ["istft", "stft"]
