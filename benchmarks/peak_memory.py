"""Peak resident memory of training steps, above what the process had with model and optimizer made: `python -m benchmarks.peak_memory`."""
from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.models import gpt, resnet18
from benchmarks.sides import alternated, library, printed, table


def status(field: str) -> float:
    """Megabytes of a field of /proc/self/status."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def steps(t: Any, model: Any, x: Any, y: Any) -> dict[str, float]:
    optimizer = t.optim.AdamW(model.parameters(), 1e-3)
    for p in model.parameters():  # weights are in memory before the first step
        p.detach().numpy()
    start = status("VmRSS")
    for _ in range(4):
        optimizer.zero_grad()
        out = model(x)
        loss = t.nn.functional.cross_entropy(out.flatten(0, -2), y.flatten())
        del out
        loss.backward()
        optimizer.step()
        loss.item()
        del loss
    return {"peak": status("VmHWM") - start}


MODELS: dict[str, Callable[[Any], tuple[Any, Any, Any]]] = {
    "GPT, 8 x 128 tokens": lambda t: (gpt(t), *[t.tensor(np.random.default_rng(0).integers(0, 1024, (8, 128)))] * 2),
    "ResNet-18, 16 x 64 x 64": lambda t: (resnet18(t), t.tensor(np.random.default_rng(0).standard_normal((16, 3, 64, 64), dtype=np.float32)),
                                          t.tensor(np.arange(16))),
    "ResNet-18, 8 x 224 x 224": lambda t: (resnet18(t), t.tensor(np.random.default_rng(0).standard_normal((8, 3, 224, 224), dtype=np.float32)),
                                           t.tensor(np.arange(8)))}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peak_memory", description=__doc__)
    parser.add_argument("--side", choices=("torch", "torsh"), help="measure one side, here")
    parser.add_argument("--model", choices=list(MODELS))
    options = parser.parse_args()
    if options.side:
        t = library(options.side)
        printed(steps(t, *MODELS[options.model](t)))
        return
    rows = []
    for name in MODELS:
        f = alternated("peak_memory", 3, "--model", name)["peak"]
        rows.append(f"| {name} | {f['torch']:.0f} | {f['torsh']:.0f} | {f['torsh'] / f['torch']:.2f} |")
    table("Peak resident memory of AdamW training steps", "python -m benchmarks.peak_memory", "| model | PyTorch MB | ToRSh MB | ours / theirs |", rows,
          "memory")


if __name__ == "__main__":
    main()
