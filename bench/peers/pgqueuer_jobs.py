"""PgQueuer: jobs that become due at one instant. DSN COUNT BATCH."""

import asyncio
import datetime as dt
import json
import os
import struct
import sys
import time

import asyncpg
import uvloop
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver

dsn, total, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fired = []


async def main():
    filling, working = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    queries = Queries(AsyncpgDriver(filling))
    await queries.install()
    queue = PgQueuer(AsyncpgDriver(working))

    @queue.entrypoint("send")
    async def send(_job):
        fired.append(time.time())

    due = time.time() + 8
    for start in range(0, total, 1000):
        count = min(1000, total - start)
        payloads = [struct.pack("<dI", due, start + i) for i in range(count)]
        delays = [dt.timedelta(seconds=due - time.time())] * count
        await queries.enqueue(["send"] * count, payloads, [0] * count, delays)
    if time.time() > due:
        raise SystemExit("the machine is too slow to enqueue in time")
    task = asyncio.create_task(
        queue.run(dequeue_timeout=dt.timedelta(seconds=0.5), batch_size=batch)
    )
    while len(fired) < total and not task.done():  # noqa: ASYNC110 - jobs set no event of ours
        await asyncio.sleep(0.02)
    print(json.dumps({"fired_per_second": round(total / (max(fired) - due))}), flush=True)
    os._exit(0)


uvloop.run(main())
