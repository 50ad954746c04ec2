"""Random tensors: PyTorch's numbers for a seed, drawn at the call, in program order, into memory of their own."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from torsh.autograd.graph import needs_record
from torsh.core import devices
from torsh.core.dtypes import dtype, float32, float64, get_default_dtype, int64
from torsh.core.shapes import Shape, broadcast, contiguous_strides, numel, sizes
from torsh.graph.node import Op
from torsh.ops.choice import raced
from torsh.ops.dispatch import check_writable, copy_into, public, recorded, tensors_of, write_out
from torsh.ops.drawing import drawn, engine_of, filled, fresh, mapped, memory_of
from torsh.ops.generators import Generator
from torsh.ops.host import every_value
from torsh.ops.views import unsqueeze, zeros_like_shape
from torsh.tensor.creation import _check, finish
from torsh.tensor.tensor import Tensor, put


def _made(made: Tensor, requires_grad: bool, out: Tensor | None, what: str) -> Tensor:
    if out is None:
        return finish(made, requires_grad) if requires_grad else made
    return write_out(out, made, what)


def _plain(device: Any, layout: Any, pin_memory: Any) -> None:
    """Raises RuntimeError for what a tensor cannot be."""
    if device is not None:
        devices.require(device)
    if layout is not None or pin_memory:
        _check(layout, pin_memory)


_DRAWN = Op("drawn", "history", None, None, lambda ctx, g: tuple([zeros_like_shape(s, g) for s in ctx.shapes]), grad_name="NormalBackward")


def _drawn(out: Tensor, *parameters: Any) -> Tensor:
    """A draw by tensors of parameters, whose derivative by them is zero, as in PyTorch."""
    return recorded(_DRAWN, None, tensors_of(*parameters), out)


def _type(dt: dtype | None, out: Tensor | None, default: dtype | None = None) -> dtype:
    return dt or (out._dtype if out is not None else default or get_default_dtype())


@public(method=False)
def rand(*size: Any, generator: Generator | None = None, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
         device: Any = None, requires_grad: Any = False, pin_memory: Any = False) -> Tensor:
    """Numbers uniform in [0, 1). Raises RuntimeError for a negative size, NotImplementedError unless floating.

    >>> import torsh
    >>> _ = torsh.manual_seed(0)
    >>> torsh.rand(2)
    tensor([0.4963, 0.7682])
    """
    _plain(device, layout, pin_memory)
    return _made(filled(sizes(size, "rand"), _type(dtype, out), engine_of(generator).uniform_at), requires_grad, out, "rand")


@public(method=False)
def randn(*size: Any, generator: Generator | None = None, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
          device: Any = None, requires_grad: Any = False, pin_memory: Any = False) -> Tensor:
    """Standard normal numbers; complex ones have variance 1, half of it in each part. Raises RuntimeError for a negative size,
    NotImplementedError for integers."""
    _plain(device, layout, pin_memory)
    dt = _type(dtype, out)
    std = math.sqrt(0.5) if dt.is_complex else 1.0
    return _made(filled(sizes(size, "randn"), dt, engine_of(generator).normal_at, 0.0, std), requires_grad, out, "randn")


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
    _plain(device, layout, pin_memory)
    return _made(filled(sizes((size,), "randint"), _type(dtype, out, int64), engine_of(generator).random_from_to_at, low, high), requires_grad, out, "randint")


@public(method=False)
def randperm(n: Any, *, generator: Generator | None = None, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
             device: Any = None, requires_grad: Any = False, pin_memory: Any = False) -> Tensor:
    """0 .. n-1 in random order. Raises RuntimeError for a negative n."""
    _plain(device, layout, pin_memory)
    engine, dt = engine_of(generator), _type(dtype, out, int64)
    n = n.__index__()
    engine.check_permutation(n, dt.np)
    if mapped.draw is None:
        return _made(filled((n,), dt, engine.permutation_at), requires_grad, out, "randperm")

    def draw(shape: Shape) -> np.ndarray:
        return np.stack([engine.permutation(n, dt.np) for _ in range(numel(shape[:-1]))]).reshape(shape)
    return _made(drawn((n,), draw), requires_grad, out, "randperm")


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
        _plain(device, layout, pin_memory)
        return _made(filled(sizes((size,), "normal"), _type(dtype, out), engine_of(generator).normal_at, mean, std), requires_grad, out, "normal")
    if std_tensor and std.numel() and bool((every_value(std) < 0).any()):
        raise RuntimeError("normal expects all elements of std >= 0.0")
    if mean_tensor and std_tensor:
        shape: Shape = broadcast(mean._shape, std._shape, "normal")
    else:
        shape = mean._shape if mean_tensor else std._shape
    own = (mean if mean_tensor else std)._dtype
    engine = engine_of(generator)
    made = standard_normal(shape, own, engine) if std_tensor else filled(shape, own, engine.normal_at, 0.0, std)
    if std_tensor:
        made = made * std.detach()
    made = made + (mean.detach() if mean_tensor else mean)  # type: ignore[operator]
    made = _drawn(made, *[t for t in (mean, std) if isinstance(t, Tensor)])
    return made if out is None else write_out(out, made, "normal")


def _broadcast(array: np.ndarray, shape: Shape) -> np.ndarray:
    return array if array.shape == shape else np.broadcast_to(array, shape).copy()


def standard_normal(shape: Shape, dt: dtype, engine: Any) -> Tensor:
    """Normal numbers of mean 0 and variance 1, as `normal` of tensors draws them."""
    return filled(shape, dt, engine.normal_at)


def _by_chances(shape: Shape, dt: dtype, chances: Tensor, engine: Any) -> Tensor:
    """1 with the probability in `chances`, which broadcasts to `shape`, else 0."""
    own = chances._dtype
    if mapped.draw is None and (own is float32 or own is float64) and chances._shape == shape:
        node, address = memory_of(chances)
        return filled(shape, dt, engine.chances_from, node, address, own.np)
    return drawn(shape, lambda s, p: engine.bernoulli(s, _broadcast(p, s), dt.np), chances)


@public()
def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor:
    """1 with the probability in `input` (or `p` everywhere), else 0. Raises RuntimeError for one outside [0, 1]."""
    engine = engine_of(generator)
    if p is not None:
        made = filled(input._shape, input._dtype, engine.bernoulli_at, p)
    else:
        made = _by_chances(input._shape, input._dtype, input, engine)
    made = _drawn(made, input)
    return made if out is None else write_out(out, made, "bernoulli")


#: Up to so many comparisons, each of several samples without replacement is looked for among all weights.
_FEW_CHOICES = 8192


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

    count, own = num_samples.__index__(), input._dtype
    if count > 1 and mapped.draw is None and (own is float32 or own is float64) and (replacement or input.numel() * count <= _FEW_CHOICES):
        engine.check_multinomial(own.np, input._shape, count, replacement)
        node, address = memory_of(input)
        made = filled((*input._shape[:-1], count), int64, engine.multinomial_from if replacement else engine.choice_from, node, address, own.np, count,
                      input._shape[-1])
        return made if out is None else write_out(out, made, "multinomial")

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


def _fill(t: Tensor, what: str, fill: Any, *numbers: Any) -> Tensor:
    """`fill(address, count, dtype, *numbers)` gives the numbers, in the order of the elements in memory."""
    check_writable(t)
    if t._strides is None:
        if mapped.draw is None and not needs_record((t,)):
            put(t, fresh(t._shape, t._dtype, fill, *numbers))
            return t
        return copy_into(t, filled(t._shape, t._dtype, fill, *numbers), what)
    order = _memory_order(t)
    made = filled(tuple([t._shape[d] for d in order]), t._dtype, fill, *numbers)
    return copy_into(t, made.permute(*np.argsort(order).tolist()) if order != sorted(order) else made, what)  # type: ignore[attr-defined]


@public("uniform_", function=False)
def uniform_(self: Tensor, from_: Any = 0.0, to: Any = 1.0, *, generator: Generator | None = None, **named: Any) -> Tensor:
    """Overwrite with numbers uniform in [from, to). Raises RuntimeError for bounds out of order."""
    low = named.pop("from", from_) if named else from_  # a keyword that no parameter can be called
    if named:
        raise TypeError(f"uniform_() got an unexpected keyword argument '{next(iter(named))}'")
    return _fill(self, "uniform_", engine_of(generator).uniform_at, low, to)


@public("normal_", function=False)
def normal_(self: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with normal numbers. Raises RuntimeError for std < 0."""
    engine = engine_of(generator)
    if self._dtype.is_complex:
        return _fill(self, "normal_", engine.normal_at, mean, std * math.sqrt(0.5))
    # PyTorch makes the numbers of a strided tensor one pair at a time, as it does for few.
    return _fill(self, "normal_", engine.normal_at if self._strides is None or self.is_contiguous() else engine.pairs_at, mean, std)


