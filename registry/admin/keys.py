"""Keys whose signatures on models count: added and removed, never changed."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from registry import trusted
from registry.models import TrustedKey
from secai_site.kernel.admin import ReadOnlyAdmin, actor_of
from secai_site.kernel.errors import ServiceError


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A name and the key as text; whether it is one is decided while it is read."""

    text = forms.CharField(
        label="Public key",
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 8, "class": "vLargeTextField", "spellcheck": "false"}),
        help_text="A minisign public key, or a PEM public key (Ed25519, or P-256, P-384, P-521 for model-signing).",
    )

    class Meta:
        model = TrustedKey
        fields = ("name",)

    actor = ""
    made: TrustedKey | None = None

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if not self.errors:
            try:
                self.made = trusted.add_key(name=found["name"], text=found["text"], actor=self.actor)
            except ServiceError as error:
                raise forms.ValidationError(error.message) from error
        return found

    def save(self, commit: bool = True) -> TrustedKey:
        assert self.made is not None
        return self.made

    def save_m2m(self) -> None:
        """There is nothing of that kind."""


@admin.register(TrustedKey)
class TrustedKeyAdmin(ReadOnlyAdmin):
    """A key added here lets models signed with it count as signed."""

    list_display = ("name", "kind", "fingerprint", "added_by", "created_at")
    search_fields = ("name", "fingerprint")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return True

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change, **kwargs)
        return type("KeyFormOfActor", (KeyForm,), {"actor": actor_of(request)})

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None:
            return ("name", "kind", "public_key", "fingerprint", "added_by", "created_at")
        return ("name", "text")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The form's service has added it."""

    def delete_model(self, request: HttpRequest, obj: TrustedKey) -> None:
        trusted.remove_key(key=obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[TrustedKey]) -> None:
        for key in queryset:
            trusted.remove_key(key=key, actor=actor_of(request))
