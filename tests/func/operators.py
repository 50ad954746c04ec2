"""`python -m tests.func.operators [NAME ...]`: every operator of PyTorch's database under vmap, against itself one example at a time."""
from __future__ import annotations

import fnmatch
import sys
import warnings
from collections import Counter
from typing import Any

import numpy as np
import torch

import torsh
from tests.conformance.convert import Converter
from tests.conformance.judge import ENTRIES, find, split
from tests.conformance.resolve import Missing

SAMPLES = 3


def tensors(tree: Any) -> list[torsh.Tensor]:
    from torsh.func.trees import flatten
    return [x for x in flatten(tree)[0] if isinstance(x, torsh.Tensor)]


def judge(key: str) -> str:
    """"same", "different: ...", "error: ..." (vmap refuses what single examples can), "none" (nothing to compare)."""
    entry = ENTRIES[key]
    kind = torch.float32 if torch.float32 in entry.supported_dtypes("cpu") else next(iter(entry.supported_dtypes("cpu")))
    try:
        operator = find(entry)
    except Missing:
        return "none"
    verdict = "none"
    for number, sample in enumerate(entry.sample_inputs("cpu", kind)):
        if number >= SAMPLES:
            break
        try:
            first, args, kwargs = Converter()(split(sample))
        except Exception:
            continue
        if not isinstance(first, torsh.Tensor) or not first.numel():
            continue
        first = first.detach()
        change = (lambda x, i: x * (1 - 0.25 * i)) if first.dtype.is_floating_point else (lambda x, i: x)
        examples = [change(first, i) for i in range(2)]

        def call(x: Any) -> Any:
            torsh.manual_seed(0)
            return tuple(t.detach() for t in tensors(operator(x.clone(), *args, **kwargs)))  # noqa: B023
        try:
            single = [call(x) for x in examples]
        except Exception:
            continue
        if not single[0] or any(a.shape != b.shape for a, b in zip(*single, strict=True)):
            continue
        try:
            found = torsh.vmap(call, randomness="same")(torsh.stack(examples))
        except Exception as error:
            return f"error: {type(error).__name__}: {str(error)[:110]}"
        for t, *each in zip(found, *single, strict=True):
            wanted = np.stack([e.resolve_conj().numpy() if hasattr(e, "resolve_conj") else e.numpy() for e in each])
            ours = t.resolve_conj().numpy() if hasattr(t, "resolve_conj") else t.numpy()
            if ours.shape != wanted.shape or not np.allclose(ours.astype(np.complex128), wanted.astype(np.complex128), 1e-4, 1e-4, equal_nan=True):
                return f"different: sample {number}, {ours.shape} {wanted.shape}"
        verdict = "same"
    return verdict


def main() -> None:
    warnings.simplefilter("ignore")
    names = sys.argv[1:] or ["*"]
    count: Counter[str] = Counter()
    for key in ENTRIES:
        if any(fnmatch.fnmatchcase(key, n) for n in names):
            verdict = judge(key)
            count[verdict.split(":")[0]] += 1
            if verdict not in ("same", "none"):
                print(key, verdict, flush=True)
    print(dict(count))


if __name__ == "__main__":
    main()
