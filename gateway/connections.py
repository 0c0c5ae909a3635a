"""The operations on connections and grids: listGrids, connect, closeConnection."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Final

from gateway.call import Answer, Call
from gateway.codec import decode, encode
from gateway.grids import Grids
from gateway.identities import Identities
from gateway.owners import Owners
from gateway.problems import ProblemError
from gateway.remembering import KeyMemory
from schemas.control import Verb
from schemas.http import ConnectAnswer, ConnectRequest, GridList
from schemas.ids import ConnectionId, fingerprint, key_hash

__all__ = ["Connections"]

_ISSUED_SECONDS: Final = 3600
"""Connection ids carry their birth in whole hours: a repeated ``connect`` mostly gives the very same id at every gateway."""


class Connections:
    """Makes and closes connections. Nothing is stored: a connection is its sealed id.

    Args:
        grids: Where connections may lead.
        identities: Seals ids.
        owners: Reaches the workers.
        clock: Seconds since the epoch.
    """

    def __init__(self, *, grids: Grids, identities: Identities, owners: Owners, clock: Callable[[], float] = time.time) -> None:
        self._grids = grids
        self._identities = identities
        self._owners = owners
        self._clock = clock
        self._keys = KeyMemory(size=10_000)

    async def list_grids(self, call: Call) -> Answer:
        """Answer with the grids that the caller may use."""
        body = GridList(grids=self._grids.describe(call.principal))
        content = encode(body, call.accept)
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}
        if call.header("if-none-match") == tag:
            return Answer(status=304, headers=headers)
        return Answer(body=content, content_type=call.accept, headers=headers)

    async def connect(self, call: Call) -> Answer:
        """Make a connection. A password is not kept: accounts of grids are the vault's business, inside each grid's bridge."""
        wanted = decode(call.body, call.content_type, ConnectRequest)
        grid = self._grids.find(call.principal, wanted)
        if grid.log_on == "password" and not wanted.username:
            raise ProblemError("invalid-attribute", "this grid wants a username")
        nonce = key_hash(call.principal.name.encode(), call.header("idempotency-key"))
        self._keys.check(nonce, fingerprint(call.content_type.encode(), call.body))
        connection = ConnectionId(
            nonce=nonce,
            grid=grid.name,
            cluster="",
            application=wanted.application_name,
            principal=call.principal.name,
            username=wanted.username or "",
            issued=int(self._clock()) // _ISSUED_SECONDS * _ISSUED_SECONDS,
        )
        text = self._identities.seal_connection(connection)
        body = ConnectAnswer(connection_id=text, grid=grid.name, application_name=wanted.application_name)
        return Answer(status=201, body=body, headers={"Location": f"/v1/connections/{text}"})

    async def close(self, call: Call) -> Answer:
        """Close a connection's sessions as the grid would, by asking every worker that may own one."""
        connection = self._identities.connection(call.principal, call.path["connectionId"])
        for cluster in self._grids.clusters_of(connection.grid):
            _, complete = await self._owners.ask_cluster(cluster, Verb.CLOSE_CONNECTION, principal=call.principal.name, connection=connection.nonce, within=4.0)
            if not complete:
                raise ProblemError("owner-unavailable", "not every worker has answered; repeat the request")
        return Answer(status=204)
