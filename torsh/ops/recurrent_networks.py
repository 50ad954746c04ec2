"""`torsh.lstm` and its like: networks of recurrent layers as functions of inputs, states and a list of weights."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torsh.core.dtypes import int64
from torsh.ops.dispatch import FUNCTIONS
from torsh.ops.dropout import dropout as dropped
from torsh.ops.join import cat, stack
from torsh.ops.recurrent import Sizes, recurrent_layer
from torsh.tensor.creation import zeros
from torsh.tensor.tensor import Tensor

States = tuple[Tensor, ...]


def recurrent_network(mode: str, x: Tensor, sizes: Sizes, states: States | None, weights: Sequence[Sequence[Tensor]], state_sizes: Sequence[int],
                      biased: bool, directions: int, dropout: float) -> tuple[Tensor, States]:
    """(outputs [rows, directions * h], final states [layers * directions, n, h]) of packed inputs [rows, i], as `recurrent_layer` takes them.

    `weights` are those of each layer and direction; without `states` the first are zeros of `state_sizes`. Elements of what goes from
    layer to layer are dropped with probability `dropout`.
    """
    last: list[list[Tensor]] = [[] for _ in state_sizes]
    for k in range(0, len(weights), directions):
        if k and dropout:
            x = dropped(x, dropout, True)
        outs = []
        for direction in range(directions):
            first = tuple([zeros((sizes[0], size), dtype=x._dtype) for size in state_sizes]) if states is None else \
                tuple([s[k + direction] for s in states])
            out, *end = recurrent_layer(mode, x, first, weights[k + direction], biased, sizes, direction == 1)
            outs.append(out)
            for kept, s in zip(last, end, strict=True):
                kept.append(s)
        x = outs[0] if directions == 1 else cat(outs, 1)
    return x, tuple([stack(kept) for kept in last])


def _grouped(what: str, params: Sequence[Tensor], biased: bool, projected: bool, layers: int) -> list[Sequence[Tensor]]:
    """A flat list of weights as those of each layer and direction."""
    each = 2 + 2 * biased + projected
    if len(params) != each * layers:
        raise RuntimeError(f"{what}: got an incorrect number of RNN parameters: {len(params)}, expected {each} for each of {layers} layers and directions")
    return [params[i:i + each] for i in range(0, len(params), each)]


def _checked(what: str, states: States, layers: int, n: int) -> None:
    for s in states:
        if len(s._shape) != 3 or s._shape[:2] != (layers, n):
            raise RuntimeError(f"{what}: expected initial states [{layers}, {n}, hidden], got shape {list(s._shape)}")


def _network(mode: str, name: str) -> Callable[..., tuple[Tensor, ...]]:
    def call(states: States, params: Sequence[Tensor], biased: bool, num_layers: int, dropout: float, train: bool, bidirectional: bool,
             x: Tensor, sizes: Sizes) -> tuple[Tensor, States]:
        directions = 2 if bidirectional else 1
        projected = len(states) == 2 and states[0]._shape[-1] != states[1]._shape[-1]
        weights = _grouped(name, params, biased, projected, num_layers * directions)
        _checked(name, states, num_layers * directions, sizes[0])
        return recurrent_network(mode, x, sizes, states, weights, [s._shape[-1] for s in states], biased, directions, dropout if train else 0.0)

    def whole(input: Tensor, hx: Any, params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float, train: bool, bidirectional: bool,
              batch_first: bool) -> tuple[Tensor, ...]:
        if len(input._shape) != 3:
            raise RuntimeError(f"{name}: expected an input of 3 dimensions, got shape {list(input._shape)}")
        x: Any = input.transpose(0, 1) if batch_first else input  # type: ignore[attr-defined]
        steps, n = x._shape[:2]
        if not steps:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        out: Any
        out, last = call(hx, params, has_biases, num_layers, dropout, train, bidirectional, x.reshape(steps * n, x._shape[2]), (n,) * steps)
        out = out.reshape(steps, n, out._shape[-1])
        return out.transpose(0, 1) if batch_first else out, *last

    def packed(data: Tensor, batch_sizes: Tensor, hx: Any, params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float, train: bool,
               bidirectional: bool) -> tuple[Tensor, ...]:
        if len(batch_sizes._shape) != 1 or batch_sizes._dtype is not int64:
            raise RuntimeError(f"{name}: expected batch_sizes [steps] of int64, got shape {list(batch_sizes._shape)} of {batch_sizes.dtype}")
        sizes = tuple(batch_sizes.tolist())  # type: ignore[attr-defined]
        out, last = call(hx, params, has_biases, num_layers, dropout, train, bidirectional, data, sizes)
        return out, *last

    def function(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        first = packed if "data" in kwargs or (len(args) > 3 and isinstance(args[3], (list, tuple))) else whole
        at = 2 if first is packed else 1
        lstm = mode == "LSTM"
        hx: Any = args[at] if len(args) > at else kwargs.get("hx")
        if isinstance(hx, Tensor) if lstm else not isinstance(hx, Tensor):
            raise TypeError(f"{name}(): hx must be {'a tuple of two Tensors (hidden, cells)' if lstm else 'a Tensor'}, not {type(hx).__name__}")
        states = tuple(hx) if lstm else (hx,)
        if lstm and len(states) != 2:
            raise RuntimeError("lstm expects two hidden states")
        if len(args) > at:
            args = (*args[:at], states, *args[at + 1:])
        else:
            kwargs["hx"] = states
        return first(*args, **kwargs)
    function.__name__ = name
    states = "(hidden, cells)" if mode == "LSTM" else "the hidden state"
    function.__doc__ = f"""A network of {name} layers: (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first) for an input
    [t, n, i] ([n, t, i] if `batch_first`), or (data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional) for packed
    rows. `hx` is {states} [layers * directions, n, h], `params` the weights of each layer and direction as the module names them, in one list.

    Returns (output, final states). Raises RuntimeError for shapes and numbers of weights that do not fit."""
    return function


for _mode, _name in (("LSTM", "lstm"), ("GRU", "gru"), ("RNN_TANH", "rnn_tanh"), ("RNN_RELU", "rnn_relu")):
    FUNCTIONS[_name] = _network(_mode, _name)
__all__ = ["recurrent_network"]
