"""Outputs that take over the memory of dead inputs do so only after the last reader of it."""
from __future__ import annotations

import numpy as np

import torsh


def test_a_host_steps_output_takes_over_nothing() -> None:
    """The first inverse is written by a host step, then others of the graph's matrices are read, and it is read by a kernel last of all."""
    rng = np.random.default_rng(0)
    first, second, third = rng.standard_normal((3, 4, 4))
    a, b, c = (torsh.tensor(m) * 1 for m in (first, second, third))
    (a.sum() + b.sum() + c.sum()).item()  # computed: in memory that a graph may take over, once nobody else holds it
    inverse, other = torsh.linalg.inv_ex(b).inverse, torsh.linalg.inv_ex(c).inverse
    found = (other @ a) @ inverse
    del a, b, c, other
    np.testing.assert_allclose(found.numpy(), np.linalg.inv(third) @ first @ np.linalg.inv(second), 1e-9)
    np.testing.assert_allclose(inverse.numpy(), np.linalg.inv(second), 1e-10)
