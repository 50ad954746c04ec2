"""Kernels that draw random numbers, compiled when first used."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.codegen import compile as codegen
from torsh.runtime.cpu.methods import METH_FASTCALL, MethodDefinition, method

_P, _I, _D = "ptr", "i64", "double"
#: Arguments behind engine, output and count.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "words": (), "uniform": (_D, _D, _D), "bernoulli": (_I,), "chances": (_P,), "exponential": (_D,), "geometric": (_D,), "cauchy": (_D, _D),
    "normal": (_D, _D, _I), "pairs": (_D, _D), "log_normal": (_D, _D), "integers": (_I, _I, _D), "wide_integers": (_I, _I), "permutation": (),
    "wide_permutation": (), "multinomial": (_P, _P, _I, _I),
    "gamma": (_P, _D), "poisson": (_P,), "binomial": (_P, _P), "choose": (_P, _P, _I, _I)}
_ENGINE = "draws.engine-1"
_loaded: dict[str, Any] = {}
_definitions: list[MethodDefinition] = []


def _text(name: str, family: str, types: list[str]) -> str:
    if family == "normal":
        from torsh.codegen.draw_normal import groups_text
        return groups_text(types[0])
    if family in ("gamma", "poisson", "binomial", "choose"):
        from torsh.codegen.draw_normal import sampler_text
        return sampler_text(family, types[0])
    if family in ("pairs", "log_normal"):
        from torsh.codegen.draw_normal import pairs_text
        return pairs_text(types[0], family == "log_normal")
    if family in ("integers", "wide_integers", "permutation", "wide_permutation", "multinomial"):
        from torsh.codegen import draw_choice
        make: Callable[..., str] = getattr(draw_choice, family + "_text")
        return make(*types)
    from torsh.codegen.draw_text import MAPPED, mapped_text, words_text
    if family == "words":
        return words_text()
    return mapped_text(name, *MAPPED[name])


def _engine_text() -> str:
    from torsh.codegen.draw_text import engine_text
    from torsh.codegen.python_call import fastcall_text
    return engine_text() + fastcall_text("seed", (_P, _I))


def _engine_functions() -> dict[str, int]:
    return codegen.load([(_ENGINE, _engine_text, ("take_words", "py_seed"))])[_ENGINE]


def _address(name: str) -> int:
    if name == "seed":
        return _engine_functions()["py_seed"]
    family = next(f for f in sorted(_ARGUMENTS, key=len, reverse=True) if name.startswith(f))

    def text() -> str:
        from torsh.codegen.python_call import fastcall_text
        types = [part for part in name[len(family):].split("_") if part]
        return _text(name, family, types) + fastcall_text(name, (_P, _P, _I, *_ARGUMENTS[family]))
    key = f"draws.{name}-1"
    return codegen.load([(key, text, (f"py_{name}",))])[key][f"py_{name}"]


def kernel(name: str) -> Any:
    """The kernel of a name such as "uniform_float32": a function of addresses and numbers that returns an int."""
    found = _loaded.get(name)
    if found is None:
        definition = MethodDefinition(name.encode(), _address(name), METH_FASTCALL, None)
        _definitions.append(definition)
        found = _loaded[name] = method(definition, None)
    return found


def take_words_address() -> int:
    """What an engine's kernels call for more words."""
    return _engine_functions()["take_words"]


__all__ = ["kernel", "take_words_address"]
