"""The SMTP door's certificate: read again when its files change, as they do every few weeks."""

import ssl
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509

from shared.errors import ConfigurationError

logger = structlog.get_logger()

_Stamps = tuple[int, ...]


class Certificate:
    def __init__(self, chain: Path, key: Path) -> None:
        """PEM files. Raises ConfigurationError."""
        self._chain = chain
        self._key = key
        self._stamps = _stamps(chain, key)
        self._context = _context(chain, key)

    def context(self) -> ssl.SSLContext:
        """For the next connection. While new files cannot be used, the old ones are."""
        stamps = _stamps(self._chain, self._key)
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._context = _context(self._chain, self._key)
                logger.info("took over a new certificate", action="bounces_certificate")
            except ConfigurationError as error:
                logger.error(
                    "the door goes on with its old certificate",
                    action="bounces_certificate",
                    error=str(error),
                )
        return self._context

    def valid_until(self) -> datetime:
        """Of the host's own certificate, the first of the chain."""
        return x509.load_pem_x509_certificates(self._chain.read_bytes())[0].not_valid_after_utc


def _stamps(*files: Path) -> _Stamps:
    try:
        return tuple(file.stat().st_mtime_ns for file in files)
    except OSError:
        return ()


def _context(chain: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password, or OpenSSL would ask for one at the terminal.
        context.load_cert_chain(chain, key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = getattr(error, "reason", None) or error.__class__.__name__
        raise ConfigurationError(
            f"the bounce door's certificate cannot be used: {why}",
            hint="DANGOL_BOUNCE_TLS_CERT is a PEM file with the whole chain, DANGOL_BOUNCE_TLS_KEY"
            " one with its key, without a password; the process must be able to read both",
        ) from None
    return context
