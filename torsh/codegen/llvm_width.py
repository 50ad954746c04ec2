"""How to execute a vector loop: in how many lanes, and what to do with those that do not fill a vector."""
from __future__ import annotations

from torsh.codegen.kernel_ir import MATH, Address, Cast, Declare, Expr, Index, Load, Loop, Op, Read, Store, Update
from torsh.codegen.llvm_ops import BYTES
from torsh.codegen.walk import operands, postorder, roots, statements

#: A cheap body is limited by latency or loop overhead: several vectors at once give independent chains.
CHEAP, MODERATE = 8, 24
#: A body that is mostly one long chain waits for itself too: neighbours that wait in the processor's scheduler must belong to two chains.
LONG = 40


#: What an update costs, in instructions.
_UPDATE = {"argmax": 8, "argmin": 8, "max": 3, "min": 3}


def choose(loop: Loop, vector_bytes: int) -> tuple[int, str]:
    """The lanes, a power of two: those of a register for the body's typical value, times an unrolling of cheap bodies.

    And the way of the rest: "masked", one masked vector after the loop; "scalar", a loop over single lanes; "always",
    every vector is masked, so that a long body is in the code (and compiled) once."""
    cost, size, irregular, accumulates = measure(loop)
    way = "always" if cost > MODERATE else "scalar" if irregular else "masked"
    return _lanes(loop, vector_bytes, cost, size, irregular, accumulates), way


def _lanes(loop: Loop, vector_bytes: int, cost: int, size: int, irregular: bool, accumulates: bool) -> int:
    lanes = vector_bytes // size
    if irregular:
        unrolled = lanes = min(lanes, 16)
    elif cost <= CHEAP:
        unrolled = lanes * (4 if accumulates else 2)
    elif (cost <= MODERATE and accumulates) or (cost > LONG and not accumulates):
        unrolled = lanes * 2
    else:
        unrolled = lanes
    if loop.tile is None and isinstance(loop.extent, int):
        n = loop.extent
        while unrolled >= 2 * n and unrolled > 1:
            unrolled //= 2
        exact = unrolled
        while exact > lanes and n % exact:
            exact //= 2
        if n % exact == 0:
            return exact
    return unrolled


def measure(loop: Loop) -> tuple[int, int, bool, bool]:
    """Of what differs between lanes: rough instruction count, bytes of the typical value, whether an access is not
    contiguous; and whether the body updates accumulators."""
    used: list[Expr] = []
    stores: list[Store] = []
    private = set()
    accumulates = False
    cost = 0
    for s in statements(loop.body):
        used.extend(roots(s))
        if isinstance(s, Store):
            stores.append(s)
        elif isinstance(s, Declare):
            private.add(s.acc)
        elif isinstance(s, Update):
            accumulates = True
            cost += _UPDATE.get(s.acc.op, 1)
    varying: set[int] = set()
    sizes: dict[int, int] = {}
    irregular = False
    for e in postorder(used):
        if isinstance(e, Index):
            varies = e.axis == loop.axis
        elif isinstance(e, Read):
            varies = e.acc in private
        elif isinstance(e, Load):
            access = contiguity(e.address, loop.axis, varying)
            irregular = irregular or access == "irregular"
            varies = access != "uniform" or (e.mask is not None and id(e.mask) in varying)
        else:
            varies = any(id(x) in varying for x in operands(e))
        if not varies:
            continue
        varying.add(id(e))
        if isinstance(e, (Op, Cast, Load)):
            cost += 20 if isinstance(e, Op) and e.name in MATH else 1
            size = BYTES[e.dtype]
            sizes[size] = sizes.get(size, 0) + 1
    for s in stores:
        cost += 1
        irregular = irregular or contiguity(s.address, loop.axis, varying) == "irregular"
        size = BYTES[s.value.dtype]
        sizes[size] = sizes.get(size, 0) + 1
    return cost, typical(sizes), irregular, accumulates


def contiguity(address: Address, axis: int, varying: set[int]) -> str:
    """"uniform", "contiguous" or "irregular": how the lanes of `axis` access memory."""
    if any(id(e) in varying for e, _ in address.gathers):
        return "irregular"
    strides = [stride for a, stride in address.terms if a == axis and stride != 0]
    if not strides:
        return "uniform"
    return "contiguous" if strides in ([1], [-1]) else "irregular"


def typical(sizes: dict[int, int]) -> int:
    """The widest value size, unless that is 8 bytes for a minority (indices beside data)."""
    if not sizes:
        return 4
    widest = max(sizes)
    if widest == 8 and 2 * sizes[8] < sum(sizes.values()):
        return 4
    return widest
