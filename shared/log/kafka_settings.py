"""`DANGOL_LOG_URL`: where Apache Kafka is, which topic, and how to be let in.

    kafka://host:port[,host:port]?topic=dangol.events&security=sasl_tls&mechanism=SCRAM-SHA-512

Secrets never stand in the URL, which is shown in messages: user and password come from settings of
their own.
"""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.parse import parse_qsl, urlsplit

from shared.errors import ConfigurationError
from shared.settings import Settings

Security = Literal["plaintext", "tls", "sasl_plaintext", "sasl_tls"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_PROTOCOL: dict[Security, str] = {
    "plaintext": "PLAINTEXT",
    "tls": "SSL",
    "sasl_plaintext": "SASL_PLAINTEXT",
    "sasl_tls": "SASL_SSL",
}
_KNOWN = ("topic", "group", "security", "mechanism", "ca", "cert", "key", "replication")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""What Kafka allows as the name of a topic."""
_HINT = (
    "for example kafka://kafka-1:9092,kafka-2:9092?topic=dangol.events; docs/operations.md has"
    " all of it"
)


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    servers: tuple[str, ...]
    """`host:port` of some brokers; the others are learnt from them."""
    topic: str = "dangol.events"
    group: str = "dangol.events"
    """The consumer group by which journey workers share the partitions."""
    security: Security = "plaintext"
    mechanism: Mechanism = "SCRAM-SHA-512"
    ca: Path | None = None
    """PEM file of the authority that signed the brokers' certificates; None: the system's."""
    cert: Path | None = None
    key: Path | None = None
    """PEM files of a certificate of our own, for brokers that ask for one."""
    replication: int | None = None
    """Of a topic that is created; None: three, or as many as there are brokers."""
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"KafkaSettings({self.where})"

    @property
    def where(self) -> str:
        """For messages: without anything secret."""
        return f"topic {self.topic} on {','.join(self.servers)}"

    def client(self) -> dict[str, Any]:
        """What every aiokafka client is given. Raises ConfigurationError for files."""
        given: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "security_protocol": _PROTOCOL[self.security],
            "client_id": "dangol",
        }
        if self.security.endswith("tls"):
            given["ssl_context"] = self._tls()
        if self.security.startswith("sasl"):
            given |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return given

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"DANGOL_LOG_URL: a file for TLS cannot be used: {error}",
                hint="`ca`, `cert` and `key` name PEM files that this process can read",
            ) from error
        return context


def kafka_settings(settings: Settings) -> KafkaSettings | None:
    """None: the log is in Postgres. Raises ConfigurationError, saying what cannot be used."""
    if not settings.log_url:
        return None
    password = settings.kafka_password
    return read_url(
        settings.log_url,
        user=settings.kafka_user,
        password=password.get_secret_value() if password else None,
    )


def read_url(url: str, *, user: str | None = None, password: str | None = None) -> KafkaSettings:
    """Raises ConfigurationError."""
    parts = urlsplit(url)
    if parts.scheme != "kafka":
        raise _refusal("it must begin with kafka://")
    if "@" in parts.netloc:
        raise _refusal(
            "it holds a user or a password",
            hint="set DANGOL_KAFKA_USER and DANGOL_KAFKA_PASSWORD instead",
        )
    if parts.path.strip("/"):
        raise _refusal(f"`{parts.path}` is not understood; the topic is named by ?topic=…")
    options = _options(parts.query)
    topic = options.get("topic", "dangol.events")
    if not _NAME.fullmatch(topic) or topic in (".", ".."):
        raise _refusal("topic may hold letters, digits, `.`, `_` and `-`, 249 at most")
    security = options.get("security", "plaintext")
    if security not in get_args(Security):
        raise _refusal(f"security must be one of {', '.join(get_args(Security))}")
    mechanism = options.get("mechanism", "SCRAM-SHA-512").upper()
    if mechanism not in get_args(Mechanism):
        raise _refusal(f"mechanism must be one of {', '.join(get_args(Mechanism))}")
    if security.startswith("sasl") and not (user and password):
        raise _refusal(
            f"security={security} needs a user and a password",
            hint="set DANGOL_KAFKA_USER and DANGOL_KAFKA_PASSWORD",
        )
    if "key" in options and "cert" not in options:
        raise _refusal("key is given without cert")
    paths = {name: Path(options[name]) for name in ("ca", "cert", "key") if name in options}
    if paths and not security.endswith("tls"):
        raise _refusal(f"{', '.join(paths)} are for security=tls or sasl_tls")
    return KafkaSettings(
        servers=_servers(parts.netloc),
        topic=topic,
        group=options.get("group") or topic,
        security=cast(Security, security),
        mechanism=cast(Mechanism, mechanism),
        replication=_replication(options.get("replication")),
        user=user,
        password=password,
        **paths,
    )


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _KNOWN:
            raise _refusal(f"`{name}` is no option of it; known are {', '.join(_KNOWN)}")
        if name in options:
            raise _refusal(f"`{name}` is given twice")
        options[name] = value
    return options


def _servers(given: str) -> tuple[str, ...]:
    servers = tuple(part.strip() for part in given.split(",") if part.strip())
    for server in servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise _refusal(f"`{server}` is not host:port")
    if not servers:
        raise _refusal("it names no broker")
    return servers


def _replication(given: str | None) -> int | None:
    if given is None:
        return None
    if not given.isdecimal() or not 0 < int(given) < 100:
        raise _refusal("replication must be a number from 1")
    return int(given)


def _refusal(what: str, *, hint: str = _HINT) -> ConfigurationError:
    return ConfigurationError(f"DANGOL_LOG_URL: {what}", hint=hint)
