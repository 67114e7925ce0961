from django.apps import AppConfig


class LimitsConfig(AppConfig):
    """Rates shared by all processes."""

    name = "secai_site.kernel.limits"
    label = "limits"
