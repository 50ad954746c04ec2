"""A count of the changes made to modules, so that what was read from them before needs no second look while it stands still."""
from __future__ import annotations

from typing import Final, final


@final
class _Changes:
    """`count` grows with every attribute, member or hook of any module that is set or removed."""
    count: int

    def __init__(self) -> None:
        self.count = 0


changes: Final = _Changes()
