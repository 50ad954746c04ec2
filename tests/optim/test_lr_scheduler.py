"""Schedules against PyTorch: rates and momenta over many steps, saved states, warnings and errors."""
from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import torsh


class Halves:
    """A function of the step that is an object."""

    def __init__(self, base: float) -> None:
        self.base = base

    def __call__(self, step: float) -> float:
        return self.base ** step


def optimizer_of(t: Any, kind: str = "SGD", lr: Any = 0.5) -> Any:
    options = {"momentum": 0.9} if kind in ("SGD", "RMSprop") else {}
    return getattr(t.optim, kind)([{"params": [t.ones(1, requires_grad=True)]}, {"params": [t.ones(2, requires_grad=True)], "lr": 0.2}], lr=lr, **options)


MAKERS: dict[str, Any] = {
    "lambda": lambda s, o: s.LambdaLR(o, lambda e: 0.9 ** e), "lambdas": lambda s, o: s.LambdaLR(o, [lambda e: 1 / (e + 1), Halves(0.5)]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.9 + 0.01 * e), "step": lambda s, o: s.StepLR(o, 3, 0.5),
    "multistep": lambda s, o: s.MultiStepLR(o, [2, 5, 5], 0.5), "constant": lambda s, o: s.ConstantLR(o, 0.5, 4),
    "linear": lambda s, o: s.LinearLR(o, 0.25, 0.75, 6), "exponential": lambda s, o: s.ExponentialLR(o, 0.8),
    "polynomial": lambda s, o: s.PolynomialLR(o, 6, 2.0), "cosine": lambda s, o: s.CosineAnnealingLR(o, 4, 0.1),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3), "restarts_longer": lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 2, 0.05),
    "cyclic": lambda s, o: s.CyclicLR(o, 0.1, 0.5, 3), "cyclic2": lambda s, o: s.CyclicLR(o, [0.1, 0.2], 0.5, 2, 3, mode="triangular2"),
    "cyclic_exp": lambda s, o: s.CyclicLR(o, 0.1, 0.5, 2, mode="exp_range", gamma=0.9, base_momentum=0.5, max_momentum=[0.8, 0.9]),
    "cyclic_own": lambda s, o: s.CyclicLR(o, 0.1, 0.5, 2, scale_fn=Halves(0.7), scale_mode="iterations", cycle_momentum=False),
    "onecycle": lambda s, o: s.OneCycleLR(o, 0.9, 14), "onecycle_linear": lambda s, o: s.OneCycleLR(o, [0.9, 0.5], epochs=7, steps_per_epoch=2,
                                                                                                 anneal_strategy="linear", pct_start=0.5),
    "onecycle_three": lambda s, o: s.OneCycleLR(o, 0.9, 14, three_phase=True, div_factor=5.0, final_div_factor=10.0),
    "sequential": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 5)], [3, 7]),
    "sequential_warmup": lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 3), s.StepLR(o, 2, 0.5)], [3]),
    "chained": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9)], o),
    "swa": lambda s, o: s.SWALR(o, 0.05, 4), "swa_linear": lambda s, o: s.SWALR(o, [0.05, 0.9], 5, "linear"), "swa_now": lambda s, o: s.SWALR(o, 0.05, 0),
}


def module_of(t: Any) -> Any:
    class Names:
        pass
    for source in (t.optim.lr_scheduler, t.optim.swa_utils):
        for name in source.__all__:
            setattr(Names, name, getattr(source, name))
    return Names


def shown(optimizer: Any) -> list[Any]:
    return [float(g["lr"]) for g in optimizer.param_groups] + [float(g["betas"][0] if "betas" in g else g["momentum"]) for g in optimizer.param_groups]


