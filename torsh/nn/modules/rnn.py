"""Recurrent networks: RNN, LSTM, GRU of many layers and both directions, and their cells."""
from __future__ import annotations

import math
import warnings
from typing import Any

from torsh.autograd.autocast import lower_type
from torsh.nn import init
from torsh.nn.module import Module
from torsh.nn.parameter import Parameter
from torsh.nn.utils.rnn import PackedSequence
from torsh.ops.gather import index_select
from torsh.ops.recurrent import CELLS
from torsh.ops.recurrent_networks import recurrent_network
from torsh.tensor.creation import empty, zeros
from torsh.tensor.tensor import Tensor

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}
States = tuple[Tensor, ...]


def _check_sizes(input_size: Any, hidden_size: Any, num_layers: int, bias: Any, batch_first: Any, dropout: Any, proj_size: int) -> None:
    if not isinstance(dropout, (int, float)) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
        raise ValueError("dropout should be a number in range [0, 1] representing the probability of an element being zeroed")
    if dropout > 0 and num_layers == 1:
        warnings.warn("dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater than 1, but got "
                      f"dropout={dropout} and num_layers={num_layers}", stacklevel=4)
    for name, value, kind in (("bias", bias, bool), ("batch_first", batch_first, bool), ("input_size", input_size, int), ("hidden_size", hidden_size, int)):
        if not isinstance(value, kind):
            raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
        if kind is int and value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNNBase(Module):
    """What RNN, LSTM and GRU share. Layer k has weight_ih_l{k} [gates * hidden, inputs], weight_hh_l{k} [gates * hidden, hidden], bias_ih_l{k} and
    bias_hh_l{k}, with a projection weight_hr_l{k} [proj_size, hidden]; those of the other direction end in "_reverse".
    """
    mode: str

    def __init__(self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
                 dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        _check_sizes(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        directions = 2 if bidirectional else 1
        gates, state = _GATES[mode] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            for direction in range(directions):
                inputs = input_size if layer == 0 else state * directions
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, inputs), "weight_hh": (gates, state)}
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                suffix = f"_l{layer}" + ("_reverse" if direction else "")
                for name, shape in shapes.items():
                    setattr(self, name + suffix, Parameter(empty(shape, device=device, dtype=dtype)))
                self._all_weights.append([name + suffix for name in shapes])
        self.reset_parameters()

    @property
    def all_weights(self) -> list[list[Any]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, name) for name in self._flat_weights_names]

    def flatten_parameters(self) -> None:
        """Nothing: weights lie as they are used."""

    def reset_parameters(self) -> None:
        """Draw new values: uniform within 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    # ---- checking

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raises RuntimeError for a shape, ValueError for a dtype that does not fit."""
        weight = getattr(self, self._all_weights[0][0])
        if input._dtype is not weight._dtype and lower_type() is None:
            raise ValueError(f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                             f"input.to({weight.dtype}), or convert model: model.to({input.dtype})")
        expected = 3 if batch_sizes is None else 2
        if len(input._shape) != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {len(input._shape)}")
        if input._shape[-1] != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input._shape[-1]}")

    def check_hidden_size(self, hx: Tensor, expected_hidden_size: tuple[int, ...], msg: str = "Expected hidden size {}, got {}") -> None:
        """Raises RuntimeError for a state of another shape."""
        if hx._shape != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx._shape)))

    def _state_sizes(self) -> list[int]:
        """The size of each state: hidden, and for an LSTM cells."""
        return [self.proj_size or self.hidden_size, *([self.hidden_size] if self.mode == "LSTM" else [])]

    def _checked_states(self, hx: Any, batch: int, ndim: int) -> States:
        """The given initial states as a tuple."""
        states: States = tuple(hx) if self.mode == "LSTM" else (hx,)
        if any(len(s._shape) != ndim for s in states):
            what = "hx and cx should also" if self.mode == "LSTM" else "hx should also"
            have = ", ".join(f"{len(s._shape)}-D" for s in states)
            raise RuntimeError(f"For {'batched' if ndim == 3 else 'unbatched'} {ndim}-D input, {what} be {ndim}-D but got "
                               + (f"({have}) tensors" if self.mode == "LSTM" else f"{have} tensor"))
        if ndim == 2:
            states = tuple([s.unsqueeze(1) for s in states])  # type: ignore[attr-defined]
        count = len(self._all_weights)
        for i, (s, size) in enumerate(zip(states, self._state_sizes(), strict=True)):
            self.check_hidden_size(s, (count, batch, size), f"Expected hidden[{i}] size {{}}, got {{}}" if self.mode == "LSTM" else
                                   "Expected hidden size {}, got {}")
        return states

    # ---- running

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if len(input._shape) not in (2, 3):
            raise ValueError(f"{self.mode.split('_')[0]}: Expected input to be 2D or 3D, got {len(input._shape)}D"
                             + (" tensor instead" if self.mode.startswith("RNN") else " instead"))
        batched = len(input._shape) == 3
        x = input if batched else input.unsqueeze(0 if self.batch_first else 1)
        self.check_input(x, None)
        x = x.transpose(0, 1) if self.batch_first else x
        steps, n = x._shape[:2]
        if steps == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        states = None if hx is None else self._checked_states(hx, n, len(input._shape))
        out, last = self._run(x.reshape(steps * n, x._shape[2]), (n,) * steps, states)
        out = out.reshape(steps, n, out._shape[-1])
        if not batched:
            out, last = out.squeeze(1), tuple([s.squeeze(1) for s in last])
        elif self.batch_first:
            out = out.transpose(0, 1)
        return out, (last if self.mode == "LSTM" else last[0])

    def _forward_packed(self, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        data, batch_sizes, order, back = packed
        self.check_input(data, batch_sizes)
        sizes = tuple(int(n) for n in batch_sizes.tolist())  # type: ignore[attr-defined]
        states: States | None = None
        if hx is not None:
            given = tuple(hx) if self.mode == "LSTM" else (hx,)
            if order is not None:
                given = tuple([index_select(s, 1, order) for s in given])
            states = self._checked_states(given if self.mode == "LSTM" else given[0], sizes[0], 3)
        out, last = self._run(data, sizes, states)
        if back is not None:
            last = tuple([index_select(s, 1, back) for s in last])
        return PackedSequence(out, batch_sizes, order, back), (last if self.mode == "LSTM" else last[0])

    def _run(self, x: Any, sizes: tuple[int, ...], states: States | None) -> tuple[Any, Any]:
        """(outputs [rows, directions * h], final states [layers * directions, n, h]) of packed inputs [rows, i]."""
        return recurrent_network(self.mode, x, sizes, states, self.all_weights, self._state_sizes(), self.bias, 2 if self.bidirectional else 1,
                                 self.dropout if self.training else 0.0)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0), ("bidirectional", False)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(RNNBase):
    """h' = tanh(x @ w_ih^T + b_ih + h @ w_hh^T + b_hh), or relu of it. Elman, 1990.

    input [t, n, i] ([n, t, i] if `batch_first`; [t, i] for one sequence; or a PackedSequence) and hx [layers * directions, n, h] give (output
    [t, n, directions * h], final hx). Raises ValueError for options out of range and another nonlinearity, RuntimeError for shapes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        nonlinearity = args[3] if len(args) > 3 else kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__("RNN_" + nonlinearity.upper(), *args[:3], *args[4:], **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Gates i, f, g, o of x and h: c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'), projected to `proj_size` if that is not 0.

    Hochreiter & Schmidhuber, 1997. As `RNN`, with hx = (h, c).

    >>> import torsh
    >>> out, (h, c) = LSTM(3, 4, num_layers=2)(torsh.zeros(5, 1, 3))
    >>> out.shape, h.shape
    (torsh.Size([5, 1, 4]), torsh.Size([2, 1, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gates r, z, n of x and h: n = tanh(x_n + sigmoid(r) h_n), h' = (1 - sigmoid(z)) n + sigmoid(z) h. Cho et al., 2014. As `RNN`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """What the cells share: weight_ih [gates * hidden, inputs], weight_hh [gates * hidden, hidden], bias_ih and bias_hh."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        for name, shape in (("weight_ih", (num_chunks * hidden_size, input_size)), ("weight_hh", (num_chunks * hidden_size, hidden_size)),
                            ("bias_ih", (num_chunks * hidden_size,)), ("bias_hh", (num_chunks * hidden_size,))):
            self.register_parameter(name, Parameter(empty(shape, device=device, dtype=dtype)) if bias or "bias" not in name else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values: uniform within 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, cell: str, input: Tensor, hx: States | None, names: tuple[str, ...]) -> Any:
        """One step of rows or, without the batch dimension, of one row. Raises ValueError for other dimensions, RuntimeError for sizes."""
        what = type(self).__name__
        if len(input._shape) not in (1, 2):
            raise ValueError(f"{what}: Expected input to be 1D or 2D, got {len(input._shape)}D instead")
        for name, s in zip(names, hx or (), strict=False):
            if len(s._shape) not in (1, 2):
                raise ValueError(f"{what}: Expected {name} to be 1D or 2D, got {len(s._shape)}D instead")
        batched = len(input._shape) == 2
        x: Tensor = input if batched else input.unsqueeze(0)  # type: ignore[attr-defined]
        if hx is None:
            hx = (zeros((x._shape[0], self.hidden_size), dtype=x._dtype),) * len(names)
        elif not batched:
            hx = tuple([s.unsqueeze(0) for s in hx])  # type: ignore[attr-defined]
        if x._shape[1] != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {x._shape[1]} expected {self.input_size}")
        for s in hx:
            if s._shape != (x._shape[0], self.hidden_size):
                raise RuntimeError(f"hidden{'' if len(hx) == 1 else '[0]'} has inconsistent hidden_size: got {list(s._shape)}, expected "
                                   f"{[x._shape[0], self.hidden_size]}")
        found: Any = CELLS[cell](x, hx if len(names) > 1 else hx[0], self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        if batched:
            return found
        return tuple([f.squeeze(0) for f in found]) if isinstance(found, tuple) else found.squeeze(0)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}" + ("" if self.bias is True else f", bias={self.bias}")
        nonlinearity = self.__dict__.get("nonlinearity", "tanh")
        return text + ("" if nonlinearity == "tanh" else f", nonlinearity={nonlinearity}")


class RNNCell(RNNCellBase):
    """One step of an `RNN`: input [n, i] (or [i]), hx [n, h]. Raises RuntimeError for another nonlinearity when called."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"rnn_{self.nonlinearity}_cell", input, None if hx is None else (hx,), ("hidden",))  # type: ignore[no-any-return]


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`: input [n, i] (or [i]), hx = (h, c) give the next (h, c)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return self._step("lstm_cell", input, None if hx is None else tuple(hx), ("hx[0]", "hx[1]"))  # type: ignore[no-any-return]


class GRUCell(RNNCellBase):
    """One step of a `GRU`: input [n, i] (or [i]), hx [n, h]."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("gru_cell", input, None if hx is None else (hx,), ("hidden",))  # type: ignore[no-any-return]


__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]
