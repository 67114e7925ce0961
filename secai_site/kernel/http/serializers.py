"""Serializers that accept exactly what they name, with exactly the types they name."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from rest_framework import serializers


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not declare."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(str(name) for name in data if name not in self.fields)
            if unknown:
                raise serializers.ValidationError(
                    {name[:60]: ["This field is not known here."] for name in unknown}
                )
        return super().to_internal_value(data)


class NoFields(StrictSerializer):
    """An empty object, or no body at all."""


class Text(serializers.CharField):
    """A JSON string and nothing that could be turned into one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Write a string.")
        return super().to_internal_value(data)


class Identifier(serializers.UUIDField):
    """A UUID written as a JSON string; a number is none."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str):
            raise serializers.ValidationError("Write a UUID.")
        found: UUID = super().to_internal_value(data)
        return found


class Whole(serializers.IntegerField):
    """A JSON integer: no string, no 1.0, no true."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            raise serializers.ValidationError("Write a whole number.")
        return super().to_internal_value(data)


class Decimal(serializers.FloatField):
    """A JSON number: no string, no true."""

    def to_internal_value(self, data: Any) -> float:
        if not isinstance(data, int | float) or isinstance(data, bool):
            raise serializers.ValidationError("Write a number.")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """JSON true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("Write true or false.")
        return data


def first_error(detail: Any, path: str = "") -> str:
    """One sentence out of DRF's nested error detail: the first field at fault and why."""
    if isinstance(detail, Mapping):
        name, inner = next(iter(detail.items()))
        here = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
        return first_error(inner, here)
    if isinstance(detail, list):
        return first_error(next((item for item in detail if item), "It is not valid."), path)
    return f"{path}: {detail}" if path else str(detail)
