"""Keys whose signatures on models count: added and removed, never changed."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from registry import trusted
from registry.models import TrustedKey
from secai_site.kernel.admin import ReadOnlyAdmin, actor_of, each, tell
from secai_site.kernel.errors import ServiceError


class KeyForm(forms.Form):
    """A name and the key as text; whether it is one is decided when it is added."""

    name = forms.CharField(max_length=trusted.MAX_NAME, help_text="Whose key it is.")
    text = forms.CharField(
        label="Public key",
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 8, "class": "vLargeTextField", "spellcheck": "false"}),
        help_text="A minisign public key, or a PEM public key (Ed25519, or P-256, P-384, P-521 for model-signing).",
    )


@admin.register(TrustedKey)
class TrustedKeyAdmin(ReadOnlyAdmin):
    """A key added here lets models signed with it count as signed."""

    list_display = ("name", "kind", "fingerprint", "added_by", "created_at")
    search_fields = ("name", "fingerprint")
    fields = ("name", "kind", "public_key", "fingerprint", "added_by", "created_at")
    actions = ("remove",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return True

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The form; Django's own would wrap the service's transaction in another."""
        form = KeyForm(request.POST or None)
        if form.is_valid() and self._added(request, form):
            return HttpResponseRedirect(reverse("admin:registry_trustedkey_changelist"))
        context = self.admin_site.each_context(request) | {
            "title": "Trust a public key", "form": form, "opts": self.opts,
        }  # fmt: skip
        return TemplateResponse(request, "registry/key_form.html", context)

    def _added(self, request: HttpRequest, form: KeyForm) -> bool:
        """Trust the key; otherwise the form says why not."""
        try:
            key = trusted.add_key(**form.cleaned_data, actor=actor_of(request))
        except ServiceError as error:
            form.add_error(None, error.message)
            return False
        self.message_user(request, f"Models signed by “{key.name}” count as signed.", messages.SUCCESS)
        return True

    @admin.action(description="Trust no longer", permissions=["view"])
    def remove(self, request: HttpRequest, queryset: QuerySet[TrustedKey]) -> None:
        """Remove the chosen keys; models that they let in stay."""
        done, error = each(queryset, lambda key: trusted.remove_key(key=key, actor=actor_of(request)))
        tell(self, request, done, "keys removed", error)
