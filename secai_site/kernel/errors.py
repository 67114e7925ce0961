"""The one error family: what a person reads, a code a program reads, and the HTTP status."""

from typing import Any, ClassVar


class ServiceError(Exception):
    """A refusal or failure that the caller is meant to see.

    `code` is `area.reason`, stable for programs; `message` is a sentence for people. Subclasses name the
    fact (`WrongPassphrase`) and set both class attributes; further keyword arguments become members of the
    JSON body.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "request.invalid"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        retry_after: int | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = code or self.code
        self.http_status = status or self.status
        self.retry_after = retry_after
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """The JSON body: `{"error": sentence, "code": "area.reason", …}`."""
        return {"error": self.message, "code": self.error_code, **self.extra}


class InvalidRequest(ServiceError):
    """The request is malformed: wrong type, unknown field, out of range."""

    status = 400
    code = "request.invalid"


class NotSignedIn(ServiceError):
    """No credentials, or credentials that are not (or no longer) good."""

    status = 401
    code = "auth.required"


class NotAllowed(ServiceError):
    """Good credentials that do not permit this."""

    status = 403
    code = "auth.forbidden"


class NotFound(ServiceError):
    """No such object, or none that the caller may see."""

    status = 404
    code = "request.not_found"


class Conflict(ServiceError):
    """The object is not in a state that allows this."""

    status = 409
    code = "request.conflict"


class TooMany(ServiceError):
    """A rate or a quota is used up; `retry_after` seconds tell when to come back."""

    status = 429
    code = "rate.limited"


class Unavailable(ServiceError):
    """A part that the answer needs is not working; nothing was done."""

    status = 503
    code = "service.unavailable"


class StorageFull(ServiceError):
    """The disk has no room for this; nothing half-written was kept."""

    status = 507
    code = "storage.full"
