"""Recurrent modules and sequence utilities against PyTorch: initial weights, outputs, states, first and second derivatives."""
from __future__ import annotations

import copy
import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import same

OPTIONS: list[dict[str, Any]] = [
    {}, {"bias": False}, {"num_layers": 2, "batch_first": True}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True, "bias": False},
]
KINDS: list[tuple[str, dict[str, Any]]] = [(kind, options) for kind in ("RNN", "LSTM", "GRU") for options in OPTIONS]
KINDS += [("RNN", {"nonlinearity": "relu", "num_layers": 2}), ("LSTM", {"proj_size": 2}), ("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True})]


def pair(kind: str, *args: Any, **options: Any) -> list[Any]:
    """The same module in both, in float64, with the weights that one seed gives."""
    made = []
    for t in (torsh, torch):
        t.manual_seed(0)
        made.append(getattr(t.nn, kind)(*args, **options, dtype=t.float64))
    return made


def flat(result: Any) -> list[Any]:
    if isinstance(result, (torsh.nn.utils.rnn.PackedSequence, torch.nn.utils.rnn.PackedSequence)):
        return [result.data]
    return [r for part in result for r in flat(part)] if isinstance(result, (tuple, list)) else [result]


def compare(modules: list[Any], inputs: list[Any], run: Any, twice: bool = True) -> None:
    """`run(t, module, *tensors)`: its results, and the gradients of a mixture of them by inputs and weights, and theirs again."""
    found = []
    for t, module in zip((torsh, torch), modules, strict=True):
        tensors = [t.tensor(x, requires_grad=True) for x in inputs]
        results = flat(run(t, module, *tensors))
        wanted = [*tensors, *module.parameters()]
        total = sum((r * (r + i)).sum() for i, r in enumerate(results))
        grads = t.autograd.grad(total, wanted, create_graph=twice, allow_unused=True)
        again = []
        if twice:
            again = t.autograd.grad(sum((g * g).sum() for g in grads if g is not None), wanted, allow_unused=True)
        found.append(([r.detach() for r in results], [g for g in grads if g is not None], [g for g in again if g is not None]))
    for ours, theirs in zip(*found, strict=True):
        same(ours, theirs, 1e-9, 1e-10)


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=str)
def test_weights_outputs_and_derivatives(kind: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    modules = pair(kind, 3, 4, **options)
    ours, theirs = modules
    assert repr(ours) == repr(theirs)
    same(list(ours.state_dict().values()), list(theirs.state_dict().values()))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = rng.normal(size=(2, 3, 3) if options.get("batch_first") else (3, 2, 3))
    compare(modules, [x], lambda t, m, x: m(x))
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    states = [rng.normal(size=(layers, 2, options.get("proj_size", 4)))]
    if kind == "LSTM":
        states.append(rng.normal(size=(layers, 2, 4)))
    compare(modules, [x, *states], lambda t, m, x, *s: m(x, s if kind == "LSTM" else s[0]), twice=False)
    compare(modules, [x[:, 0] if not options.get("batch_first") else x[0], *[s[:, 0] for s in states]],
            lambda t, m, x, *s: m(x, s if kind == "LSTM" else s[0]), twice=False)


@pytest.mark.parametrize("enforce", [True, False])
@pytest.mark.parametrize(("kind", "options"), [("RNN", {"bidirectional": True}), ("GRU", {"num_layers": 2, "bidirectional": True}),
                                               ("LSTM", {"num_layers": 2, "bidirectional": True}), ("LSTM", {"proj_size": 3})], ids=str)
def test_packed_sequences(kind: str, options: dict[str, Any], enforce: bool, rng: np.random.Generator) -> None:
    modules = pair(kind, 3, 4, **options)
    x, lengths = rng.normal(size=(6, 4, 3)), ([6, 4, 4, 1] if enforce else [2, 6, 1, 5])
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    states = [rng.normal(size=(layers, 4, options.get("proj_size", 4)))]
    if kind == "LSTM":
        states.append(rng.normal(size=(layers, 4, 4)))

    def run(t: Any, m: Any, x: Any, *s: Any) -> Any:
        rnn = t.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=enforce)
        out, last = m(packed, (s if kind == "LSTM" else s[0]) if s else None)
        padded, found = rnn.pad_packed_sequence(out, padding_value=0.5, total_length=7)
        assert found.tolist() == lengths
        return padded, last
    compare(modules, [x], run, twice=False)
    compare(modules, [x, *states], run, twice=not enforce and options.get("num_layers", 1) == 1)


SIZES = [(1, 1, 1, 1), (5, 7, 1, 1), (3, 17, 5, 13), (4, 33, 3, 2), (2, 16, 3, 8), (6, 48, 2, 26), (3, 4, 2, 0)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("kind", "options"), [("RNN", {}), ("RNN", {"nonlinearity": "relu", "bias": False}), ("LSTM", {}), ("GRU", {})], ids=str)
def test_all_steps_in_one_kernel(kind: str, options: dict[str, Any], sizes: tuple[int, ...], rng: np.random.Generator) -> None:
    inputs, hidden, steps, n = sizes
    modules = pair(kind, inputs, hidden, bidirectional=True, **options)
    x = rng.normal(size=(steps, n, inputs))
    states = [rng.normal(size=(2, n, hidden)) for _ in range(2 if kind == "LSTM" else 1)]
    compare(modules, [x, *states], lambda t, m, x, *s: m(x, s if kind == "LSTM" else s[0]), twice=False)
    compare(modules, [x, *states], lambda t, m, x, *s: m(x, s if kind == "LSTM" else s[0])[1], twice=False)  # last states only
    with torsh.no_grad():
        same(modules[0](torsh.tensor(x))[0], modules[1](torch.tensor(x))[0].detach(), 1e-9, 1e-10)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_launches_do_not_grow_with_the_steps_and_threads_change_no_bit(kind: str, rng: np.random.Generator) -> None:
    from torsh.compiler.execute import stats
    m = getattr(torsh.nn, kind)(9, 40)
    before, counts = torsh.get_num_threads(), []
    for steps in (2, 30):
        x = torsh.tensor(rng.normal(size=(steps, 37, 9)).astype(np.float32))
        found = []
        for threads in (1, 2):
            torsh.set_num_threads(threads)
            stats.reset()
            m.zero_grad()
            m(x)[0].square().sum().backward()
            found.append([p.grad.numpy().copy() for p in m.parameters()])
            assert stats.runs == 1  # one gradient is not computed without the others
            counts.append(stats.launches)
        torsh.set_num_threads(before)
        for a, b in zip(*found, strict=True):
            np.testing.assert_array_equal(a, b)
    assert max(counts) - min(counts) <= 1  # two products of one size may be one launch


def test_a_vmapped_layer_and_one_on_the_reference_runtime(rng: np.random.Generator) -> None:
    from torsh.core import config
    m, x = torsh.nn.LSTM(3, 4, dtype=torsh.float64), torsh.tensor(rng.normal(size=(5, 3, 2, 3)))
    plain = torsh.stack([m(x[i])[0] for i in range(5)]).detach()
    np.testing.assert_allclose(torsh.func.vmap(lambda x: m(x)[0])(x).detach().numpy(), plain.numpy(), rtol=1e-10)
    m(x[0])[0].sum().backward()
    wanted, m.weight_hh_l0.grad = m.weight_hh_l0.grad.numpy(), None
    before = config.RUNTIME
    config.RUNTIME = "reference"
    try:
        m(x[0])[0].sum().backward()
        np.testing.assert_allclose(m.weight_hh_l0.grad.numpy(), wanted, rtol=1e-10)
    finally:
        config.RUNTIME = before


@pytest.mark.parametrize(("kind", "options"), [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu", "bias": False}), ("LSTMCell", {}),
                                               ("LSTMCell", {"bias": False}), ("GRUCell", {}), ("GRUCell", {"bias": False})], ids=str)
def test_cells(kind: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    modules = pair(kind, 3, 4, **options)
    assert repr(modules[0]) == repr(modules[1])
    x, h, c = rng.normal(size=(2, 3)), rng.normal(size=(2, 4)), rng.normal(size=(2, 4))
    compare(modules, [x], lambda t, m, x: m(x))
    given = [x, h, c] if kind == "LSTMCell" else [x, h]
    compare(modules, given, lambda t, m, x, *s: m(x, s if kind == "LSTMCell" else s[0]))
    compare(modules, [g[0] for g in given], lambda t, m, x, *s: m(x, s if kind == "LSTMCell" else s[0]))


def test_dropout_between_layers_is_drawn_as_in_pytorch(rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 2, 3))
    found = []
    for t, m in zip((torsh, torch), pair("GRU", 3, 4, num_layers=3, dropout=0.4), strict=True):
        t.manual_seed(3)
        found.append(m(t.tensor(x))[0].detach())
    same(found[0], found[1], 1e-9, 1e-10)


def test_a_layer_is_one_node_whatever_the_number_of_steps() -> None:
    from torsh.graph.node import Node
    counts = []
    for steps in (4, 9):
        m, x = torsh.nn.LSTM(3, 4), torsh.ones(steps, 2, 3)
        before = Node.__init__
        made = 0

        def counted(self: Any, *args: Any, before: Any = before) -> None:
            nonlocal made
            made += 1
            before(self, *args)
        Node.__init__ = counted  # type: ignore[method-assign]
        try:
            m(x)
        finally:
            Node.__init__ = before  # type: ignore[method-assign]
        counts.append(made)
    assert counts[0] == counts[1] < 40


def outcome(f: Any, t: Any) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            f(t)
        except Exception as error:
            text = re.sub(r"^(GRU|LSTM|RNN)(Cell)?: ", "", str(error))  # the module's path, which some of PyTorch's messages begin with too
            return type(error).__name__, text.replace("torsh.", "torch.")
    return [str(w.message) for w in caught]


@pytest.mark.parametrize("act", [
    lambda t: t.nn.GRU(3, 4, dropout=2), lambda t: t.nn.GRU(3, 4, dropout=0.5), lambda t: t.nn.GRU(0, 4), lambda t: t.nn.GRU(3, 4.0),
    lambda t: t.nn.GRU(3, 4, num_layers=0), lambda t: t.nn.GRU(3, 4, bias=1), lambda t: t.nn.GRU(3, 4, proj_size=2),
    lambda t: t.nn.LSTM(3, 4, proj_size=4), lambda t: t.nn.LSTM(3, 4, proj_size=-1), lambda t: t.nn.RNN(3, 4, nonlinearity="sin"),
    lambda t: t.nn.GRU(3, 4)(t.zeros(3)), lambda t: t.nn.GRU(3, 4)(t.zeros(3, 2, 5)), lambda t: t.nn.GRU(3, 4)(t.zeros(3, 2, 3, dtype=t.float64)),
    lambda t: t.nn.GRU(3, 4)(t.zeros(3, 2, 3), t.zeros(1, 3, 4)), lambda t: t.nn.GRU(3, 4)(t.zeros(3, 2, 3), t.zeros(2, 4)),
    lambda t: t.nn.LSTM(3, 4)(t.zeros(3, 2, 3), (t.zeros(1, 2, 4), t.zeros(1, 2, 3))), lambda t: t.nn.LSTM(3, 4)(t.zeros(3, 3), (t.zeros(1, 2, 4),) * 2),
    lambda t: t.nn.RNN(3, 4)(t.zeros(3)), lambda t: t.nn.GRUCell(3, 4)(t.zeros(1, 2, 3)), lambda t: t.nn.GRUCell(3, 4)(t.zeros(2, 5)),
    lambda t: t.nn.RNNCell(3, 4, nonlinearity="x")(t.zeros(2, 3)), lambda t: t.nn.LSTMCell(3, 4)(t.zeros(2, 3), (t.zeros(1, 2, 4),) * 2),
    lambda t: t.nn.GRU(3, 4)(t.zeros(0, 2, 3)),
    lambda t: t.nn.utils.rnn.pack_padded_sequence(t.zeros(3, 2, 1), [2, 3]),
    lambda t: t.nn.utils.rnn.pad_packed_sequence(t.nn.utils.rnn.pack_sequence([t.zeros(3)]), total_length=2),
    lambda t: t.nn.utils.rnn.pad_sequence([]), lambda t: t.nn.utils.rnn.pad_sequence(3),
    lambda t: t.nn.utils.rnn.pack_padded_sequence(t.zeros(3, 0, 1), []),
])
def test_errors_and_warnings_are_pytorchs(act: Any) -> None:
    ours, theirs = outcome(act, torsh), outcome(act, torch)
    assert ours == theirs
    assert theirs


@pytest.mark.parametrize("act", [
    lambda t: t.nn.utils.rnn.pack_padded_sequence(t.zeros(3, 2, 1), [3, 0]),
    lambda t: t.nn.utils.rnn.pack_padded_sequence(t.zeros(3, 2, 1), [3]), lambda t: t.nn.utils.rnn.pad_sequence([t.zeros(2, 1), t.zeros(2, 2)]),
    lambda t: t.nn.utils.rnn.pad_sequence([t.zeros(2)], padding_side="top"), lambda t: t.nn.GRUCell(3, 4)(t.zeros(2, 3), t.zeros(3, 4)),
])
def test_errors_are_of_pytorchs_type(act: Any) -> None:
    ours, theirs = outcome(act, torsh), outcome(act, torch)
    assert ours[0] == theirs[0]


def test_sequence_utilities(rng: np.random.Generator) -> None:
    data = [rng.normal(size=(n, 2)) for n in (2, 4, 1)]
    found = []
    for t in (torsh, torch):
        rnn = t.nn.utils.rnn
        given = [t.tensor(d) for d in data]
        packed = rnn.pack_sequence(given, enforce_sorted=False)
        half = packed.half()
        first, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0)
        found.append([*packed, first, lengths, *rnn.unpack_sequence(packed), rnn.pad_sequence(given), rnn.pad_sequence(given, True, 7.0),
                      rnn.pad_sequence(given, padding_side="left"), *rnn.unpad_sequence(rnn.pad_sequence(given, True), t.tensor([2, 4, 1]), True),
                      half.data, rnn.invert_permutation(t.tensor([2, 0, 1]))])
        assert packed.is_cuda is False
        assert packed.cpu() is packed
    same(found[0], found[1])


def test_copies_share_nothing_and_weights_can_be_replaced() -> None:
    m = torsh.nn.LSTM(2, 3)
    twin = copy.deepcopy(m)
    with torsh.no_grad():
        twin.weight_hh_l0.zero_()
    x = torsh.ones(4, 1, 2)
    assert not np.array_equal(m(x)[0].detach().numpy(), twin(x)[0].detach().numpy())
    assert m._flat_weights[1] is m.weight_hh_l0
    m.flatten_parameters()
    m.double()
    assert m(x.double())[0].dtype is torsh.float64
