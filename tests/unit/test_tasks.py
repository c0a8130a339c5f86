"""Calls side by side leave nothing running behind."""

from __future__ import annotations

import asyncio

import pytest

from workspace_managers.tasks import beside, together


async def test_failure_is_raised_when_all_have_ended() -> None:
    ended: list[str] = []

    async def fails(what: str) -> None:
        raise ValueError(what)

    async def takes_its_time() -> None:
        await asyncio.sleep(0.02)
        ended.append("it")

    with pytest.raises(ValueError, match="first"):
        await together(takes_its_time(), fails("first"), fails("second"))
    assert ended == ["it"]


async def test_answers_come_in_the_order_of_the_questions() -> None:
    assert await together(asyncio.sleep(0.02, "slow"), asyncio.sleep(0, "quick")) == ["slow", "quick"]


async def test_call_beside_a_block_ends_with_it() -> None:
    calls: list[asyncio.Task[None]] = []

    async def block() -> None:
        async with beside(asyncio.sleep(3600)) as call:
            calls.append(call)
            await asyncio.sleep(0)
            assert not call.done()
            raise ValueError("the block")

    with pytest.raises(ValueError, match="the block"):
        await block()
    assert calls[0].cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_call_beside_a_block_may_be_awaited_there() -> None:
    async with beside(asyncio.sleep(0, "answer")) as call:
        assert await call == "answer"
