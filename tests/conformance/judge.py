"""One entry of PyTorch's operator database, judged: the same samples through PyTorch and through ToRSh."""
from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import torsh
from tests.conformance import compare
from tests.conformance.calls import (
    WIDE,
    Raised,
    agree_on_error,
    alike_over_seeds,
    detached,
    error_type,
    in_wider_types,
    invoke,
    is_random,
    outcome,
    seeded,
    split,
    widened,
)
from tests.conformance.compare import Differs
from tests.conformance.convert import Converter, from_numpy, tensors_in, to_numpy
from tests.conformance.resolve import Missing, entry_path, exists, lookup, twin

DTYPES = ("float32", "float64", "int64", "bool", "bfloat16", "complex64")
FORMS = ("strided", "inplace", "out", "errors")
CHECKS = DTYPES + FORMS
PASS, FAIL, NONE, MISSING = "+", "x", ".", "missing"
ERRORS = (Exception,)


def key_of(entry: Any) -> str:
    return f"{entry.name}:{entry.variant_test_name}" if entry.variant_test_name else entry.name


def counted(entry: Any) -> bool:
    """Whether an entry is part of the figure: on the CPU, and neither private, sparse nor CUDA's jiterator."""
    private = any(part.startswith("_") and not part.startswith("__") for part in entry.name.split("."))
    return not (private or "jiterator" in entry.name or "sparse" in entry.name or not entry.supported_dtypes("cpu"))


ENTRIES = {key_of(entry): entry for entry in sorted(op_db, key=key_of) if counted(entry)}


def find(entry: Any) -> Callable[..., Any]:
    """ToRSh's counterpart of an entry's operator. Raises Missing."""
    path = entry_path(entry.name, entry.op)
    if path is not None:
        return lookup(path)
    if not exists(entry.name):
        raise Missing(f"torsh.{entry.name}")
    return twin(entry.op)


def is_missing(key: str) -> bool:
    try:
        find(ENTRIES[key])
    except Missing:
        return True
    return False


def dtype_for_forms(entry: Any) -> torch.dtype:
    supported = entry.supported_dtypes("cpu")
    return next((getattr(torch, name) for name in DTYPES if getattr(torch, name) in supported), min(supported, key=str))


@functools.cache
def has_errors(key: str) -> bool:
    """Whether the database has calls of this entry that must raise."""
    entry = ENTRIES[key]
    return entry.error_inputs_func is not None and any(True for _ in entry.error_inputs("cpu"))


def applies(entry: Any, check: str) -> bool:
    """Whether an entry has such a check at all, by its own declarations."""
    if check in DTYPES:
        return getattr(torch, check) in entry.supported_dtypes("cpu")
    if check == "inplace":
        return entry.inplace_variant is not None
    if check == "out":
        return bool(entry.supports_out)
    return check == "strided" or has_errors(key_of(entry))


def differentiates(entry: Any, dtype: torch.dtype) -> bool:
    return bool(entry.supports_autograd) and dtype in entry.supported_backward_dtypes("cpu")


def judge(key: str, check: str) -> dict[str, str | None]:
    """The verdicts of one check: part -> None for a pass, else the first failure. Parts are `forward` and `backward` for a dtype, else the check."""
    entry = ENTRIES[key]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ours = find(entry)
        except Missing as missing:
            return dict.fromkeys(parts(entry, check), f"no {missing.args[0]}")
        if check in DTYPES:
            dtype = getattr(torch, check)
            forward = first_failure(forward_samples(entry, ours, dtype))
            if not differentiates(entry, dtype):
                return {"forward": forward}
            return {"forward": forward, "backward": first_failure(backward_samples(entry, ours, dtype))}
        return {check: first_failure({"strided": strided_samples, "inplace": inplace_samples, "out": out_samples, "errors": error_samples}[check](entry, ours))}


def parts(entry: Any, check: str) -> tuple[str, ...]:
    if check not in DTYPES:
        return (check,)
    return ("forward", "backward") if differentiates(entry, getattr(torch, check)) else ("forward",)


