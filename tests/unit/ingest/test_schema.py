"""The OpenAPI document tells of the SDKs' paths, and of no others."""

from itertools import product

from fastapi import FastAPI

from services.ingest.routes import ROUTES, find
from services.ingest.schema import TAG, describe

ALSO = {"/m", "/decide", "/rsaMetrics", *(f"/{letter}" for letter in "btipsga")}
"""Paths that stand in the text of another."""


def document() -> dict[str, dict[str, dict[str, object]]]:
    app = FastAPI()

    @app.get("/own")
    async def own() -> None:
        """Of the app itself."""

    describe(app)
    app.openapi()
    paths: dict[str, dict[str, dict[str, object]]] = app.openapi()["paths"]
    return paths


def expanded(path: str, operation: dict[str, object]) -> set[str]:
    parameters = operation["parameters"]
    assert isinstance(parameters, list)
    values = [[(p["name"], value) for value in p["schema"].get("enum", ["k1"])] for p in parameters]
    return {path.format(**dict(choice)) for choice in product(*values)}


def test_each_path_that_it_tells_is_answered_and_each_that_is_answered_is_told() -> None:
    told = set()
    for path, methods in document().items():
        for method, operation in methods.items():
            if operation.get("tags") != [TAG]:
                continue
            for each in expanded(path, operation):
                route = find(each)
                assert route is not None, each
                assert method.upper() in route.methods, each
                told.add(each)
    answered = {path.rstrip("/") for path in ROUTES}
    assert answered - told == ALSO


def test_the_apps_own_paths_stay() -> None:
    paths = list(document())
    assert paths[0] == "/v1/batch"
    assert paths[-1] == "/own"
