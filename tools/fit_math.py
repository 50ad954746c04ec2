"""Derive the coefficients of the mathematical functions: `python tools/fit_math.py > torsh/codegen/math_tables.py`.

Polynomials are nearly minimax in the weighted error (Lawson's reweighted least squares on a dense grid). Coefficients
are rounded to the target type one by one from the lowest power, and the rest is fitted anew after each rounding.
Needs mpmath; takes two minutes.
"""
from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

import mpmath as mp

mp.mp.prec = 230
Function = Callable[[mp.mpf], mp.mpf]
ONE = mp.mpf(1)


def to_type(value: mp.mpf, dtype: str) -> mp.mpf:
    number = float(value)
    return mp.mpf(struct.unpack("f", struct.pack("f", number))[0] if dtype == "float32" else number)


def nodes(low: mp.mpf, high: mp.mpf, count: int) -> list[mp.mpf]:
    """Chebyshev points of [low, high], ascending."""
    return [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def least_maximum(values: list[mp.mpf], weights: list[mp.mpf], basis: list[list[mp.mpf]], steps: int) -> list[mp.mpf]:
    """Coefficients c that nearly minimise max |weight * (value - sum(c[k] * basis[k]))|: Lawson's reweighting."""
    rows = mp.matrix([[b[i] * w for b in basis] for i, w in enumerate(weights)])
    target = mp.matrix([v * w for v, w in zip(values, weights)])
    count, size = rows.rows, rows.cols
    emphasis = [ONE] * count
    best, answer = mp.inf, [ONE] * size
    for _ in range(steps):
        heavy = mp.matrix(count, size)
        for i in range(count):
            for k in range(size):
                heavy[i, k] = rows[i, k] * emphasis[i]
        solution = mp.lu_solve(heavy.T * rows, heavy.T * target)
        error = [abs(e) for e in target - rows * solution]
        worst = max(error)
        if worst < best:
            best, answer = worst, list(solution)
        if not worst:
            break
        emphasis = [w * (e / worst + mp.mpf("0.001")) for w, e in zip(emphasis, error)]
        top = max(emphasis)
        emphasis = [w / top for w in emphasis]
    return answer


def polynomial(f: Function, powers: Sequence[int], low: float, high: float, dtype: str, weight: Function,
               count: int = 150) -> tuple[list[mp.mpf], mp.mpf]:
    """Rounded coefficients of `powers` and log2 of the largest weighted error."""
    xs = nodes(mp.mpf(low), mp.mpf(high), count)
    rest = [f(x) for x in xs]
    weights = [abs(weight(x)) for x in xs]
    basis = {k: [x ** k for x in xs] for k in powers}
    result, left = [], list(powers)
    while left:
        coefficient = to_type(least_maximum(rest, weights, [basis[k] for k in left], 12)[0], dtype)
        rest = [r - coefficient * b for r, b in zip(rest, basis[left[0]])]
        result.append(coefficient)
        left.pop(0)
    return result, mp.log(max(abs(r * w) for r, w in zip(rest, weights)), 2)


def series(f: Function, at_zero: mp.mpf) -> Function:
    """`f` with its limit at zero."""
    return lambda x: f(x) if abs(x) > mp.mpf(10) ** -20 else at_zero


def of_square(f: Function, at_zero: mp.mpf) -> Function:
    return series(lambda z: f(mp.sqrt(z)), at_zero)


LN2 = mp.log(2)
QUARTER = (mp.pi / 4 * mp.mpf("1.005")) ** 2
HALF_ROOT = mp.sqrt(mp.mpf(1) / 2)


def folded_erfc(k: int) -> Function:
    """exp(a*a)*erfc(a)*(a + k) as a function of t = (a - k)/(a + k)."""
    def f(t: mp.mpf) -> mp.mpf:
        a = k * (1 + t) / (1 - t)
        return mp.exp(a * a) * mp.erfc(a) * (a + k)
    return f


def erf_exponent(a: mp.mpf) -> mp.mpf:
    """-log(1 - erf(a))/a - 1."""
    return -mp.log(mp.erfc(a)) / a - 1


def tail_root(x: mp.mpf) -> mp.mpf:
    """erfc(x/sqrt(2))**(1/8)."""
    return mp.erfc(x / mp.sqrt(2)) ** (ONE / 8)


def entries(dtype: str) -> Iterator[tuple[str, Function, range, float, float, Function]]:
    """(name, function, powers, low, high, weight) of every polynomial of a type."""
    single = dtype == "float32"

    def size(in_single: int, in_double: int) -> range:
        return range(in_single if single else in_double)

    yield "EXP", series(lambda x: mp.expm1(x) / x, ONE), size(7, 13), -LN2 * mp.mpf("1.001"), LN2 * mp.mpf("1.001"), \
        lambda x: x / mp.exp(x)
    yield "EXP2", series(lambda x: mp.expm1(x * LN2) / x, LN2), size(7, 13), mp.mpf("-1.001"), mp.mpf("1.001"), \
        lambda x: x / mp.mpf(2) ** x
    yield "EXPM1", series(lambda x: (mp.expm1(x) - x) / x ** 2, ONE / 2), size(7, 13), mp.mpf("-0.3475"), \
        mp.mpf("0.71"), series(lambda x: x * x / mp.expm1(x), mp.mpf(0))
    yield "EXP_NEAR", series(lambda x: mp.expm1(x) / x, ONE), size(6, 11), mp.mpf("-0.3475"), mp.mpf("0.3475"), \
        lambda x: x / mp.exp(x)
    yield "EXPM1_NEAR", series(lambda x: (mp.expm1(x) - x) / x ** 2, ONE / 2), size(6, 11), mp.mpf("-0.3475"), \
        mp.mpf("0.3475"), series(lambda x: x * x / mp.expm1(x), mp.mpf(0))
    if single:
        yield "LOG", series(lambda f: (mp.log1p(f) - f + f * f / 2) / f ** 3, ONE / 3), range(8), HALF_ROOT - ONE, \
            mp.sqrt(2) - 1, series(lambda f: f ** 3 / mp.log1p(f), mp.mpf(0))
    else:
        high = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2
        yield "LOG", of_square(lambda s: (2 * mp.atanh(s) - 2 * s) / s ** 3, mp.mpf(2) / 3), range(8), 0, high, \
            lambda z: z
    high = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2
    yield "POW_LOG2", of_square(lambda s: (2 * mp.atanh(s) - 2 * s) / s ** 3 / LN2, mp.mpf(2) / 3 / LN2), size(5, 10), \
        0, high, lambda z: z
    yield "SIN", of_square(lambda x: (mp.sin(x) / x - 1) / x ** 2, -ONE / 6), size(3, 7), 0, QUARTER, \
        of_square(lambda x: x ** 3 / mp.sin(x), mp.mpf(0))
    yield "COS", of_square(lambda x: (mp.cos(x) - 1 + x * x / 2) / x ** 4, ONE / 24), size(3, 6), 0, QUARTER, \
        of_square(lambda x: x ** 4 / mp.cos(x), mp.mpf(0))
    yield "SINH", of_square(lambda x: (mp.sinh(x) / x - 1) / x ** 2, ONE / 6), size(4, 8), 0, mp.mpf("1.01"), \
        of_square(lambda x: x ** 3 / mp.sinh(x), mp.mpf(0))
    yield "ATAN", of_square(lambda x: (mp.atan(x) / x - 1) / x ** 2, -ONE / 3), size(9, 20), 0, ONE, \
        of_square(lambda x: x ** 3 / mp.atan(x), mp.mpf(0))
    yield "ASIN", of_square(lambda x: (mp.asin(x) / x - 1) / x ** 2, ONE / 6), size(5, 13), 0, mp.mpf("0.251"), \
        of_square(lambda x: x ** 3 / mp.asin(x), mp.mpf(0))
    k, low, high = (1, mp.mpf("0.46"), mp.mpf("10.1")) if single else (2, mp.mpf("0.46"), mp.mpf("27.3"))
    f = folded_erfc(k)
    yield "ERFC", f, size(11, 23), (low - k) / (low + k), (high - k) / (high + k), lambda t, f=f: 1 / f(t)
    yield "ERF", of_square(lambda x: mp.erf(x) / x - 1, 2 / mp.sqrt(mp.pi) - 1), size(5, 14), 0, \
        mp.mpf("0.23") if single else ONE, of_square(lambda x: x / mp.erf(x), mp.sqrt(mp.pi) / 2)
    if single:
        yield "ERF_EXPONENT", series(erf_exponent, 2 / mp.sqrt(mp.pi) - 1), range(9), 0, mp.mpf("3.95"), \
            series(lambda a: a * mp.erfc(a) / mp.erf(a), mp.sqrt(mp.pi) / 2)
    if single:  # the weight: how w changes 1 - (1 - w)**8, an absolute error
        yield "CDF", series(lambda x: (1 - tail_root(x)) / x, 1 / mp.sqrt(32 * mp.pi)), range(8), 0, mp.mpf("5.7"), \
            lambda x: 8 * tail_root(x) ** 7 * x
    yield "TAN", of_square(lambda x: (mp.tan(x) / x - 1) / x ** 2, ONE / 3), size(7, 15), 0, QUARTER, \
        of_square(lambda x: x ** 3 / mp.tan(x), mp.mpf(0))


def show(name: str, coefficients: Sequence[mp.mpf], error: mp.mpf) -> None:
    print(f"    {name!r}: (  # 2**{float(error):.1f}")
    line = "       "
    for coefficient in coefficients:
        text = f" {float(coefficient)!r},"
        if len(line + text) > 118:
            print(line)
            line = "       "
        line += text
    print(line + "),")


def main() -> None:
    print('"""Coefficients of the approximations in codegen/math_*.py; made by tools/fit_math.py, not by hand.\n\n'
          'Lowest power first. The comment is the largest error of the approximation in exact arithmetic, relative to\n'
          'the function it stands in.\n"""\nfrom __future__ import annotations\n')
    for dtype in ("float32", "float64"):
        print(f"{dtype.upper()}: dict[str, tuple[float, ...]] = {{")
        for name, f, powers, low, high, weight in entries(dtype):
            coefficients, error = polynomial(f, powers, low, high, dtype, weight)
            show(name, coefficients, error)
        print("}")
    print("#: 1/(2*pi) in digits of 53 bits, each a fraction in [0, 1)")
    print("TURN_DIGITS: tuple[float, ...] = (")
    mp.mp.prec = 1500
    rest = 1 / (2 * mp.pi)
    for _ in range(23):
        digit = mp.floor(rest * mp.mpf(2) ** 53)
        rest = rest * mp.mpf(2) ** 53 - digit
        print(f"    {float(digit / mp.mpf(2) ** 53)!r},")
    print(")")
    print("#: (x below this, c, d): x*(c + d) is x*2/pi modulo 4, for float32 x kept in float64")
    print("QUARTERS: tuple[tuple[float, float, float], ...] = (")
    for bound, drop in ((44, 0), (65, 21), (86, 42), (107, 63), (128, 84)):
        factor = mp.fmod(2 / mp.pi * mp.mpf(2) ** drop, 4)
        factor -= 4 if factor >= 2 else 0
        high = float(factor)
        low = float(factor - high)
        print(f"    ({2.0 ** bound!r}, {high * 2.0 ** -drop!r}, {low * 2.0 ** -drop!r}),")
    print(")")
    print('TABLES = {"float32": FLOAT32, "float64": FLOAT64}')


if __name__ == "__main__":
    main()
