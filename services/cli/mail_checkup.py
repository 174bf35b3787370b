"""What the doctor finds of sending domains whose mail people complain about."""

from services.cli.findings import Finding
from shared import mail_complaints
from shared.clock import Clock
from shared.db.connect import Pool


async def check_mail_domains(pool: Pool, clock: Clock) -> list[Finding]:
    """Nothing where no advertising mail was sent lately. Raises Unavailable."""
    async with pool.acquire() as connection:
        found = await mail_complaints.standings(connection, clock.now())
    return [_finding(each) for each in found if each.pause is not None or each.rate.mails]


def _finding(each: mail_complaints.Standing) -> Finding:
    rate, check = each.rate, f"mail {each.domain}"
    if each.pause is not None:
        return Finding(
            check,
            "fail",
            f"{each.pause.why}, until {each.pause.until:%Y-%m-%d %H:%M} UTC; other mail goes on",
            "find out which journey they complain about (`GET /api/customers/{id}/timeline`) before"
            f" `dangol mail-domains resume {each.domain}`",
        )
    said = f"{rate.complaints:,} complaints about {rate.mails:,} advertising mails of a day"
    if rate.alerts:
        return Finding(
            check,
            "warn",
            f"{said} ({rate.share:.2%})",
            f"at {mail_complaints.PAUSE:.1%} its advertising mail is stopped for a day",
        )
    return Finding(check, "ok", said)
