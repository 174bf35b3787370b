"""What a peer's script prints: how fast it took the events in, and what CPU that cost it."""

import json
import os
import resource
import sys
import time


class Count:
    def __init__(self, total: int) -> None:
        self.total = total
        self.n = 0
        self.started = 0.0
        self.cpu = 0.0

    def one(self) -> bool:
        """True at the last event."""
        self.n += 1
        if self.n == 1:
            self.started, self.cpu = time.perf_counter(), _cpu()
        return self.n >= self.total

    def done(self) -> None:
        took = time.perf_counter() - self.started
        print(
            json.dumps(
                {
                    "events_per_second": round(self.n / took),
                    "cpu_us_per_event": round((_cpu() - self.cpu) / self.n * 1e6, 1),
                }
            ),
            file=sys.__stdout__,  # one of them takes sys.stdout for itself
            flush=True,
        )
        os._exit(0)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
