"""The search mediator's route. It searches nothing yet: it authenticates, validates, refuses."""

from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.http.serializers import StrictSerializer, Text, Whole
from secai_site.kernel.http.views import NotBuiltView


class SearchRequest(StrictSerializer):
    """POST /search"""

    query = Text(max_length=2000)
    max_results = Whole(min_value=1, max_value=20, required=False, default=5)


class Search(NotBuiltView):
    """POST /search"""

    part = "The search mediator"
    read_scope = Scope.EGRESS
    write_scope = Scope.EGRESS
    http_method_names = ["post", "options"]
    forms = {"POST": SearchRequest}
