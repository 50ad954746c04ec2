"""Random programs of views, in-place writes, indexing and arithmetic give the same on ToRSh and on PyTorch.

A program is a list of steps (four numbers each: which step, and its choices). Several tensors are alive at once, share
memory, have different dtypes and sometimes require grad; NumPy arrays over their memory stay alive and are written too.
Numbers are small integers, so that every value is exact whatever the order of summation. A step that PyTorch refuses is
left out. TORSH_PROGRAMS is the number of programs.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import torsh

DTYPES = ["float32", "float64", "int64", "float32", "int32", "float16", "float64", "bfloat16"]
SHAPES = [(2, 3), (3,), (4,), (), (2, 2), (1, 3), (2, 1, 2), (3, 2), (0,), (2, 0)]
REFUSALS = (RuntimeError, TypeError, IndexError, ValueError, ZeroDivisionError)
LIMIT = 250  # integers up to 256 are exact in bfloat16
COUNT = int(os.environ.get("TORSH_PROGRAMS", "100"))


def name_of(t: Any) -> str:
    return str(t.dtype).split(".")[-1]


def array_of(t: Any) -> np.ndarray:
    return np.array(t.detach().tolist(), np.float64).reshape(tuple(t.shape))


def addresses(t: Any) -> np.ndarray:
    at = np.full(tuple(t.shape), t.storage_offset())
    for d, (n, s) in enumerate(zip(t.shape, t.stride(), strict=True)):
        at = at + (np.arange(n) * s).reshape((-1,) + (1,) * (t.dim() - 1 - d))
    return at.reshape(-1)


def overlaps_itself(t: Any) -> bool:
    at = addresses(t)
    return len(np.unique(at)) != len(at)


def shares(a: Any, b: Any) -> bool:
    """Whether two PyTorch tensors lie over each other without being the same."""
    if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return False
    x, y = addresses(a), addresses(b)
    return not np.array_equal(x, y) and len(np.intersect1d(x, y)) > 0


def small(t: Any) -> bool:
    return not isinstance(t, torch.Tensor) or t.numel() == 0 or bool((t.detach().double().abs() <= LIMIT).all())


class Machine:
    """The state of a program: pairs of a PyTorch and a ToRSh tensor, leaves with gradients, NumPy arrays over their memory."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []
        self.leaves: list[tuple[Any, Any]] = []
        self.arrays: list[tuple[np.ndarray, np.ndarray]] = []
        self.log: list[str] = []

    def fail(self, what: str) -> None:
        raise AssertionError(what + "\nprogram:\n" + "\n".join(self.log))

    def note(self, text: str) -> None:
        self.log.append(f"{text}   # t{len(self.pairs)} if a new tensor")

    def pick(self, i: int) -> tuple[Any, Any]:
        return self.pairs[i % len(self.pairs)]

    def name(self, i: int) -> str:
        return f"t{i % len(self.pairs)}"

    def keep(self, a: Any, b: Any) -> None:
        if not isinstance(b, torsh.Tensor):
            self.fail(f"not a tensor: {b!r}")
        if not a.is_contiguous() and a._base is None:
            a, b = a.contiguous(), b.contiguous()  # PyTorch keeps strides of its operands in results; ToRSh makes contiguous ones
        self.pairs.append((a, b))
        self.same(a, b, f"t{len(self.pairs) - 1} when made", values=False)

    def new(self, text: str, f: Callable[..., Any], *of: tuple[Any, Any]) -> None:
        """A new tensor from `f(library, *tensors)`."""
        try:
            a = f(torch, *[p[0] for p in of])
        except REFUSALS:
            return
        if not small(a):
            return
        self.note(text)
        self.keep(a, f(torsh, *[p[1] for p in of]))

    def write(self, text: str, f: Callable[..., Any], target: tuple[Any, Any], *of: tuple[Any, Any]) -> None:
        """`f(library, target, *tensors)` changes the target in place."""
        if overlaps_itself(target[0]):
            return
        if not target[0].is_floating_point() and any(p[0].requires_grad for p in of):
            return  # PyTorch then has integers that require grad
        try:
            if any(shares(target[0], p[0]) for p in of):
                text, of = text + " of clones", tuple([(p[0].clone(), p[1].clone()) for p in of])
            trial = target[0].detach().clone()
            f(torch, trial, *[p[0].detach() for p in of])
            if not small(trial):
                return
            f(torch, target[0], *[p[0] for p in of])
        except REFUSALS:
            return
        self.note(text)
        f(torsh, target[1], *[p[1] for p in of])

    def same(self, a: Any, b: Any, what: str, values: bool = True) -> None:
        if tuple(a.shape) != tuple(b.shape) or name_of(a) != name_of(b) or a.requires_grad != b.requires_grad:
            self.fail(f"{what}: PyTorch {tuple(a.shape)} {name_of(a)} {a.requires_grad}, ToRSh {tuple(b.shape)} {name_of(b)} {b.requires_grad}")
        if a.numel() > 1 and [s for s, n in zip(a.stride(), a.shape, strict=True) if n > 1] != \
                [s for s, n in zip(b.stride(), b.shape, strict=True) if n > 1]:
            self.fail(f"{what}: strides {a.stride()} and {tuple(b.stride())}")
        if values:
            x, y = array_of(a), array_of(b)
            if not np.array_equal(x, y, equal_nan=True):
                self.fail(f"{what}: PyTorch {x.tolist()}, ToRSh {y.tolist()}")

    def gradients(self, found: list[tuple[Any, Any]], what: str) -> None:
        coarse = any(name_of(a) in ("float16", "bfloat16") for a, _ in self.pairs)
        for i, (g, h) in enumerate(found):
            if (g is None) != (h is None):
                self.fail(f"{what} {i}: PyTorch {g}, ToRSh {h}")
            if g is None:
                continue
            x, y = array_of(g), array_of(h)
            if name_of(g) != name_of(h) or x.shape != y.shape:
                self.fail(f"{what} {i}: PyTorch {x.shape} {name_of(g)}, ToRSh {y.shape} {name_of(h)}")
            top = float(np.abs(x).max()) if x.size else 0.0
            if np.isfinite(top) and not np.allclose(x, y, rtol=0, atol=(3e-2 if coarse else 1e-5) * max(top, 1.0)):
                self.fail(f"{what} {i}: PyTorch {x.tolist()}, ToRSh {y.tolist()}")

    def finish(self) -> None:
        for i, (a, b) in enumerate(self.pairs):
            self.same(a, b, f"t{i} at the end")
        for i, (x, y) in enumerate(self.arrays):
            if x.dtype != y.dtype or not np.array_equal(x, y):
                self.fail(f"array {i} at the end: PyTorch {x.tolist()} {x.dtype}, ToRSh {y.tolist()} {y.dtype}")
        if not self.leaves:
            event("no leaf")
            return
        live = [p for p in self.pairs if p[0].requires_grad]
        if not live:
            event("nothing requires grad")
            return
        try:
            total = sum([(a.double() * (i + 1)).sum() for i, (a, _) in enumerate(live)])
            total.backward()
        except RuntimeError:
            event("PyTorch refuses backward")
            return
        event("gradients compared")
        self.log.append("sum((t.double() * (i + 1)).sum() for i, t in enumerate(tensors that require grad)).backward()")
        sum([(b.double() * (i + 1)).sum() for i, (_, b) in enumerate(live)]).backward()
        self.gradients([(a.grad, b.grad) for a, b in self.leaves], "gradient of leaf")


