"""An event loop in a thread of its own, so that asynchronous work can be called from anywhere."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Thread


@contextmanager
def background_loop(close: Callable[[], Awaitable[None]]) -> Iterator[asyncio.AbstractEventLoop]:
    """Yield a running event loop; when the block ends, what is still under way is cancelled, and then `close` runs."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_end(close), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(close: Callable[[], Awaitable[None]]) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await close()
