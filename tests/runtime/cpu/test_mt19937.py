"""torsh.runtime.cpu.mt19937 against PyTorch's CPU generator: same seed, same numbers, same state afterwards."""
from __future__ import annotations

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torsh.runtime.cpu import mt19937
from torsh.runtime.cpu.mt19937 import MT19937Generator

BF16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64),
          torch.float16: np.dtype(np.float16), torch.bfloat16: BF16}
INTS = {torch.int64: np.int64, torch.int32: np.int32, torch.int16: np.int16, torch.int8: np.int8,
        torch.uint8: np.uint8, torch.bool: np.bool_}
SIZES = [*range(1, 19), 31, 32, 33, 100, 1000, 10007, 40000]


def _mkl() -> bool:
    """Whether this PyTorch draws scalar bernoulli and exponential from MKL (Intel processors)."""
    g = torch.Generator().manual_seed(0)
    torch.empty(4).bernoulli_(0.5, generator=g)
    return g.get_state()[16] != 8


needs_engine = pytest.mark.skipif(_mkl(), reason="PyTorch uses MKL's generator here")


def both(seed):
    return torch.Generator().manual_seed(seed), MT19937Generator(seed)


def array(t):
    return t.float().numpy().astype(BF16) if t.dtype == torch.bfloat16 else t.numpy()


def same(t, ours):
    theirs = array(t)
    assert theirs.dtype == ours.dtype
    assert theirs.shape == ours.shape
    np.testing.assert_array_equal(ours.astype(np.float64) if ours.dtype == BF16 else ours,
                                  theirs.astype(np.float64) if ours.dtype == BF16 else theirs)


def near(t, ours, ulps, scale=None):
    """Within `ulps` units in the last place of the dtype, at the size of the result or of `scale`."""
    theirs = array(t)
    assert theirs.dtype == ours.dtype
    assert theirs.shape == ours.shape
    a, b = theirs.astype(np.float64), ours.astype(np.float64)
    if not ulps:
        return same(t, ours)
    eps = float(ml_dtypes.finfo(ours.dtype).eps)
    size = np.maximum(np.abs(a), 0.0 if scale is None else scale)
    unit = np.exp2(np.floor(np.log2(np.maximum(size, 1e-30)))) * eps
    assert (np.abs(a - b) <= ulps * unit).all(), (np.abs(a - b) / unit).max()


def same_state(g, o):
    np.testing.assert_array_equal(g.get_state().numpy(), o.get_state())


# -- seeds and state ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, -1, -5, 2**32 - 1, 2**32 + 5, 2**63, 2**64 - 1, -(2**63)])
def test_seed(seed):
    g, o = both(seed)
    assert g.initial_seed() == o.initial_seed()
    same_state(g, o)
    same(torch.rand(5, generator=g), o.uniform(5))
    same_state(g, o)


def test_default_seed_and_entropy():
    o = MT19937Generator()
    assert o.initial_seed() == torch.Generator().initial_seed()
    assert o.seed() == o.initial_seed() != o.seed()


@pytest.mark.parametrize(("seed", "error"), [(2**64, ValueError), (-(2**63) - 1, ValueError),
                                             (1.5, RuntimeError), ("a", RuntimeError), (True, RuntimeError)])
def test_bad_seed(seed, error):
    with pytest.raises(error, match="manual_seed"):
        MT19937Generator().manual_seed(seed)
    with pytest.raises(error):
        torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("drawn", [0, 1, 5, 623, 624, 625, 1248, 2000])
def test_state_both_ways(drawn):
    g, o = both(11)
    torch.rand(drawn, generator=g)
    o.uniform(drawn)
    same_state(g, o)
    torch.randn(3, generator=g)  # leaves a cached sample
    o.normal(3)
    same_state(g, o)
    g2, o2 = torch.Generator(), MT19937Generator()
    g2.set_state(torch.from_numpy(o.get_state()))
    o2.set_state(g.get_state().numpy())
    near(torch.randn(4, dtype=torch.float64, generator=g2), o2.normal(4, np.float64), 0)
    same(torch.rand(1300, generator=g2), o2.uniform(1300))
    same_state(g2, o2)


def test_float_sample_travels():
    state = torch.Generator().get_state()
    state[5048:5053] = torch.tensor([0, 0, 32, 63, 1], dtype=torch.uint8)
    o = MT19937Generator()
    o.set_state(state.numpy())
    np.testing.assert_array_equal(o.get_state(), state.numpy())
    o.manual_seed(1)
    same_state(torch.Generator().manual_seed(1), o)