# ---- the steps


def make(m: Machine, i: int, j: int, k: int) -> None:
    kind, shape = DTYPES[i % len(DTYPES)], SHAPES[j % len(SHAPES)]
    values = ((np.arange(int(np.prod(shape))) * 7 + k) % 9 - 4).reshape(shape)
    leaf = "float" in kind and k % 3 != 0
    m.note(f"tensor({values.tolist()}, dtype={kind}, requires_grad={leaf})  # shape {shape}")
    a, b = [lib.tensor(values.tolist(), dtype=getattr(lib, kind)).reshape(shape).detach().requires_grad_(leaf) for lib in (torch, torsh)]
    m.keep(a, b)
    if leaf:
        m.leaves.append((a, b))
        if k % 2:
            m.new(f"t{len(m.pairs) - 1} * 1", lambda lib, t: t * 1, (a, b))


def from_array(m: Machine, i: int, j: int, k: int) -> None:
    values = ((np.arange(12) * 5 + k) % 7 - 3).astype(["float32", "int64", "float64", "int32"][i % 4])
    x, y = [[v, v.reshape(3, 4), v.reshape(3, 4).T, v.reshape(2, 6)[:, 1:4]][j % 4] for v in (values, values.copy())]
    m.note(f"from_numpy(case {i % 4}, {j % 4} of {values.tolist()})")
    m.arrays.append((x, y))
    m.keep(torch.from_numpy(x), torsh.from_numpy(y))


