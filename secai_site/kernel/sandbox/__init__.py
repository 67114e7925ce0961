"""Confinement of one process by the kernel: `Profile`, `apply`, `support`."""

from secai_site.kernel.sandbox.limits import Limits
from secai_site.kernel.sandbox.profile import Applied, Profile, SandboxUnavailableError, apply, support

__all__ = ["Applied", "Limits", "Profile", "SandboxUnavailableError", "apply", "support"]
