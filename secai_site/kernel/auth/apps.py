from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People, sessions, API keys and service tokens."""

    name = "secai_site.kernel.auth"
    label = "accounts"
    verbose_name = "People and keys"

    def ready(self) -> None:
        from secai_site.kernel.auth import jobs  # noqa: F401 - registers the handler
