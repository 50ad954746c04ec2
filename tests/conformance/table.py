"""The verdicts as a checked-in table (one line an entry) and as a page of the documentation."""
from __future__ import annotations

import json
from pathlib import Path

from tests.conformance.judge import CHECKS, DTYPES, ENTRIES, FAIL, FORMS, NONE, PASS, applies, parts
from tests.conformance.reasons import REASONS

EXPECTED = Path(__file__).with_name("expected.json")
PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
MISSING = {"missing": ""}

#: entry -> check -> one sign a part: "+" pass, "x" fail. A missing operator has the one key "missing".
Table = dict[str, dict[str, str]]


def load() -> Table:
    found: Table = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    return found


def save(table: Table) -> None:
    order = {check: i for i, check in enumerate((*CHECKS, "missing"))}
    lines = [f"{json.dumps(key)}: {json.dumps(dict(sorted(table[key].items(), key=lambda item: order[item[0]])))}" for key in sorted(table)]
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def is_missing(row: dict[str, str]) -> bool:
    return "missing" in row


def passes(row: dict[str, str], checks: tuple[str, ...] = CHECKS) -> bool:
    """Whether all of these checks that an entry has passed; an entry with none of them has not."""
    own = [row[c] for c in checks if c in row]
    return bool(own) and all(sign == PASS for signs in own for sign in signs)


def main_dtype(row: dict[str, str]) -> str | None:
    """float32, or the first other type that the entry has."""
    return next((d for d in DTYPES if d in row), None)


def figures(table: Table) -> dict[str, tuple[int, int]]:
    """What was reached: name -> (passed, of). A missing operator has passed nothing that its entry declares."""
    present = [row for row in table.values() if not is_missing(row)]
    total = len(table)
    found = {
        "operators that exist": (len(present), total),
        "pass in float32, forward and backward": (sum(passes(row, (main_dtype(row) or "",)) for row in present), total),
        "pass every check": (sum(passes(row) for row in present), total),
    }
    for dtype in DTYPES:
        entries = [key for key in table if applies(ENTRIES[key], dtype)]
        for part, name in enumerate(("forward", "backward")):
            own = [key for key in entries if len(parts(ENTRIES[key], dtype)) > part]
            found[f"{dtype} {name}"] = (sum(table[key].get(dtype, "")[part:part + 1] == PASS for key in own), len(own))
    for form in FORMS:
        own = [key for key in table if applies(ENTRIES[key], form)]
        found[form] = (sum(table[key].get(form) == PASS for key in own), len(own))
    return found


TOLERANCES = (
    "An element agrees when it is within rtol * |x| + atol of PyTorch's x, or, where PyTorch's own rounding shows, of PyTorch's x for the same",
    "values in float64 (complex128), rounded to the type; each element by itself. Integers and bools must be equal. rtol and atol are 2e-4 for",
    "float32 and complex64, 1e-7 for float64. For bfloat16 rtol is 1.6e-2, two of its epsilons (results one rounding apart may be two last places",
    "apart after the next), and atol 1e-5: what PyTorch's own tests of the database take for this type. A gradient may be off by five times as much.",
    "Factorizations that are not unique must multiply to what they factor, in float64, within the same; eigenvalues come in any order; of equal",
    "elements any may be chosen. Random results must be PyTorch's for the seed, or else of its distribution (Kolmogorov-Smirnov over 3,000 draws).")
FORM_TITLES = {"strided": "non-contiguous", "inplace": "in place", "out": "out=", "errors": "errors"}


def page(table: Table) -> str:
    """docs/operators.md."""
    lines = ["# Operators", "",
             "What of PyTorch's operators is there and agrees, judged by PyTorch 2.13's own operator database (`op_db`): the same samples",
             "through both, values, dtypes, shapes, aliasing, gradients, non-contiguous inputs, in-place and `out=` forms, and errors.",
             "Written by `python -m tests.conformance --write`; `make conformance` fails when this page and the code differ.", "",
             "| figure | passed | of |", "|---|---|---|"]
    lines += [f"| {FORM_TITLES.get(name, name)} | {a} | {b} |" for name, (a, b) in figures(table).items() if b]
    lines += ["", *TOLERANCES, "",
              "The entries are those of the CPU, without private names, sparse layouts and CUDA's jiterator. A check is passed when every sample of the",
              "database passes it. An entry without float32 counts with the first type it has. Two signs are forward and backward:",
              f"`{PASS}` passes, `{FAIL}` does not, `{NONE}` PyTorch has no such form.", "",
              "| operator | " + " | ".join((*DTYPES, *(FORM_TITLES[f] for f in FORMS))) + " |",
              "|---" * (len(CHECKS) + 1) + "|"]
    for key in sorted(table):
        row = table[key]
        cells = ["missing"] + [""] * (len(CHECKS) - 1) if is_missing(row) else [row.get(c, NONE).replace("|", "") for c in CHECKS]
        lines.append(f"| `{key}` | " + " | ".join(cells) + " |")
    lines += ["", "## What is missing or fails, and why", ""]
    lines += [f"- `{key}`: {REASONS.get(key, 'no reason is known')}." for key in sorted(table) if is_missing(table[key]) or not passes(table[key])]
    return "\n".join(lines) + "\n"


def write_page(table: Table) -> None:
    PAGE.write_text(page(table))


def differences(expected: Table, found: Table) -> list[str]:
    """Every sign that is not as expected, either way, for the entries found."""
    lines = []
    for key in sorted(found):
        for check in sorted(expected.get(key, {}).keys() | found[key].keys()):
            a, b = expected.get(key, {}).get(check), found[key].get(check)
            if a != b:
                lines.append(f"{key} {check}: expected {a}, found {b}")
    return lines


def unknown_entries(table: Table) -> list[str]:
    return sorted(table.keys() ^ ENTRIES.keys())
