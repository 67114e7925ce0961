from django.apps import AppConfig


class AirlockConfig(AppConfig):
    """What may leave the box."""

    name = "airlock"
    verbose_name = "Airlock"
