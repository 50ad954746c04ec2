"""Writing in place under autograd: values and gradients as PyTorch's, and the same errors for misuse."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh

# ---- programs that end in gradients: each returns tensors to compare


def leaf(T: Any, *values: float) -> Any:
    return T.tensor(values, dtype=T.float64, requires_grad=True)


def in_place_on_result(T: Any) -> Any:
    x = leaf(T, 1, 2, 3)
    y = x * 2
    y.add_(x).mul_(3)
    y.sum().backward()
    return x.grad, y


def write_through_view(T: Any) -> Any:
    x, w = leaf(T, 1, 2, 3, 4), leaf(T, 5, 6)
    y = x * x
    y[1:3] = w * 2
    (y * y).sum().backward()
    return x.grad, w.grad


def base_written_after_view(T: Any) -> Any:
    x = leaf(T, 1, 2, 3, 4)
    y = x * 1
    v = y.view(2, 2)[:, 0]
    y.mul_(y.detach() + 1)
    (v * v).sum().backward()
    return x.grad, v


def view_of_constant_written(T: Any) -> Any:
    base, w = T.zeros(4, dtype=T.float64), leaf(T, 3)
    left, right = base[:2], base[2:]
    left.add_(w)
    assert base.requires_grad
    assert right.requires_grad
    (base.sum() + (right * 2).sum() + (left * 3).sum()).backward()
    return w.grad, base, right


def stale_view_second_operand(T: Any) -> Any:
    base, w = T.ones(4, dtype=T.float64), leaf(T, 3, 4)
    v = base[:2]
    base[1:3] = w
    (w * v).sum().backward()
    return w.grad


def transposed_write(T: Any) -> Any:
    x = T.arange(6, dtype=T.float64).reshape(2, 3).requires_grad_()
    y = x * 1
    y.t()[1].mul_(5)
    y.t()[:, 1] += y[0, 0] * 0 + 2
    (y * y).sum().backward()
    return x.grad, y


def chain_of_views(T: Any) -> Any:
    x = T.arange(12, dtype=T.float64).requires_grad_()
    y = x * 2
    v = y.view(3, 4)[1:].t()[::2]
    v.mul_(v.detach().clone())
    (y * T.arange(12, dtype=T.float64)).sum().backward()
    return x.grad


def overwritten_has_no_gradient(T: Any) -> Any:
    x = leaf(T, 1, 2)
    y = x * 3
    y.zero_()
    y.add_(x)
    y.sum().backward()
    return x.grad


def leaf_written_without_grad(T: Any) -> Any:
    x = leaf(T, 1, 2)
    v = x[:1]
    with T.no_grad():
        x.mul_(10)
    (x * v).sum().backward()
    return x.grad


def accumulates(T: Any) -> Any:
    x = leaf(T, 1, 2)
    for k in range(3):
        (x * x * k).sum().backward()
    first = x.grad
    x.grad = None
    x.sum().backward()
    return first, x.grad


def grad_is_not_shared(T: Any) -> Any:
    x, y = leaf(T, 1, 2), leaf(T, 3, 4)
    (x + y).sum().backward()
    x.grad.mul_(5)
    return x.grad, y.grad


def second_order(T: Any) -> Any:
    x = leaf(T, 0.5, 2)
    y = (x ** 3).sum()
    g, = T.autograd.grad(y, x, create_graph=True)
    h, = T.autograd.grad((g * g).sum(), x, create_graph=True)
    h.sum().backward()
    return g, h, x.grad


def second_order_through_write(T: Any) -> Any:
    x, w = leaf(T, 1, 2, 3), leaf(T, 4)
    y = x * x
    y[1:2] = w * w * x[0]
    g, gw = T.autograd.grad((y * y).sum(), (x, w), create_graph=True)
    (g.sum() + gw.sum()).backward()
    return g, gw, x.grad, w.grad


def retained(T: Any) -> Any:
    x = leaf(T, 1, 2)
    y = x * 2
    y.retain_grad()
    z = (y * y).sum()
    z.backward(retain_graph=True)
    z.backward()
    return x.grad, y.grad


def hooks_in_order(T: Any) -> Any:
    x = leaf(T, 1, 2)
    y = x * 2
    seen = []
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: seen.append(g.clone()))
    removed = y.register_hook(lambda g: g * 1000)
    removed.remove()
    x.register_hook(lambda g: g + 1)
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.clone()))
    (y * y).sum().backward()
    return (x.grad, *seen)


def filled(T: Any) -> Any:
    x, w = leaf(T, 1, 2), leaf(T, 3, 4)
    y, z = x * 2, w * 2
    y.fill_(5)
    z.copy_(y * 3)
    (y + z).sum().backward()
    return x.grad, w.grad


def product_into_constant(T: Any) -> Any:
    a, w = T.tensor([2.0, 3.0], dtype=T.float64), leaf(T, 5, 7)
    a.mul_(w)
    a.div_(w[0])
    a.sum().backward()
    return w.grad, a


def hook_on_copy(T: Any) -> Any:
    x = leaf(T, 1, 2)
    v = x * 2
    a = T.zeros(2, dtype=T.float64)
    a.copy_(v)
    a.register_hook(lambda g: g * 100)
    (a + v).sum().backward()
    return x.grad


def chosen_inputs(T: Any) -> Any:
    x, w = leaf(T, 1, 2), leaf(T, 3, 4)
    y = x * w
    z = (y * y).sum()
    z.backward(inputs=[x, y])
    assert w.grad is None
    return x.grad, y.grad


def unused_input(T: Any) -> Any:
    x, w = leaf(T, 1, 2), leaf(T, 3)
    found = T.autograd.grad(x.sum(), [x, w], allow_unused=True)
    assert found[1] is None
    return found[0], T.autograd.grad(x.sum(), [x, w], materialize_grads=True)[1]


def several_roots(T: Any) -> Any:
    x = leaf(T, 1, 2)
    T.autograd.backward([x * x, x.sum()], [T.tensor([1.0, 10.0], dtype=T.float64), None])
    return x.grad


def mixed_types(T: Any) -> Any:
    x, h = leaf(T, 1, 2), T.tensor([1.0, 2.0], requires_grad=True)
    (x * h.half() + h.to(T.float64)).sum().backward()
    assert h.grad.dtype is T.float32
    return x.grad, h.grad


def retain_on_leaf_view(T: Any) -> Any:
    x = leaf(T, 1, 2, 3)
    v = x[1:]
    v.retain_grad()
    (v * v).sum().backward()
    return x.grad, v.grad


def modes(T: Any) -> Any:
    x = leaf(T, 1, 2)
    with T.no_grad():
        a = x * 2
        with T.enable_grad():
            b = x * 2
    with T.set_grad_enabled(False):
        c = x * 2
    assert (a.requires_grad, b.requires_grad, c.requires_grad, T.is_grad_enabled()) == (False, True, False, True)
    assert T.no_grad()(lambda: x * 2)().requires_grad is False
    with T.inference_mode():
        assert (x * 2).is_inference()
    return a, b, c


PROGRAMS = [in_place_on_result, write_through_view, base_written_after_view, view_of_constant_written, stale_view_second_operand,
            transposed_write, chain_of_views, overwritten_has_no_gradient, leaf_written_without_grad, accumulates, grad_is_not_shared,
            second_order, second_order_through_write, retained, hooks_in_order, filled, product_into_constant, hook_on_copy, chosen_inputs,
            unused_input, several_roots, mixed_types, retain_on_leaf_view, modes]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_gradients(program: Callable[[Any], Any]) -> None:
    expected, found = program(torch), program(torsh)
    expected, found = [x if isinstance(x, tuple) else (x,) for x in (expected, found)]
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        np.testing.assert_allclose(np.array(b.detach().tolist()), np.array(a.detach().tolist()), rtol=1e-12, err_msg=f"result {i}")


# ---- misuse: the type of the error and a part of its message


def write_leaf(T: Any) -> None:
    leaf(T, 1).add_(1)


def write_view_of_leaf(T: Any) -> None:
    leaf(T, 1, 2)[:1].mul_(2)


def write_leaf_that_is_a_view(T: Any) -> None:
    T.zeros(3)[:2].requires_grad_().add_(1)


def set_item_of_leaf(T: Any) -> None:
    leaf(T, 1, 2)[0] = 5


def backward_twice(T: Any) -> None:
    y = (leaf(T, 1) * leaf(T, 2)).sum()
    y.backward()
    y.backward()


def input_modified(T: Any) -> None:
    x, w = T.ones(2, dtype=T.float64), leaf(T, 1, 2)
    y = x * w
    x.add_(1)
    y.sum().backward()


def output_modified(T: Any) -> None:
    y = leaf(T, 1, 2).exp()
    y.add_(1)
    y.sum().backward()


def modified_through_view(T: Any) -> None:
    x, w = T.ones(2, dtype=T.float64), leaf(T, 1, 2)
    y = x * w
    x[:1].zero_()
    y.sum().backward()


def no_gradient(T: Any) -> None:
    T.ones(()).backward()


def not_scalar(T: Any) -> None:
    (leaf(T, 1, 2) * 2).backward()


def wrong_gradient_shape(T: Any) -> None:
    (leaf(T, 1, 2) * 2).backward(T.ones(3, dtype=T.float64))


def wrong_number_of_gradients(T: Any) -> None:
    x = leaf(T, 1)
    T.autograd.backward([x * 2, x * 3], [T.ones(1, dtype=T.float64)])


def unused(T: Any) -> None:
    T.autograd.grad(leaf(T, 1).sum(), leaf(T, 1))


def input_without_grad(T: Any) -> None:
    T.autograd.grad(leaf(T, 1).sum(), T.ones(1))


def integer_requires_grad(T: Any) -> None:
    T.ones(2, dtype=T.int64).requires_grad_()


def result_unset(T: Any) -> None:
    (leaf(T, 1) * 2).requires_grad_(False)


def numpy_of_grad(T: Any) -> None:
    leaf(T, 1).numpy()


def hook_without_grad(T: Any) -> None:
    T.ones(1).register_hook(print)


def retain_without_grad(T: Any) -> None:
    T.ones(1).retain_grad()


def grad_of_other_shape(T: Any) -> None:
    leaf(T, 1, 2).grad = T.ones(3, dtype=T.float64)


def grad_of_other_type(T: Any) -> None:
    leaf(T, 1, 2).grad = 5


def overlapping_write(T: Any) -> None:
    T.zeros(3).expand(2, 3).add_(1)


def float_into_integer(T: Any) -> None:
    T.ones(2, dtype=T.int64).add_(0.5)


def does_not_broadcast(T: Any) -> None:
    T.ones(2).add_(T.ones(3))


def out_grows_in_place(T: Any) -> None:
    T.ones(1).add_(T.ones(3))


def out_requires_grad(T: Any) -> None:
    T.add(leaf(T, 1), 1, out=T.zeros(1, dtype=T.float64))


def detach_view(T: Any) -> None:
    (leaf(T, 1, 2) * 2)[:1].detach_()


def post_hook_on_result(T: Any) -> None:
    (leaf(T, 1) * 2).register_post_accumulate_grad_hook(print)


def inference_tensor_saved(T: Any) -> None:
    with T.inference_mode():
        t = T.ones(1) + 1
    t.add_(1)


MISUSES = [(write_leaf, "a leaf Variable that requires grad is being used in an in-place operation"),
           (write_view_of_leaf, "a view of a leaf Variable that requires grad is being used in an in-place operation"),
           (write_leaf_that_is_a_view, "leaf Variable that requires grad is being used in an in-place operation"),
           (set_item_of_leaf, "leaf Variable that requires grad is being used in an in-place operation"),
           (backward_twice, "Trying to backward through the graph a second time"),
           (input_modified, "modified by an inplace operation"),
           (modified_through_view, "modified by an inplace operation"),
           (output_modified, "modified by an inplace operation"),
           (no_gradient, "element 0 of tensors does not require grad and does not have a grad_fn"),
           (not_scalar, "grad can be implicitly created only for scalar outputs"),
           (wrong_gradient_shape, "Mismatch in shape: grad_output[0] has a shape of"),
           (wrong_number_of_gradients, "got 2 tensors and 1 gradients"),
           (unused, "The differentiated Tensor at index 0 appears to not have been used in the graph"),
           (input_without_grad, "One of the differentiated Tensors does not require grad"),
           (integer_requires_grad, "floating point"),
           (result_unset, "you can only change requires_grad flags of leaf variables"),
           (numpy_of_grad, "Can't call numpy() on Tensor that requires grad"),
           (hook_without_grad, "cannot register a hook on a tensor that doesn't require gradient"),
           (retain_without_grad, "can't retain_grad on Tensor that has requires_grad=False"),
           (grad_of_other_shape, "attempting to assign a gradient of size '[3]' to a tensor of size '[2]'"),
           (grad_of_other_type, "assigned grad expected to be a Tensor or None"),
           (overlapping_write, "more than one element of the written-to tensor refers to a single memory location"),
           (float_into_integer, "can't be cast to the desired output type"),
           (does_not_broadcast, "must match the size of tensor"),
           (out_grows_in_place, "doesn't match the broadcast shape"),
           (out_requires_grad, "functions with out=... arguments don't support automatic differentiation"),
           (detach_view, "Can't detach views in-place"),
           (post_hook_on_result, "post accumulate grad hooks cannot be registered on non-leaf tensors"),
           (inference_tensor_saved, "Inplace update to inference tensor outside InferenceMode is not allowed")]


@pytest.mark.parametrize(("misuse", "message"), MISUSES, ids=lambda p: getattr(p, "__name__", ""))
def test_misuse(misuse: Callable[[Any], None], message: str) -> None:
    errors = []
    for T in (torch, torsh):
        with pytest.raises((RuntimeError, TypeError, ValueError)) as caught:
            misuse(T)
        errors.append(caught)
    assert message in str(errors[0].value)
    assert message in str(errors[1].value)
    assert errors[1].type is errors[0].type


def test_a_long_chain_needs_no_deep_stack() -> None:
    x = torsh.ones((), requires_grad=True)
    y = x
    for _ in range(5000):
        y = y * 1
    torsh.autograd.grad(y, x)
    del y


@pytest.mark.parametrize("make", [lambda x: x.split(1)[0], lambda x: x.unbind(0)[1], lambda x: x.chunk(2)[0], lambda x: next(iter(x)),
                                  lambda x: x.split([1, 1])[1]], ids=["split", "unbind", "chunk", "iter", "sizes"])
def test_one_of_several_views_is_not_written_where_autograd_records(make: Any) -> None:
    for module in (torch, torsh):
        x = module.ones(2, 2, requires_grad=True) * 1
        with pytest.raises(RuntimeError, match=r"Output \d of \w+ is a view and is being modified inplace"):
            make(x).add_(1)
        with module.no_grad():
            make(x).add_(1)
        assert x.sum().item() == 6
        assert make(module.ones(2, 2)).add_(1).sum().item() == 4
