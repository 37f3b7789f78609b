"""A task that will be killed: the gateway says FAILED for it when its heartbeats stop."""

import time

from taskgate_client import Taskgate

taskgate = Taskgate()


@taskgate.run()
def hang():
    print("tracking", flush=True)
    time.sleep(300)


hang()
