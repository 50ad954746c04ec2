"""Recurrent layers: all steps of one layer and direction as one operation (Elman, 1990; LSTM: Hochreiter & Schmidhuber, 1997; GRU: Cho et
al., 2014).

The products of the inputs are made for all steps at once by the caller; here the hidden state walks through the steps. Rows are packed: step t
has `sizes[t]` of them, in order, and sizes never grow, so that sequences of different lengths need no padding. The derivative makes
the products for all steps at once too; only what truly depends on the step before is done step by step.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from torsh.autograd.autocast import in_lower_type, lower_type, lowered, raised
from torsh.autograd.entered import entered
from torsh.autograd.grad_mode import state
from torsh.autograd.graph import GradNode
from torsh.core.shapes import Shape
from torsh.ops.activation import relu
from torsh.ops.dispatch import FUNCTIONS, apply_several, cast_tensor, coarse
from torsh.ops.join import cat
from torsh.ops.matmul import linear, matmul
from torsh.ops.pointwise import sigmoid, tanh
from torsh.ops.reduce import sum
from torsh.ops.views import narrow, zeros_like_shape
from torsh.tensor.tensor import Tensor

Sizes = tuple[int, ...]


def _rows(x: Tensor, start: int, count: int) -> Tensor:
    return x if count == x._shape[0] else narrow(x, 0, start, count)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    kept = [p for p in parts if p._shape[0]] or [parts[0]]
    return kept[0] if len(kept) == 1 else cat(kept)


def _chunks(x: Tensor, n: int) -> list[Tensor]:
    size = x._shape[-1] // n
    return [narrow(x, len(x._shape) - 1, i * size, size) for i in range(n)]


class _Steps:
    """The order of the steps, and where the rows of each lie."""

    def __init__(self, sizes: Sizes, reverse: bool) -> None:
        self.sizes = sizes
        self.offsets = (0, *accumulate(sizes))
        self.reverse = reverse
        self.order = list(range(len(sizes)))[::-1 if reverse else 1]

    def of(self, x: Tensor, t: int) -> Tensor:
        return narrow(x, 0, self.offsets[t], self.sizes[t]) if len(self.sizes) > 1 else x

    def previous(self, first: Tensor, rows: Tensor) -> Tensor:
        """The state that each row started from, given the initial one and that after each row."""
        parts: list[Tensor] = []
        for t, n in enumerate(self.sizes):
            before = t + 1 if self.reverse else t - 1
            if not 0 <= before < len(self.sizes):
                parts.append(_rows(first, 0, n))
                continue
            m = min(n, self.sizes[before])
            parts.append(narrow(rows, 0, self.offsets[before], m))
            if m < n:
                parts.append(narrow(first, 0, m, n - m))
        if len(set(self.sizes)) == 1 and len(self.sizes) > 1:  # two pieces instead of one a step
            rest = narrow(rows, 0, self.sizes[0] if self.reverse else 0, rows._shape[0] - self.sizes[0])
            return cat([rest, first] if self.reverse else [first, rest])
        return _joined(parts)


def _forward(cell: Callable[..., Any], xg: Tensor, first: tuple[Tensor, ...], steps: _Steps) -> tuple[Tensor, ...]:
    """(hidden after each row, final hidden, then final and all of each further state)."""
    now = tuple([_rows(s, 0, steps.sizes[steps.order[0]]) for s in first])
    made: list[list[Tensor]] = [[] for _ in first]
    done: list[list[Tensor]] = [[] for _ in first]
    for t in steps.order:
        n, have = steps.sizes[t], now[0]._shape[0]
        if have > n:
            for s, d in zip(now, done, strict=True):
                d.append(narrow(s, 0, n, have - n))
            now = tuple([narrow(s, 0, 0, n) for s in now])
        elif have < n:
            now = tuple([cat([s, narrow(f, 0, have, n - have)]) for s, f in zip(now, first, strict=True)])
        now = cell(steps.of(xg, t), *now)
        for s, m in zip(now, made, strict=True):
            m.append(s)
    last = [_joined([s, *d[::-1]]) for s, d in zip(now, done, strict=True)]
    every = [_joined(m[::-1] if steps.reverse else m) for m in made]
    return (every[0], last[0], *[x for pair in zip(last[1:], every[1:], strict=True) for x in pair])


class _Carry:
    """The gradient of a state on its way back through the steps."""

    def __init__(self, steps: _Steps, g_all: Tensor, g_last: Tensor) -> None:
        self.steps, self.g_all, self.g_last = steps, g_all, g_last
        start = steps.order[-1]
        self.now = _rows(g_last, 0, steps.sizes[start])
        self.done: list[Tensor] = []

    def arrive(self, t: int) -> Tensor:
        """The gradient of the state after step t."""
        n, have = self.steps.sizes[t], self.now._shape[0]
        if have < n:  # rows that ended here
            self.now = cat([self.now, narrow(self.g_last, 0, have, n - have)])
        elif have > n:  # rows that began later
            self.done.append(narrow(self.now, 0, n, have - n))
            self.now = narrow(self.now, 0, 0, n)
        return self.now + self.steps.of(self.g_all, t)

    def first(self) -> Tensor:
        """The gradient of the initial state."""
        return _joined([self.now, *self.done[::-1]])


# ---- the cells: how one step follows from the one before


def _simple_cell(act: Callable[[Tensor], Tensor], w: Tensor, b: Tensor | None) -> Callable[..., tuple[Tensor]]:
    return lambda xg, h: (act(xg + linear(h, w, b)),)


def _lstm_cell(w: Tensor, b: Tensor | None, projection: Tensor | None) -> Callable[..., tuple[Tensor, Tensor]]:
    def cell(xg: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = _chunks(xg + linear(h, w, b), 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (h if projection is None else linear(h, projection)), c
    return cell


def _gru_cell(w: Tensor, b: Tensor | None) -> Callable[..., tuple[Tensor]]:
    def cell(xg: Tensor, h: Tensor) -> tuple[Tensor]:
        xr, xz, xn = _chunks(xg, 3)
        hr, hz, hn = _chunks(linear(h, w, b), 3)
        n = tanh(xn + sigmoid(xr + hr) * hn)
        return (n + sigmoid(xz + hz) * (h - n),)
    return cell


def _options(rest: Sequence[Any]) -> tuple[Tensor | None, Tensor | None, list[Any]]:
    """(bias, projection, the remaining arguments) of the tensors and arguments after the weight."""
    *tensors, biased, projected, sizes, reverse = rest
    bias = tensors[0] if biased else None
    return bias, tensors[int(biased)] if projected else None, [*tensors[biased + projected:], sizes, reverse]


def _simple(act: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    def layer(xg: Tensor, h0: Tensor, w: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        bias, _, (sizes, reverse) = _options(rest)
        return _forward(_simple_cell(act, w, bias), xg, (h0,), _Steps(sizes, reverse))
    return layer


def _lstm(xg: Tensor, h0: Tensor, c0: Tensor, w: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    bias, projection, (sizes, reverse) = _options(rest)
    return _forward(_lstm_cell(w, bias, projection), xg, (h0, c0), _Steps(sizes, reverse))


def _gru(xg: Tensor, h0: Tensor, w: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    bias, _, (sizes, reverse) = _options(rest)
    return _forward(_gru_cell(w, bias), xg, (h0,), _Steps(sizes, reverse))


# ---- their derivatives: (x gates, initial states, weight, bias, projection)


def _transposed_product(g: Tensor, x: Tensor) -> Tensor:
    """The gradient of a weight [o, i] from that of its outputs [rows, o] and its inputs [rows, i]."""
    return matmul(g.t(), x)  # type: ignore[attr-defined]


def _simple_backward(slope: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    def backward(g_all: Tensor, g_last: Tensor, xg: Tensor, h0: Tensor, w: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        bias, _, (out, sizes, reverse) = _options(rest)
        steps = _Steps(sizes, reverse)
        slopes, carry, made = slope(out), _Carry(steps, g_all, g_last), {}
        for t in reversed(steps.order):
            made[t] = carry.arrive(t) * steps.of(slopes, t)
            carry.now = matmul(made[t], w)
        dg = _joined([made[t] for t in range(len(sizes))])
        return dg, carry.first(), _transposed_product(dg, steps.previous(h0, out)), *([] if bias is None else [sum(dg, (0,))])
    return backward


def _lstm_backward(g_all: Tensor, g_last: Tensor, gc_last: Tensor, gc_all: Tensor, xg: Tensor, h0: Tensor, c0: Tensor, w: Tensor,
                   *rest: Any) -> tuple[Tensor, ...]:
    bias, projection, (out, cells, sizes, reverse) = _options(rest)
    steps = _Steps(sizes, reverse)
    before = steps.previous(h0, out)
    i, f, g, o = _chunks(xg + linear(before, w, bias), 4)
    i, f, g, o, c = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o), tanh(cells)
    slopes = [g * i * (1 - i), steps.previous(c0, cells) * f * (1 - f), i * (1 - g * g)]  # by the cell
    to_output, to_cell = c * o * (1 - o), o * (1 - c * c)  # of the hidden state
    hidden, cell = _Carry(steps, g_all, g_last), _Carry(steps, gc_all, gc_last)
    made: dict[int, Tensor] = {}
    arrived: dict[int, Tensor] = {}
    for t in reversed(steps.order):
        arrived[t] = hidden.arrive(t)
        dh = arrived[t] if projection is None else matmul(arrived[t], projection)
        dc = cell.arrive(t) + dh * steps.of(to_cell, t)
        made[t] = cat([*[dc * steps.of(s, t) for s in slopes], dh * steps.of(to_output, t)], 1)
        hidden.now, cell.now = matmul(made[t], w), dc * steps.of(f, t)
    dg = _joined([made[t] for t in range(len(sizes))])
    results = [dg, hidden.first(), cell.first(), _transposed_product(dg, before)]
    if bias is not None:
        results.append(sum(dg, (0,)))
    if projection is not None:
        results.append(_transposed_product(_joined([arrived[t] for t in range(len(sizes))]), o * c))
    return tuple(results)


def _gru_backward(g_all: Tensor, g_last: Tensor, xg: Tensor, h0: Tensor, w: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    bias, _, (out, sizes, reverse) = _options(rest)
    steps = _Steps(sizes, reverse)
    before = steps.previous(h0, out)
    xr, xz, xn = _chunks(xg, 3)
    hr, hz, hn = _chunks(linear(before, w, bias), 3)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = tanh(xn + r * hn)
    to_new = (1 - z) * (1 - n * n)
    to_reset, to_update, to_hidden = to_new * hn * r * (1 - r), (before - n) * z * (1 - z), to_new * r
    carry = _Carry(steps, g_all, g_last)
    arrived: dict[int, Tensor] = {}
    for t in reversed(steps.order):
        dh = arrived[t] = carry.arrive(t)
        dg = cat([dh * steps.of(s, t) for s in (to_reset, to_update, to_hidden)], 1)
        carry.now = dh * steps.of(z, t) + matmul(dg, w)
    dh = _joined([arrived[t] for t in range(len(sizes))])
    reset, update = dh * to_reset, dh * to_update
    dg = cat([reset, update, dh * to_hidden], 1)
    return (cat([reset, update, dh * to_new], 1), carry.first(), _transposed_product(dg, before), *([] if bias is None else [sum(dg, (0,))]))


# ---- one layer and direction


def _differentiated(backward: Callable[..., tuple[Tensor, ...]], name: str, states: int) -> Callable[..., Any]:
    """The rule of a layer: `backward` as one node, or as the operations it is made of if it will be differentiated again."""
    op = coarse(name, backward, None)

    def vjp(ctx: GradNode, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = [ctx[i] for i in range(len(ctx.shapes))]
        given = [g if g is not None else zeros_like_shape(shape, inputs[0]) for g, (shape, _) in zip(grads, ctx.out_meta, strict=True)]
        # what the steps left behind: the hidden states, and the cells
        tensors = (*given, *inputs, *[ctx.saved_output(i) for i in ((0,) if states == 1 else (0, 3))])
        if state.enabled:
            found = backward(*tensors, *ctx.arg)
        else:
            found = apply_several(op, tensors, ctx.arg, tuple([(t._shape, t._dtype) for t in inputs]))
        return tuple([g if need else None for g, need in zip(found, ctx.needs, strict=True)])
    return vjp


def _relu_slope(h: Tensor) -> Tensor:
    return (h > 0).to(h._dtype)  # type: ignore[no-any-return,attr-defined]


def _tanh_slope(h: Tensor) -> Tensor:
    return 1 - h * h  # type: ignore[no-any-return]


_SAVED = (0, 1, 2, 3, 4, 5)
_LAYERS = {
    "RNN_TANH": coarse("rnn_tanh_layer", _simple(tanh), _differentiated(_simple_backward(_tanh_slope), "rnn_tanh_layer_backward", 1), _SAVED, True),
    "RNN_RELU": coarse("rnn_relu_layer", _simple(relu), _differentiated(_simple_backward(_relu_slope), "rnn_relu_layer_backward", 1), _SAVED, True),
    "LSTM": coarse("lstm_layer", _lstm, _differentiated(_lstm_backward, "lstm_layer_backward", 2), _SAVED, True),
    "GRU": coarse("gru_layer", _gru, _differentiated(_gru_backward, "gru_layer_backward", 1), _SAVED, True),
}


def recurrent_layer(mode: str, x: Tensor, first: tuple[Tensor, ...], weights: Sequence[Tensor], biased: bool, sizes: Sizes,
                    reverse: bool) -> tuple[Tensor, ...]:
    """One layer in one direction: (hidden states [rows, h], final hidden [n, h]; for an LSTM also the final cells).

    `mode` is "RNN_TANH", "RNN_RELU", "LSTM" or "GRU"; x [rows, i] are the inputs of all steps, `sizes[t]` rows of step t (never growing);
    `first` the initial hidden state [n, h] (LSTM: and cells); `weights` (w_ih, w_hh, b_ih, b_hh, w_hr), without the biases unless
    `biased` and the projection where there is none. Checked by the caller.
    """
    if entered.autocast and lower_type() is not None:  # PyTorch's choice: a GRU keeps the type of its state, as an LSTM's cells do that it projects
        if mode == "GRU":
            return tuple([cast_tensor(t, first[0]._dtype) for t in raised(recurrent_layer, mode, x, first, weights, biased, sizes, reverse)])
        made = lowered(recurrent_layer, mode, x, first, weights, biased, sizes, reverse)
        return (*made[:2], cast_tensor(made[2], first[1]._dtype)) if len(weights) == 3 + 2 * biased else made
    w_ih, w_hh, *rest = weights
    xg = linear(x, w_ih, rest.pop(0) if biased else None)
    rows, n, dt = x._shape[0], first[0]._shape[0], xg._dtype
    hidden: Shape = first[0]._shape[1:]
    outputs: tuple[tuple[Shape, Any], ...] = (((rows, *hidden), dt), ((n, *hidden), dt))
    if mode == "LSTM":
        cells = first[1]._shape[1:]
        outputs += (((n, *cells), dt), ((rows, *cells), dt))
    made = apply_several(_LAYERS[mode], (xg, *first, w_hh, *rest), (biased, len(rest) > biased, sizes, reverse), outputs)
    return made[:3] if mode == "LSTM" else made


# ---- single steps


def lstm_cell(input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: input [n, i], hx (hidden, cell) [n, h] give the next (hidden, cell)."""
    if entered.autocast and lower_type() is not None:
        h, c = raised(lstm_cell, input, tuple(hx), w_ih, w_hh, b_ih, b_hh)
        return cast_tensor(h, hx[0]._dtype), cast_tensor(c, hx[1]._dtype)
    return _lstm_cell(w_hh, b_hh, None)(linear(input, w_ih, b_ih), *hx)


def gru_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """One step of a GRU: input [n, i], hx [n, h] give the next hidden state."""
    if entered.autocast and lower_type() is not None:
        return cast_tensor(raised(gru_cell, input, hx, w_ih, w_hh, b_ih, b_hh), hx._dtype)
    return _gru_cell(w_hh, b_hh)(linear(input, w_ih, b_ih), hx)[0]


@in_lower_type
def rnn_tanh_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """tanh(input @ w_ih^T + hx @ w_hh^T + biases)."""
    return _simple_cell(tanh, w_hh, b_hh)(linear(input, w_ih, b_ih), hx)[0]


@in_lower_type
def rnn_relu_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """relu(input @ w_ih^T + hx @ w_hh^T + biases)."""
    return _simple_cell(relu, w_hh, b_hh)(linear(input, w_ih, b_ih), hx)[0]


CELLS: dict[str, Callable[..., Any]] = {f.__name__: f for f in (gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell)}
FUNCTIONS.update(CELLS)
