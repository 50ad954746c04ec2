"""Every kernel that a test of the compiler makes is held against the written rules of the IR, and accepted by LLVM for a GPU too."""
from __future__ import annotations

from typing import Any

import pytest

from torsh.codegen.check import check
from torsh.codegen.llvm_ptx import emit_ptx
from torsh.codegen.text import text
from torsh.compiler import plan

_seen: set[str] = set()


@pytest.fixture(autouse=True)
def _checked_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    original = plan.Plan._job

    def checked(self: Any, lowered: Any, *rest: Any) -> Any:
        content = text(lowered.kernel)
        if content not in _seen:
            _seen.add(content)
            check(lowered.kernel)
            assert ".visible .entry k_p0(" in emit_ptx(lowered.kernel, "k", "sm_80")
        return original(self, lowered, *rest)
    monkeypatch.setattr(plan.Plan, "_job", checked)