def test_copies_continue():
    o = MT19937Generator(3)
    o.normal(3)
    for twin in (copy.deepcopy(o), pickle.loads(pickle.dumps(o))):
        np.testing.assert_array_equal(twin.get_state(), o.get_state())
        assert twin.normal(1) == copy.deepcopy(o).normal(1)


def test_bad_state():
    o = MT19937Generator()
    with pytest.raises(TypeError, match="set_state"):
        o.set_state(np.zeros(5056))
    with pytest.raises(RuntimeError, match="5048"):
        o.set_state(np.zeros(5048, np.uint8))
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        o.set_state(np.zeros(5056, np.uint8))


# -- exact distributions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (-0.3, 0.7), (1.1, 9.3), (-1 / 3, 1 / 3),
                                           (0, 0.1), (2.0, 2.0), (-1e-3, 60000.0), (1e-3, 1.7e-3)])
def test_uniform(dtype, low, high):
    g, o = both(5)
    same(torch.empty(2, 40001, dtype=dtype).uniform_(low, high, generator=g),
         o.uniform((2, 40001), FLOATS[dtype], low, high))
    same_state(g, o)


@pytest.mark.parametrize(("dtype", "low"), [(torch.float32, 2.0**24), (torch.float64, 2.0**53)])
def test_uniform_never_high(dtype, low):
    g, o = both(5)
    ours = o.uniform(1000, FLOATS[dtype], low, low + 4)
    same(torch.empty(1000, dtype=dtype).uniform_(low, low + 4, generator=g), ours)
    assert ours.max() < low + 4


@pytest.mark.parametrize("dtype", [*INTS, *FLOATS], ids=str)
def test_random(dtype):
    g, o = both(5)
    same(torch.empty(3, 700, dtype=dtype).random_(generator=g), o.random((3, 700), {**INTS, **FLOATS}[dtype]))
    same_state(g, o)


@pytest.mark.parametrize("high", [1, 2, 10, 1000, 2**24, 2**28 - 1, 2**28, 2**28 + 1, 2**31, 2**32 - 1, 2**32,
                                  2**32 + 1, 2**62, 2**63 - 1])
@pytest.mark.parametrize("low", [0, -7, 3])
def test_randint(low, high):
    if (low < 0 and high == 2**63 - 1) or low >= high:
        pytest.skip("empty or beyond int64")
    g, o = both(5)
    same(torch.randint(low, high, (2000,), generator=g), o.random_from_to(2000, np.int64, low, high))
    same_state(g, o)


@pytest.mark.parametrize("dtype", [*INTS, torch.uint16, torch.uint32, torch.uint64], ids=str)
def test_randint_small_types(dtype):
    name = str(dtype).removeprefix("torch.").replace("bool", "bool_")
    g, o = both(5)
    for low, high in ((0, 2), (1, 2), (0, None), (1, None)):
        if dtype == torch.uint64 and high is None:
            continue
        same(torch.empty(50, dtype=dtype).random_(low, high, generator=g),
             o.random_from_to(50, getattr(np, name), low, high))
    same_state(g, o)


@pytest.mark.filterwarnings("ignore:to - 1 is out of bounds", "ignore:from is out of bounds")
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_randint_floats(dtype):
    digits = {torch.float16: 11, torch.bfloat16: 8, torch.float32: 24, torch.float64: 53}[dtype]
    g, o = both(5)
    top = 1 << digits
    for low, high in [(0, 300), (-1001, 1000), (top - 1, top + 3), (-top - 3, top + 3), (0, 8 * top - 1),
                      (-8 * top + 1, 0), (-8 * top - 1, 0), (0, None), (-3, None), (100, None)]:
        same(torch.empty(400, dtype=dtype).random_(low, high, generator=g),
             o.random_from_to(400, FLOATS[dtype], low, high))
    same_state(g, o)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_randint_full_range(dtype):
    g, o = both(5)
    same(torch.empty(100, dtype=dtype).random_(-(2**63), None, generator=g),
         o.random_from_to(100, {**INTS, **FLOATS}[dtype], -(2**63)))
    same_state(g, o)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 100, 625, 16384, 70001])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32], ids=str)
def test_randperm(n, dtype):
    g, o = both(n)
    same(torch.randperm(n, dtype=dtype, generator=g), o.permutation(n, {**INTS, **FLOATS}[dtype]))
    same_state(g, o)


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
def test_randperm_of_very_many(monkeypatch, n):
    """The 64-bit form, which PyTorch uses from 214748364 elements on, at small sizes against its loop."""
    monkeypatch.setattr(mt19937, "_SHUFFLE_TWO_WORDS", 2)
    o, words = MT19937Generator(n), MT19937Generator(n)
    expected = list(range(n))
    halves = words.words(2 * n).tolist()
    for i in range(n):
        j = (halves[2 * i] * 2**32 + halves[2 * i + 1]) % (i + 1)
        expected[i], expected[j] = expected[j], i
    assert o.permutation(n).tolist() == expected
    np.testing.assert_array_equal(o.get_state(), words.get_state())


