"""The routes of the pages; `ui/urls.py` includes them."""

from django.contrib.auth.decorators import login_not_required
from django.urls import URLPattern, path
from django.views.i18n import JSONCatalog

from ui.pages import views

urlpatterns: list[URLPattern] = [
    path("", views.chat, name="chat"),
    path("c/<uuid:conversation_id>", views.chat, name="conversation"),
    path("models", views.models, name="models"),
    path("security", views.security, name="security"),
    path("settings", views.account, name="settings"),
    path("settings/password", views.password, name="password"),
    path("sign-in", views.sign_in, name="sign-in"),
    path("sign-out", views.sign_out, name="sign-out"),
    path("setup", views.setup, name="setup"),
    path("texts.json", login_not_required(JSONCatalog.as_view(packages=["ui"])), name="texts"),
]
