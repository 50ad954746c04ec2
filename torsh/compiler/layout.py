"""Index arithmetic of the scheduler: the axes of a fused loop nest and how a view reads along them.

A *domain* is the list of axes of a group, outermost first, sizes of 1 left out; each is marked as folded by the
group's reductions or not. Nodes of another shape join by splitting axes until both shapes are products of
neighbouring axes.
"""
from __future__ import annotations

from torsh.core.shapes import Shape, contiguous_strides

Domain = tuple[tuple[int, bool], ...]  # (size, folded)
FULL, ROW, SCALAR = 0, 1, 2


def domain_of(shape: Shape, axes: Shape = ()) -> Domain:
    """The domain of a shape of which `axes` are folded."""
    return tuple((n, i in axes) for i, n in enumerate(shape) if n != 1)


def sizes(domain: Domain, level: int) -> Shape:
    """The axes that index values of a level: all, those kept, or none."""
    return tuple(n for n, folded in domain if level == FULL or (level == ROW and not folded))


def refine(domain: Domain, shape: Shape, level: int) -> Domain | None:
    """The domain with axes split so that `shape` is made of neighbouring ones, or None if there is no such split."""
    wanted = [n for n in shape if n != 1]
    members = [k for k, (_, folded) in enumerate(domain) if level == FULL or not folded]
    if 0 in wanted or any(n == 0 for n, _ in domain):
        return domain if tuple(wanted) == tuple(domain[k][0] for k in members) else None
    pieces: dict[int, list[int]] = {}
    j = len(wanted) - 1
    left = wanted[j] if wanted else 1
    for k in reversed(members):
        size = domain[k][0]
        found: list[int] = []
        while size > 1:
            while left == 1:
                j -= 1
                if j < 0:
                    return None
                left = wanted[j]
            if size % left == 0:
                piece = left
            elif left % size == 0:
                piece = size
            else:
                return None
            found.insert(0, piece)
            size //= piece
            left //= piece
        pieces[k] = found
    if j > 0 or left != 1:
        return None
    out: list[tuple[int, bool]] = []
    for k, (n, folded) in enumerate(domain):
        out.extend((p, folded) for p in pieces.get(k, [n]))
    return tuple(out)


def along(domain: Domain, shape: Shape, strides: Shape, level: int) -> Shape:
    """Strides of a view along the domain's axes (0 along those that a value of `level` does not have).

    The domain must have been refined by `shape`.
    """
    out = [0] * len(domain)
    dims = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    j = len(dims) - 1
    left, step = dims[j] if dims else (1, 0)
    for k in range(len(domain) - 1, -1, -1):
        size, folded = domain[k]
        if level == SCALAR or (level == ROW and folded):
            continue
        if left == 1 and j > 0:
            j -= 1
            left, step = dims[j]
        out[k] = step
        step *= size
        left //= max(size, 1)
    return tuple(out)


def own_strides(domain: Domain, level: int) -> Shape:
    """Where a value of a level lies in its own contiguous memory, along the domain's axes."""
    kept = iter(contiguous_strides(sizes(domain, level)))
    return tuple(next(kept) if level == FULL or (level == ROW and not folded) else 0 for _, folded in domain)


def broadcast_strides(shape: Shape, strides: Shape, to: Shape) -> Shape:
    """Strides of a view of `shape` read as the shape it broadcasts to."""
    lead = len(to) - len(shape)
    return (0,) * lead + tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))


def compose(shape: Shape, strides: Shape, offset: int, inner: tuple[Shape, Shape, int]) -> tuple[Shape, Shape, int] | None:
    """One view that reads what the view (shape, strides, offset) of the contiguous result of `inner` reads, if there is one."""
    in_shape, in_strides, in_offset = inner
    runs: list[list[int]] = []  # [size, stride outside, stride in the contiguous result]
    flat = 1
    for n, s in reversed([(n, s) for n, s in zip(in_shape, in_strides, strict=True) if n != 1]):
        if runs and s == runs[-1][1] * runs[-1][0]:
            runs[-1][0] *= n
        else:
            runs.append([n, s, flat])
        flat *= n
    if 0 in in_shape or 0 in shape:
        return None
    at = [(offset // flat_stride) % n for n, _, flat_stride in runs]
    reach = list(at)
    out = []
    for n, s in zip(shape, strides, strict=True):
        if n == 1 or s == 0:
            out.append(0)
            continue
        for k in range(len(runs) - 1, -1, -1):
            if s % runs[k][2] == 0 and s >= runs[k][2]:
                times = s // runs[k][2]
                reach[k] += times * (n - 1)
                out.append(times * runs[k][1])
                break
        else:
            return None
    if any(r >= run[0] for r, run in zip(reach, runs, strict=True)):
        return None
    return shape, tuple(out), in_offset + sum(a * run[1] for a, run in zip(at, runs, strict=True))
