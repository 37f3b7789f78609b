"""Does AIDBOX_TASKS tasks of AIDBOX_DEFINITION; SIGTERM ends it, too, when what has begun is done."""

import asyncio
import os
import signal

import grpc

from gateway import ADDRESS, OPTIONS
from worker import Worker


async def square(params):
    return {"square": params["number"] ** 2}


async def main():
    async with grpc.aio.insecure_channel(ADDRESS, OPTIONS) as channel:
        worker = Worker(channel, [os.environ["AIDBOX_DEFINITION"]], square)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
        await worker.run(limit=int(os.environ["AIDBOX_TASKS"]))
        print("done", worker.done)


asyncio.run(main())
