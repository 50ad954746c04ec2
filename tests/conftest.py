"""What every test shares: threads, hypothesis profiles, random data and a clean process state."""
from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

# Workers share the cores already, and these libraries read their thread count once, when they are loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_variable, "1")

import numpy as np
import pytest
from hypothesis import settings

from torsh.core import dtypes

# A run of the suite gives the same verdict every time; `--hypothesis-profile=explore` looks for new counterexamples.
settings.register_profile("suite", deadline=None, max_examples=50, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("suite")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's name: the same data every time, whichever tests ran before."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(autouse=True)
def _restored_default_dtype() -> Iterator[None]:
    """The default dtype belongs to the process; put back, it cannot make the order of tests matter."""
    default_dtype = dtypes.get_default_dtype()
    yield
    dtypes.set_default_dtype(default_dtype)
