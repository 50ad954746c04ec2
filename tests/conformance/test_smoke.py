"""A spread of the operator database over all families, checked against the expected table; `make conformance` runs all of it."""
from __future__ import annotations

import numpy as np
import pytest
import torch

import torsh
from tests.conformance import compare, judge, table
from tests.conformance.judge import CHECKS, ENTRIES, FAIL, PASS, applies, is_missing
from tests.conformance.judge import judge as judge_check

EXPECTED = table.load()
SMOKE = sorted(ENTRIES)[::9]


def test_every_entry_of_the_database_has_a_line() -> None:
    assert table.unknown_entries(EXPECTED) == []


def test_what_is_expected_to_be_missing_is_missing() -> None:
    assert [key for key in ENTRIES if is_missing(key)] == [key for key in sorted(EXPECTED) if table.is_missing(EXPECTED[key])]


def test_the_page_shows_the_table() -> None:
    assert table.PAGE.read_text() == table.page(EXPECTED)


@pytest.mark.parametrize("key", SMOKE)
def test_entry(key: str) -> None:
    if table.is_missing(EXPECTED[key]):
        assert is_missing(key)
        return
    verdicts = {check: judge_check(key, check) for check in CHECKS if applies(ENTRIES[key], check)}
    found = {check: "".join(PASS if why is None else FAIL for why in verdict.values()) for check, verdict in verdicts.items()}
    assert table.differences({key: EXPECTED[key]}, {key: found}) == [], {c: v for c, v in verdicts.items() if set(found[c]) != {PASS}}


# ---- the judge itself: what is wrong is found


def first(key: str, ours: object) -> str | None:
    return judge.first_failure(judge.forward_samples(ENTRIES[key], ours, torch.float32))


def test_judge_accepts_the_same_and_refuses_another_value_dtype_and_shape() -> None:
    assert first("exp", torsh.exp) is None
    assert "differs at" in str(first("exp", lambda x: torsh.exp(x) * 1.001))
    assert "float64" in str(first("exp", lambda x: torsh.exp(x).double()))
    assert "has shape" in str(first("exp", lambda x: torsh.exp(x).unsqueeze(0)))


def test_judge_refuses_a_copy_where_pytorch_gives_a_view() -> None:
    assert first("transpose", torsh.transpose) is None
    assert "share the memory" in str(first("transpose", lambda x, a, b: torsh.transpose(x, a, b).clone()))


def test_judge_refuses_a_wrong_gradient() -> None:
    def wrong(x: torsh.Tensor) -> torsh.Tensor:
        return torsh.sin(x).detach() + 2 * (x - x.detach())
    assert first("sin", wrong) is None
    assert "gradient 0 differs" in str(judge.first_failure(judge.backward_samples(ENTRIES["sin"], wrong, torch.float32)))


def test_judge_refuses_other_distributions() -> None:
    assert first("bernoulli", lambda x: (torsh.rand(x.shape) < 0.3).float()) is not None
    sample = next(iter(ENTRIES["nn.functional.dropout"].sample_inputs("cpu", torch.float32)))
    sample.input = torch.ones(30, 30)
    sample.kwargs["p"] = 0.5

    def later(x: torsh.Tensor, p: float, training: bool) -> torsh.Tensor:
        torsh.rand(5)  # other draws, the same distribution
        return torsh.nn.functional.dropout(x, p)
    judge.alike_over_seeds(torch.nn.functional.dropout, later, sample)
    with pytest.raises(compare.Differs, match="distribution"):
        judge.alike_over_seeds(torch.nn.functional.dropout, lambda x, p, training: later(x, 0.4, True), sample)


def test_judge_wants_pytorchs_error_type() -> None:
    wrong = next(iter(ENTRIES["cat"].error_inputs("cpu")))
    judge.error(torch.cat, torsh.cat, wrong)
    with pytest.raises(compare.Differs, match="no error"):
        judge.error(torch.cat, lambda *a, **k: torsh.zeros(1), wrong)


def test_conversion_keeps_aliasing_and_strides() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    a, b = judge.Converter()([base, base.t()[1:]])
    assert (a.stride(), b.stride(), b.storage_offset()) == ((4, 1), (1, 4), 1)
    a.mul_(2)
    np.testing.assert_array_equal(b.numpy(), base.t()[1:].numpy() * 2)
    half = torch.tensor([1.5, -2.25], dtype=torch.bfloat16)
    assert judge.Converter()(half).tolist() == half.tolist()
