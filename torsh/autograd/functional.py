"""`torsh.autograd.functional`: Jacobians, Hessians and products with them, of functions of tensors.

The older interface to what `torsh.func` does: arguments and results are a tensor or a tuple of them, `create_graph` says
whether results can be differentiated, and `strict` makes independence of an input an error.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torsh.autograd import engine
from torsh.autograd.grad_mode import enable_grad
from torsh.autograd.graph import requires_grad
from torsh.core.shapes import numel
from torsh.func.transforms import entered
from torsh.func.vmap import vmap
from torsh.tensor.creation import eye, ones_like, zeros_like
from torsh.tensor.tensor import Tensor, alias

Tensors = tuple[Tensor, ...]


def _tensors(given: Any, name: str, what: str) -> tuple[bool, Tensors]:
    """(was it a tuple, the tensors). Raises TypeError for anything else."""
    several = isinstance(given, tuple)
    found = given if several else (given,)
    for i, t in enumerate(found):
        if not isinstance(t, Tensor):
            inside = f"Value at index {i} of the tuple is of type {type(t)}" if several else f"given {name} has type {type(t)}"
            raise TypeError(f"The {name} given to {what} must be either a Tensor or a tuple of Tensors but the {inside}.")
    return several, found


class _Call:
    """A function run on inputs of its own."""

    def __init__(self, what: str, func: Callable[..., Any], inputs: Any, create_graph: bool, strict: bool) -> None:
        self.what, self.create, self.strict = what, create_graph, strict
        self.several_in, given = _tensors(inputs, "inputs", what)
        with enable_grad():
            self.ins = tuple([entered(t if create_graph else t.detach()) for t in given])  # type: ignore[attr-defined]
            self.several_out, self.outs = _tensors(func(*self.ins), "outputs of the user-provided function", what)
        if strict:
            for i, t in enumerate(self.outs):
                if not requires_grad(t):
                    raise RuntimeError(f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in a "
                                       "differentiable manner from the input when running in strict mode.")

    def pull(self, outs: Sequence[Tensor], grads: Sequence[Tensor], ins: Sequence[Tensor] | None = None, create: bool = False) -> list[Tensor]:
        ins = self.ins if ins is None else ins
        pairs = [(t, g) for t, g in zip(outs, grads, strict=True) if requires_grad(t)]
        found: Sequence[Tensor | None] = [None] * len(ins)
        if pairs:
            with enable_grad():
                found = engine.grad([t for t, _ in pairs], ins, [g for _, g in pairs], True, create or self.create, True)
        if self.strict:
            for i, g in enumerate(found):
                if g is None:
                    raise RuntimeError(f"The output of the user-provided function is independent of input {i}. This is not allowed in strict mode.")
        return [zeros_like(t) if g is None else g for g, t in zip(found, ins, strict=True)]

    def result(self, values: Sequence[Tensor], several: bool) -> Any:
        out = tuple([t if self.create else _plain(t) for t in values])
        return out if several else out[0]

    def value(self) -> Any:
        return self.result(self.outs, self.several_out)

    def only(self) -> Tensor:
        """The single number that a Hessian is of."""
        if len(self.outs) != 1 or self.several_out:
            raise RuntimeError(f"The function given to {self.what} should return a single Tensor")
        out = self.outs[0]
        if out.numel() != 1:
            raise RuntimeError(f"The Tensor returned by the function given to {self.what} should contain a single element")
        return out.reshape(())  # type: ignore[attr-defined,no-any-return]

    def along(self, v: Any, like: Tensors, several: bool, what: str) -> Tensors:
        if v is None:
            if len(like) != 1 or like[0].numel() != 1:
                raise RuntimeError(f"The vector v can only be None if {what} contains a single Tensor with a single element.")
            return (ones_like(like[0]),)
        given_several, found = _tensors(v, "v", self.what)
        if len(found) != len(like):
            raise RuntimeError(f"The given v is invalid: it should have {len(like)} Tensors, got {len(found)}")
        for i, (a, t) in enumerate(zip(found, like, strict=True)):
            if a._shape != t._shape:
                raise RuntimeError(f"v has invalid size: should be {t.shape} but got {a.shape}" if not given_several else
                                   f"Entry {i} in v has invalid size: should be {t.shape} but got {a.shape}")
        return found


def _plain(t: Tensor) -> Tensor:
    return alias(t, t._shape, t._strides, t._offset)


def _pushed(call: _Call, outs: Sequence[Tensor], tangents: Tensors) -> list[Tensor]:
    """The jvp: the vjp of the vjp with respect to what it is applied to."""
    with enable_grad():
        probes = [entered(zeros_like(t)) for t in outs]
        back = call.pull(outs, probes, create=True)
        strict, call.strict = call.strict, False
        found = call.pull(back, tangents, probes)
    call.strict = strict
    return found


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """(func(inputs), v times its Jacobian). `v` has the outputs' shapes; None for a single number."""
    call = _Call("vjp", func, inputs, create_graph, strict)
    given = call.along(v, call.outs, call.several_out, "the user-provided function returns")
    return call.value(), call.result(call.pull(call.outs, given), call.several_in)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """(func(inputs), its Jacobian times v). `v` has the inputs' shapes; None for a single number."""
    call = _Call("jvp", func, inputs, create_graph, strict)
    given = call.along(v, call.ins, call.several_in, "the input to the user-provided function")
    return call.value(), call.result(_pushed(call, call.outs, given), call.several_out)


