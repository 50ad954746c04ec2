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


def test_what_is_missing_or_fails_has_a_reason_and_nothing_else() -> None:
    assert sorted(table.REASONS) == [key for key in sorted(EXPECTED) if table.is_missing(EXPECTED[key]) or not table.passes(EXPECTED[key])]


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


def test_judge_takes_each_element_by_itself() -> None:
    """One element that PyTorch's own rounding has far off excuses no other."""
    ours, theirs = torsh.tensor([1.0, 2.001]), torch.tensor([1.5, 2.0])
    exact = torch.tensor([1.0, 2.0], dtype=torch.float64)
    compare.same(torsh.tensor([1.0, 2.0]), theirs, exact=exact)
    with pytest.raises(compare.Differs, match="differs at 1 of 2"):
        compare.same(ours, theirs, exact=exact)
    with pytest.raises(compare.Differs, match="differs at 1 of 2"):
        compare.same(torsh.tensor([1.2, 2.0]), theirs, exact=exact)  # between PyTorch's and the exact one


def test_judge_accepts_a_gradient_at_any_of_equal_elements() -> None:
    sample = type("Sample", (), {"input": torch.tensor([[1.0, 3.0, 3.0]]), "args": (), "kwargs": {}})()
    compare.gradients_among_ties(sample, torsh.tensor([[0.0, 2.0, 0.0]]), torch.tensor([[0.0, 0.0, 2.0]]))
    for wrong in ([[2.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]], [[0.0, 2.5, 0.0]]):
        with pytest.raises(compare.Differs, match="equal elements"):
            compare.gradients_among_ties(sample, torsh.tensor(wrong), torch.tensor([[0.0, 0.0, 2.0]]))


def test_judge_refuses_factors_that_do_not_multiply_to_the_input() -> None:
    def wrong(a: torsh.Tensor, **options: object) -> object:
        u, s, v = torsh.linalg.svd(a, **options)
        return u, s, v * 1.001
    assert first("linalg.svd", torsh.linalg.svd) is None
    assert "U S V^H" in str(first("linalg.svd", wrong))


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
