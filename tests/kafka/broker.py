"""A real Apache Kafka broker (KRaft, one node) on loopback: start, kill, start again."""

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.kafka.tls import write_pem_stores
from tests.patience import SOON
from tests.processes import free_port

_CLUSTER = "ZGFuZ29sLXRlc3RzLTAwMQ"
SHORT_LIVED = (
    "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
)  # fmt: skip
"""A broker that lives for seconds starts faster when nothing is compiled for speed."""

USER, PASSWORD = "dangol", "only for tests, of no use elsewhere"


def kafka_jars() -> Path:
    """Skips without Java or Maven, where nobody has promised them; fails in CI."""
    got = subprocess.run(
        [str(Path(__file__).parent / "get")], capture_output=True, text=True, check=False
    )
    if got.returncode == 3 and not os.environ.get("CI"):
        pytest.skip(f"Apache Kafka is NOT tested: {got.stderr.strip()}")
    assert got.returncode == 0, got.stderr
    return Path(got.stdout.strip())


@dataclass
class Broker:
    jars: Path
    folder: Path
    properties: dict[str, str] = field(default_factory=dict)
    """What differs from the settings below."""
    jvm: tuple[str, ...] = SHORT_LIVED
    port: int = field(default_factory=free_port)
    secure_port: int = field(default_factory=free_port)
    controller_port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def secure_address(self) -> str:
        """SASL over TLS, for `USER` with `PASSWORD`."""
        return f"localhost:{self.secure_port}"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_pem_stores(self.folder)
        settings = self._settings() | self.properties
        lines = [f"{name}={value}" for name, value in settings.items()]
        self._config.write_text("\n".join(lines) + "\n")
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c",
                       str(self._config)),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        if not self._config.exists():
            self.format()
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._config)), stdout=log, stderr=log
            )
        until = time.monotonic() + SOON
        while not self._answers():
            said = (self.folder / "broker.log").read_text(errors="replace")[-3000:]
            assert self.process.poll() is None, said
            assert time.monotonic() < until, said
            time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(SOON)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _config(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, *arguments: str) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={self.jars / 'log4j2.xml'}"
        return ["java", *self.jvm, log4j, "-cp", f"{self.jars}/*", *arguments]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def _settings(self) -> dict[str, str]:
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        listeners = f"PLAINTEXT://127.0.0.1:{self.port},SASL_SSL://127.0.0.1:{self.secure_port}"
        advertised = f"PLAINTEXT://127.0.0.1:{self.port},SASL_SSL://localhost:{self.secure_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": advertised,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT"
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                f'{plain} required user_{USER}="{PASSWORD}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "server.pem"),
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "log.cleaner.enable": "false",
        }
