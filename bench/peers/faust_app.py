"""faust-streaming: a table in memory with a changelog topic. BROKER TOPIC COUNT FOLDER."""

import os
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

broker, topic_name, total, folder = sys.argv[1:5]
os.environ["F_DATADIR"] = folder

import faust  # noqa: E402 - reads the environment
from common import Count  # noqa: E402
from journeys import step  # noqa: E402

count = Count(int(total))
app = faust.App(
    f"faust-{uuid.uuid4().hex[:8]}",
    broker=f"kafka://{broker}",
    value_serializer="json",
    store="memory://",
    topic_partitions=8,
    broker_session_timeout=10.0,
    broker_rebalance_timeout=12.0,
    broker_heartbeat_interval=2.0,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    stream_buffer_maxsize=20_000,
    broker_max_poll_records=2_000,
    processing_guarantee="at_least_once",
)
topic = app.topic(topic_name, value_type=None, key_type=bytes)
messages = app.topic(f"{topic_name}-out")
table = app.Table("state", default=lambda: None, partitions=8)


@app.agent(topic)
async def decide(stream):
    async for event in stream:
        customer = event["userId"]
        state, sent = step(event, table[customer])
        table[customer] = state
        if sent:
            await messages.send(value=sent)
        if count.one():
            count.done()


sys.argv = ["faust_app", "worker", "-l", "error", "--without-web"]
app.main()
