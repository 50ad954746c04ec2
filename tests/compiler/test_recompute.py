"""What a training step keeps from its forward pass: bytes planned, counted by hand; and that computing values again changes no bit."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import torsh
from torsh import nn
from torsh.codegen import llvm_width
from torsh.codegen.cache import digest
from torsh.compiler import alike, realize, recompute
from torsh.compiler.arena import Memory, Space, arrange
from torsh.compiler.execute import stats
from torsh.graph.node import Node
from torsh.graph.primitives import ADD, CONTRACT, LEAF, MUL, POINTWISE

EXP = POINTWISE["exp"]
_WIDTH, _ROWS = 256, 512
_UNIT = _ROWS * _WIDTH * 4  # bytes of one activation [rows, width]


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.project, self.out = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.up, self.down = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: torsh.Tensor) -> torsh.Tensor:
        batch, length, _ = x.shape
        q, k, v = (y.view(batch, length, 8, _WIDTH // 8).transpose(1, 2) for y in self.project(self.first(x)).split(_WIDTH, 2))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, _WIDTH)
        x = x + self.out(y)
        return x + self.down(nn.functional.gelu(self.up(self.second(x))))


def _transformer() -> tuple[nn.Module, torsh.Tensor]:
    return nn.Sequential(*[_Block() for _ in range(3)]), torsh.randn(4, _ROWS // 4, _WIDTH)


_MAP = 8 * 16 * 64 * 64 * 4  # bytes of one feature map


def _convolutions() -> tuple[nn.Module, torsh.Tensor]:
    layers = [nn.Sequential(nn.Conv2d(16 if i else 3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()) for i in range(4)]
    return nn.Sequential(*layers), torsh.randn(8, 3, 64, 64)


def _trained(made: Callable[[], tuple[nn.Module, torsh.Tensor]]) -> tuple[list[float], list[np.ndarray], int, Any]:
    """Losses of three steps, the gradients and parameters after them, and what the last step's plan is: its bytes, its kernels' operations."""
    realize._plans.clear()
    realize._recent.clear()
    torsh.manual_seed(0)
    model, x = made()
    optimizer = torsh.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    last = max([r.plan for r in list(realize._plans.values())[-3:]], key=lambda p: p.program.arena_bytes)
    arrays = [a.numpy().copy() for p in model.parameters() for a in (p.detach(), p.grad)]
    return losses, arrays, last.program.arena_bytes, last


def _without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute, "recompute", lambda roots: set())


@pytest.mark.parametrize("made", [_transformer, _convolutions])
def test_computing_values_again_changes_no_bit(made: Callable[[], tuple[nn.Module, torsh.Tensor]], monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many partial sums in every kernel, whatever else it computes: their number follows from the length of the loop's body."""
    for name, value in (("CHEAP", -1), ("MODERATE", -1), ("LONG", 1 << 30)):
        monkeypatch.setattr(llvm_width, name, value)
    monkeypatch.setattr(alike, "digest", lambda content: "_narrow" + digest(content))  # its code has keys of its own
    losses, arrays, nbytes, _ = _trained(made)
    _without(monkeypatch)
    kept_losses, kept_arrays, more, _ = _trained(made)
    assert losses == kept_losses
    assert nbytes < 0.8 * more
    for a, b in zip(arrays, kept_arrays, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_transformer_keeps_what_its_products_and_norms_need() -> None:
    """A layer keeps the normalized rows (1 unit each of two), queries, keys and values (3), attention's result (1) and what goes into gelu (4); not gelu's
    result and derivative (8) nor the scaled rows (2). Above that a backward pass holds three values of 4 units at a time, and rows of 1."""
    _, _, nbytes, _ = _trained(_transformer)
    assert nbytes <= (3 * 10 + 3 * 4 + 4) * _UNIT


def test_convolutions_keep_normalized_maps_alone() -> None:
    """Of each layer the normalized map, without the activation and its mask; the first image padded or not, and four maps at a time in the backward pass."""
    _, _, nbytes, _ = _trained(_convolutions)
    assert nbytes <= (4 + 4 + 1) * _MAP


def test_a_plan_of_little_memory_is_left_as_it_is() -> None:
    x = Node(LEAF, (), None, (256, 256), torsh.float32)
    product = Node(CONTRACT, (x, x), None, (1, 256, 256), torsh.float32)
    root = Node(MUL, (Node(EXP, (product,), None, (1, 256, 256), torsh.float32), product), None, (1, 256, 256), torsh.float32)
    assert recompute.recompute([root]) == set()


def _chain(count: int) -> list[Node]:
    """Products in a row with exp between them, and a way back that reads each exp again."""
    shape = (1, 1024, 1024)
    x = Node(LEAF, (), None, shape, torsh.float32)
    values, kept = x, []
    for _ in range(count):
        values = Node(EXP, (Node(CONTRACT, (values, x), None, shape, torsh.float32),), None, shape, torsh.float32)
        kept.append(values)
    for value in reversed(kept):
        values = Node(MUL, (Node(CONTRACT, (values, x), None, shape, torsh.float32), value), None, shape, torsh.float32)
    return [values]


def test_what_saves_nothing_is_not_computed_again() -> None:
    """Each exp follows from one product of the same size, which would have to be kept in its place."""
    assert recompute.recompute(_chain(8)) == set()


def test_of_two_values_that_follow_from_one_only_that_one_is_kept() -> None:
    shape = (1, 1024, 1024)
    x = Node(LEAF, (), None, shape, torsh.float32)
    values, kept = x, []
    for _ in range(8):
        product = Node(CONTRACT, (values, x), None, shape, torsh.float32)
        values = Node(EXP, (product,), None, shape, torsh.float32)
        kept.append((values, Node(ADD, (product, product), None, shape, torsh.float32)))
    readers = []
    for value, other in reversed(kept):
        back = Node(CONTRACT, (values, x), None, shape, torsh.float32)
        values = Node(ADD, (Node(MUL, (back, value), None, shape, torsh.float32), other), None, shape, torsh.float32)
        readers.append(values)
    copies = recompute.recompute([values])
    again = [s for r in readers for s in (r.srcs[0].srcs[1], r.srcs[1])]
    assert sum(id(s) in copies for s in again) >= 10  # all but the last, which are near
    assert len(copies) <= sum(id(s) in copies for s in again) + 1  # and one for the product that the way back begins with


def test_temporaries_lie_in_outputs_until_those_are_written() -> None:
    lives = [(2 << 20, 0, 5), (1 << 20, 0, 2), (1 << 20, 3, 5), (1 << 20, 4, 9), (3 << 20, 1, 4)]
    memories = []
    for nbytes, first, last in lives:
        memory = Memory(nbytes)
        memory.first, memory.last = first, last
        memories.append(memory)
    free = [Space(3, 1 << 20, 6), Space(4, 2 << 20, 6), Space(5, 1 << 20, 3)]
    until = {s.value: s.until for s in free}
    size = {s.value: s.nbytes for s in free}
    top = arrange(memories, 9, free)
    shared = [m for m in memories if m.value is not None and m.value.index != 9]
    assert sum(m.nbytes for m in shared) >= 3 << 20
    assert top < sum(m.nbytes for m in memories) - (3 << 20) + 1
    for m in shared:
        assert m.value is not None
        assert m.last < until[m.value.index]
        assert m.nbytes <= size[m.value.index]
        assert m.value.offset == 0
        assert all(o is m or o.value != m.value or o.last < m.first or m.last < o.first for o in shared)


def test_a_first_step_updates_fresh_parameters_in_place_and_later_ones_their_own_states() -> None:
    model = nn.Sequential(nn.Linear(128, 128, bias=False), nn.ReLU(), nn.Linear(128, 128, bias=False))
    optimizer = torsh.optim.AdamW(model.parameters(), 1e-3)
    x = torsh.randn(16, 128)
    found = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        stats.reset()
        optimizer.step()
        found.append(stats.donations)
        loss.item()
    assert found == [2, 6, 6]  # a draw of so many numbers lies in memory of our own; then each weight and its two averages
