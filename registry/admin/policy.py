"""The policy for models: its history, and a form that shows what a change would do before it counts."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from registry import policies
from registry.models import PolicyVersion
from registry.policy import FORMATS, Policy, PolicyInvalid, policy_from, weakenings
from registry.preview import effects
from registry.selectors import scanned_models
from secai_site.kernel.admin import ReadOnlyAdmin, actor_of
from secai_site.kernel.errors import ServiceError

GIB = 2**30


class PolicyForm(forms.Form):
    """A policy in the words of its operator."""

    local_import = forms.BooleanField(required=False, label="People may upload models")
    sources = forms.CharField(
        required=False,
        label="Downloads may come from",
        widget=forms.Textarea(attrs={"rows": 5, "class": "vLargeTextField", "spellcheck": "false"}),
        help_text="One https address a line; everything below it is allowed.",
    )
    revision_pins = forms.BooleanField(
        required=False,
        label="Downloads must name an immutable revision",
        help_text="A commit after “resolve”, or a blob by its digest.",
    )
    formats = forms.MultipleChoiceField(
        choices=lambda: [(name, name) for name in FORMATS],
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    max_gib = forms.IntegerField(label="Largest model, in GiB", min_value=1, max_value=2048)
    signature = forms.ChoiceField(
        label="Signatures", choices=[("optional", "shown"), ("required", "required, by a trusted key")]
    )
    unknown_templates = forms.ChoiceField(
        label="Chat templates of no known family",
        choices=[("allow", "allowed when sound"), ("refuse", "refused")],
    )
    conduct_minimum = forms.IntegerField(
        label="Least conduct grade",
        min_value=0,
        max_value=100,
        required=False,
        help_text="Empty: only shown.",
    )
    promotion = forms.ChoiceField(
        choices=[("automatic", "automatic, when every check passed"), ("manual", "manual, by an operator")]
    )
    keep_refused_days = forms.IntegerField(
        label="Days that refused files are kept", min_value=1, max_value=3650
    )
    note = forms.CharField(max_length=200, required=False, help_text="Why; it stands in the history.")
    base = forms.IntegerField(widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if not self.errors:
            try:
                self.policy = policy_from(document_of(found))
            except PolicyInvalid as error:
                raise forms.ValidationError(str(error)) from error
        return found


def document_of(values: dict[str, Any]) -> dict[str, Any]:
    """The policy's document from the form's values."""
    same = ("local_import", "revision_pins", "formats", "signature", "unknown_templates", "conduct_minimum",
            "promotion", "keep_refused_days")  # fmt: skip
    return {name: values[name] for name in same} | {
        "sources": [line.strip() for line in values["sources"].splitlines() if line.strip()],
        "max_size_bytes": values["max_gib"] * GIB,
    }


def values_of(policy: Policy) -> dict[str, Any]:
    """The form's values for a policy."""
    return policy.document() | {
        "sources": "\n".join(policy.sources), "max_gib": max(1, policy.max_size_bytes // GIB),
    }  # fmt: skip


@admin.register(PolicyVersion)
class PolicyAdmin(ReadOnlyAdmin):
    """Versions are added, never changed; the newest is in force. An old one is used again by adding it anew."""

    list_display = ("number", "note", "author", "created_at", "sha256")
    readonly_fields = ("number", "document", "sha256", "note", "author", "created_at")
    change_form_template = "registry/policy_version.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return True

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The form; with a preview before it saves."""
        if request.method != "POST":
            policy, number = policies.current_or_default()
            first = values_of(_asked_for(request) or policy) | {"base": number}
            return self._page(request, PolicyForm(initial=first), None)
        form = PolicyForm(request.POST)
        if not form.is_valid():
            return self._page(request, form, None)
        if "save" in request.POST and self._saved(request, form):
            return HttpResponseRedirect(reverse("admin:registry_policyversion_changelist"))
        return self._preview(request, form)

    def _saved(self, request: HttpRequest, form: PolicyForm) -> bool:
        """Put it in force; otherwise the form says why not."""
        values = form.cleaned_data
        try:
            row = policies.save(
                document=form.policy.document(),
                base=values["base"],
                actor=actor_of(request),
                note=values["note"],
            )
        except ServiceError as error:
            form.add_error(None, error.message)
            return False
        self.message_user(request, f"Policy {row.number} is in force.", messages.SUCCESS)
        return True

    def _preview(self, request: HttpRequest, form: PolicyForm) -> HttpResponse:
        """The form with what it would change of the policy in force now, which is then what it is based on."""
        policy, number = policies.current_or_default()
        data = request.POST.copy()
        data["base"] = str(number)
        form.data = data
        shown = {
            "weakenings": weakenings(policy, form.policy),
            "effects": effects(scanned_models(), policy, form.policy),
            "same": form.policy == policy,
        }
        return self._page(request, form, shown)

    def _page(self, request: HttpRequest, form: PolicyForm, shown: dict[str, Any] | None) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": "Change the policy for models", "form": form, "preview": shown, "opts": self.opts,
        }  # fmt: skip
        return TemplateResponse(request, "registry/policy_form.html", context)


def _asked_for(request: HttpRequest) -> Policy | None:
    """The old version that the address asks to use again."""
    number = request.GET.get("from", "")
    row = PolicyVersion.objects.filter(pk=number).first() if number.isdecimal() and len(number) < 9 else None
    try:
        return policy_from(row.document) if row else None
    except PolicyInvalid:
        return None
