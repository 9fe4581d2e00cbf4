#!/usr/bin/python3
"""delay.py SECONDS: wakes up every 200 microseconds as a task of the highest priority. Prints the longest time in nanoseconds
from the end of a sleep until it ran."""

import os
import sys
import time

PERIOD = 200_000

os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))
clock, sleep, most = time.monotonic_ns, time.sleep, 0
end = clock() + int(float(sys.argv[1]) * 1e9)
while (now := clock()) < end:
    sleep(PERIOD / 1e9)
    most = max(most, clock() - now - PERIOD)
print(most)
