"""Two functions as task runs: one that returns, one that raises."""

import os

from taskgate_client import Taskgate

good = Taskgate(os.environ["GOOD_RUN_ID"])
bad = Taskgate(os.environ["BAD_RUN_ID"])


@good.run()
def extract(table, key="orders"):
    good.set_output("rows", 42)
    good.set_output("tables", {key: table})
    good.send_log("load.log", "loaded\n")
    return len(table)


@bad.run()
def load():
    raise ValueError("no such table")


if extract(["a", "b"]) != 2:
    raise SystemExit("it did not return what the function returns")
try:
    load()
except ValueError:
    pass
else:
    raise SystemExit("it did not raise what the function raises")