def jacobian(func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
             strategy: str = "reverse-mode") -> Any:
    """All derivatives of the outputs by the inputs, [*output shape, *input shape] for each pair.

    Rows (or, with strategy "forward-mode", columns) are always computed together, as `vectorize` asks.

    >>> import torsh
    >>> torsh.autograd.functional.jacobian(lambda x: x ** 2, torsh.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs than inputs, '
                             '"forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".')
    if strategy == "forward-mode" and create_graph:
        raise NotImplementedError("torch.autograd.functional.jacobian: `create_graph=True` and `strategy=\"forward-mode\"` are not supported together (yet). "
                                  "Please either set `create_graph=False` or `strategy=\"reverse-mode\"`.")
    call = _Call("jacobian", func, inputs, create_graph, strict)
    rows = []
    for out in call.outs:
        n = numel(out._shape)
        with enable_grad():
            found = _columns(call, out) if strategy == "forward-mode" else \
                vmap(lambda u, out=out: tuple(call.pull([out], [u])))(eye(n, dtype=out._dtype).reshape(n, *out._shape))  # type: ignore[attr-defined]
        rows.append(call.result([g.reshape(*out._shape, *t._shape) for g, t in zip(found, call.ins, strict=True)], call.several_in))  # type: ignore[attr-defined]
    return tuple(rows) if call.several_out else rows[0]


def _columns(call: _Call, out: Tensor) -> list[Tensor]:
    found = []
    for i, t in enumerate(call.ins):
        n = numel(t._shape)

        def column(v: Tensor, i: int = i) -> Tensor:
            return _pushed(call, [out], tuple([v if j == i else zeros_like(x) for j, x in enumerate(call.ins)]))[0]
        found.append(vmap(column, out_dims=-1)(eye(n, dtype=t._dtype).reshape(n, *t._shape)))  # type: ignore[attr-defined]
    return found


def _gradient(call: _Call) -> list[Tensor]:
    """The gradient of the single output, differentiable."""
    found = call.pull([call.only()], [ones_like(call.outs[0].detach()).reshape(())], create=True)  # type: ignore[attr-defined]
    if call.strict:
        for i, g in enumerate(found):
            if not requires_grad(g):
                raise RuntimeError(f"The jacobian of the user-provided function with respect to input {i} is independent of the input. This is not "
                                   "allowed in strict mode when create_graph=True.")
    return found


def hessian(func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
            outer_jacobian_strategy: str = "reverse-mode") -> Any:
    """All second derivatives of a function of one number: [*input shape, *other input shape] for each pair of inputs."""
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')
    call = _Call("hessian", func, inputs, create_graph, strict)
    blocks = []
    gradient = _gradient(call)
    for g in gradient:
        n = numel(g._shape)
        with enable_grad():
            found = vmap(lambda u, g=g: tuple(call.pull([g], [u])))(eye(n, dtype=g._dtype).reshape(n, *g._shape))  # type: ignore[attr-defined]
        blocks.append(call.result([h.reshape(*g._shape, *t._shape) for h, t in zip(found, call.ins, strict=True)], call.several_in))  # type: ignore[attr-defined]
    return tuple(blocks) if call.several_in else blocks[0]


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """(func(inputs), v times its Hessian): two reverse passes."""
    call = _Call("vhp", func, inputs, create_graph, strict)
    given = call.along(v, call.ins, call.several_in, "the input to the user-provided function")
    return call.value(), call.result(call.pull(_gradient(call), given), call.several_in)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """(func(inputs), its Hessian times v). The Hessian is symmetric, so this is `vhp`, which costs less than forward over reverse."""
    call = _Call("hvp", func, inputs, create_graph, strict)
    given = call.along(v, call.ins, call.several_in, "the input to the user-provided function")
    return call.value(), call.result(call.pull(_gradient(call), given), call.several_in)


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
