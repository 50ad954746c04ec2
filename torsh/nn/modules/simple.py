"""Modules that are one functional with options: pooling, activations, losses. Each row says the options and how they are shown."""
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torsh.nn import functional as F
from torsh.nn.module import Module

_REQUIRED = inspect.Parameter.empty


def _make(name: str, function: str, options: dict[str, Any], shown: Callable[[Any], str], doc: str) -> type[Module]:
    """A module with the given options (name: default) that passes them on to `F.function` by name."""
    signature = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)] + [
        inspect.Parameter(k, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=v) for k, v in options.items()])
    names = tuple(options)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        Module.__init__(self)
        try:
            given = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}.__init__() {error}") from None
        given.apply_defaults()
        for option in names:
            setattr(self, option, given.arguments[option])
        if name.startswith(("MaxPool", "AvgPool")) and self.stride is None:
            self.stride = self.kernel_size
        if name == "AvgPool1d":  # the one that shows and keeps its numbers as tuples
            self.kernel_size, self.stride, self.padding = (
                tuple(v) if isinstance(v, (tuple, list)) else (v,) for v in (self.kernel_size, self.stride, self.padding))

    def forward(self: Any, input: Any) -> Any:
        own = self.__dict__
        return getattr(F, function)(input, **{k: own[k] for k in names})

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return type(name, (Module,), {"__init__": __init__, "forward": forward, "extra_repr": shown, "__doc__": doc, "__module__": __name__})


def _fields(pattern: str, *flags: str) -> Callable[[Any], str]:
    """Shows `pattern` filled with the options; then `name=True` for flags that are set, as PyTorch does for `inplace`."""
    def extra_repr(self: Any) -> str:
        parts = [pattern.format(**self.__dict__)] if pattern else []
        return ", ".join(parts + [f"{flag}=True" for flag in flags if self.__dict__[flag]])
    return extra_repr