def export(m: Machine, i: int, j: int, k: int) -> None:
    a, b = m.pick(i)
    if name_of(a) == "bfloat16":
        return
    m.note(f"array {len(m.arrays)} = {m.name(i)}.detach().numpy()")
    m.arrays.append((a.detach().numpy(), b.detach().numpy()))


def write_array(m: Machine, i: int, j: int, k: int) -> None:
    if not m.arrays:
        return
    x, y = m.arrays[i % len(m.arrays)]
    if x.size:
        m.note(f"array {i % len(m.arrays)}.flat[{j % x.size}] = {k % 2}")
        x.flat[j % x.size] = y.flat[j % x.size] = k % 2


def drop(m: Machine, i: int, j: int, k: int) -> None:
    if j % 3 == 0 and m.arrays:
        m.note(f"del array {i % len(m.arrays)} (later arrays move up)")
        del m.arrays[i % len(m.arrays)]
    elif len(m.pairs) > 2:
        m.note(f"del {m.name(i)} (later tensors move up)")
        del m.pairs[i % len(m.pairs)]


def read(m: Machine, i: int, j: int, k: int) -> None:
    m.note(f"{m.name(i)}.tolist()")
    m.same(*m.pick(i), f"{m.name(i)} when read")


VIEWS: list[tuple[str, Callable[[Any, int, int], Any]]] = [
    ("transpose(0, -1)", lambda t, j, k: t.transpose(0, -1)),
    ("reshape(-1)", lambda t, j, k: t.reshape(-1)),
    ("[j::2]", lambda t, j, k: t[j % 2::2]),
    ("select(j, k)", lambda t, j, k: t.select(j % t.dim(), k % t.shape[j % t.dim()])),
    ("view(-1)", lambda t, j, k: t.view(-1)),
    ("t()", lambda t, j, k: t.t()),
    ("narrow(-1, 0, 2)", lambda t, j, k: t.narrow(-1, k % 2, 2)),
    ("permute", lambda t, j, k: t.permute(*reversed(range(t.dim())))),
    ("unsqueeze(j)", lambda t, j, k: t.unsqueeze(j % (t.dim() + 1))),
    ("squeeze()", lambda t, j, k: t.squeeze()),
    ("expand(2, *)", lambda t, j, k: t.expand(2, *t.shape)),
    ("reshape(-1, 2)", lambda t, j, k: t.reshape(-1, 2)),
    ("reshape(2, -1)", lambda t, j, k: t.reshape(2, -1)),
    ("diagonal()", lambda t, j, k: t.diagonal(k % 2)),
    ("unfold(0, 2, 1)", lambda t, j, k: t.unfold(0, 2, 1)),
    ("detach()", lambda t, j, k: t.detach()),
    ("split(2)[j]", lambda t, j, k: t.split(2)[j % 2]),
    ("unbind()[j]", lambda t, j, k: t.unbind()[j % 2]),
    ("[..., k:]", lambda t, j, k: t[..., k % 3:]),
    ("[:, None]", lambda t, j, k: t[:, None]),
    ("[-1]", lambda t, j, k: t[-1]),
    ("flatten()", lambda t, j, k: t.flatten()),
    ("movedim(0, -1)", lambda t, j, k: t.movedim(0, -1)),
    ("chunk(2)[j]", lambda t, j, k: t.chunk(2)[j % 2]),
]
UNARY: list[tuple[str, Callable[[Any, Any, int], Any]]] = [
    ("-t", lambda lib, t, k: -t),
    ("clone()", lambda lib, t, k: t.clone()),
    ("t * k", lambda lib, t, k: t * (k % 4)),
    ("t + k", lambda lib, t, k: t + k % 4),
    ("k - t", lambda lib, t, k: k % 4 - t),
    ("abs()", lambda lib, t, k: t.abs()),
    ("clamp(-2, 3)", lambda lib, t, k: t.clamp(-2, 3)),
    ("to(dtype k)", lambda lib, t, k: t.to(getattr(lib, DTYPES[k % len(DTYPES)]))),
    ("sum()", lambda lib, t, k: t.sum()),
    ("sum(k)", lambda lib, t, k: t.sum(k % t.dim())),
    ("sum(-1, keepdim)", lambda lib, t, k: t.sum(-1, keepdim=True)),
    ("amax(0)", lambda lib, t, k: t.amax(0)),
    ("contiguous()", lambda lib, t, k: t.contiguous()),
    ("t > 0", lambda lib, t, k: t > 0),
    ("t[[..]]", lambda lib, t, k: t[[k % t.shape[0], 0, -1]]),
    ("t[t > 0]", lambda lib, t, k: t[t > 0]),
    ("t[tensor]", lambda lib, t, k: t[..., lib.tensor([[0, k % t.shape[-1]], [-1, 0]])]),
    ("cumsum", lambda lib, t, k: t.cumsum(k % t.dim())),
    ("flip", lambda lib, t, k: lib.flip(t, (k % t.dim(),))),
    ("roll", lambda lib, t, k: lib.roll(t, k % 4, k % t.dim())),
    ("index_select", lambda lib, t, k: t.index_select(-1, lib.tensor([k % t.shape[-1], 0]))),
    ("masked_fill", lambda lib, t, k: t.masked_fill(t < 0, k % 5)),
    ("tril", lambda lib, t, k: t.tril(k % 3 - 1)),
    ("where(t > 1, t, k)", lambda lib, t, k: lib.where(t > 1, t, k % 3)),
]
BINARY: list[tuple[str, Callable[[Any, Any, Any], Any]]] = [
    ("a + b", lambda lib, a, b: a + b),
    ("a * b", lambda lib, a, b: a * b),
    ("a - b", lambda lib, a, b: a - b),
    ("maximum(a, b)", lambda lib, a, b: lib.maximum(a, b)),
    ("a.add(b, alpha=2)", lambda lib, a, b: a.add(b, alpha=2)),
    ("where(a > b, a, b)", lambda lib, a, b: lib.where(a > b, a, b)),
    ("a <= b", lambda lib, a, b: a <= b),
    ("a @ b", lambda lib, a, b: a @ b),
    ("cat", lambda lib, a, b: lib.cat([a, b])),
    ("cat(-1)", lambda lib, a, b: lib.cat([a, b, a], -1)),
    ("stack(1)", lambda lib, a, b: lib.stack([a, b], 1)),
]
WRITES: list[tuple[str, Callable[[Any, Any, int], Any]]] = [
    ("add_(k)", lambda lib, t, k: t.add_(k % 4)),
    ("mul_(k)", lambda lib, t, k: t.mul_(k % 4 - 1)),
    ("fill_(k)", lambda lib, t, k: t.fill_(k % 4)),
    ("zero_()", lambda lib, t, k: t.zero_()),
    ("neg_()", lambda lib, t, k: t.neg_()),
    ("clamp_(-1, 2)", lambda lib, t, k: t.clamp_(-1, 2)),
    ("t[k] = 3", lambda lib, t, k: t.__setitem__(k % t.shape[0], 3)),
    ("t[..., ::2] = 2", lambda lib, t, k: t.__setitem__((..., slice(k % 2, None, 2)), 2)),
    ("t[t > 0] = -1", lambda lib, t, k: t.__setitem__(t.detach() > 0, -1)),
    ("t[[..]] = 4", lambda lib, t, k: t.__setitem__([k % t.shape[0], 0], 4)),
    ("masked_fill_", lambda lib, t, k: t.masked_fill_(t.detach() < 1, k % 5)),
    ("index_fill_", lambda lib, t, k: t.index_fill_(0, lib.tensor([k % t.shape[0]]), k % 3)),
    ("t[:] += 1", lambda lib, t, k: t.__setitem__(slice(None), t[:] + 1)),
]
WRITES_OF: list[tuple[str, Callable[[Any, Any, Any, int], Any]]] = [
    ("a.add_(b)", lambda lib, a, b, k: a.add_(b)),
    ("a.mul_(b)", lambda lib, a, b, k: a.mul_(b)),
    ("a.copy_(b)", lambda lib, a, b, k: a.copy_(b)),
    ("a.sub_(b, alpha=2)", lambda lib, a, b, k: a.sub_(b, alpha=2)),
    ("a[k] = b", lambda lib, a, b, k: a.__setitem__(k % a.shape[0], b)),
    ("a[k:] = b", lambda lib, a, b, k: a.__setitem__(slice(k % 2, None), b)),
    ("a[..., 0] = b", lambda lib, a, b, k: a.__setitem__((..., 0), b)),
    ("a[[0, -1]] = b", lambda lib, a, b, k: a.__setitem__([0, -1], b)),
    ("index_add_", lambda lib, a, b, k: a.index_add_(0, lib.tensor([k % a.shape[0]] * b.shape[0]), b)),
    ("index_put_", lambda lib, a, b, k: a.index_put_((lib.tensor([0, 0]),), b, accumulate=True)),
    ("a[a > 0] = b", lambda lib, a, b, k: a.__setitem__(a.detach() > 0, b)),
]


