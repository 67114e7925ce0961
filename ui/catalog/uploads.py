"""Who may upload a model, and what: asked before the first byte of the body is kept."""

from pathlib import PurePosixPath

from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.errors import InvalidRequest, NotAllowed
from secai_site.kernel.http.websocket import check_origin, principal_of_headers
from secai_site.kernel.limits.rates import count
from ui.catalog.admission import admitted, require_size

# What content decides is never decided by a name; these endings only spare a person the wait for the obvious. Old
# weight files (.bin, .pt, .ckpt, .pkl) are not among them: the format gate tells what they would have done.
NO_MODELS = {
    "picture": ("bmp", "gif", "heic", "ico", "jpeg", "jpg", "png", "svg", "tif", "tiff", "webp"),
    "film or sound": ("aac", "avi", "flac", "m4a", "mkv", "mov", "mp3", "mp4", "ogg", "wav", "webm"),
    "document": ("csv", "doc", "docx", "htm", "html", "md", "odt", "pdf", "ppt", "pptx", "rtf", "txt", "xls", "xlsx"),
    "program": ("app", "bat", "cmd", "com", "deb", "dll", "dmg", "exe", "jar", "js", "msi", "ps1", "py", "rpm", "sh",
                "so"),
    "packed file": ("7z", "bz2", "gz", "iso", "rar", "tar", "tgz", "xz", "zst"),
}  # fmt: skip
FORM_BYTES = 1024 * 1024  # what a body has besides its files, generously
KIND_OF = {ending: kind for kind, endings in NO_MODELS.items() for ending in endings}


class KindRefused(InvalidRequest):
    """The file's name says that it is no model."""

    code = "upload.kind"


def admit_upload(headers: dict[str, str], announced: int | None = None) -> Principal:
    """The caller of an upload of so many `announced` bytes; raises the `ServiceError` that refuses it.

    That may be the registry's policy, or that the registry does not answer. The view checks again, with the CSRF
    token, before it uses what arrived.
    """
    check_origin(headers, secure=False)
    caller = principal_of_headers(headers)
    if not caller.may(Scope.MODELS):
        raise NotAllowed(
            "Importing models needs the permission “models”.", code="auth.scope", needed="models"
        )
    count(None, rate="upload", key=caller.rate_key)
    require_size((announced or 0) - FORM_BYTES, admitted("local"))
    return caller


def accept_name(filename: str) -> None:
    """Raise `KindRefused` for a single file that nobody takes for a model; files in folders are the gate's to judge."""
    ending = PurePosixPath(filename.lower()).suffix[1:]
    if ending in KIND_OF and "/" not in filename:
        raise KindRefused(
            f"A file that ends in .{ending} is a {KIND_OF[ending]}, not a model. Choose a .gguf or .safetensors file, "
            "a zip or a folder of a picture model."
        )
