from django.apps import AppConfig


class AgentConfig(AppConfig):
    """Chores with approvals."""

    name = "agent"
    verbose_name = "Agent"
