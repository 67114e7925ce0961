"""The airlock's routes. Nothing goes out yet: everything authenticates, validates, refuses."""

from rest_framework import serializers

from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.http.serializers import NoFields, StrictSerializer, Text
from secai_site.kernel.http.views import NotBuiltView


class ProxyRequest(StrictSerializer):
    """POST /v1/proxy and /v1/check"""

    url = Text(max_length=8192)
    method = Text(max_length=16, required=False, default="GET")
    headers = serializers.DictField(child=Text(max_length=8192, allow_blank=True), required=False)
    body = serializers.JSONField(required=False, allow_null=True)


class AirlockView(NotBuiltView):
    """A route of the airlock."""

    part = "The airlock"
    read_scope = Scope.EGRESS
    write_scope = Scope.EGRESS


class Proxy(AirlockView):
    http_method_names = ["post", "options"]
    forms = {"POST": ProxyRequest}


class Check(AirlockView):
    http_method_names = ["post", "options"]
    forms = {"POST": ProxyRequest}


class Status(AirlockView):
    http_method_names = ["get", "head", "options"]


class Switch(AirlockView):
    http_method_names = ["post", "options"]
    write_scope = Scope.ADMIN
    forms = {"POST": NoFields}


class Report(AirlockView):
    http_method_names = ["get", "head", "options"]
