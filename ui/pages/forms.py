"""Forms that work without script."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.password_validation import password_validators_help_texts
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from secai_site.kernel.auth.models import User
from secai_site.kernel.auth.people import claim_box
from secai_site.kernel.errors import ServiceError, TooMany
from ui.pages.entrance import count_attempt, refuse_session


class Refused:
    """Mixin: keeps the service's refusal, so that the view answers with its status."""

    refusal: ServiceError | None = None

    def refuse(self, error: ServiceError) -> ValidationError:
        """The form's own error for `error`."""
        self.refusal = error
        return ValidationError(error.message, code=error.error_code)

    @property
    def status(self) -> int:
        """The HTTP status of the page with this form on it."""
        return self.refusal.http_status if self.refusal else 200

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After`, when the refusal knows it."""
        wait = self.refusal.retry_after if self.refusal else None
        return {} if wait is None else {"Retry-After": str(wait)}


class SignInForm(Refused, AuthenticationForm):
    """Name and password; every attempt is counted before the password is checked."""

    error_messages = {
        "invalid_login": _("The name or the password is wrong. Both are case-sensitive."),
        "inactive": _("This account is switched off. Ask the operator of this box."),
    }

    def clean(self) -> dict[str, Any]:
        assert self.request is not None
        username = str(self.cleaned_data.get("username", ""))
        try:
            count_attempt(self.request, username=username)
        except TooMany as error:
            raise self.refuse(self.too_many(error)) from error
        try:
            return super().clean()
        except ValidationError:
            refuse_session(username)
            raise

    @staticmethod
    def too_many(error: TooMany) -> TooMany:
        """The same refusal in words for this page."""
        wait = error.retry_after or 60
        message = _("Too many attempts. Wait %(wait)d seconds, then try again; nothing else is needed.")
        return TooMany(str(message) % {"wait": wait}, retry_after=wait)


class PasswordForm(PasswordChangeForm):
    """Old and new password; one form of several on its page, so it does not take the focus."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old_password"].widget.attrs.pop("autofocus", None)


class ClaimForm(Refused, forms.Form):
    """The first operator of a fresh box."""

    code = forms.CharField(max_length=100, widget=forms.HiddenInput)
    username = forms.CharField(
        label=_("Your name"),
        max_length=150,
        widget=forms.TextInput(
            attrs={"autocomplete": "username", "autofocus": True, "autocapitalize": "none"}
        ),
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label=_("Password again"),
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    user: User | None = None

    @property
    def rules(self) -> list[str]:
        """What a password must be, as sentences."""
        return password_validators_help_texts()

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.errors:
            return values
        if values["password"] != values["again"]:
            raise ValidationError(_("The two passwords differ."), code="person.password_differs")
        return values

    def claim(self) -> bool:
        """Make the operator; False with the reason on the form when that is refused."""
        values = self.cleaned_data
        try:
            self.user = claim_box(
                code=values["code"], username=values["username"], password=values["password"]
            )
        except ServiceError as error:
            self.add_error(None, self.refuse(error))
        return self.user is not None
