"""Stage 2: is it, by its content, a whole and well-formed model file?"""

from registry.quarantine.inspect import inspect_file
from registry.quarantine.stages.base import StageVerdict, Subject, inconclusive, passed, refused

TITLES = {"gguf": "GGUF", "safetensors": "safetensors"}


class FormatGate:
    """Runs the bounded validators in a confined child process."""

    name = "format_gate"
    version = "1"

    def examine(self, subject: Subject) -> StageVerdict:
        found = inspect_file(subject.files[0].descriptor)
        subject.inspection = found
        if found.verdict == "pass":
            title = TITLES.get(found.format or "", found.format)
            return passed(f"It is a well-formed {title} file.", format=found.format, facts=found.facts)
        where = {"offset": found.offset} if found.offset is not None else {}
        make = refused if found.verdict == "refuse" else inconclusive
        return make(found.reason, code=found.code, **where)