def view(m: Machine, i: int, j: int, k: int) -> None:
    text, f = VIEWS[k % len(VIEWS)]
    m.new(f"{m.name(i)}.{text}  # j={j}, k={k}", lambda lib, t: f(t, j, k), m.pick(i))


def unary(m: Machine, i: int, j: int, k: int) -> None:
    text, f = UNARY[j % len(UNARY)]
    m.new(f"t={m.name(i)}: {text}  # k={k}", lambda lib, t: f(lib, t, k), m.pick(i))


def binary(m: Machine, i: int, j: int, k: int) -> None:
    text, f = BINARY[k % len(BINARY)]
    m.new(f"a={m.name(i)}, b={m.name(j)}: {text}", f, m.pick(i), m.pick(j))


def in_place(m: Machine, i: int, j: int, k: int) -> None:
    text, f = WRITES[j % len(WRITES)]
    m.write(f"t={m.name(i)}: {text}  # k={k}", lambda lib, t: f(lib, t, k), m.pick(i))


def in_place_of(m: Machine, i: int, j: int, k: int) -> None:
    text, f = WRITES_OF[k % len(WRITES_OF)]
    m.write(f"a={m.name(i)}, b={m.name(j)}: {text}  # k={k}", lambda lib, a, b: f(lib, a, b, k), m.pick(i), m.pick(j))


