"""Chat templates, treated as code."""

from registry.quarantine.templates.template_review import TemplateReview, review

__all__ = ["TemplateReview", "review"]
