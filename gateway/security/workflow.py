"""The steps that a request passes before anything of it is read: each adds what it found out, or ends the request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from gateway.problems import ProblemError
from gateway.security.policies import Policy
from gateway.security.principals import ANYONE, Principal

__all__ = ["Authenticate", "Authenticator", "Authorise", "CheckTransport", "Step", "Visit", "Workflow"]

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sluiceway"'}


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a request: first only what the connection tells, later who is behind it."""

    scheme: str
    source: str
    """The peer's address. What a proxy writes into headers is not believed."""
    policy: Policy | None
    credentials: tuple[str, ...]
    """Every ``Authorization`` header."""
    query: str
    principal: Principal = ANYONE


class Step(Protocol):
    """One step of the workflow."""

    async def __call__(self, visit: Visit) -> Visit:
        """Return the visit with what this step found out.

        Raises:
            ProblemError: The request ends here.
        """
        ...


class Authenticator(Protocol):
    """Recognises one kind of credentials."""

    async def authenticate(self, credentials: str) -> Principal | None:
        """Return who shows these credentials; None when they are of another kind or not valid."""
        ...


class CheckTransport:
    """Refuses what did not come by HTTPS, and credentials where they would end up in logs of proxies."""

    async def __call__(self, visit: Visit) -> Visit:
        """Check the connection and where the credentials stand."""
        if visit.scheme != "https":
            raise ProblemError("forbidden", "HTTPS only")
        if len(visit.credentials) > 1:
            raise ProblemError("invalid-parameter", "more than one Authorization header")
        # RFC 6750, 2.3 and ASVS 14.2.1: addresses are logged along the way.
        if "access_token=" in visit.query:
            raise ProblemError("invalid-parameter", "credentials belong into the Authorization header, never into the address")
        return visit


class Authenticate:
    """Asks each authenticator in turn.

    Args:
        authenticators: For each kind of credentials one.
    """

    def __init__(self, *, authenticators: Sequence[Authenticator]) -> None:
        self._authenticators = tuple(authenticators)

    async def __call__(self, visit: Visit) -> Visit:
        """Find out who asks; credentials that nobody recognises are refused even on public pages."""
        if not visit.credentials:
            return visit
        for authenticator in self._authenticators:
            principal = await authenticator.authenticate(visit.credentials[0])
            if principal is not None:
                return msgspec.structs.replace(visit, principal=principal)
        raise ProblemError("unauthenticated", headers=_CHALLENGE)


class Authorise:
    """Lets through what a policy allows, and nothing else."""

    async def __call__(self, visit: Visit) -> Visit:
        """Compare the caller with the route's policy."""
        match visit.policy:
            case Policy.PUBLIC:
                return visit
            case Policy.CALLER if visit.principal.known:
                return visit
            case Policy.CALLER:
                raise ProblemError("unauthenticated", headers=_CHALLENGE)
            case None:
                raise ProblemError("forbidden")


class Workflow:
    """The steps in their order.

    Args:
        steps: At least one; the last one has to be an authorisation.
    """

    def __init__(self, *, steps: Sequence[Step]) -> None:
        if not steps or not isinstance(steps[-1], Authorise):
            raise ValueError("a security workflow ends with an authorisation")
        self._steps = tuple(steps)

    async def admit(self, visit: Visit) -> Principal:
        """Return who asks, when they may.

        Raises:
            ProblemError: They may not.
        """
        for step in self._steps:
            visit = await step(visit)
        return visit.principal