def first_failure(steps: Iterator[tuple[int, Any, Callable[[], None]]]) -> str | None:
    """Runs a check sample by sample; the first failure, named by its sample. A check without a single sample has failed."""
    done = False
    for number, sample, step in steps:
        done = True
        try:
            step()
        except Exception as error:
            what = str(error) if isinstance(error, Differs) else f"{type(error).__name__}: {error}"
            return f"sample {number} {describe(sample)}: {what[:600]}"
    return None if done else "no samples"


def describe(sample: Any) -> str:
    try:
        return str(sample.summary()).removeprefix("SampleInput").replace(', device="cpu"', "").replace(", broadcasts_input=False", "").replace(
            ", name=''", "").replace("args=(), ", "").replace(", kwargs={}", "")[:400]
    except Exception:
        return "(no description)"


def samples_of(entry: Any, dtype: torch.dtype, requires_grad: bool) -> Iterator[tuple[int, Any]]:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the database draws from NumPy's global generator
    yield from enumerate(entry.sample_inputs("cpu", dtype, requires_grad=requires_grad))


# ---- forward


def forward_samples(entry: Any, ours: Any, dtype: torch.dtype) -> Iterator[tuple[int, Any, Callable[[], None]]]:
    for number, sample in samples_of(entry, dtype, False):
        yield number, sample, lambda sample=sample: forward(entry, ours, sample)


def strided_samples(entry: Any, ours: Any) -> Iterator[tuple[int, Any, Callable[[], None]]]:
    """Every input non-contiguous."""
    for number, sample in samples_of(entry, dtype_for_forms(entry), False):
        apart = sample.noncontiguous()
        apart.name = ""
        yield number, apart, lambda apart=apart: forward(entry, ours, apart)


def forward(entry: Any, ours: Any, sample: Any) -> None:
    theirs_in = detached(split(sample))
    convert = Converter()
    ours_in = convert(theirs_in)
    ours_before = tensors_in(ours_in)  # operators may change the sample's own lists
    theirs_before = tensors_in(theirs_in)
    theirs_out = outcome(lambda: seeded(0, lambda: invoke(entry.op, theirs_in)))
    ours_out = outcome(lambda: seeded(0, lambda: invoke(ours, ours_in)))
    if agree_on_error(ours_out, theirs_out):
        return
    matches(entry, ours, sample, ours_out, theirs_out)
    compare.same_aliasing(ours_out, theirs_out, ours_before, theirs_before)


def matches(entry: Any, ours: Any, sample: Any, ours_out: Any, theirs_out: Any) -> None:
    """Equal, equivalent where a result is not unique, or alike where it is random."""
    if entry.name in compare.RESIZING:
        compare.same(ours_out, theirs_out, values=False)
        kept = min(sample.input.numel(), theirs_out.numel())
        compare.same(ours_out.reshape(-1)[:kept], theirs_out.reshape(-1)[:kept])
        return
    unwritten = entry.name in compare.UNWRITTEN
    try:
        compare.same(ours_out, theirs_out, values=not unwritten)
    except Differs:
        if entry.name in compare.EQUIVALENT and isinstance(theirs_out, (tuple, torch.Tensor)):
            sample.name = entry.name
            compare.EQUIVALENT[entry.name](sample, ours_out, theirs_out)
            return
        try:
            compare.same(ours_out, theirs_out, exact=in_wider_types(entry, sample, theirs_out), values=not unwritten)
        except Differs:
            if not is_random(entry, sample):
                raise
            compare.same(ours_out, theirs_out, values=False)
            alike_over_seeds(entry.op, ours, sample)
    if unwritten:
        for a, b in zip(tensors_in(ours_out), tensors_in(theirs_out), strict=True):
            if tuple(a.stride()) != tuple(b.stride()):
                raise Differs(f"strides {list(a.stride())}, PyTorch's {list(b.stride())}")


# ---- backward


def backward_samples(entry: Any, ours: Any, dtype: torch.dtype) -> Iterator[tuple[int, Any, Callable[[], None]]]:
    found = False
    for number, sample in samples_of(entry, dtype, True):
        if any(t.requires_grad for t in tensors_in(split(sample))):
            found = True
            yield number, sample, lambda sample=sample: backward(entry, ours, sample)
    if not found:
        yield 0, None, lambda: None  # nothing that could be differentiated


