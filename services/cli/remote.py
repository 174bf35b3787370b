"""A running Dangol, over its API."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from services.console.explaining.answer import ExplainAnswer
from services.console.models import (
    AppliedAnswer,
    GraphAnswer,
    PlanAnswer,
    ScoredAnswer,
    StatusAnswer,
)
from services.console.results_models import ResultsAnswer
from services.console.retention_api import RetentionAnswer
from shared.errors import BadInput, ConfigurationError, DangolError

_CONNECT = httpx.Timeout(5, connect=2)
_WORK = httpx.Timeout(120, connect=5)
"""A plan counts every live run."""


class NoAnswer(ConfigurationError):
    """No server answers."""

    code = "no_answer"


class Answered(DangolError):
    """The server refused."""

    def __init__(self, code: str, message: str, hint: str = "", rendered: tuple[str, ...] = ()):
        super().__init__(message, hint=hint)
        self.server_code = code
        self.rendered = rendered
        """The problems of a workspace, as a terminal shows them."""


class Remote:
    """Implements `Backend`."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url.rstrip("/")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise BadInput("the token holds characters that no token has", hint="see --token")
        self._token = token

    def find(self) -> None:
        """Raises NoAnswer if nobody listens there, ConfigurationError if it is something else.

        Without the token: it is not for whoever may listen there.
        """
        answer = self._send("GET", "/healthz", timeout=_CONNECT)
        if answer.status_code != 200 or _json(answer).get("status") != "ok":
            raise ConfigurationError(
                f"what answers at {self._url} is no Dangol", hint="name the right one with --server"
            )

    def plan(self, files: Mapping[str, bytes]) -> PlanAnswer:
        return PlanAnswer.model_validate(self._call("POST", "/api/workspace/plan", files))

    def apply(
        self, files: Mapping[str, bytes], base_revision: int | None, in_flight: str
    ) -> AppliedAnswer:
        query = {"in_flight": in_flight}
        if base_revision is not None:
            query["base_revision"] = str(base_revision)
        return AppliedAnswer.model_validate(self._call("PUT", "/api/workspace", files, query))

    def set_status(self, journey: str, verb: str) -> StatusAnswer:
        path = f"/api/journeys/{quote(journey, safe='')}/{verb}"
        return StatusAnswer.model_validate(self._call("POST", path))

    def score_rfm(self) -> ScoredAnswer:
        return ScoredAnswer.model_validate(self._call("POST", "/api/rfm/score"))

    def results(self, journey: str, language: str) -> ResultsAnswer:
        path = f"/api/journeys/{quote(journey, safe='')}/results"
        return ResultsAnswer.model_validate(self._call("GET", path, query={"lang": language}))

    def retention(
        self, event: str | None, start: str | None, period: str, periods: int
    ) -> RetentionAnswer:
        query = {"by": period, "periods": str(periods)}
        query |= {k: v for k, v in (("event", event), ("start", start)) if v is not None}
        return RetentionAnswer.model_validate(self._call("GET", "/api/retention", query=query))

    def traits(self, customer: str) -> dict[str, Any]:
        """Raises Answered: there is no such customer."""
        path = f"/api/customers/{quote(customer, safe='')}"
        traits: dict[str, Any] = self._call("GET", path)["traits"]
        return traits

    def graph(self, journey: str, language: str) -> GraphAnswer:
        path = f"/api/journeys/{quote(journey, safe='')}/graph"
        query = {"lang": language, "live": "true"}
        return GraphAnswer.model_validate(self._call("GET", path, query=query))

    def explain(self, customer: str, journey: str, language: str) -> ExplainAnswer:
        path = f"/api/customers/{quote(customer, safe='')}/explain"
        query = {"journey": journey, "lang": language}
        return ExplainAnswer.model_validate(self._call("GET", path, query=query))

    def _call(
        self,
        method: str,
        path: str,
        files: Mapping[str, bytes] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        body = None if files is None else _zip(files)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        answer = self._send(
            method, path, timeout=_WORK, content=body, params=query, headers=headers
        )
        content = _json(answer)
        if answer.is_success:
            return content
        hint = content.get("hint", "")
        if answer.status_code == 401:
            hint = self._token_hint()
        raise Answered(
            content.get("code", "error"),
            content.get("message") or f"{self._url} answered {answer.status_code}",
            hint,
            tuple(problem["rendered"] for problem in content.get("problems", ())),
        )

    def _token_hint(self) -> str:
        if self._token:
            return f"the token does not fit {self._url}: give another with --token or --data"
        return "give a token with --token or DANGOL_ADMIN_TOKEN, or its data folder with --data"

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            # A proxy of the environment is for the world outside, not for this machine.
            local = httpx.URL(self._url).host in ("127.0.0.1", "localhost", "::1")
            return httpx.request(method, self._url + path, trust_env=not local, **more)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NoAnswer(
                f"no Dangol answers at {self._url}", hint="is it running, and is --server right?"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConfigurationError(
                f"{self._url} cannot be used: {error or type(error).__name__}",
                hint="a server's address looks like http://127.0.0.1:8420",
            ) from error


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
