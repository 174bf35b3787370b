"""quixstreams: state in RocksDB with a changelog topic. BROKER TOPIC COUNT FOLDER."""

import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from common import Count
from journeys import step
from quixstreams import Application

broker, topic, total, folder = sys.argv[1:5]
count = Count(int(total))
app = Application(
    broker_address=broker,
    consumer_group=f"quix-{uuid.uuid4().hex[:8]}",
    auto_offset_reset="earliest",
    loglevel="ERROR",
    use_changelog_topics=True,
    state_dir=folder,
    commit_interval=1.0,
    consumer_extra_config={"fetch.message.max.bytes": 4 << 20, "queued.min.messages": 100_000},
)
source = app.topic(topic, value_deserializer="json", key_deserializer="str")
messages = app.topic(f"{topic}-out", value_serializer="json")


def decide(event, state):
    after, sent = step(event, state.get("s"))
    state.set("s", after)
    if count.one():
        app.stop()
    return sent


flow = app.dataframe(source).apply(decide, stateful=True).filter(len)
flow.to_topic(messages)
app.run(timeout=120)
count.done()