@public("random_", function=False)
def random_(self: Tensor, from_: Any = None, to: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with integers of [from, to), [0, to), or all that the dtype holds exactly. Raises RuntimeError if empty."""
    if from_ is None and to is None:
        return _fill(self, "random_", engine_of(generator).random_at)
    low, high = (0, from_) if to is None else (from_ or 0, to)
    return _fill(self, "random_", engine_of(generator).random_from_to_at, low, high)


@public("bernoulli_", function=False)
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with 1 with probability p (a number, or a tensor that broadcasts), else 0. Raises RuntimeError outside [0, 1]."""
    if isinstance(p, Tensor):
        check_writable(self)
        return copy_into(self, _by_chances(self._shape, self._dtype, p, engine_of(generator)), "bernoulli_")
    return _fill(self, "bernoulli_", engine_of(generator).bernoulli_at, p)


@public("exponential_", function=False)
def exponential_(self: Tensor, lambd: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with exponential numbers of rate `lambd`. Raises RuntimeError unless lambd > 0."""
    return _fill(self, "exponential_", engine_of(generator).exponential_at, lambd)


@public("geometric_", function=False)
def geometric_(self: Tensor, p: Any, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with numbers of trials up to the first success of probability p. Raises RuntimeError unless 0 < p < 1."""
    return _fill(self, "geometric_", engine_of(generator).geometric_at, p)


@public("log_normal_", function=False)
def log_normal_(self: Tensor, mean: Any = 1.0, std: Any = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with exp of normal numbers. Raises RuntimeError unless std > 0."""
    return _fill(self, "log_normal_", engine_of(generator).log_normal_at, mean, std)


@public("cauchy_", function=False)
def cauchy_(self: Tensor, median: Any = 0.0, sigma: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with Cauchy numbers. Raises RuntimeError unless sigma > 0."""
    return _fill(self, "cauchy_", engine_of(generator).cauchy_at, median, sigma)


__all__ = ["choosable", "drawn", "mapped", "standard_normal"]
