"""Stage 7: the parts of a picture pipeline. Single files have none."""

from registry.quarantine.stages.base import StageVerdict, Subject, not_applicable


class Diffusion:
    """Directories of picture pipelines are not taken by this version, so there is nothing to look at."""

    name = "diffusion"
    version = "1"

    def examine(self, subject: Subject) -> StageVerdict:
        return not_applicable("It is a single file, not a picture pipeline.")
