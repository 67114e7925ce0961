"""The agent's routes. It plans nothing yet: everything authenticates, validates, refuses."""

from rest_framework import serializers

from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.http.serializers import Flag, NoFields, StrictSerializer, Text
from secai_site.kernel.http.views import NotBuiltView

MODES = ("offline_only", "standard", "online_assisted", "sensitive")
WORKSPACES = ("user_docs", "outputs")
PREFERENCES = ("read_file", "write_file", "overwrite_file", "tool_invoke")
ANSWERS = ("always", "ask", "never")


class PreferenceFields(StrictSerializer):
    """What the person wants to be asked about."""

    read_file = serializers.ChoiceField(choices=ANSWERS, required=False)
    write_file = serializers.ChoiceField(choices=ANSWERS, required=False)
    overwrite_file = serializers.ChoiceField(choices=ANSWERS, required=False)
    tool_invoke = serializers.ChoiceField(choices=ANSWERS, required=False)


class TaskRequest(StrictSerializer):
    """POST /v1/task"""

    intent = Text(max_length=2000)
    mode = serializers.ChoiceField(choices=MODES, required=False, default="standard")
    workspace = serializers.ListField(child=serializers.ChoiceField(choices=WORKSPACES), required=False)
    preferences = PreferenceFields(required=False)


class ApproveRequest(StrictSerializer):
    """POST /v1/task/{id}/approve"""

    step_ids = serializers.ListField(child=Text(max_length=64), required=False)
    approve_all = Flag(required=False)


class DenyRequest(StrictSerializer):
    """POST /v1/task/{id}/deny"""

    step_ids = serializers.ListField(child=Text(max_length=64), required=False)
    deny_all = Flag(required=False)


class ListQuery(StrictSerializer):
    """GET /v1/tasks?limit=&before="""

    limit = serializers.IntegerField(min_value=1, max_value=200, required=False)
    before = serializers.DateTimeField(required=False)


class AgentView(NotBuiltView):
    """A route of the agent."""

    part = "The agent"
    read_scope = Scope.AGENT
    write_scope = Scope.AGENT


class TaskCreate(AgentView):
    http_method_names = ["post", "options"]
    forms = {"POST": TaskRequest}


class TaskDetail(AgentView):
    http_method_names = ["get", "head", "options"]


class TaskApprove(AgentView):
    http_method_names = ["post", "options"]
    forms = {"POST": ApproveRequest}


class TaskDeny(AgentView):
    http_method_names = ["post", "options"]
    forms = {"POST": DenyRequest}


class TaskCancel(AgentView):
    http_method_names = ["post", "options"]
    forms = {"POST": NoFields}


class TaskList(AgentView):
    http_method_names = ["get", "head", "options"]
    query = ListQuery


class Modes(AgentView):
    http_method_names = ["get", "head", "options"]
