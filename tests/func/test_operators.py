"""A part of PyTorch's operator database under vmap, against the same operators one example at a time (`python -m tests.func.operators`: all of it)."""
from __future__ import annotations

import warnings

import pytest

from tests.conformance.judge import ENTRIES
from tests.func.operators import judge

_WITHOUT_VALUES = {"argwhere", "nonzero", "unique", "bincount", "histc"}  # what they are depends on values
_CHOSEN = sorted({*list(ENTRIES)[::17], *_WITHOUT_VALUES} - {"empty_like", "new_empty", "new_empty_strided", "empty_strided", "empty"})


@pytest.mark.parametrize("key", _CHOSEN)
def test_operator(key: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = judge(key)
    if key in _WITHOUT_VALUES:
        assert "the value of a tensor was needed" in verdict
    else:
        assert verdict in ("same", "none")
