"""bytewax with recovery, one worker. BROKER TOPIC COUNT FOLDER."""

import datetime as dt
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from bytewax.testing import TestingSink
from common import Count
from journeys import step

broker, topic, total, folder = sys.argv[1:5]
count = Count(int(total))


def decide(state, event):
    after, sent = step(event, state)
    count.one()
    return after, sent


flow = Dataflow("journeys")
source = KafkaSource(
    [broker], [topic], tail=False, batch_size=1000,
    add_config={"fetch.message.max.bytes": str(4 << 20)},
)  # fmt: skip
events = op.input("in", flow, source)
keyed = op.map("key", events, lambda record: (record.key.decode(), orjson.loads(record.value)))
decided = op.stateful_map("decide", keyed, decide)
sent = op.filter_map("sent", decided, lambda pair: pair[1] or None)
op.output("out", sent, TestingSink([]))
path = Path(folder)
path.mkdir(parents=True, exist_ok=True)
init_db_dir(path, 1)
cli_main(
    flow,
    workers_per_process=1,
    epoch_interval=dt.timedelta(seconds=1),
    recovery_config=RecoveryConfig(str(path)),
)
count.done()
