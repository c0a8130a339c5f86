"""Calls side by side leave nothing running behind."""

from __future__ import annotations

import asyncio

import pytest

from workspace_managers.tasks import being_cancelled, beside, together


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


async def test_cancellation_of_the_task_is_told_from_one_that_something_inside_raised() -> None:
    found: list[bool] = []

    async def looks(until: asyncio.Future[None] | None) -> None:
        try:
            if until is None:
                raise asyncio.CancelledError
            await until
        except asyncio.CancelledError:
            found.append(being_cancelled())

    await looks(None)
    other = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(looks(other))
    await asyncio.sleep(0)
    other.cancel()
    await waiting
    waiting = asyncio.create_task(looks(asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert found == [False, False, True]
