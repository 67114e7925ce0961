from django.apps import AppConfig


class SearchConfig(AppConfig):
    """Private web search."""

    name = "search"
    verbose_name = "Search mediator"