_POOL = "kernel_size={kernel_size}, stride={stride}, padding={padding}"
_MAX: dict[str, Any] = {"kernel_size": _REQUIRED, "stride": None, "padding": 0, "dilation": 1, "return_indices": False, "ceil_mode": False}
_AVG: dict[str, Any] = {"kernel_size": _REQUIRED, "stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True}
_IN = {"inplace": False}
# name: (functional, options with defaults, text, documentation)
_TABLE: dict[str, tuple[str, dict[str, Any], Callable[[Any], str], str]] = {
    **{f"MaxPool{n}d": (f"max_pool{n}d", _MAX, _fields(_POOL + ", dilation={dilation}, ceil_mode={ceil_mode}"),
                        f"The largest element of each window of {n} dimension{'s' * (n > 1)}.") for n in (1, 2, 3)},
    "AvgPool1d": ("avg_pool1d", _AVG, _fields(_POOL), "The mean of each window."),
    "AvgPool2d": ("avg_pool2d", {**_AVG, "divisor_override": None}, _fields(_POOL), "The mean of each window."),
    "AvgPool3d": ("avg_pool3d", {**_AVG, "divisor_override": None}, _fields(_POOL), "The mean of each window."),
    **{f"AdaptiveAvgPool{n}d": (f"adaptive_avg_pool{n}d", {"output_size": _REQUIRED}, _fields("output_size={output_size}"),
                                "Means over windows chosen so that the result has a given size.") for n in (1, 2, 3)},
    **{f"AdaptiveMaxPool{n}d": (f"adaptive_max_pool{n}d", {"output_size": _REQUIRED, "return_indices": False},
                                _fields("output_size={output_size}"), "Maxima over windows chosen so that the result has a given size.")
       for n in (1, 2, 3)},
    "ReLU": ("relu", _IN, _fields("", "inplace"), "max(x, 0)."),
    "ReLU6": ("relu6", _IN, _fields("", "inplace"), "min(max(x, 0), 6)."),
    "Sigmoid": ("sigmoid", {}, _fields(""), "1 / (1 + exp(-x))."),
    "Tanh": ("tanh", {}, _fields(""), "The hyperbolic tangent."),
    "ELU": ("elu", {"alpha": 1.0, **_IN}, _fields("alpha={alpha}", "inplace"), "x, or alpha * (exp(x) - 1) below 0."),
    "SELU": ("selu", _IN, _fields("", "inplace"), "Scaled ELU. Klambauer et al., 2017."),
    "CELU": ("celu", {"alpha": 1.0, **_IN}, _fields("alpha={alpha}", "inplace"), "x, or alpha * (exp(x / alpha) - 1) below 0."),
    "LeakyReLU": ("leaky_relu", {"negative_slope": 0.01, **_IN}, _fields("negative_slope={negative_slope}", "inplace"),
                  "x, or negative_slope * x below 0."),
    "GELU": ("gelu", {"approximate": "none"}, _fields("approximate={approximate!r}"), "x times the normal distribution function of x."),
    "SiLU": ("silu", _IN, _fields("", "inplace"), "x * sigmoid(x)."),
    "Mish": ("mish", _IN, _fields("", "inplace"), "x * tanh(softplus(x))."),
    "Hardsigmoid": ("hardsigmoid", _IN, _fields(""), "x / 6 + 1 / 2, limited to [0, 1]."),
    "Hardswish": ("hardswish", _IN, _fields(""), "x * hardsigmoid(x)."),
    "Hardtanh": ("hardtanh", {"min_val": -1.0, "max_val": 1.0, **_IN}, _fields("min_val={min_val}, max_val={max_val}", "inplace"),
                 "x limited to [min_val, max_val]."),
    "Hardshrink": ("hardshrink", {"lambd": 0.5}, _fields("{lambd}"), "x, or 0 within lambd of 0."),
    "Softshrink": ("softshrink", {"lambd": 0.5}, _fields("{lambd}"), "x moved towards 0 by lambd."),
    "Softplus": ("softplus", {"beta": 1.0, "threshold": 20.0}, _fields("beta={beta}, threshold={threshold}"), "log(1 + exp(beta x)) / beta."),
    "Softsign": ("softsign", {}, _fields(""), "x / (1 + |x|)."),
    "Tanhshrink": ("tanhshrink", {}, _fields(""), "x - tanh(x)."),
    "LogSigmoid": ("logsigmoid", {}, _fields(""), "log(sigmoid(x))."),
    "Threshold": ("threshold", {"threshold": _REQUIRED, "value": _REQUIRED, **_IN}, _fields("threshold={threshold}, value={value}", "inplace"),
                  "x where it is above the threshold, else value."),
    "GLU": ("glu", {"dim": -1}, _fields("dim={dim}"), "One half of a dimension times the sigmoid of the other."),
    "Softmax": ("softmax", {"dim": None}, _fields("dim={dim}"), "exp(x) over its sum along a dimension."),
    "LogSoftmax": ("log_softmax", {"dim": None}, _fields("dim={dim}"), "log(softmax(x)) along a dimension."),
}
_MODULES = {name: _make(name, *row) for name, row in _TABLE.items() if hasattr(F, row[0])}


def _loss(name: str, function: str, options: dict[str, Any], doc: str, tensors: tuple[str, ...] = ("weight", "pos_weight")) -> type[Module]:
    """A loss module: `forward(input, target, ...)` with its options by name; tensors among them are buffers."""
    old = {"size_average": None, "reduce": None}
    order: dict[str, Any] = {"weight": None} if "weight" in options else {}
    if function in ("cross_entropy", "nll_loss"):
        order |= {"size_average": None, "ignore_index": -100, "reduce": None, "reduction": "mean"}
    elif name in ("HuberLoss", "GaussianNLLLoss"):
        order |= {"reduction": "mean"}
    else:
        order |= {**old, "reduction": "mean"}
    order |= {k: v for k, v in options.items() if k not in order}
    names = tuple(order)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        Module.__init__(self)
        if len(args) > len(names):
            raise TypeError(f"{name}.__init__() takes at most {len(names)} arguments but {len(args)} were given")
        given = {**order, **dict(zip(names, args, strict=False)), **kwargs}
        if len(given) > len(order):
            raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{next(k for k in given if k not in order)}'")
        average, summed = given.pop("size_average", None), given.pop("reduce", None)
        if average is not None or summed is not None:
            given["reduction"] = "none" if summed is False else "sum" if average is False else "mean"
        for option, value in given.items():
            if option in tensors:
                self.register_buffer(option, value)
            else:
                setattr(self, option, value)

    passed = tuple(n for n in names if n not in old)

    def forward(self: Any, *inputs: Any) -> Any:
        return getattr(F, function)(*inputs, **{k: getattr(self, k) for k in passed})

    return type(name, (Module,), {"__init__": __init__, "forward": forward, "__doc__": doc, "__module__": __name__})


_LOSSES: dict[str, tuple[str, dict[str, Any], str]] = {
    "L1Loss": ("l1_loss", {}, "The mean of |input - target|."),
    "MSELoss": ("mse_loss", {}, "The mean of (input - target)^2."),
    "CrossEntropyLoss": ("cross_entropy", {"weight": None, "label_smoothing": 0.0}, "-log softmax(input) at the target class."),
    "NLLLoss": ("nll_loss", {"weight": None}, "-input at the target class, for log-probabilities."),
    "BCELoss": ("binary_cross_entropy", {"weight": None}, "Cross-entropy of probabilities with targets in [0, 1]."),
    "BCEWithLogitsLoss": ("binary_cross_entropy_with_logits", {"weight": None, "pos_weight": None}, "BCELoss of sigmoid(input)."),
    "SmoothL1Loss": ("smooth_l1_loss", {"beta": 1.0}, "Squared below beta, absolute above."),
    "HuberLoss": ("huber_loss", {"delta": 1.0}, "Squared below delta, delta times absolute above."),
    "KLDivLoss": ("kl_div", {"log_target": False}, "The divergence of exp(input) from target."),
}
_MODULES.update({name: _loss(name, *row) for name, row in _LOSSES.items() if hasattr(F, row[0])})
globals().update(_MODULES)
__all__ = list(_MODULES)
