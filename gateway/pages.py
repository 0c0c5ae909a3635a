"""The public pages: the OpenAPI document, Swagger UI without any other server, and the list of problem codes."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.call import Answer, Call
from gateway.media import JSON
from gateway.problems import ProblemError
from gateway.routes import Handler, Route
from gateway.security.policies import Policy
from schemas.problems import PROBLEMS

__all__ = ["Pages", "read_static"]

_STATIC: Final = Path(__file__).parent / "static"
_HTML: Final = "text/html; charset=utf-8"
_FILES: Final = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "problems.css": "text/css; charset=utf-8",
}
# Swagger UI sets style attributes from its scripts, which CSP counts as inline styles; its icons are data URIs.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_DOCS: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sluiceway</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="swagger-ui"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/docs.js"></script></body></html>
"""


def read_static() -> dict[str, bytes]:
    """Read the files that the pages consist of."""
    return {name: (_STATIC / name).read_bytes() for name in _FILES}


class Pages:
    """Answers from memory.

    Args:
        document: The OpenAPI document.
        static: The files that ``read_static`` read.
    """

    def __init__(self, *, document: bytes, static: Mapping[str, bytes]) -> None:
        files = {name: (media, static[name]) for name, media in _FILES.items()}
        files["openapi.json"] = (JSON, document)
        files["docs"] = (_HTML, _DOCS.encode())
        files["problems"] = (_HTML, _problems_page().encode())
        self._files = {name: (media, content, _etag(content)) for name, (media, content) in files.items()}

    def routes(self) -> Sequence[Route]:
        """Return the routes of the pages."""
        return [
            _page("/openapi.json", "getOpenAPI", self.document, "The OpenAPI document"),
            _page("/docs", "getDocs", self.docs, "Swagger UI"),
            _page("/docs/{file}", "getDocsFile", self.file, "Files of the documentation pages, and the list of problem codes"),
        ]

    async def document(self, call: Call) -> Answer:
        """Answer with the OpenAPI document."""
        return self._answer(call, "openapi.json")

    async def docs(self, call: Call) -> Answer:
        """Answer with the page of Swagger UI."""
        return self._answer(call, "docs")

    async def file(self, call: Call) -> Answer:
        """Answer with a file of the pages."""
        name = call.path["file"]
        if name not in {*_FILES, "problems"}:
            raise ProblemError("not-found")
        return self._answer(call, name)

    def _answer(self, call: Call, name: str) -> Answer:
        media, content, tag = self._files[name]
        headers = {**_HEADERS, "ETag": tag, "Cache-Control": "public, max-age=300"}
        if tag in [given.strip().removeprefix("W/") for given in call.header("if-none-match").split(",")]:
            return Answer(status=304, headers=headers)
        return Answer(body=content, content_type=media, headers=headers)


def _page(path: str, operation: str, handler: Handler, summary: str) -> Route:
    return Route(
        method="GET",
        path=path,
        operation=operation,
        policy=Policy.PUBLIC,
        handler=handler,
        summary=summary,
        group="pages",
        statuses=(200, 304),
    )


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def _problems_page() -> str:
    rows = "\n".join(
        f'<tr id="{code}"><td><code>{code}</code></td><td>{kind.status}</td><td>{html.escape(kind.title)}</td><td>{"yes" if kind.retry else "no"}</td></tr>'
        for code, kind in sorted(PROBLEMS.items())
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sluiceway: problem codes</title><link rel="stylesheet" href="/docs/problems.css"></head>
<body><h1>Problem codes</h1>
<p>Errors are answered as <code>application/problem+json</code> (RFC 9457). Programs go by <code>code</code>. Where a retry may help, repeat the same
request with the same <code>Idempotency-Key</code> after the seconds that <code>Retry-After</code> names.</p>
<table><thead><tr><th>code</th><th>status</th><th>meaning</th><th>retry</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""
