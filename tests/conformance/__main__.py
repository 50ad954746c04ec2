"""`python -m tests.conformance [NAME ...]`: judge ToRSh by PyTorch's operator database."""
from __future__ import annotations

import argparse
import fnmatch
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.conformance import pool, table
from tests.conformance.judge import CHECKS, DTYPES, ENTRIES, FAIL, PASS, applies, is_missing, parts


def chosen(names: list[str]) -> list[str]:
    """The entries that names or patterns select: `sort`, `norm:nuc`, `linalg.*`."""
    if not names:
        return list(ENTRIES)
    keys = [key for key in ENTRIES if any(key == n or key.split(":")[0] == n or fnmatch.fnmatchcase(key, n) for n in names)]
    if not keys:
        sys.exit(f"no entry of the operator database matches {', '.join(names)}")
    return keys


def merged_with(known: table.Table, found: table.Table, partial: bool = True) -> table.Table:
    merged = {key: row for key, row in known.items() if key in ENTRIES}
    for key, row in found.items():
        kept = {k: v for k, v in merged.get(key, {}).items() if k != "missing"} if partial and not table.is_missing(row) else {}
        merged[key] = kept | row
    return merged


def write(found: table.Table, partial: bool) -> None:
    """Put what was found into the expected table and the page; `partial`: what was not judged stays as it was."""
    merged = merged_with(table.load(), found, partial)
    table.save(merged)
    table.write_page(merged)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="entries or patterns; all without any")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="only this type, without the forms (may be repeated)")
    parser.add_argument("--check", dest="verify", action="store_true", help="fail on any difference from the expected table")
    parser.add_argument("--failed", action="store_true", help="only what the expected table does not have as passed")
    parser.add_argument("--write", action="store_true", help="write docs/operators.md and the expected table")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for one check of one entry")
    parser.add_argument("--failures", action="store_true", help="show every failure")
    parser.add_argument("--slowest", type=int, default=0, metavar="N", help="show the N checks that took longest")
    options = parser.parse_args()
    console = Console(width=200 if not sys.stdout.isatty() else None, highlight=False, markup=False)

    checks = tuple(options.dtype) if options.dtype else CHECKS
    keys = chosen(options.names)
    found: table.Table = {key: {} for key in keys}
    units = []
    for key in keys:
        if is_missing(key):
            found[key] = {"missing": ""}
        else:
            units += [(key, check) for check in checks if applies(ENTRIES[key], check)]
    if options.failed:
        known = table.load()
        units = [(key, check) for key, check in units if FAIL in known.get(key, {}).get(check, FAIL)]
    units.sort(key=lambda unit: checks.index(unit[1]))  # what counts most first
    failures: dict[str, str] = {}
    times: list[tuple[float, pool.Unit]] = []
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task("judging", total=len(units))
        for (key, check), verdict, took in pool.run(units, options.jobs, options.limit, lambda unit: parts(ENTRIES[unit[0]], unit[1])) if units else ():
            found[key][check] = "".join(PASS if why is None else FAIL for why in verdict.values())
            for part, why in verdict.items():
                if why is not None:
                    failures[f"{key} {check}" + (f" {part}" if part != check else "")] = why
            times.append((took, (key, check)))
            if not sys.stdout.isatty() and len(times) % 100 == 0:
                if options.write:
                    write(found, partial=True)
                print(f"{len(times)} of {len(units)} checks in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            progress.update(bar, advance=1, description=f"{key:.30}")

    if options.names or options.failures:
        for key in keys:
            if table.is_missing(found[key]):
                console.print(f"{key}: missing")
        for title in sorted(failures):
            console.print(f"{title}\n    {failures[title]}", soft_wrap=True)
    for took, (key, check) in sorted(times, reverse=True)[:options.slowest]:
        console.print(f"{took:7.1f} s  {key} {check}")
    whole = merged_with(table.load(), found) if options.failed else found
    for name, (passed, of) in table.figures(whole).items():
        if of:
            console.print(f"{name:40} {passed:5} of {of:5}  {passed / of:6.1%}")
    console.print(f"{len(units)} checks of {len(keys)} entries in {time.monotonic() - began:.0f} s")

    if options.write:
        write(found, partial=bool(options.dtype) or options.failed)
    if options.verify:
        expected = table.load()
        if options.failed:
            expected = {key: {c: s for c, s in row.items() if c in found.get(key, {})} for key, row in expected.items()}
        if options.dtype:
            expected = {key: {c: s for c, s in row.items() if c in checks or c == "missing"} for key, row in expected.items()}
        wrong = table.differences(expected, found)
        for line in wrong:
            console.print(line)
        if wrong:
            console.print(f"{len(wrong)} differences from {table.EXPECTED.name}. Regressions are to be mended; improvements recorded with --write.")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