def wrapped(entry: Any, op: Any, wrapper: Any, sample: Any, is_ours: bool) -> Callable[..., Any]:
    """The operator as PyTorch's own gradient checks call it (e.g. on a Hermitian input)."""
    name = getattr(wrapper, "__name__", "")
    if name.startswith("gradcheck_wrapper_masked"):
        mask = output_mask(entry, sample, name)

        def masked(*args: Any, **kwargs: Any) -> Any:
            out = op(*args, **kwargs)
            if mask is None:
                return out
            return torsh.where(Converter()(mask), out, out.new_zeros([])) if is_ours else torch.where(mask, out, out.new_zeros([]))
        return masked
    return lambda *args, **kwargs: wrapper(op, *args, **kwargs)


def output_mask(entry: Any, sample: Any, wrapper: str) -> torch.Tensor | None:
    kwargs = dict(sample.kwargs)
    if "pointwise" in wrapper:
        a, b = kwargs.get("input_mask"), kwargs.get("other_mask")
        return None if a is None or b is None else torch.masked._input_mask(sample.input, *sample.args, mask=torch.logical_and(a, b), **kwargs)
    return None if kwargs.get("mask") is None else torch.masked._output_mask(entry.op, sample.input, *sample.args, **kwargs)


def backward(entry: Any, ours: Any, sample: Any) -> None:
    theirs_in = detached(split(sample))
    ours_in = Converter()(theirs_in)
    theirs_leaves = [t for t in tensors_in(theirs_in) if t.requires_grad]
    ours_leaves = [t for t in tensors_in(ours_in) if t.requires_grad]
    theirs_op = wrapped(entry, entry.op, entry.gradcheck_wrapper, sample, False)
    ours_op = wrapped(entry, ours, entry.gradcheck_wrapper if "masked" in entry.gradcheck_wrapper.__name__ else twin(entry.gradcheck_wrapper), sample, True)
    theirs_out = outcome(lambda: seeded(0, lambda: sample.output_process_fn_grad(invoke(theirs_op, theirs_in))))
    process = twin(sample.output_process_fn_grad)
    ours_out = outcome(lambda: seeded(0, lambda: process(invoke(ours_op, ours_in))))
    if agree_on_error(ours_out, theirs_out):
        return

    def exact(cotangents: list[torch.Tensor]) -> list[Any]:
        wide_in = widened(detached(split(sample)))
        leaves = [t for t in tensors_in(wide_in) if t.requires_grad]
        wide_out = seeded(0, lambda: sample.output_process_fn_grad(invoke(theirs_op, wide_in)))
        found = [t for t in tensors_in(wide_out) if t.requires_grad]
        return list(torch.autograd.grad(found, leaves, [c.to(t.dtype) for c, t in zip(cotangents, found, strict=True)], allow_unused=True))
    gradients(entry, sample, ours_out, theirs_out, ours_leaves, theirs_leaves, exact if any(t.dtype in WIDE for t in theirs_leaves) else None)


