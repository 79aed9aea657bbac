"""The client for programs without an event loop: the other one, on a loop of its own in a thread of its own."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from darkroom.client.asynchronous import AsyncClient
from darkroom.client.errors import ClosedError, ElsewhereError

STOP_SECONDS = 5

P = ParamSpec("P")
T = TypeVar("T")


class _Waits(Generic[P, T]):
    """A method of the other client, which returns when it is done."""

    def __init__(self, method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, client: "Client", _: type["Client"]) -> Callable[P, T]:
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return client.run(self._method(client.asynchronous, *args, **kwargs))

        return call


class _Iterates(Generic[P, T]):
    """A method of the other client, whose items are waited for one by one."""

    def __init__(self, method: Callable[Concatenate[AsyncClient, P], AsyncIterator[T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, client: "Client", _: type["Client"]) -> Callable[P, Iterator[T]]:
        def call(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            items = self._method(client.asynchronous, *args, **kwargs)
            try:
                while True:
                    try:
                        yield client.run(_next(items))
                    except StopAsyncIteration:
                        return
            finally:
                with contextlib.suppress(ClosedError, ElsewhereError):
                    client.run(_end(items))

        return call


class Client:
    """As `AsyncClient`, method by method; can be used from several threads, in the process that made it."""

    def __init__(self, url: str, token: str | None) -> None:
        self.asynchronous = AsyncClient(url, token)
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._closed = False
        # Reentrant: an iterator that is collected meanwhile asks as well.
        self._asking = threading.RLock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="darkroom-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Once. Who waits in another thread is not waited for: it ends there with concurrent.futures.CancelledError."""
        if self._is_elsewhere():
            return
        with self._asking:
            if self._closed:
                return
            self._closed = True
            ending = asyncio.run_coroutine_threadsafe(self._end_all(), self._loop)
        ending.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What it comes to.

        Raises:
            ClosedError: after `close`; CancelledError where that came meanwhile.
            ElsewhereError: in a forked child.
        """
        if self._is_elsewhere():
            work.close()
            raise ElsewhereError
        with self._asking:
            if self._closed:
                work.close()
                raise ClosedError
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C ends what was waited for.
            future.cancel()
            raise

    def _is_elsewhere(self) -> bool:
        """A forked child has neither the thread nor, perhaps, whoever would release the lock."""
        return os.getpid() != self._process

    async def _end_all(self) -> None:
        """Ends what was asked before; afterwards nothing is."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=STOP_SECONDS)
        await self._loop.shutdown_asyncgens()
        await self.asynchronous.close()

    generate = _Waits(AsyncClient.generate)
    generation = _Waits(AsyncClient.generation)
    generations = _Iterates(AsyncClient.generations)
    follow = _Iterates(AsyncClient.follow)
    wait = _Waits(AsyncClient.wait)
    cancel = _Waits(AsyncClient.cancel)
    retry = _Waits(AsyncClient.retry)
    delete = _Waits(AsyncClient.delete)
    quote = _Waits(AsyncClient.quote)
    batch = _Waits(AsyncClient.batch)
    look_at_batch = _Waits(AsyncClient.look_at_batch)
    upload = _Waits(AsyncClient.upload)
    delete_upload = _Waits(AsyncClient.delete_upload)
    fetch = _Waits(AsyncClient.fetch)
    save = _Waits(AsyncClient.save)
    models = _Waits(AsyncClient.models)
    credits = _Waits(AsyncClient.credits)
    statement = _Iterates(AsyncClient.statement)
    webhooks = _Waits(AsyncClient.webhooks)
    make_webhook = _Waits(AsyncClient.make_webhook)
    remove_webhook = _Waits(AsyncClient.remove_webhook)
    api_keys = _Waits(AsyncClient.api_keys)
    make_api_key = _Waits(AsyncClient.make_api_key)
    revoke_api_key = _Waits(AsyncClient.revoke_api_key)


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _end(items: AsyncIterator[Any]) -> None:
    """Closes what it has open, where it was left before its end."""
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()
