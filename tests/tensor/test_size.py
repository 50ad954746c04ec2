"""Size: what is made of sizes is one, as in PyTorch."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import torsh


@pytest.mark.parametrize("f", [
    lambda s: s([2, 3]) * 2, lambda s: 2 * s([2, 3]), lambda s: s([2]) + s([3]), lambda s: s([2]) + (3,), lambda s: (3,) + s([2]), lambda s: s([2, 3])[1:],
    lambda s: s([2, 3])[1], lambda s: s([2, 3]).numel(), lambda s: s([]).numel(), lambda s: s([2, 3]) == (2, 3), lambda s: s((2, 3)),
])
def test_arithmetic(f: Callable[[Any], Any]) -> None:
    assert repr(f(torsh.Size)).replace("torsh", "torch") == repr(f(torch.Size))
