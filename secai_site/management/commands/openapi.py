"""manage.py openapi FOLDER: write the OpenAPI document of each listener."""

from importlib import import_module
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

from secai_site.listeners import LISTENERS


class Command(BaseCommand):
    help = "Write one OpenAPI 3.1 document per listener."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        folder.mkdir(parents=True, exist_ok=True)
        for listener in LISTENERS.values():
            generator = SchemaGenerator(urlconf=import_module(listener.urlconf))  # type: ignore[no-untyped-call]
            schema = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
            schema["info"]["title"] = f"SecAI {listener.name}"
            target = folder / f"{listener.name}.yaml"
            target.write_bytes(OpenApiYamlRenderer().render(schema, renderer_context={}))  # type: ignore[no-untyped-call]
            self.stdout.write(f"{target}")
