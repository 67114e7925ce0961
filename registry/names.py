"""Names of models: what they may look like, and when two are the same."""

import re

from secai_site.kernel.errors import InvalidRequest

FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Words that stand in the place of a name in some address, see the routes of registry and ui.
RESERVED = frozenset({"verify-manifest", "download", "downloads", "fit", "import", "jobs"})
KNOWN_ENDINGS = (".gguf", ".safetensors")


class NameRefused(InvalidRequest):
    """The name does not fit the form, or is taken."""

    code = "model.name"


def checked(name: str) -> str:
    """`name` if it is a good name, else `NameRefused`."""
    if not FORM.fullmatch(name):
        raise NameRefused(
            "A model's name has 1 to 128 letters, digits, dots, underscores or hyphens, and starts with a letter "
            "or digit."
        )
    if key_of(name) in RESERVED:
        raise NameRefused(f"“{name}” is a word that this box uses itself. Choose another name.")
    return name


def key_of(name: str) -> str:
    """What two names are compared by: `Qwen` and `qwen` are the same model."""
    return name.casefold()


def from_filename(filename: str) -> str:
    """A good name made of an uploaded file's name, so that most people need not choose one."""
    base = filename.replace("\\", "/").rpartition("/")[2]
    for ending in KNOWN_ENDINGS:
        if base.lower().endswith(ending):
            base = base[: -len(ending)]
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", base).strip("-._")
    cleaned = cleaned[:128] or "model"
    return checked(f"{cleaned}-model" if key_of(cleaned) in RESERVED else cleaned)
