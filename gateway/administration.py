"""The operations that change a session: suspend, resume, priority, cancel, close. Each is answered when its effect is in the journal."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import msgspec

from gateway.call import Answer, Call
from gateway.codec import decode
from gateway.identities import Identities
from gateway.lifecycle import Lifecycle
from gateway.owners import Owners, question
from gateway.problems import ProblemError
from schemas.control import Request, Verb
from schemas.http import CancelAnswer, CancelRequest, CloseRequest, PriorityRequest
from schemas.ids import SessionId, task_id_from_text
from schemas.symphony import CloseFlags, SessionState, check_priority, check_task_tag, parse_close_flags

__all__ = ["Administration"]

_ASK_SECONDS: Final = 3.5
_JOURNAL_SECONDS: Final = 1.2
"""Both together stay below the 5 s in which a client shall hear that something is away."""


class Administration:
    """Sends commands to owners: at most once each; a client that hears nothing repeats, and a repetition changes nothing more.

    Args:
        identities: Opens ids.
        owners: Reaches workers.
        lifecycle: Is told of ends.
    """

    def __init__(self, *, identities: Identities, owners: Owners, lifecycle: Lifecycle) -> None:
        self._identities = identities
        self._owners = owners
        self._lifecycle = lifecycle

    async def suspend(self, call: Call) -> Answer:
        """Suspend: nothing new starts; submitting and fetching go on."""
        return await self._command(call, question(Verb.SUSPEND))

    async def resume(self, call: Call) -> Answer:
        """Resume a suspended session."""
        return await self._command(call, question(Verb.RESUME))

    async def set_priority(self, call: Call) -> Answer:
        """Change the session's priority."""
        wanted = decode(call.body, call.content_type, PriorityRequest)
        return await self._command(call, msgspec.structs.replace(question(Verb.PRIORITY), priority=check_priority(wanted.priority)))

    async def cancel(self, call: Call) -> Answer:
        """Cancel tasks by id, or all with a tag; each that has no output yet gets a cancelled one."""
        session = self._identities.session(call.principal, call.path["sessionId"])
        wanted = decode(call.body, call.content_type, CancelRequest)
        ids = [] if wanted.task_ids is msgspec.UNSET else [_task_id(text) for text in wanted.task_ids]
        tag = "" if wanted.tag is msgspec.UNSET else check_task_tag(wanted.tag)
        if bool(ids) == bool(tag):
            raise ProblemError("invalid-attribute", "give either taskIds or tag")
        await self._ask(session, msgspec.structs.replace(question(Verb.CANCEL), task_ids=ids, tag=tag))
        return Answer(status=202, body=CancelAnswer(requested=len(ids)))

    async def close(self, call: Call) -> Answer:
        """Close a session; closing a closed one succeeds, so that a repeated request does."""
        session = self._identities.session(call.principal, call.path["sessionId"])
        flags = _close_flags(call)
        try:
            await self._ask(session, msgspec.structs.replace(question(Verb.CLOSE), close_flags=int(flags)))
        except ProblemError as exc:
            if exc.kind.status not in {400, 404, 409}:
                raise
        if flags is CloseFlags.DESTROY_ON_CLOSE:
            self._lifecycle.note(session, SessionState.CLOSED)
        return Answer(status=204)

    async def _command(self, call: Call, request: Request) -> Answer:
        session = self._identities.session(call.principal, call.path["sessionId"])
        await self._ask(session, request)
        return Answer(status=204)

    async def _ask(self, session: SessionId, request: Request) -> None:
        """Ask the owner; when none answers, say what is known: a closed session has none."""
        try:
            await self._owners.ask(session, request, within=_ASK_SECONDS)
        except ProblemError as exc:
            if exc.code == "owner-unavailable":
                with suppress(TimeoutError):
                    async with asyncio.timeout(_JOURNAL_SECONDS):
                        await self._lifecycle.require_known(session)
            raise


def _task_id(text: str) -> bytes:
    try:
        return task_id_from_text(text)
    except ValueError as exc:
        raise ProblemError("unknown-task", str(exc)) from exc


def _close_flags(call: Call) -> CloseFlags:
    """Flags stand in the query of a DELETE and may stand in the body of a POST."""
    text = call.query.get("closeFlags")
    if call.body:
        wanted = decode(call.body, call.content_type, CloseRequest).close_flags
        if wanted is not msgspec.UNSET:
            if text is not None:
                raise ProblemError("invalid-attribute", "closeFlags are given in the query and in the body")
            return parse_close_flags(wanted)
    return parse_close_flags(text or "")
