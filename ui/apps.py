from django.apps import AppConfig


class UiConfig(AppConfig):
    """The pages, the chat and the API of port 8480."""

    name = "ui"
    verbose_name = "Conversations"

    def ready(self) -> None:
        from ui.catalog import jobs as _catalog  # noqa: F401 - registers the handlers
        from ui.chat import jobs as _chat  # noqa: F401
