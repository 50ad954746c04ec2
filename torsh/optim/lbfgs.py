"""L-BFGS: quasi-Newton steps from the last changes of the gradient (Nocedal, 1980), with a line search for the strong Wolfe conditions."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torsh.autograd.grad_mode import enable_grad, no_grad
from torsh.ops.dispatch import FUNCTIONS
from torsh.optim.optimizer import Optimizer, check_options, number
from torsh.tensor.creation import zeros
from torsh.tensor.tensor import Tensor


def _cubic_minimum(x1: float, f1: float, g1: float, x2: float, f2: float, g2: float, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic with these values and slopes at two points is least, within bounds (the points by default); else their middle.

    Nocedal & Wright, Numerical Optimization, equation 3.59.
    """
    low, high = bounds if bounds is not None else (x1, x2) if x1 <= x2 else (x2, x1)
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if square < 0:
        return (low + high) / 2.0
    d2 = square ** 0.5
    at = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2)) if x1 <= x2 else x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
    return min(max(at, low), high)


Point = tuple[float, float, Any, float]  # step, value, gradient, slope


def _wolfe(evaluate: Callable[[float], tuple[float, Any]], t: float, d: Any, f: float, g: Any, slope: float, most: int, c1: float = 1e-4,
           c2: float = 0.9, tolerance: float = 1e-9) -> tuple[float, Any, float, int]:
    """(value, gradient, step, evaluations) at a step along `d` that satisfies the strong Wolfe conditions, or the best one of `most` tried.

    A bracket is widened until it must hold such a step, then narrowed by cubic interpolation (Nocedal & Wright, algorithms 3.5 and 3.6).
    """
    scale = float(d.abs().max())

    def point(t: float) -> Point:
        value, gradient = evaluate(t)
        return t, value, gradient, float(gradient.dot(d))

    def least_enough(p: Point) -> bool:
        return abs(p[3]) <= -c2 * slope

    start: Point = (0.0, f, g, slope)
    before, here = start, point(t)
    count, tried = 1, 0
    done, bracket = False, None
    while tried < most:
        if here[1] > f + c1 * here[0] * slope or (tried > 1 and here[1] >= before[1]):
            bracket = [before, here]
            break
        if least_enough(here):
            bracket, done = [here], True
            break
        if here[3] >= 0:
            bracket = [before, here]
            break
        limits = (here[0] + 0.01 * (here[0] - before[0]), here[0] * 10)
        t = _cubic_minimum(before[0], before[1], before[3], here[0], here[1], here[3], limits)
        before, here = here, point(t)
        count, tried = count + 1, tried + 1
    if bracket is None:
        bracket = [start, here]
    stuck = False
    low, high = (0, 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
    while not done and tried < most:
        ends = sorted((bracket[0][0], bracket[1][0]))
        width = ends[1] - ends[0]
        if width * scale < tolerance:
            break
        a, b = bracket
        t = _cubic_minimum(a[0], a[1], a[3], b[0], b[1], b[3])
        margin = 0.1 * width
        if min(ends[1] - t, t - ends[0]) < margin:  # too near an end: the first time there, then a tenth of the bracket away
            if stuck or t >= ends[1] or t <= ends[0]:
                t = ends[1] - margin if abs(t - ends[1]) < abs(t - ends[0]) else ends[0] + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        found = point(t)
        count, tried = count + 1, tried + 1
        if found[1] > f + c1 * found[0] * slope or found[1] >= bracket[low][1]:
            bracket[high] = found
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            if least_enough(found):
                done = True
            elif found[3] * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = found
    best = bracket[low] if len(bracket) > 1 else bracket[0]
    return best[1], best[2], best[0], count


class LBFGS(Optimizer):
    """Quasi-Newton steps, several for each call of `step(closure)`; `closure` computes the loss and its gradients anew.

    `line_search_fn` may be "strong_wolfe". Raises ValueError for a negative rate and several groups, RuntimeError for another line search.
    """

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None, tolerance_grad: float = 1e-7,
                 tolerance_change: float = 1e-9, history_size: int = 100, line_search_fn: str | None = None) -> None:
        check_options(lr=lr)
        super().__init__(params, {"lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                                  "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
                                  "line_search_fn": line_search_fn})
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Any] = self.param_groups[0]["params"]

    def _gradient(self) -> Any:
        """All gradients as one vector (zeros where there is none)."""
        return FUNCTIONS["cat"]([zeros(p.numel(), dtype=p._dtype) if p._grad is None else p._grad.reshape(-1) for p in self._params])

    def _move(self, t: float, d: Any) -> None:
        at = 0
        for p in self._params:
            n = p.numel()
            p.add_(d[at:at + n].reshape(p._shape), alpha=t)
            at += n

    def _direction(self, g: Any, state: dict[str, Any], history: int) -> Any:
        """Minus the gradient times the inverse Hessian's approximation, by the two-loop recursion."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -g
        # Numbers are read as soon as they are known: every round of a loop is then the same small plan, however long the history.
        y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
        ys = float(y.dot(s))
        dirs, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        if ys > 1e-10:
            if len(dirs) == history:
                for kept in (dirs, steps, ro):
                    kept.pop(0)
            dirs.append(y)
            steps.append(s)
            ro.append(1.0 / ys)
            state["H_diag"] = ys / float(y.dot(y))
        al = state.setdefault("al", [None] * history)
        q = -g
        for i in range(len(dirs) - 1, -1, -1):
            al[i] = float(steps[i].dot(q)) * float(ro[i])
            q = q - al[i] * dirs[i]
        r = q * float(state["H_diag"])
        for i in range(len(dirs)):
            r = r + steps[i] * (al[i] - float(dirs[i].dot(r)) * float(ro[i]))
        return r

    def _step(self, closure: Callable[[], Any] | None) -> Any:
        """At most `max_iter` steps; returns the loss before them. Raises TypeError without a closure."""
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")
        with no_grad():
            return self._minimize(closure)

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        def evaluate() -> Any:
            with enable_grad():
                return closure()

        group = self.param_groups[0]
        lr, change = number(group, "lr"), group["tolerance_change"]
        search = group["line_search_fn"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        original = evaluate()
        loss = float(original)
        evaluations = 1
        state["func_evals"] += 1
        g = self._gradient()
        if float(g.abs().max()) <= group["tolerance_grad"]:
            return original
        for n in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = self._direction(g, state, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"] = g, loss
            before = loss
            t: Any = min(1.0, 1.0 / float(g.abs().sum())) * lr if state["n_iter"] == 1 else lr
            state["d"], state["t"] = d, t
            slope = float(g.dot(d))
            if slope > -change:
                break
            used = 0
            if search is not None:
                if search != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                here = [p.clone() for p in self._params]

                def along(t: float, here: list[Any] = here, d: Any = d) -> tuple[float, Any]:
                    self._move(t, d)
                    value, gradient = float(evaluate()), self._gradient()
                    for p, old in zip(self._params, here, strict=True):
                        p.copy_(old)
                    return value, gradient
                loss, g, t, used = _wolfe(along, t, d, loss, g, slope, group["max_eval"] - evaluations)
                self._move(t, d)
            else:
                self._move(t, d)
                if n != group["max_iter"]:
                    loss, g, used = float(evaluate()), self._gradient(), 1
            state["t"] = t
            evaluations += used
            state["func_evals"] += used
            if n == group["max_iter"] or evaluations >= group["max_eval"] or float(g.abs().max()) <= group["tolerance_grad"] \
                    or float((d * t).abs().max()) <= change or abs(loss - before) < change:
                break
        return original


__all__ = ["LBFGS"]
