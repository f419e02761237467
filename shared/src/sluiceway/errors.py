"""The errors of Sluiceway.

SluicewayError
├── DomainError               a caller asked for what cannot be had; permanent; `code` and `status` are part of the API
│   ├── SessionNotFound       404
│   ├── TaskNotFound          404
│   ├── MessageNotFound       404
│   ├── JobNotFound           404
│   ├── AgentStreamNotFound   404
│   ├── ApprovalNotFound      404
│   ├── OperationNotFound     404
│   ├── WebhookNotFound       404
│   ├── FileNotFound          404
│   ├── TaskExpired           410
│   ├── ApprovalGone          410
│   ├── OperationEnded        410
│   ├── AccessDenied          403
│   ├── SessionExists         409
│   ├── SessionBusy           409
│   ├── MessageConflict       409
│   ├── MessageNotWaiting     409
│   ├── ApprovalConflict      409
│   ├── StreamTruncated       409
│   ├── OperationNotStarted   409
│   ├── FileQuotaReached      409
│   ├── UnderstandingTooLarge 413
│   ├── FileTooLarge          413
│   ├── FileTypeRefused       415
│   ├── NotStorable           422, Postgres is there and refuses the data
│   ├── TooManyTasks          429
│   ├── TooManySessions       429
│   ├── BudgetReached         429
│   └── TooManyWebhooks       429
├── Unavailable               a part we stand on is away; retryable
│   ├── StoreUnavailable      503, Postgres
│   │   └── StoreRefuses      it answers, and does not let us in, or lacks us a right; until a person mends that
│   ├── FilesUnavailable      503, the object store
│   └── RedisUnavailable      503, Redis
│       ├── RedisRefuses      the same of Redis
│       ├── JobEventUnavailable   also a JobEventError; retryable, and perhaps the event was added all the same
│       └── AgentEventUnavailable also an AgentEventError; retryable, with the same publish_id without doubling
├── JobEventError             a job event was not published; who publishes may catch this and go on working
│   └── JobEventRejected      permanent: it is not JSON, too large, for an id that cannot be, or refused by Redis
├── AgentEventError           an agent event was not published; who publishes may catch this and go on working
│   ├── AgentEventRejected    permanent: it is not JSON, too large, of no known type, or for an id that cannot be
│   ├── AgentStreamUnknown    permanent until somebody creates the stream
│   └── AgentStreamClosed     permanent: the stream has ended, or another one has taken its place
└── Fenced                    another attempt owns the task now; whoever sees this stops writing
    └── Forgotten             nobody does, but Redis lost some of what was written; another attempt has to
"""

from typing import ClassVar


class SluicewayError(Exception):
    """Everything that this project raises on purpose."""


