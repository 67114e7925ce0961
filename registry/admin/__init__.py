"""Models, quarantine, policy and trusted keys for operators."""

from registry.admin.keys import TrustedKeyAdmin
from registry.admin.models import ArtifactAdmin, QuarantineAdmin
from registry.admin.policy import PolicyAdmin

__all__ = ["ArtifactAdmin", "PolicyAdmin", "QuarantineAdmin", "TrustedKeyAdmin"]