def gradients(entry: Any, sample: Any, ours_out: Any, theirs_out: Any, ours_leaves: list[Any], theirs_leaves: list[torch.Tensor],
              exact: Callable[[list[torch.Tensor]], list[Any]] | None = None) -> None:
    """The gradients of outputs by leaves for the same random cotangents. `exact` gives PyTorch's in wider types. Raises Differs."""
    mine, hers = tensors_in(ours_out), tensors_in(theirs_out)
    if len(mine) != len(hers):
        raise Differs(f"{len(mine)} outputs, PyTorch's {len(hers)}")
    for i, (a, b) in enumerate(zip(mine, hers, strict=True)):
        if a.requires_grad != b.requires_grad:
            raise Differs(f"result {i} has requires_grad={a.requires_grad}, PyTorch's {b.requires_grad}")
        if tuple(a.shape) != tuple(b.shape):
            raise Differs(f"result {i} has shape {list(a.shape)}, PyTorch's {list(b.shape)}")
    pairs = [(a, b) for a, b in zip(mine, hers, strict=True) if b.requires_grad]
    if not pairs:
        return
    if entry.name not in compare.UNWRITTEN and is_random(entry, sample):
        compare.same([a for a, _ in pairs], [b for _, b in pairs])  # other draws have other derivatives: the values must agree first
    rng = np.random.default_rng(0)
    theirs_cotangents, ours_cotangents = [], []
    for _, b in pairs:
        g = rng.standard_normal(tuple(b.shape))
        if b.is_complex():
            g = g + 1j * rng.standard_normal(tuple(b.shape))
        cotangent = torch.tensor(g).to(b.dtype)
        if entry.name in compare.INDEXED:
            cotangent = (3 * b.detach()).cos()  # elements that tie get the same, whichever of them was chosen
        theirs_cotangents.append(cotangent)
        ours_cotangents.append(Converter()(cotangent))
    theirs_grads = outcome(lambda: torch.autograd.grad([b for _, b in pairs], theirs_leaves, theirs_cotangents, allow_unused=True))
    ours_grads = outcome(lambda: torsh.autograd.grad([a for a, _ in pairs], ours_leaves, ours_cotangents, allow_unused=True))
    if agree_on_error(ours_grads, theirs_grads):
        return
    try:
        same_gradients(ours_grads, theirs_grads, [None] * len(theirs_grads))
    except Differs:
        if exact is None and entry.name not in compare.INDEXED:
            raise
        if entry.name in compare.INDEXED:
            compare.gradients_among_ties(sample, ours_grads[0], theirs_grads[0])
            return
        same_gradients(ours_grads, theirs_grads, exact(theirs_cotangents))


def same_gradients(ours_grads: Any, theirs_grads: Any, exact: Any) -> None:
    for i, (a, b, c) in enumerate(zip(ours_grads, theirs_grads, exact, strict=True)):
        if a is not None and b is not None:
            compare.same(a, b, compare.GRADIENT, where=f"gradient {i}", exact=c)
        elif any(t is not None and bool((t != 0).any()) for t in (a, b)):  # None and zeros say the same
            raise Differs(f"gradient {i} is {'None' if a is None else 'not None'}, PyTorch's {'None' if b is None else 'is not'}")


# ---- forms


def inplace_samples(entry: Any, ours: Any) -> Iterator[tuple[int, Any, Callable[[], None]]]:
    dtype = dtype_for_forms(entry)
    grad = bool(entry.supports_inplace_autograd) and differentiates(entry, dtype)
    theirs = entry.inplace_variant
    name = getattr(theirs, "__name__", "")
    for number, sample in samples_of(entry, dtype, grad):
        yield number, sample, lambda sample=sample: inplace(entry, theirs, twin(theirs) if name in ("", "<lambda>") else lookup(f"Tensor.{name}"), sample)


def inplace(entry: Any, theirs: Any, ours: Any, sample: Any) -> None:
    """The in-place form on a clone of the input: what it returns, that this is its input, and gradients through it."""
    theirs_in = detached(split(sample))
    ours_in = Converter()(theirs_in)
    theirs_leaves = [t for t in tensors_in(theirs_in) if t.requires_grad]
    ours_leaves = [t for t in tensors_in(ours_in) if t.requires_grad]
    theirs_self, ours_self = theirs_in[0].clone(), ours_in[0].clone()
    theirs_out = outcome(lambda: seeded(0, lambda: theirs(theirs_self, *theirs_in[1], **theirs_in[2])))
    ours_out = outcome(lambda: seeded(0, lambda: ours(ours_self, *ours_in[1], **ours_in[2])))
    if agree_on_error(ours_out, theirs_out):
        return
    if theirs_out is theirs_self and ours_out is not ours_self:
        raise Differs("does not return its input")
    try:
        compare.same(ours_out, theirs_out)
    except Differs:
        def on_clone(op: Any) -> Any:
            return lambda x, *args, **kwargs: op(x.detach().clone(), *args, **kwargs)
        if seeded(1, lambda: bool((theirs(sample.input.detach().clone(), *sample.args, **sample.kwargs) == theirs_out).all())):
            raise
        alike_over_seeds(on_clone(theirs), on_clone(ours), sample)
        return
    if theirs_leaves and getattr(theirs_out, "requires_grad", False):
        gradients(entry, sample, ours_out, theirs_out, ours_leaves, theirs_leaves)


