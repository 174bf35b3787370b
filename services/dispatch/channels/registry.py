"""Which adapters there are: our own, and those that installed packages add.

A package adds one with an entry point of the group `dangol.channels`, named as in `adapter:`, that
leads to a factory (see `port.py`). Our own names cannot be taken over.
"""

from collections.abc import Mapping

from services.dispatch.channels import (
    aligo,
    apns,
    bizgo,
    fcm,
    log,
    nhn,
    resend,
    sendgrid,
    sens,
    ses,
    slack,
    smtp,
    solapi,
    twilio,
    web_push,
    webhook,
)
from services.dispatch.channels.port import Adapter, Factory, Setup
from shared.channels import installed_adapters
from shared.errors import ConfigurationError

BUILT_IN: Mapping[str, Factory] = {
    "aligo": aligo.create,
    "apns": apns.create,
    "bizgo": bizgo.create,
    "fcm": fcm.create,
    "log": log.create,
    "nhn": nhn.create,
    "resend": resend.create,
    "sendgrid": sendgrid.create,
    "sens": sens.create,
    "ses": ses.create,
    "slack": slack.create,
    "smtp": smtp.create,
    "solapi": solapi.create,
    "twilio": twilio.create,
    "web_push": web_push.create,
    "webhook": webhook.create,
}


def names() -> frozenset[str]:
    return frozenset(BUILT_IN) | frozenset(installed_adapters())


def create(setup: Setup) -> Adapter:
    """Raises ConfigurationError for an unknown adapter, or for what the adapter misses."""
    name = setup.settings.adapter
    if name in BUILT_IN:
        return BUILT_IN[name](setup)
    point = installed_adapters().get(name)
    if point is None:
        raise ConfigurationError(
            f"there is no adapter `{name}` for the channel {setup.channel}",
            hint=f"use one of {', '.join(sorted(names()))}, or install the package that has it",
        )
    try:
        factory: Factory = point.load()
        return factory(setup)
    except ConfigurationError:
        raise
    except Exception as error:  # others' code: it may break its own channel, never the dispatcher
        raise ConfigurationError(
            f"the adapter `{name}` of the installed package cannot be made for the channel"
            f" {setup.channel}: {type(error).__name__}",
            hint=f"its entry point is {point.value}: see whether Python can import it",
        ) from error
