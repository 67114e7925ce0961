"""Addresses that models come from: one strict form, compared on host and path segments. Pure.

What a browser would repair is refused here, so that what is compared is what is fetched.
"""

import re
from dataclasses import dataclass

HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
ADDRESS = re.compile(r"https://([^/?#@\\:\[\]]{1,253})(?::443)?(/[^?#\\]*)?(?:\?([^#]*))?")
# unreserved and sub-delims of RFC 3986, and colon and at: what a path needs and nobody has to decode
SEGMENT = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@]+")
QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?]*")
MAX_LENGTH = 2000
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
BLOB = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Source:
    """A canonical https address."""

    host: str
    segments: tuple[str, ...]
    query: str = ""

    def __str__(self) -> str:
        query = f"?{self.query}" if self.query else ""
        return f"https://{self.host}/{'/'.join(self.segments)}{query}"

    def lies_below(self, prefix: "Source") -> bool:
        """Whether it is on the same host, under the same first segments."""
        return self.host == prefix.host and self.segments[: len(prefix.segments)] == prefix.segments

    @property
    def is_immutable(self) -> bool:
        """Whether it names one revision for ever: a file of a commit on a model hub, or a blob by its digest.

        By position, for below a branch anybody may name folders `resolve/<commit>`. Forms:
        `[datasets/|spaces/]<owner>/<repository>/resolve/<commit>/…` and, of the OCI distribution specification,
        `v2/<name>/blobs/<digest>`.
        """
        match self.segments:
            case ("datasets" | "spaces", _, _, "resolve", commit, _, *_):
                return COMMIT.fullmatch(commit) is not None
            case ("v2", _, *name, "blobs", digest):
                return "resolve" not in name and BLOB.fullmatch(digest) is not None
            case (owner, _, "resolve", commit, _, *_):
                return owner not in ("datasets", "spaces") and COMMIT.fullmatch(commit) is not None
        return False


def parse_source(address: str) -> Source | None:
    """The address in its one form, or None when it is anything but a plain https address of a named host."""
    match = ADDRESS.fullmatch(address) if len(address) <= MAX_LENGTH and address.isascii() else None
    if match is None or not HOST.fullmatch(match[1]):
        return None
    segments = tuple(match[2][1:].split("/")) if match[2] and match[2] != "/" else ()
    if segments and segments[-1] == "":  # a folder, as the operator's prefixes are written
        segments = segments[:-1]
    if not all(SEGMENT.fullmatch(one) and one not in (".", "..") for one in segments):
        return None
    return Source(match[1], segments, match[3] or "") if QUERY.fullmatch(match[3] or "") else None
