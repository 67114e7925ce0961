from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Long work that survives a crash."""

    name = "secai_site.kernel.jobs"
    label = "jobs"
    verbose_name = "Work"
