"""Joining, repeating, reordering and padding against PyTorch: values, dtypes, errors, derivatives."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh
from torsh.ops.join import pad_amounts, padded_by_index


def _x(*shape: int) -> torch.Tensor:
    return torch.arange(float(np.prod(shape)), dtype=torch.float64).reshape(shape) + 1


@given(st.data())
def test_cat_and_stack(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    d = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = []
    for n in data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4)):
        size = list(shape)
        size[d] = n
        parts.append(_x(*size) if data.draw(st.booleans()) else _x(*size[::-1]).permute(list(range(len(size)))[::-1]))
    agree(lambda m, *ts: m.cat(ts, d) ** 2, *parts, rtol=1e-12)
    same_shape = [_x(*shape)] * data.draw(st.integers(1, 3))
    agree(lambda m, *ts: m.stack(ts, d) ** 2, *same_shape, rtol=1e-12)


def test_cat_promotes_and_leaves_out_empty_vectors() -> None:
    a, b, c = torch.tensor([1, 2]), torch.tensor([0.5]), torch.zeros(0)
    same(torsh.cat([to_torsh(t) for t in (a, c, b)]), torch.cat([a, c, b]))
    same(torsh.cat([to_torsh(t) for t in (c, _x(2, 2))], 1), torch.cat([c, _x(2, 2)], 1))
    same(torsh.cat([to_torsh(c), to_torsh(c)]), torch.cat([c, c]))
    out = torsh.empty(0)
    assert torsh.cat([torsh.ones(2), torsh.zeros(1)], out=out) is out
    assert out.tolist() == [1, 1, 0]


def test_a_part_written_afterwards_does_not_change_the_whole() -> None:
    a = torsh.zeros(2)
    whole = torsh.cat([a, torsh.ones(1)])
    a.fill_(7)
    assert whole.tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", ["hstack", "vstack", "dstack", "column_stack", "row_stack", "atleast_1d", "atleast_2d", "atleast_3d"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 2)], ids=str)
def test_stacks(name: str, shape: tuple[int, ...]) -> None:
    agree(lambda m, a, b: getattr(m, name)([a, b]), _x(*shape), _x(*shape) * 2, twice=False)


CASES: dict[str, Any] = {
    "repeat": lambda m, x: x.repeat(2, 1, 3), "repeat list": lambda m, x: x.repeat([2, 3]), "repeat none": lambda m, x: x.repeat(0, 1),
    "tile": lambda m, x: m.tile(x, (2,)), "tile more": lambda m, x: x.tile((2, 1, 2)),
    "interleave": lambda m, x: x.repeat_interleave(3), "interleave dim": lambda m, x: m.repeat_interleave(x, 2, 1),
    "interleave counts": lambda m, x: m.repeat_interleave(x, m.tensor([2, 0]), 0), "interleave one": lambda m, x: x.repeat_interleave(m.tensor([2]), -1),
    "roll": lambda m, x: m.roll(x, 2), "roll dim": lambda m, x: x.roll(-1, 1), "roll dims": lambda m, x: x.roll((1, 5), (0, 1)),
    "roll twice": lambda m, x: x.roll((1, 1), (1, 1)), "roll nothing": lambda m, x: x.roll(3, 1),
    "flip": lambda m, x: x.flip(0, -1), "flip none": lambda m, x: x.flip(()), "flip list": lambda m, x: m.flip(x, [1]),
    "fliplr": lambda m, x: x.fliplr(), "flipud": lambda m, x: m.flipud(x.t()),
    "rot90": lambda m, x: m.rot90(x), "rot180": lambda m, x: x.rot90(2, (0, 1)), "rot270": lambda m, x: x.rot90(-1, [1, 0]),
    "broadcast": lambda m, x: m.broadcast_tensors(x, x[:1], x[0, 0]),
    "meshgrid": lambda m, x: m.meshgrid(x[0], x[:, 1], x[0, 0], indexing="ij"), "meshgrid xy": lambda m, x: m.meshgrid([x[0], x[:, 1], x[1]], indexing="xy"),
    "product": lambda m, x: m.cartesian_prod(x[0], x[:, 0]), "block_diag": lambda m, x: m.block_diag(x, x[0], x[0, 0], x.t()),
    "pad": lambda m, x: m.constant_pad_nd(x, (1, 2), 3.5), "pad both": lambda m, x: m.constant_pad_nd(x, (0, 1, 2, 0)),
    "pad cut": lambda m, x: m.constant_pad_nd(x, (-1, 2, 1, -1), 1.0), "pad nothing": lambda m, x: m.constant_pad_nd(x, (0, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_reordering(name: str) -> None:
    def f(m: Any, x: Any) -> Any:
        out = CASES[name](m, x)
        return tuple(t * t for t in out) if isinstance(out, (tuple, list)) else out * out
    agree(f, _x(2, 3), rtol=1e-12)
    agree(f, _x(3, 2).t(), rtol=1e-12)
    for dtype in (torch.int32, torch.bool, torch.float16):
        agree(CASES[name], _x(2, 3).to(dtype), grad=False)


def test_flip_and_roll_of_odd_shapes() -> None:
    for shape in ((), (0, 3), (1,), (2, 1, 3)):
        agree(lambda m, x: x.flip(tuple(range(x.ndim))), _x(*shape))
        agree(lambda m, x: x.roll(1), _x(*shape))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("pad", [(1, 2), (2, 0, 1, 1), (0, 1, 0, 0)], ids=str)
def test_padding_with_own_elements(mode: str, pad: tuple[int, ...]) -> None:
    def f(m: Any, x: Any) -> Any:
        if m is torch:
            return torch.nn.functional.pad(x, pad if len(pad) == 4 else (*pad, 0, 0), mode=mode) ** 2
        return padded_by_index(x, pad_amounts(4, pad), mode) ** 2
    agree(f, _x(1, 2, 3, 4), rtol=1e-12)


BAD = {
    "cat nothing": lambda m: m.cat([]), "cat scalars": lambda m: m.cat([m.tensor(1.0)]), "cat sizes": lambda m: m.cat([m.zeros(2, 2), m.zeros(2, 3)]),
    "cat ranks": lambda m: m.cat([m.zeros(2, 2), m.zeros(2)]), "cat dim": lambda m: m.cat([m.zeros(2)], 1),
    "stack nothing": lambda m: m.stack([]), "stack sizes": lambda m: m.stack([m.zeros(2), m.zeros(3)]),
    "repeat few": lambda m: m.zeros(2, 2).repeat(2), "interleave negative": lambda m: m.zeros(2).repeat_interleave(-1),
    "interleave length": lambda m: m.zeros(2).repeat_interleave(m.tensor([1, 2, 3]), 0), "flip twice": lambda m: m.zeros(2).flip(0, 0),
    "flip range": lambda m: m.zeros(2).flip(1), "roll dims": lambda m: m.zeros(2).roll((1, 2), 0), "fliplr": lambda m: m.zeros(2).fliplr(),
    "meshgrid": lambda m: m.meshgrid(m.zeros(2, 2), indexing="ij"), "broadcast": lambda m: m.broadcast_tensors(m.zeros(2), m.zeros(3)),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_have_pytorchs_type(name: str) -> None:
    theirs, ours = outcome(lambda: BAD[name](torch)), outcome(lambda: BAD[name](torsh))
    assert isinstance(theirs, type)
    assert ours is theirs
