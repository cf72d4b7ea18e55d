"""Places, the line for them, and the end of both.

Real here: the event loop and everything that waits in it. Nothing is faked.
"""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning_room.serve.admission import Admission, ShuttingDownError
from tuning_room.serve.fields import RequestError


def test_the_first_to_wait_is_the_first_to_get_a_place() -> None:
    async def play() -> list[int]:
        admission, order = Admission(places=1, most_waiting=9), list[int]()

        async def come(number: int) -> None:
            await admission.take(1)
            order.append(number)
            await asyncio.sleep(0)
            admission.give(1)

        await asyncio.gather(*(come(number) for number in range(5)))
        assert (admission.taken, admission.waiting) == (0, 0)
        return order

    assert asyncio.run(play()) == [0, 1, 2, 3, 4]


def test_a_small_request_does_not_overtake_a_large_one() -> None:
    async def play() -> None:
        admission = Admission(places=4, most_waiting=9)
        await admission.take(3)
        large, small = asyncio.ensure_future(admission.take(4)), asyncio.ensure_future(admission.take(1))
        await asyncio.sleep(0)
        assert admission.waiting == 2
        admission.give(3)
        await large
        assert not small.done()
        admission.give(4)
        await small

    asyncio.run(play())


def test_whoever_leaves_the_line_lets_those_behind_go_on() -> None:
    async def play() -> None:
        admission = Admission(places=4, most_waiting=9)
        await admission.take(3)
        large, small = asyncio.ensure_future(admission.take(4)), asyncio.ensure_future(admission.take(1))
        await asyncio.sleep(0)
        large.cancel()
        await asyncio.wait_for(small, 5)

    asyncio.run(play())


def test_too_long_a_line_is_answered_with_a_time_to_come_back() -> None:
    async def play() -> RequestError:
        admission = Admission(places=1, most_waiting=2)
        await admission.take(1)
        waiting = [asyncio.ensure_future(admission.take(1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as caught:
            await admission.take(1)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert admission.waiting == 0
        return caught.value

    error = asyncio.run(play())
    assert (error.status, error.kind) == (429, "rate_limit_error")
    assert error.retry_after and error.retry_after >= 1


def test_those_who_wait_are_refused_when_it_closes_and_those_under_way_when_it_ends() -> None:
    async def play() -> None:
        admission = Admission(places=1, most_waiting=2)
        await admission.take(1)

        async def work() -> None:
            with admission.under_way():
                await asyncio.sleep(60)

        under_way, waiting = asyncio.ensure_future(work()), asyncio.ensure_future(admission.take(1))
        await asyncio.sleep(0)
        admission.close()
        with pytest.raises(ShuttingDownError) as caught:
            await waiting
        assert caught.value.status == 503
        assert not under_way.done()
        admission.end()
        with pytest.raises(ShuttingDownError):
            await under_way
        for refused in (admission.take(1), work()):
            with pytest.raises(ShuttingDownError):
                await refused

    asyncio.run(play())


@settings(max_examples=60, deadline=None)
@given(
    places=st.integers(1, 4),
    comers=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.booleans()), max_size=12),
)
def test_no_place_is_lost_or_given_twice(places: int, comers: list[tuple[int, int, bool]]) -> None:
    """Whoever comes with whatever size, stays for some turns of the loop, and perhaps leaves while waiting."""

    async def play() -> None:
        admission = Admission(places, most_waiting=6)

        async def come(count: int, turns: int) -> None:
            await admission.take(count)
            assert admission.taken <= places
            try:
                for _ in range(turns):
                    await asyncio.sleep(0)
            finally:
                admission.give(count)

        tasks = []
        for count, turns, leaves in comers:
            task = asyncio.ensure_future(come(min(count, places), turns))
            tasks.append(task)
            await asyncio.sleep(0)
            if leaves:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (admission.taken, admission.waiting) == (0, 0)

    asyncio.run(play())
