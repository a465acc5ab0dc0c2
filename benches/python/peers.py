"""asyncio.TaskGroup and Trio, if they are there: python3 peers.py QUESTION N ROUNDS.

Prints a line for each: its name, the median and the least time of a repetition in nanoseconds.
"""

import asyncio
import functools
import statistics
import sys
import time

try:
    import trio
    import trio.testing
except ImportError:
    trio = None


class Cancel(Exception):
    pass


async def nothing():
    pass


# asyncio

async def asyncio_once():
    await asyncio.sleep(0)


async def asyncio_forever():
    await asyncio.Event().wait()


async def asyncio_fail():
    raise Cancel


async def asyncio_ready(n):
    async with asyncio.TaskGroup() as group:
        for _ in range(n):
            group.create_task(nothing())


async def asyncio_yielding(n):
    async with asyncio.TaskGroup() as group:
        for _ in range(n):
            group.create_task(asyncio_once())


async def asyncio_cancelling(n):
    start = None

    async def body():
        nonlocal start
        async with asyncio.TaskGroup() as group:
            for _ in range(n):
                group.create_task(asyncio_forever())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            start = time.perf_counter_ns()
            asyncio.current_task().cancel()

    try:
        await asyncio.create_task(body())
    except asyncio.CancelledError:
        pass
    return time.perf_counter_ns() - start


async def asyncio_node(depth):
    async with asyncio.TaskGroup() as group:
        if depth:
            for _ in range(10):
                group.create_task(asyncio_node(depth - 1))


async def asyncio_tree(n):
    await asyncio_node(len(str(n)) - 1)


async def asyncio_failing(n):
    try:
        async with asyncio.TaskGroup() as group:
            for i in range(1, n + 1):
                group.create_task(asyncio_forever() if i < n else asyncio_fail())
            await asyncio_forever()
    except* Cancel:
        pass


async def asyncio_results(n):
    async def child(i):
        return i

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(child(i)) for i in range(n)]
    return [task.result() for task in tasks] and None


async def asyncio_nested(n):
    async def child(group, n):
        left = (n - 1) // 2
        if left:
            group.create_task(child(group, left))
        if n - 1 - left:
            group.create_task(child(group, n - 1 - left))

    async with asyncio.TaskGroup() as group:
        group.create_task(child(group, n))


async def asyncio_timeout_ready(n):
    for _ in range(n):
        async with asyncio.timeout(3600):
            await nothing()


async def asyncio_timeout_yielding(n):
    for _ in range(n):
        async with asyncio.timeout(3600):
            await asyncio.sleep(0)


async def asyncio_limited(n):
    semaphore = asyncio.Semaphore(64)

    async def job():
        try:
            await asyncio.sleep(0)
        finally:
            semaphore.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(n):
            await semaphore.acquire()
            group.create_task(job())


# Trio

async def trio_once():
    await trio.lowlevel.checkpoint()


async def trio_fail():
    raise Cancel


async def trio_ready(n):
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(nothing)


async def trio_yielding(n):
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(trio_once)


async def trio_cancelling(n):
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        start = time.perf_counter_ns()
        nursery.cancel_scope.cancel()
    return time.perf_counter_ns() - start


async def trio_node(depth):
    async with trio.open_nursery() as nursery:
        if depth:
            for _ in range(10):
                nursery.start_soon(trio_node, depth - 1)


async def trio_tree(n):
    await trio_node(len(str(n)) - 1)


async def trio_failing(n):
    try:
        async with trio.open_nursery() as nursery:
            for i in range(1, n + 1):
                nursery.start_soon(trio.sleep_forever if i < n else trio_fail)
            await trio.sleep_forever()
    except* Cancel:
        pass


async def trio_results(n):
    results = [None] * n

    async def child(i):
        results[i] = i

    async with trio.open_nursery() as nursery:
        for i in range(n):
            nursery.start_soon(child, i)


async def trio_nested(n):
    async def child(nursery, n):
        left = (n - 1) // 2
        if left:
            nursery.start_soon(child, nursery, left)
        if n - 1 - left:
            nursery.start_soon(child, nursery, n - 1 - left)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child, nursery, n)


async def trio_timeout_ready(n):
    for _ in range(n):
        with trio.fail_after(3600):
            await nothing()


async def trio_timeout_yielding(n):
    for _ in range(n):
        with trio.fail_after(3600):
            await trio_once()


async def trio_limited(n):
    limiter = trio.Semaphore(64)

    async def job():
        try:
            await trio_once()
        finally:
            limiter.release()

    async with trio.open_nursery() as nursery:
        for _ in range(n):
            await limiter.acquire()
            nursery.start_soon(job)


async def repeat(child, n, repetitions):
    """The nanoseconds that one repetition takes; or what it says itself."""
    own = 0
    start = time.perf_counter_ns()
    for _ in range(repetitions):
        own += await child(n) or 0
    return (own or time.perf_counter_ns() - start) / repetitions


def main():
    question, n, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    peers = {}
    if sys.version_info >= (3, 11):
        peers["asyncio"] = lambda *args: asyncio.run(repeat(*args))
    if trio:
        peers["trio"] = functools.partial(trio.run, repeat)
    repetitions = max(1, 1000 // n)
    samples = {name: [] for name in peers}
    for _ in range(rounds):
        for name, run in peers.items():
            samples[name].append(run(globals()[f"{name}_{question}"], n, repetitions))
    shown = {"asyncio": "asyncio.TaskGroup", "trio": "trio"}
    for name, times in samples.items():
        print(shown[name], statistics.median(times), min(times), sep="\t")


main()
