"""Forks children and ends each with SIGTERM before it has run anything: prints the exit codes that there were.

The parent keeps to one CPU, so that the kernel lets it go on, and the child wait, after most forks.
"""

import os
import signal
import time

ENDED_CHILDREN = 50

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
exit_codes = set()
for _ in range(ENDED_CHILDREN):
    child = os.fork()
    if child == 0:
        time.sleep(3)
        os._exit(0)
    os.kill(child, signal.SIGTERM)
    exit_codes.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(exit_codes)