def rates(t: Any, name: str, kind: str = "SGD", steps: int = 13, lr: Any = 0.5) -> tuple[list[Any], Any]:
    optimizer = optimizer_of(t, kind, lr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = MAKERS[name](module_of(t), optimizer)
    found = [shown(optimizer), [float(v) for v in schedule.get_last_lr()]]
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        found += [shown(optimizer), [float(v) for v in schedule.get_last_lr()]]
    return found, schedule


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", MAKERS)
def test_rates_and_momenta_are_pytorchs(name: str, kind: str) -> None:
    (ours, mine), (theirs, yours) = rates(torsh, name, kind), rates(torch, name, kind)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
    a, b = mine.state_dict(), yours.state_dict()
    assert set(a) == set(b)
    for key, value in b.items():
        if isinstance(value, (int, float, str, bool)):
            assert a[key] == pytest.approx(value), key


@pytest.mark.parametrize("name", ["step", "linear", "exponential", "cosine", "multiplicative"])
def test_a_rate_that_is_a_tensor_stays_that_tensor(name: str) -> None:
    found = []
    for t in (torsh, torch):
        lr = t.tensor(0.5)
        optimizer = optimizer_of(t, "Adam", lr)
        schedule = MAKERS[name](module_of(t), optimizer)
        values = []
        for _ in range(5):
            optimizer.step()
            schedule.step()
            values.append(float(lr))
        assert optimizer.param_groups[0]["lr"] is lr
        found.append(values)
    np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.parametrize("name", [n for n in MAKERS if n != "lambda"])
def test_a_loaded_state_goes_on(name: str) -> None:
    whole, _ = rates(torsh, name, steps=9)
    optimizer = optimizer_of(torsh)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = MAKERS[name](module_of(torsh), optimizer)
        for _ in range(4):
            optimizer.step()
            schedule.step()
        again = optimizer_of(torsh)
        other = MAKERS[name](module_of(torsh), again)
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        other.load_state_dict(copy.deepcopy(schedule.state_dict()))
        for _ in range(5):
            again.step()
            other.step()
    np.testing.assert_allclose(shown(again), whole[-2], rtol=1e-13)


@pytest.mark.parametrize("options", [{}, {"mode": "max"}, {"threshold_mode": "abs", "threshold": 0.5}, {"mode": "max", "threshold_mode": "abs"},
                                     {"cooldown": 2, "patience": 1, "min_lr": [0.1, 0.01]}, {"factor": 0.5, "patience": 0, "eps": 0.05}], ids=str)
def test_reduce_on_plateau(options: dict[str, Any]) -> None:
    metrics = [1.0, 0.9, 0.95, 0.91, 0.9, 0.89999, 0.5, 0.6, 0.6, 0.6, 0.6, 0.7, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
    found = []
    for t in (torsh, torch):
        optimizer = optimizer_of(t)
        schedule = t.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **{"patience": 2, **options})
        values = []
        for i, metric in enumerate(metrics):
            schedule.step(t.tensor(metric) if i % 2 else metric)
            values.append([*shown(optimizer), schedule.num_bad_epochs, schedule.cooldown_counter, schedule.best])
        state = schedule.state_dict()
        found.append((values, {k: v for k, v in state.items() if k != "_last_lr"}))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    assert set(found[0][1]) == set(found[1][1])


@pytest.mark.parametrize("name", ["step", "multistep", "linear", "cosine", "polynomial", "exponential", "constant", "restarts_longer"])
def test_steps_with_a_number_use_the_closed_form(name: str) -> None:
    found = []
    for t in (torsh, torch):
        optimizer = optimizer_of(t)
        schedule = MAKERS[name](module_of(t), optimizer)
        optimizer.step()
        values = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for epoch in (3, 1, 9, 6):
                schedule.step(epoch)
                values.append(shown(optimizer))
        found.append(values)
    np.testing.assert_allclose(*found, rtol=1e-13)


def outcome(act: Any, t: Any) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            act(t, module_of(t), optimizer_of(t))
        except Exception as error:
            return type(error).__name__, str(error).replace("torsh", "torch")
    return [str(w.message).split(" See more")[0].split(" Please open")[0] for w in caught]


@pytest.mark.parametrize("act", [
    lambda t, s, o: s.StepLR(3, 2), lambda t, s, o: s.StepLR(o, 2, last_epoch=3), lambda t, s, o: s.StepLR(o, 2).get_lr(),
    lambda t, s, o: s.ExponentialLR(o, 0.9).step(), lambda t, s, o: [f() for f in (lambda e: (o.step, lambda: e.step(4)))(s.ExponentialLR(o, 0.9))],
    lambda t, s, o: s.LambdaLR(o, [lambda e: e]), lambda t, s, o: s.MultiplicativeLR(o, 3), lambda t, s, o: s.ConstantLR(o, 2.0),
    lambda t, s, o: s.LinearLR(o, 0.0), lambda t, s, o: s.LinearLR(o, 0.5, 2.0), lambda t, s, o: s.CyclicLR(o, [0.1], 0.2),
    lambda t, s, o: s.CyclicLR(o, 0.1, 0.2, mode="x"), lambda t, s, o: s.CyclicLR(t.optim.Adagrad([t.ones(1)]), 0.1, 0.2),
    lambda t, s, o: s.CosineAnnealingWarmRestarts(o, 0), lambda t, s, o: s.CosineAnnealingWarmRestarts(o, 2, 0.5),
    lambda t, s, o: s.CosineAnnealingWarmRestarts(o, 2, 1, "x"), lambda t, s, o: s.CosineAnnealingWarmRestarts(o, 2).step(-1),
    lambda t, s, o: s.OneCycleLR(o, 0.1), lambda t, s, o: s.OneCycleLR(o, 0.1, 0), lambda t, s, o: s.OneCycleLR(o, 0.1, epochs=2, steps_per_epoch=0),
    lambda t, s, o: s.OneCycleLR(o, 0.1, 5, pct_start=2.0), lambda t, s, o: s.OneCycleLR(o, 0.1, 5, anneal_strategy="x"),
    lambda t, s, o: s.OneCycleLR(t.optim.Adagrad([t.ones(1)]), 0.1, 5), lambda t, s, o: s.ReduceLROnPlateau(o, "x"),
    lambda t, s, o: s.ReduceLROnPlateau(o, factor=1.0), lambda t, s, o: s.ReduceLROnPlateau(o, threshold_mode="x"),
    lambda t, s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]), lambda t, s, o: s.SequentialLR(o, [], []), lambda t, s, o: s.ChainedScheduler([]),
    lambda t, s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]), lambda t, s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]),
    lambda t, s, o: s.SequentialLR(o, [s.StepLR(o, 1), 3], [3]), lambda t, s, o: s.SWALR(o, 0.1, anneal_strategy="x"),
    lambda t, s, o: s.SWALR(o, 0.1, -1), lambda t, s, o: s.get_ema_avg_fn(2.0),
])
def test_errors_and_warnings_are_pytorchs(act: Any) -> None:
    ours, theirs = outcome(act, torsh), outcome(act, torch)
    assert ours == theirs
    assert theirs