def without_grad(m: Machine, i: int, j: int, k: int) -> None:
    text, f = WRITES[j % len(WRITES)]

    def write(lib: Any, t: Any) -> None:
        with lib.no_grad():
            f(lib, t, k)
    m.write(f"t={m.name(i)} in no_grad: {text}  # k={k}", write, m.pick(i))


def some_gradients(m: Machine, i: int, j: int, k: int) -> None:
    a, b = m.pick(i)
    if not m.leaves or not a.requires_grad:
        return
    try:
        found = torch.autograd.grad(a.double().sum(), [p[0] for p in m.leaves], retain_graph=True, allow_unused=True)
    except RuntimeError:
        return
    m.note(f"grad({m.name(i)}.double().sum(), leaves, retain_graph=True)")
    mine = torsh.autograd.grad(b.double().sum(), [p[1] for p in m.leaves], retain_graph=True, allow_unused=True)
    m.gradients(list(zip(found, mine, strict=True)), "gradient in the middle, of leaf")


STEPS = [make, view, in_place, unary, in_place_of, binary, view, in_place, read, make, export, write_array, view, in_place_of, binary, from_array,
         drop, some_gradients, without_grad]
NUMBERS = st.integers(0, 47)


@settings(max_examples=COUNT, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, len(STEPS) - 1), NUMBERS, NUMBERS, NUMBERS), min_size=3, max_size=18), st.integers(0, 8))
def test_programs(steps: list[tuple[int, int, int, int]], start: int) -> None:
    m = Machine()
    make(m, start, start % 3, start)
    for step, i, j, k in steps:
        STEPS[step](m, i, j, k)
    m.finish()
