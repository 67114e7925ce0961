"""Sessions in the database, each tied to its person (Django's SESSION_ENGINE)."""

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from secai_site.kernel.auth.models import Session


class SessionStore(DatabaseStore):
    """Django's database sessions, with the person and the browser kept in columns of their own."""

    agent = ""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        row = super().create_model_instance(data)
        assert isinstance(row, Session)
        user_id = data.get(SESSION_KEY)
        row.user_id = int(user_id) if user_id else None
        row.agent = self.agent[:200]
        return row
