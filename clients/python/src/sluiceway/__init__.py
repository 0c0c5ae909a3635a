"""Client of Sluiceway: send task inputs to a compute grid over HTTPS and collect the outputs."""

from sluiceway.aio.connection import AsyncConnection
from sluiceway.aio.gateway import AsyncGateway
from sluiceway.aio.session import AsyncSession
from sluiceway.blocking.connection import Connection
from sluiceway.blocking.executor import GridExecutor
from sluiceway.blocking.futures import TaskFuture
from sluiceway.blocking.gateway import Gateway
from sluiceway.blocking.session import Session
from sluiceway.codecs import Codec, JsonCodec, MsgpackCodec, RawCodec, standard_codecs
from sluiceway.errors import (
    AuthenticationError,
    CertificateError,
    CodecError,
    CredentialsError,
    ForbiddenError,
    GatewayUnreachableError,
    GoneError,
    InvalidRequestError,
    NotFoundError,
    ProblemError,
    ProtocolError,
    SessionBusyError,
    SessionClosedError,
    SluicewayError,
    SubmissionError,
    TaskCancelled,
    TaskFailed,
    TooManyRequestsError,
    UnavailableError,
)
from sluiceway.http.options import GatewayOptions
from sluiceway.http.retries import RetryPolicy
from sluiceway.outputs import Output
from sluiceway.progress import Progress, RichProgress
from sluiceway.records import EmbeddedException, GridDescription, SessionDescription, SymphonyException, TaskCounts
from sluiceway.tasks import TaskInput

__all__ = [
    "AsyncConnection",
    "AsyncGateway",
    "AsyncSession",
    "AuthenticationError",
    "CertificateError",
    "Codec",
    "CodecError",
    "Connection",
    "CredentialsError",
    "EmbeddedException",
    "ForbiddenError",
    "Gateway",
    "GatewayOptions",
    "GatewayUnreachableError",
    "GoneError",
    "GridDescription",
    "GridExecutor",
    "InvalidRequestError",
    "JsonCodec",
    "MsgpackCodec",
    "NotFoundError",
    "Output",
    "ProblemError",
    "Progress",
    "ProtocolError",
    "RawCodec",
    "RetryPolicy",
    "RichProgress",
    "Session",
    "SessionBusyError",
    "SessionClosedError",
    "SessionDescription",
    "SluicewayError",
    "SubmissionError",
    "SymphonyException",
    "TaskCancelled",
    "TaskCounts",
    "TaskFailed",
    "TaskFuture",
    "TaskInput",
    "TooManyRequestsError",
    "UnavailableError",
    "standard_codecs",
]
