"""Running the two libraries in turns, each in fresh processes of its own, and tables of what was measured."""
from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Any


def measured(module: str, side: str, *arguments: str, **environment: str) -> dict[str, float]:
    """What `python -m benchmarks.<module> --side <side> ...` prints: one line of JSON."""
    command = [sys.executable, "-m", f"benchmarks.{module}", "--side", side, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def alternated(module: str, rounds: int, *arguments: str) -> dict[str, dict[str, float]]:
    """For each figure, the median of both libraries over the rounds: {name: {"torch": x, "torsh": y}}."""
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for side in ("torch", "torsh"):
            for name, value in measured(module, side, *arguments).items():
                found.setdefault(name, {}).setdefault(side, []).append(value)
    return {name: {side: statistics.median(values) for side, values in sides.items()} for name, sides in found.items()}


def table(title: str, command: str, head: str, rows: list[str], name: str | None, note: str = "") -> None:
    """Print a table and write it, dated, to benchmarks/results (not without a name)."""
    lines = [f"# {title}, {datetime.date.today()}", "", f"PyTorch {importlib.metadata.version('torch')}; made by `{command}`. {note}".rstrip(), "",
             head, "|" + "---|" * (head.count("|") - 1), *rows]
    print("\n".join(lines))
    if name is None:
        return
    folder = pathlib.Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{datetime.date.today()}-{name}.md").write_text("\n".join(lines) + "\n")


def library(side: str, threads: int = 2) -> Any:
    """The library, with its threads set."""
    t: Any = importlib.import_module(side)
    t.set_num_threads(threads)
    t.manual_seed(0)
    return t


def printed(figures: dict[str, float]) -> None:
    print(json.dumps(figures))