@needs_engine
@pytest.mark.parametrize("p", [0.0, 1.0, 0.5, 0.3, 0.9, 1e-9, 1 / 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int64, torch.bfloat16], ids=str)
def test_bernoulli_scalar(p, dtype):
    g, o = both(5)
    same(torch.empty(3, 20000, dtype=dtype).bernoulli_(p, generator=g),
         o.bernoulli((3, 20000), p, {**INTS, **FLOATS}[dtype]))
    same_state(g, o)


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.int64])
def test_bernoulli_at_the_edge(dtype):
    """A probability that one of the uniform numbers equals, and its neighbours: the comparison is exact."""
    u = MT19937Generator(3).uniform(300, np.float64)
    for at in (0, 7, 255, 299):
        for p in (u[at], np.nextafter(u[at], 0), np.nextafter(u[at], 1)):
            np.testing.assert_array_equal(MT19937Generator(3).bernoulli(300, float(p), dtype), (u < p).astype(dtype))
            np.testing.assert_array_equal(MT19937Generator(3).bernoulli(300, np.full(300, p), dtype), (u < p).astype(dtype))


@pytest.mark.parametrize("p_dtype", FLOATS, ids=str)
def test_bernoulli_array(p_dtype):
    g, o = both(5)
    p = torch.linspace(0, 1, 40000).to(p_dtype)
    same(torch.bernoulli(p, generator=g), o.bernoulli(40000, array(p), FLOATS[p_dtype]))
    same(torch.empty(3, 40000).bernoulli_(p, generator=g), o.bernoulli((3, 40000), array(p)))
    same_state(g, o)


@pytest.mark.parametrize("p", [0.3, 0.003, 0.99])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int32],
                         ids=str)
def test_geometric(p, dtype):
    g, o = both(5)
    same(torch.empty(5000, dtype=dtype).geometric_(p, generator=g),
         o.geometric(5000, {**INTS, **FLOATS}[dtype], p))
    same_state(g, o)


# -- distributions through log, sin, cos: within some ulp ---------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_normal(dtype, size):
    """Exact below 16; else 5 ulp (1 ulp for the 16-bit types), of the larger of result and mean."""
    g, o = both(size)
    exact = size < 16
    ulps = 0 if exact else 1 if dtype in (torch.float16, torch.bfloat16) else 5
    for mean, std, scale in ((0, 1, None), (0, 3, None), (0.25, 3, 0.25), (-10.0, 0.1, 10.0), (2, 0, None)):
        near(torch.empty(size, dtype=dtype).normal_(mean, std, generator=g),
             o.normal(size, FLOATS[dtype], mean, std), ulps, scale)
        same_state(g, o)


def test_normal_mixed_calls():
    g, o = both(2)
    for i, size in enumerate([3, 16, 1, 17, 5, 5, 1000, 15, 1, 100, 2, 31, 7]):
        dtype = list(FLOATS)[i % 4]
        near(torch.empty(size, dtype=dtype).normal_(generator=g), o.normal(size, FLOATS[dtype]), 5)
        same_state(g, o)


@pytest.mark.parametrize("size", [1, 5, 32, 33, 1001, 40001])
def test_log_normal(size):
    g, o = both(size)
    near(torch.empty(size).log_normal_(0.5, 2.3, generator=g), o.log_normal(size, np.float32, 0.5, 2.3), 1)
    same_state(g, o)
    near(torch.empty(size, dtype=torch.float64).log_normal_(generator=g), o.log_normal(size, np.float64), 20)
    same_state(g, o)


@needs_engine
@pytest.mark.parametrize(("dtype", "ulps"), [(torch.float32, 1), (torch.float64, 2), (torch.float16, 1),
                                        (torch.bfloat16, 1)], ids=str)
def test_exponential(dtype, ulps):
    g, o = both(5)
    near(torch.empty(2, 20000, dtype=dtype).exponential_(2.3, generator=g),
         o.exponential((2, 20000), FLOATS[dtype], 2.3), ulps)
    same_state(g, o)


@pytest.mark.parametrize(("dtype", "ulps"), [(torch.float32, 1), (torch.float64, 3), (torch.float16, 1),
                                        (torch.bfloat16, 1)], ids=str)
