"""Random tensors: PyTorch's numbers for a seed, drawn at the call, in program order, into memory of their own."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from torsh.core import devices
from torsh.core.dtypes import dtype, get_default_dtype, int64
from torsh.core.shapes import Shape, broadcast, contiguous_strides, numel
from torsh.graph.node import Op
from torsh.ops.choice import raced
from torsh.ops.dispatch import check_writable, copy_into, public, recorded, tensors_of, write_out
from torsh.ops.generators import Generator, engine_of
from torsh.ops.host import every_value
from torsh.ops.views import unsqueeze, zeros_like_shape
from torsh.runtime.cpu.swaps import shuffled
from torsh.tensor.creation import _check, _sizes, finish, from_array, from_new_array
from torsh.tensor.tensor import Tensor


class _Mapped:
    """What draws while a function is vmapped: set by `func.vmap`."""
    draw: Callable[[Shape, Callable[..., np.ndarray], tuple[Tensor, ...]], Tensor] | None

    def __init__(self) -> None:
        self.draw = None


mapped: Final = _Mapped()


def drawn(shape: Shape, draw: Callable[..., np.ndarray], *parameters: Tensor) -> Tensor:
    """The tensor of `draw(shape, *arrays)`, the arrays being the parameters' elements. Every random tensor comes from here.

    While a function is vmapped, the shape and the arrays may have further dimensions in front.
    """
    if mapped.draw is not None:
        return mapped.draw(shape, draw, parameters)
    return from_new_array(draw(shape, *[np.asarray(p._window(), order="C") for p in parameters]))


def _made(made: Tensor, requires_grad: bool, out: Tensor | None, what: str) -> Tensor:
    return finish(made, requires_grad) if out is None else write_out(out, made, what)


_DRAWN = Op("drawn", "history", None, None, lambda ctx, g: tuple([zeros_like_shape(s, g) for s in ctx.shapes]), grad_name="NormalBackward")


def _drawn(out: Tensor, *parameters: Any) -> Tensor:
    """A draw by tensors of parameters, whose derivative by them is zero, as in PyTorch."""
    return recorded(_DRAWN, None, tensors_of(*parameters), out)


def _type(dt: dtype | None, out: Tensor | None, default: dtype | None = None) -> dtype:
    return dt or (out._dtype if out is not None else default or get_default_dtype())


def _numbers(draw: Any, shape: Shape, dt: dtype, *numbers: float) -> np.ndarray:
    """`draw(shape, dtype, *numbers)`; complex numbers as pairs of reals."""
    if not dt.is_complex:
        return draw(shape, dt.np, *numbers)  # type: ignore[no-any-return]
    return draw((*shape, 2), dt.to_real().np, *numbers).view(dt.np).reshape(shape)  # type: ignore[no-any-return]


@public(method=False)
def rand(*size: Any, generator: Generator | None = None, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
         device: Any = None, requires_grad: Any = False, pin_memory: Any = False) -> Tensor:
    """Numbers uniform in [0, 1). Raises RuntimeError for a negative size, NotImplementedError unless floating.

    >>> import torsh
    >>> _ = torsh.manual_seed(0)
    >>> torsh.rand(2)
    tensor([0.4963, 0.7682])
    """
    devices.require(device)
    _check(layout, pin_memory)
    draw, dt = engine_of(generator).uniform, _type(dtype, out)
    return _made(drawn(_sizes(size, "rand"), lambda s: _numbers(draw, s, dt)), requires_grad, out, "rand")


@public(method=False)
def randn(*size: Any, generator: Generator | None = None, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
          device: Any = None, requires_grad: Any = False, pin_memory: Any = False) -> Tensor:
    """Standard normal numbers; complex ones have variance 1, half of it in each part. Raises RuntimeError for a negative size,
    NotImplementedError for integers."""
    devices.require(device)
    _check(layout, pin_memory)
    draw, dt = engine_of(generator).normal, _type(dtype, out)
    std = math.sqrt(0.5) if dt.is_complex else 1.0
    return _made(drawn(_sizes(size, "randn"), lambda s: _numbers(draw, s, dt, 0.0, std)), requires_grad, out, "randn")


@public(method=False)
def randint(low: Any, high: Any = None, size: Any = None, *, generator: Generator | None = None, out: Tensor | None = None,
            dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: Any = False,
            pin_memory: Any = False) -> Tensor:
    """Integers of [low, high): `randint(high, size)` or `randint(low, high, size)`. Raises RuntimeError for an empty interval."""
    if size is None:
        if not isinstance(high, (tuple, list)):
            raise TypeError("randint(): expected (high, size) or (low, high, size), with size a tuple of ints")
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    devices.require(device)
    _check(layout, pin_memory)
    engine, kind = engine_of(generator), _type(dtype, out, int64).np
    return _made(drawn(_sizes((size,), "randint"), lambda s: engine.random_from_to(s, kind, low, high)), requires_grad, out, "randint")


@public(method=False)
def randperm(n: Any, *, generator: Generator | None = None, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
             device: Any = None, requires_grad: Any = False, pin_memory: Any = False) -> Tensor:
    """0 .. n-1 in random order. Raises RuntimeError for a negative n."""
    devices.require(device)
    _check(layout, pin_memory)
    engine, kind = engine_of(generator), _type(dtype, out, int64).np

    def draw(shape: Shape) -> np.ndarray:
        if len(shape) == 1:
            return engine.permutation(n, kind, shuffled)  # type: ignore[no-any-return]
        return np.stack([engine.permutation(n, kind, shuffled) for _ in range(numel(shape[:-1]))]).reshape(shape)
    return _made(drawn((n,), draw) if n >= 0 else from_array(engine.permutation(n, kind)), requires_grad, out, "randperm")


@public(method=False)
def rand_like(input: Tensor, *, generator: Generator | None = None, dtype: dtype | None = None, layout: Any = None, device: Any = None,
              requires_grad: Any = False, memory_format: Any = None) -> Tensor:
    """`rand` with the shape and dtype of `input`."""
    return rand(input._shape, generator=generator, dtype=dtype or input._dtype, layout=layout, device=device, requires_grad=requires_grad)


@public(method=False)
def randn_like(input: Tensor, *, generator: Generator | None = None, dtype: dtype | None = None, layout: Any = None, device: Any = None,
               requires_grad: Any = False, memory_format: Any = None) -> Tensor:
    """`randn` with the shape and dtype of `input`."""
    return randn(input._shape, generator=generator, dtype=dtype or input._dtype, layout=layout, device=device, requires_grad=requires_grad)


@public(method=False)
def randint_like(input: Tensor, low: Any, high: Any = None, *, generator: Generator | None = None, dtype: dtype | None = None,
                 layout: Any = None, device: Any = None, requires_grad: Any = False, memory_format: Any = None) -> Tensor:
    """`randint` with the shape and dtype of `input`."""
    return randint(low, high, input._shape, generator=generator, dtype=dtype or input._dtype, layout=layout, device=device,
                   requires_grad=requires_grad)


@public(method=False)
def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
           out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: Any = False,
           pin_memory: Any = False) -> Tensor:
    """Normal numbers; mean and std are numbers (then with `size`) or tensors that broadcast. Raises RuntimeError for std < 0."""
    mean_tensor, std_tensor = isinstance(mean, Tensor), isinstance(std, Tensor)
    if not mean_tensor and not std_tensor:
        if size is None:
            raise TypeError("normal(): missing 1 required argument: 'size', as mean and std are numbers")
        devices.require(device)
        _check(layout, pin_memory)
        engine, kind = engine_of(generator), _type(dtype, out).np
        return _made(drawn(_sizes((size,), "normal"), lambda s: engine.normal(s, kind, mean, std)), requires_grad, out, "normal")
    if std_tensor and std.numel() and bool((every_value(std) < 0).any()):
        raise RuntimeError("normal expects all elements of std >= 0.0")
    if mean_tensor and std_tensor:
        shape: Shape = broadcast(mean._shape, std._shape, "normal")
    else:
        shape = mean._shape if mean_tensor else std._shape
    own = (mean if mean_tensor else std)._dtype
    engine = engine_of(generator)
    made = standard_normal(shape, own, engine) if std_tensor else drawn(shape, lambda s: engine.normal(s, own.np, 0.0, std))
    if std_tensor:
        made = made * std.detach()
    made = made + (mean.detach() if mean_tensor else mean)  # type: ignore[operator]
    made = _drawn(made, *[t for t in (mean, std) if isinstance(t, Tensor)])
    return made if out is None else write_out(out, made, "normal")


def _broadcast(array: np.ndarray, shape: Shape) -> np.ndarray:
    return array if array.shape == shape else np.broadcast_to(array, shape).copy()


def standard_normal(shape: Shape, dt: dtype, engine: Any) -> Tensor:
    """Normal numbers of mean 0 and variance 1, as `normal` of tensors draws them."""
    return drawn(shape, lambda s: engine.normal(s, dt.np, 0.0, 1.0))


@public()
def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor:
    """1 with the probability in `input` (or `p` everywhere), else 0. Raises RuntimeError for one outside [0, 1]."""
    engine, kind = engine_of(generator), input._dtype.np
    if p is not None:
        made = drawn(input._shape, lambda s: engine.bernoulli(s, p, kind))
    else:
        made = drawn(input._shape, lambda s, chance: engine.bernoulli(s, _broadcast(chance, s), kind), input)
    made = _drawn(made, input)
    return made if out is None else write_out(out, made, "bernoulli")


def choosable(weights: Tensor) -> bool:
    """Whether `raced` takes these weights."""
    dt = weights._dtype
    return mapped.draw is None and dt.category == 2 and dt.itemsize > 1 and 0 not in weights._shape


@public()
def multinomial(input: Tensor, num_samples: Any, replacement: Any = False, *, generator: Generator | None = None,
                out: Tensor | None = None) -> Tensor:
    """Indices drawn in proportion to the rows of `input` ([k] or [m, k]): int64, [num_samples] or [m, num_samples].

    Raises RuntimeError for weights that are negative, not finite or all zero, and for too many samples.
    """
    if out is not None and out._dtype is not int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out._dtype.title}")
    engine = engine_of(generator)
    if num_samples == 1 and len(input._shape) in (1, 2) and choosable(input):
        index = raced(input, engine)
        if index is not None:
            return _made(unsqueeze(index, -1), False, out, "multinomial")

    def draw(shape: Shape, weights: np.ndarray) -> np.ndarray:
        if weights.ndim == len(input._shape) and shape[:-1] == weights.shape[:-1]:
            return engine.multinomial(weights, num_samples, replacement)  # type: ignore[no-any-return]
        many = np.broadcast_to(weights, (*shape[:-1], weights.shape[-1])).reshape(-1, weights.shape[-1])
        return engine.multinomial(np.ascontiguousarray(many), num_samples, replacement).reshape(shape)  # type: ignore[no-any-return]
    return _made(drawn((*input._shape[:-1], num_samples), draw, input), False, out, "multinomial")


# ---- filling in place


def _memory_order(t: Tensor) -> list[int]:
    """The dimensions from the slowest to the fastest in memory: the order in which PyTorch fills one number at a time."""
    strides = t._strides or contiguous_strides(t._shape)
    return sorted(range(len(t._shape)), key=lambda d: -strides[d])


def _fill(t: Tensor, draw: Any, what: str, logical: bool = False, *parameters: Tensor) -> Tensor:
    """`draw(shape)` gives the numbers; `logical`: in row-major order whatever the strides."""
    check_writable(t)
    if logical or t._strides is None:
        return copy_into(t, drawn(t._shape, draw, *parameters), what)
    order = _memory_order(t)
    made = drawn(tuple([t._shape[d] for d in order]), draw, *parameters)
    return copy_into(t, made.permute(*np.argsort(order).tolist()) if order != sorted(order) else made, what)  # type: ignore[attr-defined]


@public("uniform_", function=False)
def uniform_(self: Tensor, from_: Any = 0.0, to: Any = 1.0, *, generator: Generator | None = None, **named: Any) -> Tensor:
    """Overwrite with numbers uniform in [from, to). Raises RuntimeError for bounds out of order."""
    low = named.pop("from", from_) if named else from_  # a keyword that no parameter can be called
    if named:
        raise TypeError(f"uniform_() got an unexpected keyword argument '{next(iter(named))}'")
    engine = engine_of(generator)
    return _fill(self, lambda s: _numbers(engine.uniform, s, self._dtype, low, to), "uniform_")


@public("normal_", function=False)
def normal_(self: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with normal numbers. Raises RuntimeError for std < 0."""
    engine, kind = engine_of(generator), self._dtype.np
    if self._dtype.is_complex:
        half = std * math.sqrt(0.5)
        return _fill(self, lambda s: _numbers(engine.normal, s, self._dtype, mean, half), "normal_")

    def draw(shape: Shape) -> np.ndarray:
        count = numel(shape)
        if count < 16 or self.is_contiguous():
            return engine.normal(shape, kind, mean, std)  # type: ignore[no-any-return]
        # PyTorch makes the numbers of a strided tensor one pair at a time, as the engine does for few.
        parts = [engine.normal(min(14, count - i), kind, mean, std) for i in range(0, count, 14)]
        return np.concatenate(parts).reshape(shape)  # type: ignore[no-any-return]
    return _fill(self, draw, "normal_")


