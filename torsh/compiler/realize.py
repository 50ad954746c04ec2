"""Realizing: giving nodes their numbers. What was traced finds the plan that computes it, or one is built.

What live tensors refer to inside the graph is computed along with what was asked for, so that nothing is computed twice.
"""
from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, final

from torsh.compiler.record import Found, Record
from torsh.compiler.trace import Trace, others_hold
from torsh.core import config
from torsh.core.dtypes import float32
from torsh.graph.node import Node
from torsh.graph.primitives import CONST, LEAF
from torsh.runtime import reference
from torsh.runtime.recorder import recording

if TYPE_CHECKING:
    from torsh.compiler.plan import Plan

_plans: Final[dict[Any, Record]] = {}
_MOST_PLANS: Final = 1024
#: The records of graphs realized last, newest first, by a number made of what is known of a graph before it is walked.
_recent: Final[dict[int, list[Record]]] = {}
_MOST_RECENT: Final = 8
_lock: Final = threading.RLock()
_acquire: Final = _lock.acquire
_release: Final = _lock.release
_events: Final = recording
_settings: Final[dict[str, Any]] = vars(config)
_NOTHING: Final = Node(LEAF, (), None, (), float32)


@final
class _Companions:
    """What is to be computed along with whatever is realized next, by id; how many there may be before those nobody wants are looked for."""
    nodes: dict[int, Node]
    most: int

    def __init__(self) -> None:
        self.nodes = {}
        self.most = 64

    def taken(self) -> list[Node]:
        """Those that are left and that somebody else refers to; none are left here."""
        nodes = list(self.nodes.values())
        self.nodes.clear()
        held = [others_hold(nodes, i, 0) for i in range(len(nodes))]
        return [node for node, wanted in zip(nodes, held) if wanted and node.buffer is None]


_companions: Final = _Companions()


def accompany(node: Node) -> None:
    """Compute this node along with whatever is realized next, if somebody still refers to it then: a loss is wanted when its gradients
    are, though they do not need it, and so is each gradient when another is."""
    nodes = _companions.nodes
    if len(nodes) >= _companions.most:
        for kept in _companions.taken():
            nodes[id(kept)] = kept
        _companions.most = max(64, 2 * len(nodes))
    nodes[id(node)] = node


def forsake(node: Node) -> None:
    """Not to be computed for its own sake after all."""
    _companions.nodes.pop(id(node), None)


def _as_number(node: Node) -> float | int | complex:
    """A constant's value as an argument slot takes it: a float for floating types, an int for integers and bools. Complex numbers
    are read by host steps only."""
    category = node.dtype.category
    return float(node.arg) if category == 2 else complex(node.arg) if category == 3 else int(node.arg)


def _build(trace: Trace) -> Plan:
    from torsh.compiler.canonical import INPUT, SCALAR, Canonical  # the compiler is loaded when something is first computed
    from torsh.compiler.epilogue import fuse
    from torsh.compiler.plan import Plan
    from torsh.compiler.prepare import take
    from torsh.compiler.recompute import recompute
    canonical = Canonical()
    inputs: list[Node] = []
    for leaf in trace.leaves:
        made = Node(INPUT, (), len(inputs), leaf.shape, leaf.dtype)
        inputs.append(made)
        canonical.bind(leaf, made)
    copies: dict[int, Node] = {}
    numbers: list[Node] = []
    placeholders: dict[int, Node] = {}
    for node in trace.order:  # numbers are open: each constant gets a placeholder
        srcs: list[Node] = []
        for s in node.srcs:
            if s.op is CONST and s.buffer is None:
                placeholder = placeholders.get(id(s))
                if placeholder is None:
                    placeholder = placeholders[id(s)] = Node(SCALAR, (), ("number", len(numbers)), (), s.dtype)
                    numbers.append(placeholder)
                srcs.append(placeholder)
            else:
                srcs.append(copies.get(id(s), s))
        copy = Node(node.op, tuple(srcs), node.arg, node.shape, node.dtype)
        copy.outputs = node.outputs
        copies[id(node)] = copy
    for placeholder in numbers:
        canonical.bind(placeholder, placeholder)
    roots = [canonical.convert(copies[id(trace.order[i])]) for i in trace.roots]
    fuse(roots)
    dead = list(trace.dead)
    prepared = take(roots, inputs, dead)
    plan = Plan(roots, inputs, numbers, dead, recompute(roots))
    plan.prepared = prepared
    return plan


