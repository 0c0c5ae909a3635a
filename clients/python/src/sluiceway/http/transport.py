"""A logical call: attempts at one gateway after another until an answer, a refusal or the deadline."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from sluiceway.errors import AuthenticationError, CertificateError, GatewayUnreachableError, ProblemError, SluicewayError
from sluiceway.http.addresses import Addresses
from sluiceway.http.attempt import Answer, Call, Wire
from sluiceway.http.credentials import Credentials
from sluiceway.http.retries import ELSEWHERE, RetryPolicy, backoff, may_retry
from sluiceway.packing import pack
from sluiceway.records import wire_form

__all__ = ["Answer", "Call", "Transport", "fresh_key", "post", "unexpected"]


def fresh_key() -> str:
    """Return an ``Idempotency-Key`` for one logical call."""
    return uuid.uuid4().hex


def post(path: str, record: object, *, key: str | None = None) -> Call:
    """Return a POST of a record as MessagePack, with a key that all its attempts carry."""
    return Call(method="POST", path=path, body=pack(wire_form(record)), key=key or fresh_key())


@dataclass(slots=True)
class _Effort:
    """What has been tried for one call so far."""

    begun: float
    deadline: float | None = None
    """Given by the caller for this call; otherwise the policy's."""
    attempts: int = 0
    renewed: bool = False
    distrusted: set[str] = field(default_factory=set)
    """Gateways whose certificate is not trusted."""


class Transport:
    """Carries calls out.

    Args:
        wire: Makes single attempts.
        addresses: The gateways.
        credentials: The token.
        policy: Patience and pauses.
        chance: The source of jitter.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self,
        *,
        wire: Wire,
        addresses: Addresses,
        credentials: Credentials,
        policy: RetryPolicy,
        chance: random.Random,
        clock: Callable[[], float],
    ) -> None:
        self._wire = wire
        self._addresses = addresses
        self._credentials = credentials
        self._policy = policy
        self._chance = chance
        self._clock = clock

    @property
    def address(self) -> str:
        """The gateway that the next call asks first."""
        return self._addresses.current

    async def call(self, call: Call, *, deadline: float | None = None) -> Answer:
        """Carry out a call; it is repeated, with the same key, until it succeeds or cannot.

        Args:
            call: What to ask.
            deadline: Seconds after which no further attempt is begun; the policy's without it.

        Raises:
            ProblemError: A gateway refused, for good or until the deadline.
            GatewayUnreachableError: No gateway answered until the deadline.
            CredentialsError: There is no token.
            ProtocolError: Something answered that is no gateway.
        """
        effort = _Effort(begun=self._clock(), deadline=deadline)
        token = await self._credentials.token()
        while True:
            choice = self._addresses.pick()
            if choice.wait > 0:
                await asyncio.sleep(choice.wait)
            started = self._clock()
            effort.attempts += 1
            try:
                answer = await self._wire.attempt(choice.url, call, token=token, total=self._room(effort, call))
            except AuthenticationError as exc:
                token = await self._renewed(exc, effort, token)
            except ProblemError as exc:
                await self._pause(exc, effort, choice.url, started)
            except GatewayUnreachableError as exc:
                self._lost(exc, effort, choice.url, started)
            else:
                self._addresses.succeeded(choice.url, started=started)
                return answer

    def _room(self, effort: _Effort, call: Call) -> float:
        """Return how long one attempt may take: what is left, but never less than one silent read."""
        left = self._limit(effort, "") - self._clock()
        return max(left, self._policy.read_timeout) + call.wait

    def _limit(self, effort: _Effort, code: str) -> float:
        """Return the moment after which no further attempt is begun."""
        return effort.begun + (self._policy.patience(code) if effort.deadline is None else effort.deadline)

    async def _renewed(self, problem: AuthenticationError, effort: _Effort, token: str | None) -> str | None:
        """Read the token anew, once for each call."""
        if effort.renewed:
            raise problem
        effort.renewed = True
        return await self._credentials.renew(token)

    async def _pause(self, problem: ProblemError, effort: _Effort, url: str, started: float) -> None:
        """Wait before the next attempt, or raise when there shall be none."""
        if not may_retry(problem.status, problem.code, effort.attempts):
            raise problem
        pause = self._jittered(problem.retry_after, effort.attempts)
        if self._clock() + pause > self._limit(effort, problem.code):
            raise problem
        if problem.code in ELSEWHERE and len(self._addresses) > 1:
            self._addresses.failed(url, started=started, pause=pause)
            return
        await asyncio.sleep(pause)

    def _jittered(self, asked: float | None, attempts: int) -> float:
        """Return the pause: at least what the gateway asked for, spread so that its clients do not come back together."""
        if asked is None:
            return backoff(self._policy, attempts, self._chance)
        return asked + self._chance.uniform(0.0, max(0.1, asked / 4))

    def _lost(self, failure: GatewayUnreachableError, effort: _Effort, url: str, started: float) -> None:
        """Keep away from a gateway that gave no answer, or raise when it is too late for another attempt."""
        self._addresses.failed(url, started=started)
        if isinstance(failure, CertificateError):
            effort.distrusted.add(url)
            if len(effort.distrusted) == len(self._addresses):
                raise failure
        choice = self._addresses.pick()
        if self._clock() + choice.wait > self._limit(effort, ""):
            raise GatewayUnreachableError(f"no gateway answered, {effort.attempts} attempts were made; the last: {failure}") from failure


def unexpected(exc: BaseException) -> SluicewayError:
    """Return an error of this package for anything: what waits for outputs must never be left waiting."""
    return exc if isinstance(exc, SluicewayError) else SluicewayError(f"the client failed: {type(exc).__name__}: {exc}")
