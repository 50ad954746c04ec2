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
from torsh.autograd.graph import GradNode, needs_record
from torsh.core.dtypes import float32, float64
from torsh.core.shapes import Shape
from torsh.ops.activation import relu
from torsh.ops.differentiated import one_node
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


def _lstm_gates(x: Tensor, h: Tensor, w: Tensor, b: Tensor | None) -> tuple[Tensor, ...]:
    i, f, g, o = _chunks(x + linear(h, w, b), 4)
    return sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)


def _lstm_cell(w: Tensor, b: Tensor | None, projection: Tensor | None) -> Callable[..., tuple[Tensor, Tensor]]:
    def cell(xg: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = _lstm_gates(xg, h, w, b)
        c = f * c + i * g
        h = o * tanh(c)
        return (h if projection is None else linear(h, projection)), c
    return cell


def _gru_gates(x: Tensor, h: Tensor, w: Tensor, b: Tensor | None) -> tuple[Tensor, ...]:
    """Reset and update gate, new state, and the state's part of the new one."""
    xr, xz, xn = _chunks(x, 3)
    hr, hz, hn = _chunks(linear(h, w, b), 3)
    r = sigmoid(xr + hr)
    return r, sigmoid(xz + hz), tanh(xn + r * hn), hn


def _gru_cell(w: Tensor, b: Tensor | None) -> Callable[..., tuple[Tensor]]:
    def cell(xg: Tensor, h: Tensor) -> tuple[Tensor]:
        _, z, n, _ = _gru_gates(xg, h, w, b)
        return (n + z * (h - n),)
    return cell


# ---- layers: (x gates without bias, initial states, weight, biases of x and of the state, projection) and static arguments


class _Call:
    """The arguments of a layer by name. `native`: the compiler has a kernel for it; `keep`: that leaves behind what backward reads."""

    def __init__(self, states: int, args: Sequence[Any]) -> None:
        *tensors, biased, projected, self.sizes, self.reverse, self.keep, self.native = args
        xg, *rest = tensors
        self.first = tuple(rest[:states])
        self.w, *rest = rest[states:]
        self.biased = biased
        self.bias: Tensor | None = rest[1] if biased else None
        self.x: Tensor = xg + rest[0] if biased else xg
        self.projection: Tensor | None = rest[2 * biased] if projected else None
        self.steps = _Steps(self.sizes, self.reverse)


def _simple(act: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    def layer(*args: Any) -> tuple[Tensor, ...]:
        call = _Call(1, args)
        return _forward(_simple_cell(act, call.w, call.bias), call.x, call.first, call.steps)
    return layer


def _lstm(*args: Any) -> tuple[Tensor, ...]:
    call = _Call(2, args)
    made = _forward(_lstm_cell(call.w, call.bias, call.projection), call.x, call.first, call.steps)
    return (*made, cat(_lstm_gates(call.x, call.steps.previous(call.first[0], made[0]), call.w, call.bias), 1)) if call.keep else made


def _gru(*args: Any) -> tuple[Tensor, ...]:
    call = _Call(1, args)
    made = _forward(_gru_cell(call.w, call.bias), call.x, call.first, call.steps)
    return (*made, cat(_gru_gates(call.x, call.steps.previous(call.first[0], made[0]), call.w, call.bias), 1)) if call.keep else made


# ---- backwards through the steps: from the gradients of states, last states, last cells (and cells), those of the gates and the initial states


Grads = tuple[Tensor, ...]


def _joined_steps(made: dict[int, Tensor]) -> Tensor:
    return _joined([made[t] for t in range(len(made))])


def _simple_walk(steps: _Steps, g_all: Tensor, g_last: Tensor, w: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    carry, made = _Carry(steps, g_all, g_last), {}
    for t in reversed(steps.order):
        made[t] = carry.arrive(t) * steps.of(slopes, t)
        carry.now = matmul(made[t], w)
    return _joined_steps(made), carry.first()


def _lstm_walk(steps: _Steps, grads: Grads, w: Tensor, projection: Tensor | None, gates: Sequence[Tensor], before: Tensor, cells: Tensor) \
        -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The gradients of gates, initial state and cells; with a projection also those of the states after it."""
    g_all, g_last, gc_last, gc_all = grads
    i, f, g, o = gates
    c = tanh(cells)
    slopes = [g * i * (1 - i), before * f * (1 - f), i * (1 - g * g)]  # by the cell
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
    return _joined_steps(made), hidden.first(), cell.first(), None if projection is None else _joined_steps(arrived)


def _gru_walk(steps: _Steps, g_all: Tensor, g_last: Tensor, w: Tensor, gates: Sequence[Tensor], before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the inputs' gates, of the states' and of the initial state."""
    r, z, n, hn = gates
    to_new = (1 - z) * (1 - n * n)
    to_reset, to_update, to_hidden = to_new * hn * r * (1 - r), (before - n) * z * (1 - z), to_new * r
    carry = _Carry(steps, g_all, g_last)
    arrived: dict[int, Tensor] = {}
    for t in reversed(steps.order):
        dh = arrived[t] = carry.arrive(t)
        dg = cat([dh * steps.of(s, t) for s in (to_reset, to_update, to_hidden)], 1)
        carry.now = dh * steps.of(z, t) + matmul(dg, w)
    dh = _joined_steps(arrived)
    reset, update = dh * to_reset, dh * to_update
    return cat([reset, update, dh * to_new], 1), cat([reset, update, dh * to_hidden], 1), carry.first()


# ---- the same from what a layer kept: what the compiler has a kernel for. Arguments: the given gradients of states, last states and last cells;
# the weight, then what the cell needs of: initial state or cells, all of them, what was kept; static: which gradients are given, sizes, direction


def _all_given(tensors: list[Any], given: tuple[bool, ...], steps: _Steps, width: int) -> Grads:
    """The gradients, zeros for those that are not given; they are taken from the front of `tensors`."""
    like, rows, n = tensors[0], steps.offsets[-1], steps.sizes[0]
    return tuple([tensors.pop(0) if there else zeros_like_shape((rows if k == 0 else n, width), like) for k, there in enumerate(given)])


def _simple_back(slope: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    def back(*args: Any) -> tuple[Tensor, ...]:
        *tensors, given, sizes, reverse, _ = args
        steps = _Steps(sizes, reverse)
        g_all, g_last = _all_given(tensors, given, steps, tensors[-1]._shape[1])
        w, out = tensors
        return _simple_walk(steps, g_all, g_last, w, slope(out))
    return back


def _lstm_back(*args: Any) -> tuple[Tensor, ...]:
    *tensors, given, sizes, reverse, _ = args
    steps = _Steps(sizes, reverse)
    grads = _all_given(tensors, given, steps, tensors[-2]._shape[1])
    w, c0, cells, kept = tensors
    none = zeros_like_shape(cells._shape, cells)
    return _lstm_walk(steps, (*grads, none), w, None, _chunks(kept, 4), steps.previous(c0, cells), cells)[:3]


def _gru_back(*args: Any) -> tuple[Tensor, ...]:
    *tensors, given, sizes, reverse, _ = args
    steps = _Steps(sizes, reverse)
    g_all, g_last = _all_given(tensors, given, steps, tensors[-2]._shape[1])
    w, h0, out, kept = tensors
    return _gru_walk(steps, g_all, g_last, w, _chunks(kept, 4), steps.previous(h0, out))


# ---- the derivatives of layers: gradients of all their tensors


def _weight_gradients(call: _Call, to_x: Tensor, to_h: Tensor, out: Tensor) -> list[Tensor]:
    """Those of the recurrent weight [o, i] and the biases, from those of the gates."""
    found = [matmul(to_h.t(), call.steps.previous(call.first[0], out))]  # type: ignore[attr-defined]
    return [*found, sum(to_x, (0,)), sum(to_h, (0,))] if call.biased else found


def _simple_gradient(slope: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    def gradient(g_all: Tensor, g_last: Tensor, out: Tensor, *args: Any) -> tuple[Tensor, ...]:
        call = _Call(1, args)
        dg, dh = _simple_walk(call.steps, g_all, g_last, call.w, slope(out))
        return dg, dh, *_weight_gradients(call, dg, dg, out)
    return gradient


def _lstm_gradient(g_all: Tensor, g_last: Tensor, gc_last: Tensor, gc_all: Tensor, out: Tensor, cells: Tensor, *args: Any) -> tuple[Tensor, ...]:
    call = _Call(2, args)
    gates = _lstm_gates(call.x, call.steps.previous(call.first[0], out), call.w, call.bias)
    dg, dh, dc, arrived = _lstm_walk(call.steps, (g_all, g_last, gc_last, gc_all), call.w, call.projection, gates,
                                     call.steps.previous(call.first[1], cells), cells)
    found = (dg, dh, dc, *_weight_gradients(call, dg, dg, out))
    return found if arrived is None else (*found, matmul(arrived.t(), gates[3] * tanh(cells)))  # type: ignore[attr-defined]


def _gru_gradient(g_all: Tensor, g_last: Tensor, out: Tensor, *args: Any) -> tuple[Tensor, ...]:
    call = _Call(1, args)
    before = call.steps.previous(call.first[0], out)
    to_x, to_h, dh = _gru_walk(call.steps, g_all, g_last, call.w, _gru_gates(call.x, before, call.w, call.bias), before)
    return to_x, dh, *_weight_gradients(call, to_x, to_h, out)


def _differentiated(name: str, gradient: Callable[..., tuple[Tensor, ...]], back: Callable[..., tuple[Tensor, ...]], states: int,
                    gates: int) -> Callable[..., Any]:
    """The rule of a layer: by its kernel backwards, else `gradient` as one node, or as the operations it is made of if it will be
    differentiated again."""
    whole, walk = coarse(name + "_gradient", gradient, None), coarse(name + "_backward", back, None)
    left = (0,) if states == 1 else (0, 3)  # the outputs with all states, and all cells

    def native(ctx: GradNode, grads: Sequence[Tensor | None], inputs: list[Tensor]) -> tuple[Tensor, ...]:
        call = _Call(states, (*inputs, *ctx.arg))
        dt, hidden, rows = inputs[0]._dtype, call.w._shape[1], inputs[0]._shape[0]
        given = tuple([g is not None for g in grads[:1 + states]])
        out = ctx.saved_output(0)
        needed = [call.w]
        if gates > 1:
            needed += [call.first[-1], ctx.saved_output(left[-1]), ctx.saved_output(4 if states == 2 else 2)]
        else:
            needed.append(out)
        parts = (((rows, gates * hidden), dt),) * (2 if gates == 3 else 1)
        made = apply_several(walk, (*[g for g in grads[:1 + states] if g is not None], *needed), (given, call.sizes, call.reverse, True),
                             (*parts, *[(s._shape, dt) for s in call.first]))
        return made[0], *made[len(parts):], *_weight_gradients(call, made[0], made[len(parts) - 1], out)

    def vjp(ctx: GradNode, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = [ctx[i] for i in range(len(ctx.shapes))]
        found: tuple[Tensor, ...]
        if ctx.arg[-1] and ctx.arg[-2] and not state.enabled and all(g is None for g in grads[1 + states:]):
            found = native(ctx, grads, inputs)
        else:
            meta = ctx.out_meta[:2 * states]
            given = [g if g is not None else zeros_like_shape(shape, inputs[0]) for g, (shape, _) in zip(grads, meta)]
            tensors = (*given, *[ctx.saved_output(i) for i in left], *inputs)
            if state.enabled:
                found = gradient(*tensors, *ctx.arg)
            else:
                found = apply_several(whole, tensors, ctx.arg, tuple([(t._shape, t._dtype) for t in inputs]))
        return tuple([g if need else None for g, need in zip(found, ctx.needs, strict=True)])
    return vjp


def _relu_slope(h: Tensor) -> Tensor:
    return (h > 0).to(h._dtype)  # type: ignore[no-any-return,attr-defined]


def _tanh_slope(h: Tensor) -> Tensor:
    return 1 - h * h  # type: ignore[no-any-return]


_SAVED = (0, 1, 2, 3, 4, 5, 6)


def _layer(name: str, function: Callable[..., Any], gradient: Callable[..., Any], back: Callable[..., Any], states: int, gates: int) -> Any:
    return coarse(name, function, _differentiated(name, gradient, back, states, gates), _SAVED, True)


_LAYERS = {
    "RNN_TANH": _layer("rnn_tanh_layer", _simple(tanh), _simple_gradient(_tanh_slope), _simple_back(_tanh_slope), 1, 1),
    "RNN_RELU": _layer("rnn_relu_layer", _simple(relu), _simple_gradient(_relu_slope), _simple_back(_relu_slope), 1, 1),
    "LSTM": _layer("lstm_layer", _lstm, _lstm_gradient, _lstm_back, 2, 4),
    "GRU": _layer("gru_layer", _gru, _gru_gradient, _gru_back, 1, 3),
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
    projected = len(rest) > 2 * biased
    xg = linear(x, w_ih)
    tensors = (xg, *first, w_hh, *rest)
    rows, n, dt = x._shape[0], first[0]._shape[0], xg._dtype
    hidden: Shape = first[0]._shape[1:]
    native = dt in (float32, float64) and not projected and sizes[0] == sizes[-1]
    keep = native and not mode.startswith("RNN") and state.enabled and needs_record(tensors)
    outputs: tuple[tuple[Shape, Any], ...] = (((rows, *hidden), dt), ((n, *hidden), dt))
    if mode == "LSTM":
        cells = first[1]._shape[1:]
        outputs += (((n, *cells), dt), ((rows, *cells), dt))
    if keep:
        outputs += (((rows, 4 * hidden[0]), dt),)
    made = apply_several(_LAYERS[mode], tensors, (biased, projected, sizes, reverse, keep or (native and mode.startswith("RNN")), native), outputs)
    return made[:3] if mode == "LSTM" else made[:2]


# ---- single steps: each a node, and its derivative another


def _stepped(cell: Callable[..., Callable[..., tuple[Tensor, ...]]], states: int) -> Callable[..., tuple[Tensor, ...]]:
    """A step as a function of (x, states, weights, and maybe biases)."""
    def step(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        w_ih, w_hh, *biases = rest[states:]
        b_ih, b_hh = biases or (None, None)
        return cell(w_hh, b_hh)(linear(x, w_ih, b_ih), *rest[:states])
    return step


_STEPS = {
    "rnn_tanh": (_stepped(lambda w, b: _simple_cell(tanh, w, b), 1), 1), "rnn_relu": (_stepped(lambda w, b: _simple_cell(relu, w, b), 1), 1),
    "gru": (_stepped(_gru_cell, 1), 3), "lstm": (_stepped(lambda w, b: _lstm_cell(w, b, None), 2), 4)}
_NODES = {name: one_node(name + "_cell", function, 7) for name, (function, _) in _STEPS.items()}


def _step(name: str, x: Tensor, states: tuple[Tensor, ...], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None) -> tuple[Tensor, ...]:
    function, gates = _STEPS[name]
    if (b_ih is None) is not (b_hh is None):  # one of them alone: the other is zeros
        given = b_ih if b_hh is None else b_hh
        zeros = zeros_like_shape(given._shape, given)  # type: ignore[union-attr,arg-type]
        b_ih, b_hh = zeros if b_ih is None else b_ih, zeros if b_hh is None else b_hh
    tensors = (x, *states, w_ih, w_hh) if b_ih is None or b_hh is None else (x, *states, w_ih, w_hh, b_ih, b_hh)
    shape, dt = states[0]._shape, x._dtype
    if len(shape) != 2 or len(x._shape) != 2:
        return function(*tensors)
    n, hidden = shape
    wanted = ((n, x._shape[1]), *[shape] * len(states), (gates * hidden, x._shape[1]), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,))
    if any(t._shape != s or t._dtype is not dt for t, s in zip(tensors, wanted)):  # by the general rules, which say what is wrong
        return function(*tensors)
    return _NODES[name](tensors, (), ((shape, dt),) * len(states))


def lstm_cell(input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: input [n, i], hx (hidden, cell) [n, h] give the next (hidden, cell)."""
    if entered.autocast and lower_type() is not None:
        h, c = raised(lstm_cell, input, tuple(hx), w_ih, w_hh, b_ih, b_hh)
        return cast_tensor(h, hx[0]._dtype), cast_tensor(c, hx[1]._dtype)
    h, c = _step("lstm", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)
    return h, c


def gru_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """One step of a GRU: input [n, i], hx [n, h] give the next hidden state."""
    if entered.autocast and lower_type() is not None:
        return cast_tensor(raised(gru_cell, input, hx, w_ih, w_hh, b_ih, b_hh), hx._dtype)
    return _step("gru", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@in_lower_type
def rnn_tanh_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """tanh(input @ w_ih^T + hx @ w_hh^T + biases)."""
    return _step("rnn_tanh", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@in_lower_type
def rnn_relu_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """relu(input @ w_ih^T + hx @ w_hh^T + biases)."""
    return _step("rnn_relu", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


CELLS: dict[str, Callable[..., Any]] = {f.__name__: f for f in (gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell)}
FUNCTIONS.update(CELLS)
