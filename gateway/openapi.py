"""The OpenAPI 3.1 document, made from the table of routes and the structs that cross the wire."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.media import EVENTS, OCTETS
from gateway.routes import Parameter, Route
from gateway.security.policies import Policy
from schemas.problems import PROBLEMS, Problem

__all__ = ["openapi"]

_REF: Final = "#/components/schemas/{name}"
_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_ALWAYS: Final = ("internal-error", "overloaded", "broker-unavailable")

_KEY: Final = Parameter(
    name="Idempotency-Key",
    place="header",
    description="Any text of 1 to 255 visible ASCII characters, fresh for each new request and the same in its repetitions.",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
    required=True,
)
_TEXTS: Final = {200: "Done", 201: "Made", 202: "Stored", 204: "Done, nothing to say", 304: "Not changed"}

Document = dict[str, Any]


def openapi(routes: Sequence[Route], version: str) -> bytes:
    """Return the document as JSON."""
    types = {kind for route in routes for kind in (route.request, route.answer) if kind is not None} | {Problem}
    # Sorted, so that every gateway of a version gives the same bytes and the same ETag.
    ordered = sorted(types, key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template=_REF)
    paths: dict[str, Document] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Sluiceway",
            "version": version,
            "description": "HTTPS in, grid work out. Problems are listed at [/docs/problems](/docs/problems).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "Made by `sluiceway token create`."}},
        },
    }
    return msgspec.json.encode(document)


def _operation(route: Route) -> Document:
    operation: Document = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": (route.handler.__doc__ or "").strip(),
        "tags": [route.group],
        "parameters": [*_path_parameters(route), *(_parameter(given) for given in ((_KEY,) if route.keyed else ())), *map(_parameter, route.parameters)],
        "responses": _responses(route),
    }
    if route.policy is Policy.PUBLIC:
        operation["security"] = []
    if route.request is not None:
        operation["requestBody"] = {"required": route.request_required, "content": _content(route.request, route.request_types)}
    return operation


def _path_parameters(route: Route) -> list[Document]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _PATH_PARAMETER.findall(route.path)]


def _parameter(given: Parameter) -> Document:
    return {"name": given.name, "in": given.place, "required": given.required, "description": given.description, "schema": given.schema}


def _content(kind: type, media_types: Sequence[str]) -> Document:
    reference = {"$ref": _REF.format(name=kind.__name__)}
    return {media: {"schema": _schema(media, reference)} for media in media_types}


def _schema(media: str, reference: Document) -> Document:
    if media == OCTETS:
        return {}
    return {"type": "string"} if media == EVENTS else reference


def _responses(route: Route) -> Document:
    responses: Document = {}
    for status in route.statuses:
        responses[str(status)] = {"description": _TEXTS[status]}
        if route.answer is not None and status not in {204, 304}:
            responses[str(status)]["content"] = _content(route.answer, route.answer_types)
    for number, codes in _by_status(route).items():
        responses[number] = _problem(", ".join(f"`{code}`" for code in codes))
    responses["default"] = _problem("A problem; `code` tells which")
    return responses


def _by_status(route: Route) -> dict[str, list[str]]:
    codes = [*(() if route.policy is Policy.PUBLIC else ("unauthenticated",)), *route.problems, *_ALWAYS]
    statuses: dict[str, list[str]] = {}
    for code in codes:
        statuses.setdefault(str(PROBLEMS[code].status), []).append(code)
    return dict(sorted(statuses.items()))


def _problem(text: str) -> Document:
    schema = {"$ref": _REF.format(name="Problem")}
    return {"description": text, "content": {"application/problem+json": {"schema": schema}}}
