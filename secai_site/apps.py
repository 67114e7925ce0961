"""The composition root as a Django app, and the admin site of the operators."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class SiteConfig(AppConfig):
    """Binds contracts and registers checks once everything is loaded."""

    name = "secai_site"

    def ready(self) -> None:
        from secai_site import checks, wiring  # noqa: F401 - registers the checks

        wiring.bind_all()


class OperatorAdminConfig(AdminConfig):
    """Django's admin with this product's site."""

    default_site = "secai_site.admin_site.OperatorSite"
