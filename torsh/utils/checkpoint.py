"""`torsh.utils.checkpoint`: backward computes a part's intermediate values again instead of keeping them."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torsh.autograd.autocast import surroundings, within
from torsh.autograd.grad_mode import enable_grad, state
from torsh.autograd.graph import saved_tensors_hooks
from torsh.runtime.cpu.generator import default_generator
from torsh.tensor.tensor import Tensor


class CheckpointError(RuntimeError):
    """Raised in backward when the second run of a checkpointed function saved other tensors than the first."""


class _Frame:
    """One checkpointed call: what its first run saved (shapes and dtypes), and what a second run found."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], preserve: bool) -> None:
        self.call = (function, args, kwargs)
        self.random = default_generator().get_state() if preserve else None
        self.autocast = surroundings()
        self.first: list[Any] = []
        self.again: dict[int, Tensor] = {}

    def pack(self, t: Tensor) -> int:
        self.first.append((t._shape, t._dtype))
        return len(self.first) - 1

    def unpack(self, i: int) -> Tensor:
        if i not in self.again:
            self.run_again()
        return self.again.pop(i)

    def run_again(self) -> None:
        function, args, kwargs = self.call
        found: list[Tensor] = []

        def collect(t: Tensor) -> None:
            found.append(t)

        def refuse(_: None) -> Tensor:
            raise CheckpointError("torsh.utils.checkpoint: backward inside a checkpointed function is not possible while it is run again")

        now = None
        if self.random is not None:
            now = default_generator().get_state()
            default_generator().set_state(self.random)
        try:
            with enable_grad(), within(self.autocast), saved_tensors_hooks(collect, refuse):
                function(*args, **kwargs)
        finally:
            if now is not None:
                default_generator().set_state(now)
        if len(found) != len(self.first):
            raise CheckpointError("torsh.utils.checkpoint: A different number of tensors was saved during the original forward and recomputation.\n"
                                  f"Number of tensors saved during forward: {len(self.first)}\n"
                                  f"Number of tensors saved during recomputation: {len(found)}.")
        for i, (t, (shape, dt)) in enumerate(zip(found, self.first, strict=True)):
            if t._shape != shape or t._dtype is not dt:
                raise CheckpointError("torsh.utils.checkpoint: Recomputed values for the following tensors have different metadata than during the "
                                      f"forward pass.\ntensor at position {i}: saved {list(shape)} {dt}, recomputed {list(t._shape)} {t._dtype}")
        self.again = dict(enumerate(found))


def checkpoint(function: Callable[..., Any], *args: Any, use_reentrant: bool | None = None, preserve_rng_state: bool = True, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)`, whose intermediate values are not kept for backward: backward calls it again.

    With `preserve_rng_state` the second call draws the same random numbers. `use_reentrant` is accepted for PyTorch's sake: there
    is one way here, which records through saved-tensor hooks and asks nothing of the arguments. Raises CheckpointError (in
    backward) when the second call saves other tensors than the first.

    >>> import torsh
    >>> x = torsh.tensor([1.0, 2.0], requires_grad=True)
    >>> checkpoint(lambda t: (t * t).sum(), x).backward()
    >>> x.grad.tolist()
    [2.0, 4.0]
    """
    if not state.enabled:
        return function(*args, **kwargs)
    frame = _Frame(function, args, kwargs, preserve_rng_state)
    with saved_tensors_hooks(frame.pack, frame.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, preserve_rng_state: bool = True) -> Any:
    """Functions one after another in `segments` parts of equal length, all but the last of them checkpointed.

    `functions` is a list or a Sequential module. Raises ValueError for more segments than functions, or fewer than one.
    """
    steps: Sequence[Callable[[Any], Any]] = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= len(steps):
        raise ValueError(f"checkpoint_sequential: segments must be between 1 and the number of functions ({len(steps)}), got {segments}")
    size = len(steps) // segments

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for step in steps[start:end]:
                x = step(x)
            return x
        return run

    for start in range(0, size * (segments - 1), size):
        input = checkpoint(part(start, start + size), input, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state)
    return part(size * (segments - 1), len(steps))(input)


__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]
