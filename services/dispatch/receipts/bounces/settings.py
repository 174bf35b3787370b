"""Where bounces come in, as the environment says it. Light to import."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.errors import ConfigurationError
from shared.settings import Settings

_DOMAIN = re.compile(
    r"(?=.{4,180}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]"
)
_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:]+)\]|([^\s:/\[\]]+)):(\d{1,5})")


_PORTS = {"imap": 143, "imaps": 993}


@dataclass(frozen=True, slots=True)
class Account:
    host: str
    port: int
    tls: bool
    user: str
    password: str = field(repr=False)
    folder: str = "INBOX"


def account_of(url: str) -> Account:
    """`imaps://user:password@host[:port][/FOLDER]`. Raises ConfigurationError, which never quotes
    the URL: it holds a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    folder = unquote(parts.path.strip("/")) or "INBOX"
    whole = parts.hostname and parts.username and parts.password and not parts.query
    if parts.scheme not in _PORTS or not whole or not folder.isprintable() or not folder.isascii():
        raise ConfigurationError(
            "DANGOL_BOUNCE_IMAP_URL cannot be read",
            hint="write imaps://user:password@host[:port][/FOLDER], with what is special as %40",
        )
    return Account(
        host=parts.hostname or "",
        port=port or _PORTS[parts.scheme],
        tls=parts.scheme == "imaps",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        folder=folder,
    )


@dataclass(frozen=True, slots=True)
class BounceSettings:
    domain: str
    listen: tuple[str, int] | None
    """Host and port of the SMTP door."""
    mailbox: Account | None
    tls: tuple[Path, Path] | None = None
    """The door's certificate and key, where it offers STARTTLS."""


def bounce_settings(settings: Settings) -> BounceSettings | None:
    """None where no bounce domain is set. Raises ConfigurationError, which names the variable."""
    domain, imap = settings.bounce_domain, settings.bounce_imap_url
    if domain is None:
        for name, given in (
            ("LISTEN", settings.bounce_listen),
            ("IMAP_URL", imap),
            ("TLS_CERT", settings.bounce_tls_cert),
            ("TLS_KEY", settings.bounce_tls_key),
        ):
            if given is not None:
                raise ConfigurationError(
                    f"DANGOL_BOUNCE_{name} is set, but DANGOL_BOUNCE_DOMAIN is not",
                    hint="set the domain to which bounces come, such as bounces.shop.example",
                )
        return None
    domain = domain.strip().lower()
    if not _DOMAIN.fullmatch(domain):
        raise ConfigurationError(
            "DANGOL_BOUNCE_DOMAIN is no domain",
            hint="write a domain of its own, such as bounces.shop.example, without @ or a scheme",
        )
    listen = _listen(settings.bounce_listen) if settings.bounce_listen else None
    mailbox = account_of(imap.get_secret_value()) if imap is not None else None
    if listen is None and mailbox is None:
        raise ConfigurationError(
            "DANGOL_BOUNCE_DOMAIN is set, but nothing takes its mail",
            hint="set DANGOL_BOUNCE_LISTEN (an SMTP door) or DANGOL_BOUNCE_IMAP_URL (a mailbox)",
        )
    return BounceSettings(domain, listen, mailbox, _tls(settings, listen is not None))


def _tls(settings: Settings, listens: bool) -> tuple[Path, Path] | None:
    """Whether the files can be used, `Certificate` says."""
    chain, key = settings.bounce_tls_cert, settings.bounce_tls_key
    if not chain and not key:
        return None
    if not chain or not key:
        there, missing = ("CERT", "KEY") if chain else ("KEY", "CERT")
        raise ConfigurationError(
            f"DANGOL_BOUNCE_TLS_{there} is set, but DANGOL_BOUNCE_TLS_{missing} is not",
            hint="STARTTLS needs both: the file of the certificate, and that of its key",
        )
    if not listens:
        raise ConfigurationError(
            "DANGOL_BOUNCE_TLS_CERT is set, but DANGOL_BOUNCE_LISTEN is not",
            hint="the certificate is for the SMTP door: set where it listens, or take it out",
        )
    return Path(chain), Path(key)


def _listen(text: str) -> tuple[str, int]:
    found = _LISTEN.fullmatch(text.strip())
    if found is None or int(found[3]) > 65535:
        raise ConfigurationError(
            "DANGOL_BOUNCE_LISTEN cannot be read", hint="write host:port, such as 127.0.0.1:2525"
        )
    return found[1] or found[2], int(found[3])
