from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The tamper-evident record of what happened on this box."""

    name = "secai_site.kernel.audit"
    label = "audit"
    verbose_name = "Audit"
