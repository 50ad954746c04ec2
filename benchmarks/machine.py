"""What the machine can do at most: multiply-adds in registers and reading memory, on the threads in use."""
from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from torsh.codegen import compile as codegen
from torsh.codegen.cache import digest
from torsh.codegen.target import host
from torsh.runtime.cpu import executor


def _best(name: str, body: str, arguments: Sequence[int], items: int, runs: int) -> float:
    """The least seconds of a run of the kernel `name`, whose text is `body`."""
    key = f"benchmark-{digest(body)}"
    address = codegen.load([(key, lambda: body, [name])])[key][name]
    run = executor.Program([executor.Launch([address], [list(arguments)], [[items]], [False])])
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        run.run_list([])
        best = min(best, time.perf_counter() - start)
    return best


def _kernel(name: str, declarations: str, before: list[str], loop: list[str], count: str, after: list[str]) -> str:
    """A kernel that for each work item %n runs `loop` `count` times, with its phis first, and stores the vector %all in the item's place."""
    wide = 8 * host().vector_bytes
    vector = f"<{host().vector_bytes // 4} x float>"
    return "\n".join([
        declarations,
        f'define void @{name}(ptr %args, i64 %begin, i64 %end) "min-legal-vector-width"="{wide}" "prefer-vector-width"="{wide}" {{',
        "entry:", "  %out = load ptr, ptr %args, align 8", *before, "  br label %item",
        "item:", "  %n = phi i64 [%begin, %entry], [%m, %done]", "  br label %run",
        "run:", "  %i = phi i64 [0, %item], [%j, %run]", *loop, "  %j = add i64 %i, 1", f"  %c = icmp eq i64 %j, {count}",
        "  br i1 %c, label %done, label %run",
        "done:", "  %m = add i64 %n, 1", *after, f"  %to = getelementptr {vector}, ptr %out, i64 %n", f"  store {vector} %all, ptr %to, align 4",
        "  %more = icmp slt i64 %m, %end", "  br i1 %more, label %item, label %exit", "exit:", "  ret void", "}", ""])


def _summed(chains: int, vector: str) -> list[str]:
    """%all, the sum of %b0, %b1, ..."""
    names = ["%b0", *[f"%s{i}" for i in range(1, chains - 1)], "%all"]
    return [f"  {names[i]} = fadd {vector} {names[i - 1]}, %b{i}" for i in range(1, chains)]


def peak() -> float:
    """GFLOP/s of independent float32 multiply-adds."""
    lanes, chains, rounds = host().vector_bytes // 4, 12, 1_000_000
    vector = f"<{lanes} x float>"
    fma = f"@llvm.fma.v{lanes}f32"
    loop = [f"  %a{i} = phi {vector} [zeroinitializer, %item], [%b{i}, %run]" for i in range(chains)]
    loop += [f"  %b{i} = call {vector} {fma}({vector} %a{i}, {vector} %x, {vector} %x)" for i in range(chains)]
    text = _kernel("peak", f"declare {vector} {fma}({vector}, {vector}, {vector})", [f"  %x = load {vector}, ptr %out, align 4"], loop, str(rounds),
                   _summed(chains, vector))
    threads = executor.get_num_threads()
    memory = np.zeros((threads + 1) * lanes, np.float32)
    return threads * rounds * chains * lanes * 2 / _best("peak", text, [memory.ctypes.data], threads, 20) / 1e9


def bandwidth(megabytes: int = 64) -> float:
    """GB/s of reading an array larger than the caches of the cores, of the size of the larger workloads."""
    lanes, chains, pieces = host().vector_bytes // 4, 8, 64
    vector = f"<{lanes} x float>"
    rounds = (megabytes << 20) // (pieces * chains * lanes * 4)
    loop = [f"  %a{i} = phi {vector} [zeroinitializer, %item], [%b{i}, %run]" for i in range(chains)]
    loop += [f"  %row = mul i64 %n, {rounds}", "  %line = add i64 %row, %i", f"  %first = mul i64 %line, {chains}"]
    for i in range(chains):
        loop += [f"  %o{i} = add i64 %first, {i}", f"  %p{i} = getelementptr {vector}, ptr %in, i64 %o{i}",
                 f"  %v{i} = load {vector}, ptr %p{i}, align 4", f"  %b{i} = fadd {vector} %a{i}, %v{i}"]
    text = _kernel("bandwidth", "", ["  %in.at = getelementptr i64, ptr %args, i64 1", "  %in = load ptr, ptr %in.at, align 8"], loop, str(rounds),
                   _summed(chains, vector))
    from torsh.runtime.cpu.memory import allocate
    block = allocate(megabytes << 20)
    block.array(np.dtype(np.float32), megabytes << 18).fill(1.0)
    out = np.zeros(pieces * lanes, np.float32)
    seconds = _best("bandwidth", text, [out.ctypes.data, block.address], pieces, 10)
    assert out.sum() == megabytes << 18  # every element was read
    return pieces * rounds * chains * lanes * 4 / seconds / 1e9


if __name__ == "__main__":
    print(f"{executor.get_num_threads()} threads: {peak():.0f} GFLOP/s of float32 multiply-adds, {bandwidth():.1f} GB/s read")