def _kind(wanted: list[Node]) -> int:
    """What is known of a graph before it is walked: how much is wanted, and how the last of it was made."""
    last = wanted[-1]
    return (len(wanted) << 16 | last.op.number) << 24 | last.depth & 0xffffff


def _recall(wanted: list[Node]) -> tuple[Record, Found] | None:
    """The record of a graph that was realized recently, and the graph's parts in its order."""
    recent = _recent.get(_kind(wanted))
    if recent is None:
        return None
    for i in range(len(recent)):
        record = recent[i]
        found = record.match(wanted)
        if found is not None:
            if i:
                recent.insert(0, recent.pop(i))
            return record, found
    return None


def _look_up(wanted: list[Node], trace: Trace) -> Record:
    """The record of any other graph, with its plan, which is built if there is none."""
    signature = trace.signature()
    known = _plans.get(signature)
    if known is None:
        if len(_plans) >= _MOST_PLANS:
            del _plans[next(iter(_plans))]
            _recent.clear()
        record = _plans[signature] = Record(trace, wanted, _build(trace))
    else:
        record = Record(trace, wanted, known.plan)  # what is asked for may be other nodes among those that are kept
    if len(_recent) >= _MOST_PLANS:
        _recent.clear()
    recent = _recent.setdefault(_kind(wanted), [])
    recent.insert(0, record)
    del recent[_MOST_RECENT:]
    return record


def _find(wanted: list[Node]) -> tuple[Record, Found]:
    """The record of the graph of what is wanted, and its parts in the record's order."""
    known = _recall(wanted)
    if known is not None:
        return known
    trace = Trace(wanted)
    return _look_up(wanted, trace), Found(trace.order, trace.leaves, trace.numbers)


def _find_recorded(wanted: list[Node]) -> tuple[Record, Found]:
    """As `_find`, with an event for the walk and one for a plan that had to be looked up or built."""
    start = time.perf_counter_ns()
    known = _recall(wanted)
    if known is not None:
        _events.add(f"recognize {len(known[1].order)} nodes", "trace", start)
        return known
    trace = Trace(wanted)
    _events.add(f"order {len(trace.order)} nodes", "trace", start)
    start, plans = time.perf_counter_ns(), len(_plans)
    record = _look_up(wanted, trace)
    _events.add("build a plan" if len(_plans) != plans else "find the plan", "plan", start)
    return record, Found(trace.order, trace.leaves, trace.numbers)


def _evaluate(nodes: list[Node]) -> None:
    reference.evaluate(nodes)
    _forget(nodes)


def _join_companions(wanted: list[Node]) -> None:
    """Companions that somebody outside refers to are wanted too."""
    known = {id(n) for n in wanted}
    for node in _companions.taken():
        if node.op is not CONST and id(node) not in known:
            wanted.append(node)


def realize(nodes: list[Node]) -> None:
    """Compute every node of the list that has no buffer yet.

    Raises IndexError when a data-dependent index was out of range, and whatever a host library raises.
    """
    wanted: list[Node] = []
    constants = False
    for node in nodes:
        if node.buffer is None:
            wanted.append(node)
            constants = constants or node.op is CONST
    node, nodes = _NOTHING, []
    if not wanted:
        return
    runtime = _settings["RUNTIME"]
    if runtime == "reference":
        _evaluate(wanted)
        return
    if constants:
        _evaluate([n for n in wanted if n.op is CONST])
        wanted = [n for n in wanted if n.buffer is None]
        if not wanted:
            return
    if _companions.nodes:
        _join_companions(wanted)
    _acquire()
    try:
        record, found = _find(wanted) if _events.events is None else _find_recorded(wanted)
    finally:
        _release()
    if runtime == "null":
        return
    leaves = found.leaves
    if record.prepared:
        leaves = leaves + [p.of(leaves[p.number]) for p in record.prepared]
    buffers = record.program.run(leaves, [_as_number(n) for n in found.numbers])
    order = found.order
    for i, buffer in zip(record.roots, buffers):
        done = order[i]
        done.buffer = buffer
        done.op, done.srcs, done.arg = LEAF, (), None


def _forget(nodes: list[Node]) -> None:
    """Realized nodes no longer need their sources."""
    for node in nodes:
        node.op, node.srcs, node.arg = LEAF, (), None
