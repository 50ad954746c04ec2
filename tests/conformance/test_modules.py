"""PyTorch's own database of modules (`torch.testing._internal.common_modules.module_db`): the same module in both, with the same seed.

Names and values of the state, text, results and gradients must agree. A run of the suite takes a few inputs of each module, evenly chosen;
with the environment variable TORSH_MODULES=all, all of them.
"""
from __future__ import annotations

import inspect
import os
import warnings
from typing import Any

import pytest
import torch
from torch.testing._internal.common_modules import module_db

import torsh
from tests.ops.oracle import same, to_torsh

# What torsh.nn does not have yet.
MISSING: set[str] = set()
FEW = 4
INFOS = {f"{info.module_cls.__module__.split('.')[1]}.{info.module_cls.__name__}": info for info in module_db}


def converted(value: Any, known: dict[int, Any] | None = None) -> Any:
    """An argument for ToRSh: tensors, dtypes, modules (made anew from their attributes) and functions by name. What is one tensor stays one."""
    known = {} if known is None else known
    if isinstance(value, torch.Tensor):
        return known.setdefault(id(value), to_torsh(value))
    if isinstance(value, (list, tuple)):
        return type(value)(converted(v, known) for v in value)
    if isinstance(value, dict):
        return {k: converted(v, known) for k, v in value.items()}
    if isinstance(value, torch.nn.TransformerEncoderLayer):
        layer = torsh.nn.TransformerEncoderLayer(value.self_attn.embed_dim, value.self_attn.num_heads, value.linear1.out_features, value.dropout.p,
                                                 converted(value.activation), value.norm1.eps, value.self_attn.batch_first, value.norm_first,
                                                 value.linear1.bias is not None, dtype=converted(value.linear1.weight.dtype))
        layer.load_state_dict({k: to_torsh(v) for k, v in value.state_dict().items()})
        return layer
    if isinstance(value, torch.nn.Module):
        return getattr(torsh.nn, type(value).__name__)()
    if isinstance(value, torch.dtype):
        return getattr(torsh, str(value).split(".")[1])
    if inspect.isfunction(value) or inspect.isbuiltin(value):
        return getattr(torsh.nn.functional, value.__name__)
    return value


def tensors_of(value: Any) -> list[Any]:
    """The floating tensors in a nested structure."""
    if isinstance(value, (torch.Tensor, torsh.Tensor)):
        return [value] if value.is_floating_point() else []
    values = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [t for v in values for t in tensors_of(v)]


def run(t: Any, module: Any, args: Any, kwargs: Any) -> tuple[Any, list[Any]]:
    """(results, gradients of a mixture of them by inputs and parameters)."""
    t.manual_seed(1)
    result = module(*args, **kwargs)
    outs = [o for o in tensors_of(result) if o.requires_grad]
    wanted = [x for x in [*tensors_of(args), *tensors_of(kwargs), *module.parameters()] if x.requires_grad]
    if not outs or not wanted:
        return result, []
    total = sum((o * (o + 0.3 + i)).sum() for i, o in enumerate(outs))
    return result, list(t.autograd.grad(total, wanted, allow_unused=True))


def compare(info: Any, given: Any, dtype: torch.dtype, training: bool) -> None:
    ours_cls = getattr(torsh.nn, info.module_cls.__name__)
    args, kwargs = given.constructor_input.args, given.constructor_input.kwargs
    torch.manual_seed(0)
    theirs = info.module_cls(*args, **kwargs)
    torsh.manual_seed(0)
    ours = ours_cls(*converted(args), **converted(kwargs))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    if "Lazy" not in info.module_cls.__name__:
        assert repr(ours).replace("torsh.", "torch.") == repr(theirs)
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            same(a, b, 1e-6, 1e-7)
    ours, theirs = ours.to(converted(dtype)).train(training), theirs.to(dtype).train(training)
    call = given.forward_input
    a, b = converted((call.args, call.kwargs)), (call.args, call.kwargs)
    (x, grads), (y, expected) = run(torsh, ours, *a), run(torch, theirs, *b)
    same(x, y, 1e-7, 1e-8)
    same([*ours.state_dict().values()], [*theirs.state_dict().values()], 1e-6, 1e-7)
    if _EXACT_GRADIENT.get(info.module_cls.__name__, True):
        for g, h in zip(grads, expected, strict=True):
            assert (g is None) == (h is None)
            if h is not None:
                same(g, h, 1e-6, 1e-7)


# PyTorch's derivative of these is not that of what it computes.
_EXACT_GRADIENT = {"CrossMapLRN2d": False}


def inputs(info: Any, dtype: torch.dtype, training: bool) -> list[Any]:
    torch.manual_seed(5)
    found = [i for i in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training) if i.forward_input is not None]
    if os.environ.get("TORSH_MODULES") == "all" or len(found) <= FEW:
        return found
    return [found[round(k * (len(found) - 1) / (FEW - 1))] for k in range(FEW)]


@pytest.mark.parametrize("name", INFOS)
def test_module(name: str) -> None:
    info = INFOS[name]
    if info.module_cls.__name__ in MISSING:
        assert not hasattr(torsh.nn, info.module_cls.__name__)
        return
    dtype = torch.float64 if torch.float64 in info.dtypes else torch.float32
    failures = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for training in (False, True):
            for i, given in enumerate(inputs(info, dtype, training)):
                try:
                    compare(info, given, dtype, training)
                except Exception as error:
                    failures.append(f"{'training' if training else 'evaluating'} {i} {given.constructor_input.args} {given.constructor_input.kwargs} "
                                    f"({given.desc}): {type(error).__name__}: {str(error)[:300]}")
    assert not failures, f"{len(failures)} failures\n" + "\n".join(failures[:6])


def test_every_name_is_there_or_missing_on_purpose() -> None:
    """The layers of torch.nn: all but those of other libraries (quantization, parallelism)."""
    theirs = {n for n in dir(torch.nn) if isinstance(getattr(torch.nn, n), type) and issubclass(getattr(torch.nn, n), torch.nn.Module)}
    elsewhere = {"DataParallel", "SyncBatchNorm", "Container"}
    assert {n for n in theirs if not hasattr(torsh.nn, n)} - elsewhere == MISSING


def test_the_comparison_sees_what_is_wrong() -> None:
    """Values and gradients."""
    info = INFOS["nn.Linear"]
    given = inputs(info, torch.float64, False)[0]
    compare(info, given, torch.float64, False)
    right = torsh.nn.functional.linear
    for wrong in (lambda x, w, b=None: right(x, w, b) * (1 + 1e-5), lambda x, w, b=None: right(x, w.detach(), b) + 0 * w.sum()):
        torsh.nn.functional.linear = wrong
        try:
            with pytest.raises(AssertionError):
                compare(info, given, torch.float64, False)
        finally:
            torsh.nn.functional.linear = right
