"""Edges of the recorded graph, node types, rules about saved tensors, `Variable`: the same in both libraries."""
from __future__ import annotations

from typing import Any

import pytest
import torch

import torsh

BOTH = pytest.mark.parametrize("m", [torch, torsh], ids=["torch", "torsh"])


@BOTH
def test_edges_stand_for_tensors(m: Any) -> None:
    graph = m.autograd.graph
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    z = (y * 3).sum()
    at_y, at_z, at_x = map(graph.get_gradient_edge, (y, z, x))
    assert at_y.node is y.grad_fn
    assert at_y.output_nr == 0
    assert m.autograd.grad(at_z, (at_y, at_x), m.tensor(1.0), retain_graph=True)[0].tolist() == [3.0, 3.0]
    assert m.autograd.grad(z, at_x, retain_graph=True)[0].tolist() == [6.0, 12.0]
    with pytest.raises(RuntimeError, match="does not require gradients"):
        graph.get_gradient_edge(m.ones(1))
    assert isinstance(z.grad_fn, graph.Node)
    assert isinstance(at_x.node, graph.Node)
    assert not isinstance(z, graph.Node)


@BOTH
def test_versions_and_hooks(m: Any) -> None:
    graph = m.autograd.graph
    x = m.tensor([1.0, 2.0], requires_grad=True)
    w = m.ones(2)
    y = x * w
    graph.increment_version(w)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    with graph.save_on_cpu():
        y = x * x
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
    with graph.disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not here"), graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        pass
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        pass


@BOTH
def test_variable(m: Any) -> None:
    t = m.ones(2)
    v = m.autograd.Variable(t, requires_grad=True)
    assert v.requires_grad
    assert not t.requires_grad
    assert isinstance(t, m.autograd.Variable)
    assert v.data_ptr() == t.data_ptr()


@BOTH
def test_hooks_for_several_gradients(m: Any) -> None:
    a, b, c = (m.tensor(float(i), requires_grad=True) for i in range(1, 4))
    y = a * b
    seen: list[Any] = []
    with m.autograd.graph.register_multi_grad_hook((a, y, c), lambda gs: seen.append([None if g is None else g.item() for g in gs])):
        (y * 2).backward(retain_graph=True)
        (y * c).backward(retain_graph=True)
    (y * 2).backward(retain_graph=True)
    assert seen == [[4.0, 2.0, None], [6.0, 3.0, 2.0]]
    seen.clear()
    handle = m.autograd.graph.register_multi_grad_hook((a, y, c), lambda g: seen.append(g.item()), mode="any")
    (y * 5).backward(retain_graph=True)
    (y * 7).backward(retain_graph=True)
    handle.remove()
    assert seen == [5.0, 7.0]
    with pytest.raises(ValueError, match="Expects mode"):
        m.autograd.graph.register_multi_grad_hook((a,), print, mode="some")