def test_cauchy(dtype, ulps):
    g, o = both(5)
    near(torch.empty(40000, dtype=dtype).cauchy_(0.5, 2.3, generator=g),
         o.cauchy(40000, FLOATS[dtype], 0.5, 2.3), ulps, scale=0.5)
    same_state(g, o)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", [(40,), (5, 40), (3, 1), (2, 1000)], ids=str)
@pytest.mark.parametrize(("samples", "replacement"), [(7, True), (200, True)])
def test_multinomial_replacement(dtype, shape, samples, replacement):
    g, o = both(5)
    p = torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    same(torch.multinomial(p, samples, replacement, generator=g),
         o.multinomial(array(p), samples, replacement))
    same_state(g, o)


@needs_engine
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("samples", "replacement"), [(1, True), (1, False), (7, False)])
def test_multinomial_race(dtype, samples, replacement):
    g, o = both(5)
    if samples > 1 and dtype in (torch.float16, torch.bfloat16):
        pytest.skip("ties are common, and PyTorch's topk leaves their order open")
    for shape in ((40,), (5, 40), (2, 300)):
        p = torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        same(torch.multinomial(p, samples, replacement, generator=g),
             o.multinomial(array(p), samples, replacement))
    same_state(g, o)


# -- interleavings -----------------------------------------------------------------------------------------

CALLS = {
    "rand": (lambda g, n: torch.rand(n, generator=g), lambda o, n: o.uniform(n), 0),
    "rand64": (lambda g, n: torch.empty(n, dtype=torch.float64).uniform_(-0.3, 1.9, generator=g),
               lambda o, n: o.uniform(n, np.float64, -0.3, 1.9), 0),
    "randint": (lambda g, n: torch.randint(0, n, (n,), generator=g),
                lambda o, n: o.random_from_to(n, np.int64, 0, n), 0),
    "randint64": (lambda g, n: torch.randint(-n, 2**40, (n,), generator=g),
                  lambda o, n: o.random_from_to(n, np.int64, -n, 2**40), 0),
    "random": (lambda g, n: torch.empty(n).random_(generator=g), lambda o, n: o.random(n, np.float32), 0),
    "randperm": (lambda g, n: torch.randperm(n, generator=g), lambda o, n: o.permutation(n), 0),
    "randn": (lambda g, n: torch.randn(n, generator=g), lambda o, n: o.normal(n), 8),
    "randn64": (lambda g, n: torch.randn(n, dtype=torch.float64, generator=g),
                lambda o, n: o.normal(n, np.float64), 5),
    "bernoulli": (lambda g, n: torch.bernoulli(torch.full((n,), 0.4), generator=g),
                  lambda o, n: o.bernoulli(n, np.array(0.4, np.float32)), 0),
    "log_normal": (lambda g, n: torch.empty(n).log_normal_(generator=g), lambda o, n: o.log_normal(n), 1),
}


@settings(max_examples=60, deadline=None)
@given(st.integers(-(2**63), 2**64 - 1),
       st.lists(st.tuples(st.sampled_from([*CALLS, "to torch", "from torch"]), st.integers(1, 700)),
                max_size=12))
def test_interleaved(seed, steps):
    g, o = both(seed)
    for name, n in steps:
        if name == "to torch":
            g.set_state(torch.from_numpy(o.get_state()))
        elif name == "from torch":
            o.set_state(g.get_state().numpy())
        else:
            theirs, ours, ulps = CALLS[name]
            near(theirs(g, n), ours(o, n), ulps)
        same_state(g, o)


# -- errors, shapes ------------------------------------------------------------------------