def test_one_step_too_many() -> None:
    texts = []
    for t in (torsh, torch):
        optimizer = optimizer_of(t)
        schedule = t.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 3)
        optimizer.step()
        for _ in range(3):
            schedule.step()
        with pytest.raises(ValueError) as found:
            schedule.step()
        texts.append(str(found.value))
    assert texts[0] == texts[1]


def network(t: Any) -> Any:
    t.manual_seed(0)
    return t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4), t.nn.Linear(4, 2))


@pytest.mark.parametrize("make", [
    lambda t, u, m: u.AveragedModel(m), lambda t, u, m: u.AveragedModel(m, use_buffers=True),
    lambda t, u, m: u.AveragedModel(m, avg_fn=u.get_ema_avg_fn(0.7)), lambda t, u, m: u.AveragedModel(m, multi_avg_fn=u.get_ema_multi_avg_fn(0.7)),
    lambda t, u, m: u.AveragedModel(m, avg_fn=u.get_swa_avg_fn()),
    lambda t, u, m: u.AveragedModel(m, multi_avg_fn=u.get_ema_multi_avg_fn(0.3), use_buffers=True),
])
def test_averaged_models_and_their_statistics(make: Any, rng: np.random.Generator) -> None:
    batches = [rng.normal(size=(5, 3)).astype(np.float32) for _ in range(4)]
    found = []
    for t in (torsh, torch):
        model = network(t)
        averaged = make(t, t.optim.swa_utils, model)
        optimizer = t.optim.SGD(model.parameters(), lr=0.1)
        for batch in batches:
            optimizer.zero_grad()
            model(t.tensor(batch)).pow(2).sum().backward()
            optimizer.step()
            averaged.update_parameters(model)
        states = [averaged.state_dict()]
        states.append({k: v.clone() for k, v in states[0].items()})
        t.optim.swa_utils.update_bn([(t.tensor(b), 1) for b in batches], averaged)
        found.append([(list(s), [v.numpy() for v in s.values()]) for s in states])
        assert averaged.module[1].momentum == 0.1
        assert averaged(t.tensor(batches[0])).shape == (5, 2)
    for (names, values), (others, expected) in zip(*found, strict=True):
        assert names == others
        for a, b in zip(values, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
