"""Drives every operation that the admin API's own description lists, and holds each answer against its
schema, by `openapi-spec-validator` and `jsonschema`; see cases.md.

usage: openapi_client.py URL
"""

import asyncio
import json
import sys
from urllib.parse import quote

from httpx import AsyncClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from cases import run

URL = sys.argv[1]
DESCRIPTION = "/api/v1/openapi.json"
SERVER = "/api/v1/upstreams/{u}/servers/{a}"
REBALANCE = "/api/v1/upstreams/{u}/rebalance"
KILL = "/api/v1/connections/{id}"
# It would put another process in the place of the test's own; that has tests of its own.
LEFT_OUT = [("post", "/api/v1/upgrade")]
# What is asked beside the bare operation: query, body, and the status that is to come.
CALLS = {
    ("get", "/api/v1/connections"): [
        ("?limit=1", None, 200),
        ("?sort=bytes&limit=2", None, 200),
        ("?limit=0", None, 400),
        ("?sort=beauty", None, 400),
    ],
    ("post", "/api/v1/reload"): [("?dry_run=true", None, 200), ("?dry_run=maybe", None, 400)],
    ("post", SERVER): [
        ("", {"weight": 2}, 200),
        ("", {"state": "drain", "within": "1h"}, 200),
        ("", {"state": "ready"}, 200),
        ("", {}, 400),
        ("", {"state": "dead"}, 400),
    ],
    ("post", REBALANCE): [
        ("", {"within": "0s", "max_move": "10%"}, 200),
        ("", {"max_move": "all"}, 400),
    ],
}


def client():
    return AsyncClient(base_url=URL, trust_env=False, timeout=20)


async def description(session):
    return (await session.get(DESCRIPTION)).json()


async def names(session):
    """What stands in a path for its parameters."""
    connection = (await session.get("/api/v1/connections")).json()["connections"][0]
    return {
        "u": connection["upstream"],
        "a": connection["server"],
        "id": connection["id"],
    }


def filled(path, values):
    for name, value in values.items():
        path = path.replace("{" + name + "}", quote(value, safe=""))
    return path


def check(described, operation, response):
    """Holds an answer against what is said of its status."""
    said = operation["responses"]
    said = said.get(str(response.status_code), said["default"])
    media = response.headers["content-type"]
    schema = said["content"][media]["schema"]
    value = response.json() if media == "application/json" else response.text
    whole = {"components": described["components"], **schema}
    Draft202012Validator(whole).validate(value)


async def description_is_openapi():
    async with client() as session:
        described = await description(session)
    validate(described)
    assert described["openapi"].startswith("3.1")


async def every_operation_answers_as_described():
    async with client() as session:
        described = await description(session)
        values = await names(session)
        for path, operations in described["paths"].items():
            for method, operation in operations.items():
                if (method, path) in LEFT_OUT:
                    continue
                if "101" in operation["responses"]:
                    response = await session.request(method, path)
                    assert response.status_code == 426, (method, path, response.status_code)
                    check(described, operation, response)
                    continue
                if "application/x-ndjson" in operation["responses"]["200"].get("content", {}):
                    async with session.stream(method, filled(path, values)) as response:
                        assert response.status_code == 200, (method, path, response.status_code)
                        assert response.headers["content-type"] == "application/x-ndjson"
                    continue
                bare = [("", None, 200)] if (method, path) != ("post", SERVER) else []
                for query, body, status in CALLS.get((method, path), []) + bare:
                    if method == "delete":
                        values = await names(session)
                    url = filled(path, values) + query
                    content = None if body is None else json.dumps(body)
                    response = await session.request(method, url, content=content)
                    where = (method, url, body, response.status_code, response.text)
                    assert response.status_code == status, where
                    check(described, operation, response)


async def unknown_names_are_described_too():
    nobody = {"u": "nobody", "a": "10.0.0.1:80", "id": "1"}
    async with client() as session:
        described = await description(session)
        for method, path in (("post", SERVER), ("post", REBALANCE), ("delete", KILL)):
            body = '{"weight": 1}' if path == SERVER else None
            response = await session.request(method, filled(path, nobody), content=body)
            assert response.status_code == 404, (path, response.status_code)
            check(described, described["paths"][path][method], response)


async def a_schema_lets_nothing_pass_that_it_does_not_know():
    """Else the cases above could not fail."""
    async with client() as session:
        described = await description(session)
    loose = [
        name
        for name, schema in described["components"]["schemas"].items()
        if "properties" in schema and schema.get("additionalProperties") is not False
    ]
    assert not loose, loose


CASES = [
    description_is_openapi,
    every_operation_answers_as_described,
    unknown_names_are_described_too,
    a_schema_lets_nothing_pass_that_it_does_not_know,
]

asyncio.run(run(CASES))
