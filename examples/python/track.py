"""A function as a task run that beats: three messages, then SUCCEEDED."""

import time

from taskgate_client import Taskgate

taskgate = Taskgate()


@taskgate.run()
def load():
    for part in 1, 2, 3:
        taskgate.message(f"part {part} of 3")
        time.sleep(1)


load()
print("finished")
