"""The child process that reads and tries chat templates. It can reach nothing but its two pipes.

Started by `registry.quarantine.templates.template_review`; standard input is the request, standard output takes the
answer, both one JSON object.
"""

import json
import os
import sys
from typing import Any, Final

from registry.quarantine.templates.examination import Answer, examine
from secai_site.kernel.sandbox import Limits, Profile, SandboxUnavailableError, apply

MEMORY: Final = 256 << 20  # an ordinary review takes 60 MB
CPU_SECONDS: Final = 10
MAX_REQUEST: Final = 4 << 20
SAMPLE: Final = (
    "{% for m in messages %}{{ m.content | trim }}{% endfor %}{{ strftime_now('%d %B %Y') }}{{ 1 // 0 }}"
)


def main(arguments: list[str]) -> int:
    """Confine this process, review the templates of the request, write the answer. `arguments`: the parent's pid."""
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    examine(
        {"": SAMPLE}, tokens, unknown="allow"
    )  # imports what a review needs while files can still be opened
    try:
        apply(profile(int(arguments[0])))
        request = json.loads(os.read(0, MAX_REQUEST))
        answer = examine(request["templates"], request["tokens"], unknown=request["unknown"])
    except SandboxUnavailableError as error:
        answer = inconclusive(str(error), "template.sandbox")
    except MemoryError:
        answer = inconclusive("Looking at the chat template took more memory than it may.", "template.memory")
    except Exception as error:  # whatever a hostile template provokes is an answer, and never a pass
        answer = inconclusive(
            f"Looking at the chat template failed ({type(error).__name__}).", "template.failed"
        )
    sys.stdout.buffer.write(json.dumps(answer).encode())
    return 0


def profile(parent: int) -> Profile:
    """No path, no port, no socket, no other process."""
    return Profile(
        name="template review",
        network="none",
        processes=False,
        programs=False,
        limits=Limits(cpu_s=CPU_SECONDS, memory=MEMORY, file_size=0, open_files=16),
        parent=parent,
    )


def inconclusive(reason: str, code: str) -> Answer:
    """The answer where the review came to no end; callers treat it as a refusal."""
    nothing: dict[str, Any] = {"family": None, "nearest": None, "findings": [], "diff": [], "literals": []}
    return {"verdict": "inconclusive", "reason": reason, "code": code, **nothing}
