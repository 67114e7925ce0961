from django.apps import AppConfig


class FirewallConfig(AppConfig):
    """What tools may do."""

    name = "firewall"
    verbose_name = "Tool firewall"
