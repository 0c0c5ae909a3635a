"""The bodies of the HTTP interface as this client sees them: frozen records, None where a member is left out.

Names on the wire are camelCase; members that this version does not know are ignored.
"""

from sluiceway.records.grids import ConnectAnswer, ConnectRequest, GridDescription, GridList
from sluiceway.records.problems import EmbeddedException, ItemError, Problem, SymphonyException
from sluiceway.records.sessions import (
    CloseRequest,
    CommonDataRequest,
    CreateSessionRequest,
    OpenSessionRequest,
    PriorityRequest,
    SessionAnswer,
    SessionCreationAttributes,
    SessionDescription,
    SessionList,
    TaskCounts,
)
from sluiceway.records.tasks import CancelAnswer, CancelRequest, FetchAnswer, SubmitAnswer, SubmitRequest, SubmittedTask, TaskOutputItem, TaskSubmission
from sluiceway.records.wire import wire_form, wire_name

__all__ = [
    "CancelAnswer",
    "CancelRequest",
    "CloseRequest",
    "CommonDataRequest",
    "ConnectAnswer",
    "ConnectRequest",
    "CreateSessionRequest",
    "EmbeddedException",
    "FetchAnswer",
    "GridDescription",
    "GridList",
    "ItemError",
    "OpenSessionRequest",
    "PriorityRequest",
    "Problem",
    "SessionAnswer",
    "SessionCreationAttributes",
    "SessionDescription",
    "SessionList",
    "SubmitAnswer",
    "SubmitRequest",
    "SubmittedTask",
    "SymphonyException",
    "TaskCounts",
    "TaskOutputItem",
    "TaskSubmission",
    "wire_form",
    "wire_name",
]
