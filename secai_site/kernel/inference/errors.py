"""What can go wrong between a caller and the engine, each with its HTTP status and stable code."""

from collections.abc import Mapping
from typing import Any

from secai_site.kernel.errors import InvalidRequest, ServiceError


class EngineDown(ServiceError):
    """The worker process is not there, or went away in the middle."""

    status = 503
    code = "engine.down"


class EngineBusy(ServiceError):
    """The queue is full; `retry_after` seconds tell when to come back."""

    status = 503
    code = "engine.queue_full"


class ModelIntegrityError(ServiceError):
    """The bytes on disk are not the bytes that were admitted."""

    status = 403
    code = "model.integrity"

    def __init__(self, message: str, **extra: Any) -> None:
        super().__init__(message, **{"integrity_failed": True, **extra})


class ModelPathRefused(ServiceError):
    """The path leads outside the models root, through a link, or to something that is no regular file."""

    status = 403
    code = "model.path_refused"


class ModelLoadError(ServiceError):
    """The file is the right one, but the engine cannot run it."""

    status = 422
    code = "model.load_failed"


class WrongPurpose(ServiceError):
    """The model is not made for this: an embedding model writes no text, a text model makes no vectors."""

    status = 409
    code = "model.purpose"


class NoChatTemplate(ServiceError):
    """The model carries no chat template, so it cannot be given messages."""

    status = 409
    code = "model.no_chat_template"


class TemplateFailed(ServiceError):
    """The model's chat template refused the conversation or overran its limits."""

    status = 422
    code = "model.template_failed"


class ContextTooLong(ServiceError):
    """The prompt leaves no room for an answer; extra: `prompt_tokens`, `context_length`."""

    status = 413
    code = "context.too_long"


class GenerationUnknown(ServiceError):
    """No generation of this id is running or remembered."""

    status = 404
    code = "generation.unknown"


class GenerationExists(ServiceError):
    """A generation of this id is running or remembered; ids are used once."""

    status = 409
    code = "generation.exists"


class GenerationFailed(ServiceError):
    """The engine could not go on in the middle of an answer."""

    status = 500
    code = "engine.failed"


class ModelUnloaded(ServiceError):
    """The model was unloaded before this was begun, or before all texts were read."""

    status = 409
    code = "model.unloaded"


_FAMILY: tuple[type[ServiceError], ...] = (
    EngineDown,
    EngineBusy,
    ModelIntegrityError,
    ModelPathRefused,
    ModelLoadError,
    WrongPurpose,
    NoChatTemplate,
    TemplateFailed,
    ContextTooLong,
    GenerationUnknown,
    GenerationExists,
    GenerationFailed,
    ModelUnloaded,
    InvalidRequest,
)
_BY_CODE = {family.code: family for family in _FAMILY}


def rebuild(
    code: str, message: str, *, status: int, retry_after: int | None, extra: Mapping[str, Any]
) -> ServiceError:
    """Make the exception again that the worker described; an unknown code keeps its status."""
    known = _BY_CODE.get(code)
    if known is None:
        return ServiceError(message, code=code, status=status, retry_after=retry_after, **extra)
    if known is ModelIntegrityError:
        return ModelIntegrityError(message, **extra)
    return known(message, retry_after=retry_after, **extra)
