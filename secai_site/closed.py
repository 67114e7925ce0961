"""The routes of a request that came in by no listener: none."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
