"""Who may call: `Authorization: Bearer`, and how far the token's role reaches."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shared.errors import Forbidden, Unauthorized
from shared.keys import Role, Source, reaches

_bearer = HTTPBearer(
    auto_error=False, description="A token made with `dangol key create`, or DANGOL_ADMIN_TOKEN."
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


class Ring(Protocol):
    """`shared.keys.KeyRing`, as far as it is needed here."""

    async def source_of(self, key: str) -> Source | None: ...


def caller(needed: Role) -> Callable[..., Coroutine[Any, Any, Source]]:
    """A dependency that lets through whoever may do what `needed` may."""

    async def check(request: Request, credentials: Credentials) -> Source:
        ring: Ring = request.app.state.console.keys
        if credentials is None or not credentials.credentials:
            raise Unauthorized(
                "this needs a token", hint="send it as `Authorization: Bearer <token>`"
            )
        source = await ring.source_of(credentials.credentials)
        if source is None:
            raise Unauthorized(
                "the token is unknown or revoked",
                hint="`dangol key create NAME --role …` makes one",
            )
        if not reaches(source.role, needed):
            raise Forbidden(
                f"the role `{source.role}` does not reach this far: it takes `{needed}`",
            )
        return source

    return check


Viewer = Annotated[Source, Depends(caller("viewer"))]
Marketer = Annotated[Source, Depends(caller("marketer"))]
Operator = Annotated[Source, Depends(caller("operator"))]
Admin = Annotated[Source, Depends(caller("admin"))]
