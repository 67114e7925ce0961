"""The tool firewall's routes. Its decisions are not built yet: everything authenticates, validates, refuses."""

from rest_framework import serializers

from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.http.serializers import StrictSerializer, Text
from secai_site.kernel.http.views import NotBuiltView


class InvokeRequest(StrictSerializer):
    """POST /v1/tool/invoke and /v1/policy/simulate"""

    tool = Text(max_length=128)
    arguments = serializers.DictField()


class PolicyRequest(StrictSerializer):
    """PUT /v1/policy"""

    policy = serializers.DictField()


class FirewallView(NotBuiltView):
    """A route of the firewall."""

    part = "The tool firewall"
    read_scope = Scope.TOOLS
    write_scope = Scope.TOOLS
    body_limit = 64 * 1024

    @staticmethod
    def error_body(error: ServiceError) -> dict[str, object]:
        """The firewall's own shape of a refusal, plus the common members."""
        return {"status": "denied", "reason": error.message, **error.body()}


class Invoke(FirewallView):
    http_method_names = ["post", "options"]
    forms = {"POST": InvokeRequest}


class Tools(FirewallView):
    http_method_names = ["get", "head", "options"]


class Policy(FirewallView):
    http_method_names = ["get", "put", "head", "options"]
    write_scope = Scope.ADMIN
    forms = {"PUT": PolicyRequest}


class Simulate(FirewallView):
    http_method_names = ["post", "options"]
    forms = {"POST": InvokeRequest}


class Stats(FirewallView):
    http_method_names = ["get", "head", "options"]
