from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People, sessions, API keys and service tokens."""

    name = "secai_site.kernel.auth"
    label = "accounts"
    verbose_name = "People and keys"
