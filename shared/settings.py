"""Settings of the processes, read from the environment once, at the composition root."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="DANGOL_", extra="ignore", frozen=True)

    database_url: SecretStr | None = None
    """`postgresql://…`. Unset: the embedded server under the data folder."""
    log_url: str | None = None
    """`kafka://host:port[,host:port]?topic=dangol.events`. Unset: the log in Postgres."""
    kafka_user: str | None = None
    kafka_password: SecretStr | None = None
    """For a log URL with `security=sasl_tls` or `sasl_plaintext`."""
    write_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Comma list of ingest keys that are valid from the start, besides created ones."""
    admin_token: SecretStr | None = None
    """Bearer token with role admin, valid from the start."""
    smtp_url: SecretStr | None = None
    """`smtp://[user:password@]host:port[?starttls=true]` or `smtps://…`, for `adapter: smtp`."""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    """Number of partitions; fixed when the database is first migrated."""
    batch: Annotated[int, Field(ge=1, le=5000)] = 1000
    """Events the engine decides per transaction: the measured knee is 500 to 1000."""
    cache: Annotated[int, Field(ge=0)] = 50_000
    """Customers whose state a worker keeps in memory."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 32
    """Provider calls one dispatcher has under way; also its bound on `unknown` after a kill."""
    lease: Annotated[float, Field(gt=0)] = 30.0
    """Real seconds after which a silent dispatcher's claims are settled by others."""
    webhook_secret: SecretStr | None = None
    """`whsec_…` that signs calls; two, with a comma between, while it is changed. Unset: calls
    wait."""
    private_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma list of hosts (`crm.internal:8080`) that calls may reach though they are private, and
    by plain http."""
    public_url: str | None = None
    """Where customers reach this installation, for the links to unsubscribe and to track. `up`
    takes its own address where none is given."""
    erasure_ledger: Path | None = None
    """A file outside the database in which erasures stand by keyed hash, so that a backup that is
    restored is erased again. Unset: `erasures.ndjson` in the data folder, if there is one."""
    bounce_domain: str | None = None
    """The domain to which mail by `adapter: smtp` comes back, such as `bounces.shop.example`."""
    bounce_listen: str | None = None
    """`host:port` where dispatch takes that domain's mail by SMTP."""
    bounce_tls_cert: str | None = None
    """File of the certificate (PEM, the whole chain) with which that door offers STARTTLS."""
    bounce_tls_key: str | None = None
    """File of the certificate's key (PEM, without a password)."""
    bounce_imap_url: SecretStr | None = None
    """`imaps://user:password@host[:port][/FOLDER]`: the mailbox into which it goes instead."""
    log_level: str = "info"
    """debug, info, warning or error."""

    @field_validator("write_keys", "private_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