@public("random_", function=False)
def random_(self: Tensor, from_: Any = None, to: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with integers of [from, to), [0, to), or all that the dtype holds exactly. Raises RuntimeError if empty."""
    if from_ is None and to is None:
        return _fill(self, lambda s: engine_of(generator).random(s, self._dtype.np), "random_")
    low, high = (0, from_) if to is None else (from_ or 0, to)
    return _fill(self, lambda s: engine_of(generator).random_from_to(s, self._dtype.np, low, high), "random_")


@public("bernoulli_", function=False)
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with 1 with probability p (a number, or a tensor that broadcasts), else 0. Raises RuntimeError outside [0, 1]."""
    if isinstance(p, Tensor):
        return _fill(self, lambda s, chance: engine_of(generator).bernoulli(s, _broadcast(chance, s), self._dtype.np), "bernoulli_", True, p)
    return _fill(self, lambda s: engine_of(generator).bernoulli(s, p, self._dtype.np), "bernoulli_")


@public("exponential_", function=False)
def exponential_(self: Tensor, lambd: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with exponential numbers of rate `lambd`. Raises RuntimeError unless lambd > 0."""
    return _fill(self, lambda s: engine_of(generator).exponential(s, self._dtype.np, lambd), "exponential_")


@public("geometric_", function=False)
def geometric_(self: Tensor, p: Any, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with numbers of trials up to the first success of probability p. Raises RuntimeError unless 0 < p < 1."""
    return _fill(self, lambda s: engine_of(generator).geometric(s, self._dtype.np, p), "geometric_")


@public("log_normal_", function=False)
def log_normal_(self: Tensor, mean: Any = 1.0, std: Any = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with exp of normal numbers. Raises RuntimeError unless std > 0."""
    return _fill(self, lambda s: engine_of(generator).log_normal(s, self._dtype.np, mean, std), "log_normal_")


@public("cauchy_", function=False)
def cauchy_(self: Tensor, median: Any = 0.0, sigma: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with Cauchy numbers. Raises RuntimeError unless sigma > 0."""
    return _fill(self, lambda s: engine_of(generator).cauchy(s, self._dtype.np, median, sigma), "cauchy_")


__all__ = ["choosable", "drawn", "mapped", "standard_normal"]
