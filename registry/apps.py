from django.apps import AppConfig


class RegistryConfig(AppConfig):
    """Which models may run, and the quarantine they come through."""

    name = "registry"
    verbose_name = "Models"

    def ready(self) -> None:
        from registry import jobs  # noqa: F401 - registers the handlers
