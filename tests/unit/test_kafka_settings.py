"""`DANGOL_LOG_URL` as it is read, and how each mistake in it is told."""

import pytest

from shared.errors import ConfigurationError
from shared.log.kafka_settings import kafka_settings, read_url
from shared.settings import Settings


def test_a_url_names_brokers_topic_and_how_to_be_let_in() -> None:
    found = read_url(
        "kafka://kafka-1:9092,kafka-2:9093?topic=shop.events&security=sasl_tls"
        "&mechanism=scram-sha-256&replication=3&group=workers",
        user="dangol",
        password="hidden",
    )
    assert found.servers == ("kafka-1:9092", "kafka-2:9093")
    assert (found.topic, found.group, found.replication) == ("shop.events", "workers", 3)
    given = found.client()
    assert given["security_protocol"] == "SASL_SSL"
    assert given["sasl_mechanism"] == "SCRAM-SHA-256"
    assert "hidden" not in repr(found)
    assert "hidden" not in found.where


def test_what_is_not_given_has_a_default() -> None:
    found = read_url("kafka://[::1]:9092")
    assert (found.servers, found.topic, found.group) == (
        ("[::1]:9092",),
        "dangol.events",
        "dangol.events",
    )
    assert found.client()["security_protocol"] == "PLAINTEXT"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://kafka:9092", "must begin with kafka://"),
        ("kafka://", "names no broker"),
        ("kafka://kafka", "`kafka` is not host:port"),
        ("kafka://kafka:70000", "`kafka:70000` is not host:port"),
        ("kafka://me:secret@kafka:9092", "holds a user or a password"),
        ("kafka://kafka:9092/events", "named by ?topic="),
        ("kafka://kafka:9092?topic=a/b", "topic may hold"),
        ("kafka://kafka:9092?topik=a", "`topik` is no option"),
        ("kafka://kafka:9092?topic=a&topic=b", "given twice"),
        ("kafka://kafka:9092?security=ssl", "security must be one of"),
        ("kafka://kafka:9092?security=sasl_tls", "needs a user and a password"),
        ("kafka://kafka:9092?mechanism=GSSAPI", "mechanism must be one of"),
        ("kafka://kafka:9092?ca=ca.pem", "ca are for security=tls"),
        ("kafka://kafka:9092?security=tls&key=k.pem", "key is given without cert"),
        ("kafka://kafka:9092?replication=none", "replication must be a number"),
    ],
)
def test_a_mistake_is_told(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^DANGOL_LOG_URL: ") as refused:
        read_url(url)
    assert said in str(refused.value)
    assert refused.value.hint
    assert "secret" not in str(refused.value) + refused.value.hint


def test_a_file_for_tls_that_is_not_there_is_told() -> None:
    found = read_url("kafka://kafka:9093?security=tls&ca=/nowhere/ca.pem")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        found.client()


def test_no_url_means_the_log_in_postgres() -> None:
    assert kafka_settings(Settings(log_url=None)) is None
