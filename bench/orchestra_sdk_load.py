"""What users do today: updates through Orchestra's own SDK.

Arguments: the upstream's URL, how many updates, and how many threads send them.
Prints how many seconds that took, and how many of a processor.
"""

import logging
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

url, count, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.environ["ORCHESTRA_WEBHOOK_URL"] = url
os.environ["ORCHESTRA_TASK_RUN_ID"] = "1d876307-8c0a-42a1-8299-af0516223652"
logging.disable(logging.CRITICAL)

from orchestra_sdk.enum import TaskRunStatus  # noqa: E402
from orchestra_sdk.orchestra import OrchestraSDK  # noqa: E402

sdk = OrchestraSDK(api_key="key-of-the-benchmark")


def update(_):
    return sdk.update_task(status=TaskRunStatus.RUNNING, message="half of the rows")


update(0)
start, cpu_start = time.perf_counter(), time.process_time()
with ThreadPoolExecutor(threads) as pool:
    results = list(pool.map(update, range(count)))
elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu_start
if not all(results):
    sys.exit("an update was not taken")
print(elapsed, cpu)
