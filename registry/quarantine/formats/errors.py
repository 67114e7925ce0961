"""The one way a validator says no."""


class FormatError(Exception):
    """A file that does not keep to its format.

    `reason` is a sentence for the owner of the file, `offset` the byte where the trouble was seen (`None`
    when it is nowhere in particular), `code` is `format.what[.how]`, stable for programs.
    """

    def __init__(self, reason: str, offset: int | None, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.code = code