ERRORS = [
    (lambda o: o.uniform(3, np.float32, 1, 0), RuntimeError, "from=1 > to=0"),
    (lambda o: o.uniform(3, np.int64), NotImplementedError, "int64"),
    (lambda o: o.uniform(3, np.float16, 0, 70000), RuntimeError, "to is out of bounds"),
    (lambda o: o.uniform(3, np.float32, -3e38, 3e38), RuntimeError, "to-from"),
    (lambda o: o.normal(3, np.float32, 0, -1), RuntimeError, "std >= 0.0"),
    (lambda o: o.normal(3, np.int64), NotImplementedError, "normal"),
    (lambda o: o.random_from_to(3, np.int64, 5, 5), RuntimeError, "from=5 >= to=5"),
    (lambda o: o.random_from_to(3, np.uint8, 0, 1000), RuntimeError, "to - 1 is out of bounds"),
    (lambda o: o.random_from_to(3, np.uint8, -1, 5), RuntimeError, "from is out of bounds"),
    (lambda o: o.random_from_to(3, np.int32, -2**63), RuntimeError, "64-bit"),
    (lambda o: o.random_from_to(3, np.bool_, 5), RuntimeError, "from is out of bounds"),
    (lambda o: o.random_from_to(3, np.complex64, 0, 5), NotImplementedError, "complex64"),
    (lambda o: o.random_from_to(3, np.float16, 0, 2**40), RuntimeError, "to - 1"),
    (lambda o: o.random(3, np.uint16), NotImplementedError, "uint16"),
    (lambda o: o.permutation(-1), RuntimeError, "n must be >= 0"),
    (lambda o: o.permutation(257, np.uint8), RuntimeError, "greater than 256"),
    (lambda o: o.permutation(2, np.bool_), NotImplementedError, "randperm"),
    (lambda o: o.bernoulli(3, 1.5), RuntimeError, "p=1.5"),
    (lambda o: o.bernoulli(3, np.array([0.1, 0.2, np.nan])), RuntimeError, "nan"),
    (lambda o: o.bernoulli(3, np.array([0, 1, 1])), NotImplementedError, "int64"),
    (lambda o: o.exponential(3, np.float32, 0), RuntimeError, "lambda > 0.0"),
    (lambda o: o.exponential(3, np.int64), RuntimeError, "continuous"),
    (lambda o: o.geometric(3, np.float32, 1.0), RuntimeError, "p=1"),
    (lambda o: o.geometric(3, np.bool_, 0.5), NotImplementedError, "bool"),
    (lambda o: o.log_normal(3, np.float32, 0, 0), RuntimeError, "std > 0.0"),
    (lambda o: o.cauchy(3, np.float32, 0, -1), RuntimeError, "sigma > 0.0"),
    (lambda o: o.multinomial(np.array([-1.0, 1]), 1), RuntimeError, "element < 0"),
    (lambda o: o.multinomial(np.array([0.0, 0]), 1), RuntimeError, "sum of probabilities"),
    (lambda o: o.multinomial(np.array([0.5, 1]), 3), RuntimeError, "without replacement"),
    (lambda o: o.multinomial(np.array([0.5, 1]), 0), RuntimeError, "n_sample <= 0"),
    (lambda o: o.multinomial(np.ones((2, 2, 2)), 1), RuntimeError, "1 or 2 dim"),
    (lambda o: o.multinomial(np.array([1, 2]), 1), RuntimeError, "floating-point"),
]


@pytest.mark.parametrize(("call", "error", "text"), ERRORS)
def test_errors(call, error, text):
    o = MT19937Generator(0)
    before = o.get_state()
    with pytest.raises(error, match=text):
        call(o)
    np.testing.assert_array_equal(o.get_state(), before)  # a refused call draws nothing


@pytest.mark.parametrize("shape", [0, (), (0, 3), (2, 0)], ids=str)
def test_empty_and_scalar_shapes(shape):
    g, o = both(0)
    theirs = (shape,) if isinstance(shape, int) else shape
    same(torch.rand(theirs, generator=g), o.uniform(shape))
    same(torch.randn(theirs, generator=g), o.normal(shape))
    same(torch.randint(0, 9, theirs, generator=g), o.random_from_to(shape, np.int64, 0, 9))
    same_state(g, o)


@pytest.mark.parametrize("sizes", [(1, 3, 20, 7, 15, 33, 2)], ids=str)
def test_few_and_many_in_turn_share_one_stream(sizes):
    """Small draws are made one at a time, large ones by arrays; the kept normal number goes from one to the other."""
    g, o = both(9)
    for n in sizes:
        same(torch.rand(n, generator=g), o.uniform(n))
        same(torch.rand(n, dtype=torch.float64, generator=g), o.uniform(n, np.float64))
        near(torch.randn(n, generator=g), o.normal(n), 4, scale=1)
        near(torch.empty(n).log_normal_(generator=g), o.log_normal(n), 2)
        same(torch.randint(3, 50, (n,), generator=g), o.random_from_to(n, np.int64, 3, 50))
        same_state(g, o)


def test_rewinding_to_a_mark():
    g = MT19937Generator(1)
    g.normal(3)
    for count in (1, 700, 100000):
        mark, state = g.mark(), g.get_state()
        first = g.uniform(count)
        g.normal(5)
        g.rewind(mark)
        np.testing.assert_array_equal(g.get_state(), state)
        np.testing.assert_array_equal(g.uniform(count), first)
    fresh = MT19937Generator(2)
    mark, state = fresh.mark(), fresh.get_state()
    fresh.words(5)
    fresh.rewind(mark)
    np.testing.assert_array_equal(fresh.get_state(), state)
