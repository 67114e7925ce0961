"""The pages. Each is a few lines; what they show comes from the HTTP API by script."""

from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from secai_site.kernel.auth.models import User
from secai_site.kernel.auth.people import box_is_claimed, setup_code_is_good
from secai_site.kernel.auth.scopes import role_scopes
from secai_site.kernel.errors import TooMany
from secai_site.kernel.http.errors import answer
from secai_site.kernel.limits.rates import count
from ui.pages.entrance import change_password, count_attempt, leave, start_session
from ui.pages.forms import ClaimForm, PasswordForm, SignInForm
from ui.pages.rail import page
from ui.pages.scopes import described


@require_GET
def chat(request: HttpRequest, conversation_id: UUID | None = None) -> HttpResponse:
    """`/` and `/c/<id>`: the same page for every id; the API says who may see the conversation."""
    return page(request, "chat.html", section="chat", conversation_id=conversation_id or "")


@require_GET
def models(request: HttpRequest) -> HttpResponse:
    """`/models`."""
    return page(request, "models.html", section="models")


@require_GET
def security(request: HttpRequest) -> HttpResponse:
    """`/security`."""
    return page(request, "security.html", section="security")


@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """`/settings`."""
    return _settings_page(request, PasswordForm(_person(request)))


@sensitive_post_parameters()
@require_POST
def password(request: HttpRequest) -> HttpResponse:
    """`/settings/password`: changes it and signs the other browsers out."""
    user = _person(request)
    try:
        count_attempt(request, username=user.username)
    except TooMany as error:
        return answer(request, error)
    form = PasswordForm(user, request.POST)
    if not form.is_valid():
        return _settings_page(request, form, status=400)
    ended = change_password(request, form)
    others = ngettext("%(n)d other session was ended.", "%(n)d other sessions were ended.", ended) % {
        "n": ended
    }
    messages.success(request, _("The password is changed.") + " " + others)
    return redirect("/settings")


def _settings_page(request: HttpRequest, form: PasswordForm, *, status: int = 200) -> HttpResponse:
    scopes = described(role_scopes(_person(request).role))
    return page(request, "settings.html", section="settings", form=form, grantable=scopes, status=status)


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


@sensitive_post_parameters()
@login_not_required
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """`/sign-in`: name and password; `next` leads back, to paths of this box only."""
    to = _safe_path(request.POST.get("next") or request.GET.get("next") or "")
    if request.user.is_authenticated:
        return redirect(to)
    form = SignInForm(request, request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = form.get_user()
        assert isinstance(user, User)
        start_session(request, user)
        return redirect(to)
    context = {"form": form, "next": to, "claimed": box_is_claimed()}
    response = render(request, "ui/sign_in.html", context, status=form.status)
    for name, value in form.headers.items():
        response[name] = value
    return response


def _safe_path(path: str) -> str:
    """`path` if it leads to this host, else the first page."""
    good = path.startswith("/") and url_has_allowed_host_and_scheme(path, allowed_hosts=None)
    return path if good else settings.LOGIN_REDIRECT_URL


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """`/sign-out`."""
    leave(request)
    return redirect(settings.LOGIN_URL + "?" + urlencode({"out": 1}))


@sensitive_post_parameters()
@login_not_required
@require_http_methods(["GET", "POST"])
def setup(request: HttpRequest) -> HttpResponse:
    """`/setup?code=…`: claims a fresh box, once."""
    if request.method == "POST":
        try:
            count(request, rate="setup", key="box")
        except TooMany as error:
            return answer(request, error)
    code = request.POST.get("code") or request.GET.get("code") or ""
    if not setup_code_is_good(code):
        return render(request, "ui/setup.html", {"claimed": box_is_claimed()}, status=403)
    form = ClaimForm(request.POST or None, initial={"code": code})
    if request.method == "POST" and form.is_valid() and form.claim():
        assert form.user is not None
        start_session(request, form.user)
        return redirect("/")
    return render(request, "ui/setup.html", {"form": form}, status=form.status)
