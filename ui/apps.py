from django.apps import AppConfig


class UiConfig(AppConfig):
    """The pages, the chat and the API of port 8480."""

    name = "ui"
    verbose_name = "Conversations"

    def ready(self) -> None:
        from ui.chat import jobs  # noqa: F401 - registers the handlers