def out_samples(entry: Any, ours: Any) -> Iterator[tuple[int, Any, Callable[[], None]]]:
    for number, sample in samples_of(entry, dtype_for_forms(entry), False):
        yield number, sample, lambda sample=sample: out(entry, ours, sample)


def out(entry: Any, ours: Any, sample: Any) -> None:
    """`out=` of the right shape with gaps in its memory, and of another shape, which must be resized."""
    theirs_in = detached(split(sample))
    if "out" in theirs_in[2]:
        theirs_in[2].pop("out")
    expected = outcome(lambda: seeded(0, lambda: invoke(entry.op, theirs_in)))
    if isinstance(expected, Raised):
        return
    if not tensors_in(expected):  # a number cannot be written anywhere: `out=` is an error
        agree_on_error(outcome(lambda: invoke(ours, Converter()(theirs_in), out=torsh.empty(()))),
                       outcome(lambda: invoke(entry.op, theirs_in, out=torch.empty(()))))
        return
    for make in (with_gaps, misshapen):
        targets = make_like(expected, make)
        theirs_in = detached(split(sample))
        ours_in, ours_targets = Converter()(theirs_in), Converter()(targets)
        theirs_out = outcome(lambda args=theirs_in, t=targets: seeded(0, lambda: invoke(entry.op, args, out=t)))
        ours_out = outcome(lambda args=ours_in, t=ours_targets: seeded(0, lambda: invoke(ours, args, out=t)))
        if agree_on_error(ours_out, theirs_out):
            continue
        try:
            matches(entry, ours, sample, ours_out, theirs_out)
        except Differs:
            if theirs_out is None:
                raise
            matches(entry, ours, sample, ours_out, expected)  # PyTorch's own out= is not always what its function gives
        for a, b in zip(tensors_in(ours_targets), tensors_in(ours_out), strict=False):
            if a is not b and entry.name not in compare.UNWRITTEN:
                compare.same(a, from_numpy(to_numpy(b)), where="out")


def make_like(expected: Any, make: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Targets for `out=`: what `make` gives for each tensor of a result, in its structure."""
    if isinstance(expected, torch.Tensor):
        return make(expected)
    return [make_like(e, make) for e in expected] if type(expected) is list else tuple([make_like(e, make) for e in expected])


def with_gaps(t: torch.Tensor) -> torch.Tensor:
    """Of the shape of `t`, every other element of a larger memory, filled with something else."""
    if t.ndim == 0 or t.shape[-1] < 2:
        return torch.full_like(t.detach(), 1)
    return torch.full((*t.shape[:-1], 2 * t.shape[-1]), 1, dtype=t.dtype)[..., ::2]


def misshapen(t: torch.Tensor) -> torch.Tensor:
    return torch.full((), 1, dtype=t.dtype).expand(()).clone() if t.ndim else torch.full((1, 1), 1, dtype=t.dtype)


# ---- errors


def error_samples(entry: Any, ours: Any) -> Iterator[tuple[int, Any, Callable[[], None]]]:
    torch.manual_seed(0)
    for number, wrong in enumerate(entry.error_inputs("cpu")):
        yield number, wrong.sample_input, lambda wrong=wrong: error(entry.op, ours, wrong)


def error(theirs: Any, ours: Any, wrong: Any) -> None:
    """A call that must raise what PyTorch raises (where PyTorch does: some of the database's are not errors). Raises Differs."""
    sample = split(wrong.sample_input) if hasattr(wrong.sample_input, "args") else (wrong.sample_input, (), {})
    if not isinstance(outcome(lambda: invoke(theirs, detached(sample))), Raised):
        return
    ours_in = Converter()(sample)
    found = outcome(lambda: invoke(ours, ours_in))
    if not isinstance(found, Raised):
        raise Differs(f"no error; PyTorch raises {wrong.error_type.__name__}: {wrong.error_regex}")
    if not isinstance(found.error, error_type(wrong.error_type)):
        raise Differs(f"{type(found.error).__name__}: {found.error}; PyTorch raises {wrong.error_type.__name__}: {wrong.error_regex}")
