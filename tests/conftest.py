"""What every test shares: threads, hypothesis profiles, random data and a clean process state."""
from __future__ import annotations

import os
import pathlib
import sysconfig
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


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compiled modules that are older than their source would be tested in its place."""
    package = pathlib.Path(dtypes.__file__).parents[1]
    if os.environ.get("TORSH_INTERPRETED"):
        return
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    built = max((code.stat().st_mtime for code in package.parent.glob("*__mypyc" + suffix)), default=0.0)  # the others only point there
    stale = [s.name for s in package.rglob("*.py") if s.with_suffix(suffix).exists() and built < s.stat().st_mtime]
    if stale:
        raise pytest.UsageError(f"the compiled core is older than {', '.join(stale)}: run `make build`, or set TORSH_INTERPRETED=1")


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