class DomainError(SluicewayError):
    """A request that cannot be fulfilled, however often it is sent.

    `code` is stable and documented; `extra` holds further members of the problem+json answer.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    default_detail: ClassVar[str]

    def __init__(self, detail: str | None = None, **extra: str | int) -> None:
        self.detail = detail or self.default_detail
        self.extra = extra
        super().__init__(self.detail)


class SessionNotFound(DomainError):
    code, status = "SESSION_NOT_FOUND", 404
    default_detail = "There is no session with this id."


class TaskNotFound(DomainError):
    code, status = "TASK_NOT_FOUND", 404
    default_detail = "There is no task with this id."


class MessageNotFound(DomainError):
    code, status = "MESSAGE_NOT_FOUND", 404
    default_detail = "There is no such message in this session."


class JobNotFound(DomainError):
    code, status = "JOB_NOT_FOUND", 404
    default_detail = "There are no events of a job with this id, or none any more."


class OperationNotFound(DomainError):
    code, status = "OPERATION_NOT_FOUND", 404
    default_detail = "There is no operation with this id."


class WebhookNotFound(DomainError):
    code, status = "WEBHOOK_NOT_FOUND", 404
    default_detail = "There is no webhook with this number in the journal."


class FileNotFound(DomainError):
    code, status = "FILE_NOT_FOUND", 404
    default_detail = "There is no file with this id, or none any more."


class ShareNotFound(DomainError):
    code, status = "SHARE_NOT_FOUND", 404
    default_detail = "There is no such link, or none any more."


class ApprovalNotFound(DomainError):
    code, status = "APPROVAL_NOT_FOUND", 404
    default_detail = "No such tool call asked for that."


class ApprovalGone(DomainError):
    code, status = "APPROVAL_GONE", 410
    default_detail = (
        "This answer is no longer waited for: the call has expired, or the conversation has gone on without it."
    )


class ApprovalConflict(DomainError):
    code, status = "APPROVAL_ANSWERED", 409
    default_detail = "This approval was answered before, otherwise."


class AgentStreamNotFound(DomainError):
    code, status = "AGENT_STREAM_NOT_FOUND", 404
    default_detail = "No agents have worked on this task, or it is forgotten."


class TaskExpired(DomainError):
    code, status = "TASK_EXPIRED", 410
    default_detail = "This task has ended and its stream has expired. The answer is in the session's messages."


class OperationEnded(DomainError):
    code, status = "OPERATION_ENDED", 410
    default_detail = "This operation has ended. Nothing more is wanted of it; sending this again changes nothing."


class AccessDenied(DomainError):
    code, status = "ACCESS_DENIED", 403
    default_detail = "This belongs to somebody else."


class SessionExists(DomainError):
    code, status = "SESSION_EXISTS", 409
    default_detail = "A session with this id exists already."


class SessionBusy(DomainError):
    code, status = "SESSION_BUSY", 409
    default_detail = "A turn of this session is still running, and the request asked to be rejected in that case."


class MessageConflict(DomainError):
    code, status = "MESSAGE_ID_CONFLICT", 409
    default_detail = "A message with this id exists in the session, with another text."


class MessageNotWaiting(DomainError):
    code, status = "MESSAGE_NOT_WAITING", 409
    default_detail = (
        "This message does not wait any more: its answer has begun or ended, or it has taken another message's place. "
        "Nothing was changed."
    )


class StreamTruncated(DomainError):
    code, status = "STREAM_TRUNCATED", 409
    default_detail = (
        "The stream no longer has the event after this cursor. Read on from `read_on_from`, as if nothing was read."
    )


class OperationNotStarted(DomainError):
    code, status = "OPERATION_NOT_STARTED", 409
    default_detail = (
        "This operation still waits for a person's approval, or for its client; nobody was asked to work on it."
    )


class NotStorable(DomainError):
    """Postgres answered, and refuses what it was given. The same again is refused again: never an outage.

    `reason` is for logs, and repeats nothing of the data.
    """

    code, status = "NOT_STORABLE", 422
    default_detail = "The database does not take this, so nothing was changed."

    def __init__(self, reason: str = "") -> None:
        super().__init__()
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.detail} {self.reason}".strip()


class UnderstandingTooLarge(DomainError):
    """`max_bytes` and `max_facts` are among its further members."""

    code, status = "UNDERSTANDING_TOO_LARGE", 413
    default_detail = "That is more than is kept of what is known about a person. Nothing was changed."


class FileTooLarge(DomainError):
    """`max_file_bytes` is among its further members."""

    code, status = "FILE_TOO_LARGE", 413
    default_detail = "The file is larger than files may be. Nothing of it was kept."


class FileTypeRefused(DomainError):
    code, status = "FILE_TYPE_REFUSED", 415
    default_detail = "Files of this kind are not taken. Nothing of it was kept."


class FileQuotaReached(DomainError):
    code, status = "FILE_QUOTA_REACHED", 409
    default_detail = "You have as many files as one may have. Delete some, or conversations that have them."


class TooManyTasks(DomainError):
    code, status = "TOO_MANY_TASKS", 429
    default_detail = "Too many turns are waiting in this session. Wait until some have ended."


class TooManySessions(DomainError):
    """`retry_after_seconds` is among its further members."""

    code, status = "TOO_MANY_SESSIONS", 429
    default_detail = "You have begun too many sessions within an hour."


class BudgetReached(DomainError):
    """`retry_after_seconds`, until the next day begins, is among its further members; and `may_go_on`: the same request
    is taken if it says `over_budget`."""

    code, status = "BUDGET_REACHED", 429
    default_detail = "You have used up what you may use of the models within a day."


class TooManyWebhooks(DomainError):
    """`retry_after_seconds` is among its further members."""

    code, status = "TOO_MANY_WEBHOOKS", 429
    default_detail = "Too many webhooks came for this operation. Wait before you send the next."


class Unavailable(SluicewayError):
    """Something we stand on is away. Trying again later is right."""

    code: ClassVar[str]
    status: ClassVar[int] = 503
    retry_after_seconds: ClassVar[int] = 2
    detail: ClassVar[str]


class StoreUnavailable(Unavailable):
    code = "STORE_UNAVAILABLE"
    detail = "The database is away. Nothing was lost; try again in a moment."


class StoreSlow(StoreUnavailable):
    """A statement took longer than it may, and was given up: a lock may be in its way."""


class StoreRefuses(StoreUnavailable):
    """Its text says for the log what Postgres refuses; `detail` is for everybody."""

    detail = "The database refuses this service: its password, its role or a right is wrong. The log says which."


class FilesUnavailable(Unavailable):
    """Its text says for the log what is wrong."""

    code = "FILES_UNAVAILABLE"
    detail = "The place where files are kept is away. Nothing else is; try again in a moment."


class RedisUnavailable(Unavailable):
    code = "REDIS_UNAVAILABLE"
    detail = "Redis is away. Nothing was lost; try again in a moment."


class RedisRefuses(RedisUnavailable):
    """Its text says for the log what Redis refuses; `detail` is for everybody."""

    detail = "Redis refuses this service: its password, its user or a right is wrong. The log says which."


class JobEventError(SluicewayError):
    """A job event was not published. It was logged; whether the job goes on without it is for the job to say."""


class JobEventRejected(JobEventError):
    """Trying again changes nothing."""


class JobEventUnavailable(JobEventError, RedisUnavailable):
    """Redis was away. Where only its answer was lost the event is there: publishing it again may double it."""


class AgentEventError(SluicewayError):
    """An agent event was not published. Whether the agents go on without it is for them to say."""


class AgentEventRejected(AgentEventError):
    """Trying again changes nothing."""


class AgentStreamUnknown(AgentEventError):
    """Nobody has created the stream, or Redis has forgotten it."""


class AgentStreamClosed(AgentEventError):
    """The stream has ended, or was created again and the caller means the one before."""


class AgentEventUnavailable(AgentEventError, RedisUnavailable):
    """Redis was away, or there was no answer in time. Perhaps the event was added all the same."""


class Fenced(SluicewayError):
    """Another attempt owns the task, or it has ended: not one more write of ours counts."""


class Forgotten(Fenced):
    """Redis has lost some of what this attempt wrote. Another attempt has to begin, at once if possible."""
