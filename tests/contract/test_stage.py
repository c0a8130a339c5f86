"""What a clause is given: a question that fails leaves no other one behind."""

from __future__ import annotations

import gc
from unittest.mock import AsyncMock, Mock

import pytest

from workspace_managers.contract import Stage


async def test_failed_question_leaves_no_start_that_nobody_awaits(recwarn: pytest.WarningsRecorder) -> None:
    """Such a warning comes when the coroutine is collected, and is laid to whichever clause runs then."""
    stage = Stage(Mock(), Mock())
    stage.manager = Mock(choose=AsyncMock(side_effect=OSError("no answer")))
    with pytest.raises(OSError, match="no answer"):
        await stage.starts("alice", "heart")
    gc.collect()
    assert [str(each.message) for each in recwarn] == []
