"""Celery on Redis: tasks with an ETA at one instant, one prefork child. PORT COUNT FOLDER.

Run as a script it starts Redis and a worker, and prints the rate; the worker imports this module.
"""

import datetime as dt
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from celery import Celery

PORT = os.environ.get("BENCH_REDIS_PORT", "16379")
app = Celery("jobs", broker=f"redis://127.0.0.1:{PORT}/0", backend=None)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    broker_transport_options={"visibility_timeout": 86_400},
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)
_fired = []


@app.task(name="jobs.send")
def send(_number):
    _fired.append(time.time())


@app.task(name="jobs.tell")
def tell(path):
    Path(path).write_text(json.dumps(_fired))


def main():
    port, total, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    redis_server = subprocess.Popen(
        ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
         "--appendonly", "yes", "--appendfsync", "everysec"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(1)
    environment = {**os.environ, "BENCH_REDIS_PORT": port, "PYTHONPATH": str(Path(__file__).parent)}
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_jobs", "worker", "--pool", "prefork", "-c",
         "1", "-l", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(5)
        due = time.time() + 5 + total / 1000
        at = dt.datetime.fromtimestamp(due, dt.UTC)
        for number in range(total):
            send.apply_async((number,), eta=at)
        if time.time() > due:
            raise SystemExit("the machine is too slow to enqueue in time")
        answer = folder / "fired.json"
        fired = []
        until = due + 120
        while len(fired) < total and time.time() < until:
            time.sleep(max(1.0, due - time.time()))
            answer.unlink(missing_ok=True)
            tell.apply_async((str(answer),))
            while not answer.exists() and time.time() < until:
                time.sleep(0.05)
            time.sleep(0.1)
            fired = json.loads(answer.read_text())
        print(json.dumps({"fired_per_second": round(len(fired) / (max(fired) - due))}), flush=True)
    finally:
        worker.terminate()
        worker.wait(20)
        redis_server.terminate()
        redis_server.wait(20)


if __name__ == "__main__":
    main()
