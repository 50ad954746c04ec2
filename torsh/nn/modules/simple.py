"""Modules that are one functional with options: pooling, activations, columns, shuffles. Each row says the options and how they are shown."""
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

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return type(name, (Module,), {"__init__": __init__, "forward": _forward(function, names), "extra_repr": shown, "__doc__": doc, "__module__": __name__})


#: The functionals of two tensors; all others take `input`.
_OF_TWO = ("cosine_similarity", "pairwise_distance")


def _forward(function: str, options: tuple[str, ...]) -> Callable[..., Any]:
    """`forward(self, input)`, written out as text as one would by hand: a call that sorts out its arguments takes longer than the operation."""
    given = "x1, x2" if function in _OF_TWO else "input"
    made: dict[str, Any] = {"F": F}
    exec(f"def forward(self, {given}):\n    return F.{function}({', '.join([given, *[f'{k}=self.{k}' for k in options]])})", made)
    return made["forward"]  # type: ignore[no-any-return]


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
    "Softmin": ("softmin", {"dim": None}, _fields("dim={dim}"), "exp(-x) over its sum along a dimension."),
    "LogSoftmax": ("log_softmax", {"dim": None}, _fields("dim={dim}"), "log(softmax(x)) along a dimension."),
    **{f"LPPool{n}d": (f"lp_pool{n}d", {"norm_type": _REQUIRED, "kernel_size": _REQUIRED, "stride": None, "ceil_mode": False},
                       _fields("norm_type={norm_type}, kernel_size={kernel_size}, stride={stride}, ceil_mode={ceil_mode}"),
                       "(sum of x^p)^(1/p) over each window.") for n in (1, 2, 3)},
    "Fold": ("fold", {"output_size": _REQUIRED, "kernel_size": _REQUIRED, "dilation": 1, "padding": 0, "stride": 1},
             _fields("output_size={output_size}, kernel_size={kernel_size}, dilation={dilation}, padding={padding}, stride={stride}"),
             "Columns [n, c * kernel, blocks] added up into images [n, c, *output_size]."),
    "Unfold": ("unfold", {"kernel_size": _REQUIRED, "dilation": 1, "padding": 0, "stride": 1},
               _fields("kernel_size={kernel_size}, dilation={dilation}, padding={padding}, stride={stride}"),
               "The windows of images [n, c, *size] as columns [n, c * kernel, blocks]."),
    "PixelShuffle": ("pixel_shuffle", {"upscale_factor": _REQUIRED}, _fields("upscale_factor={upscale_factor}"),
                     "[..., c * r * r, h, w] as [..., c, h * r, w * r]. Shi et al., 2016."),
    "PixelUnshuffle": ("pixel_unshuffle", {"downscale_factor": _REQUIRED}, _fields("downscale_factor={downscale_factor}"),
                       "[..., c, h * r, w * r] as [..., c * r * r, h, w]."),
    "ChannelShuffle": ("channel_shuffle", {"groups": _REQUIRED}, _fields("groups={groups}"), "The channels of the groups interleaved. Zhang et al., 2018."),
    "CosineSimilarity": ("cosine_similarity", {"dim": 1, "eps": 1e-8}, _fields(""), "The cosine of the angle between vectors along a dimension."),
    "PairwiseDistance": ("pairwise_distance", {"p": 2.0, "eps": 1e-6, "keepdim": False}, _fields(""), "The p-norm of x1 - x2 + eps over the last dimension."),
    "LocalResponseNorm": ("local_response_norm", {"size": _REQUIRED, "alpha": 1e-4, "beta": 0.75, "k": 1.0},
                          _fields("{size}, alpha={alpha}, beta={beta}, k={k}"),
                          "Each element over a power of the squares of its neighbouring channels. Krizhevsky et al., 2012."),
}
_MODULES = {name: _make(name, *row) for name, row in _TABLE.items() if hasattr(F, row[0])}


globals().update(_MODULES)
__all__ = list(_MODULES)
