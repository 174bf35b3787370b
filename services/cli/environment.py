"""The environment, read once; light to import, so that a mistake in it is told at once."""

from pydantic import ValidationError

from services.dispatch.receipts.bounces.settings import bounce_settings
from shared.errors import ConfigurationError
from shared.log.kafka_settings import kafka_settings
from shared.logs import configure
from shared.settings import Settings

_HINT = "docs/operations.md lists the settings"


def read_settings() -> Settings:
    """Also sets the logs up. Raises ConfigurationError naming the variable that cannot be read."""
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "DANGOL_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg']}", hint=_HINT) from error
    try:
        configure(settings.log_level)
    except ValueError as error:
        raise ConfigurationError(f"DANGOL_LOG_LEVEL: {error}", hint=_HINT) from error
    kafka_settings(settings)
    bounce_settings(settings)
    return settings
