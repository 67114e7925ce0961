"""manage.py model_import: put model files of this machine into quarantine."""

import re
import shutil
import time
import uuid
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from registry import intake, selectors
from registry.lifecycle import ItemStatus
from registry.models import QuarantineItem
from registry.policy import LOCAL
from secai_site.kernel.errors import ServiceError

SPARE_BYTES = 64 * 1024 * 1024
TOLD_S = 0.5
SHA256 = re.compile("[0-9a-f]{64}")
ENDED = (ItemStatus.REFUSED, ItemStatus.HELD, ItemStatus.PROMOTED)


class Command(BaseCommand):
    help = "Copy a model (a file, a zip, or a folder of files) into quarantine; the running box checks it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path)
        parser.add_argument(
            "--name", default="", help="the model's name; made from the file's name if left out"
        )
        parser.add_argument("--sha256", default="", help="the digest that the file must have")
        parser.add_argument("--signature", type=Path, help="a detached signature (.minisig, model.sig)")
        parser.add_argument(
            "--wait", action="store_true", help="until the checks are over; fails unless it passed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["path"]
        if options["sha256"] and not SHA256.fullmatch(options["sha256"].strip().lower()):
            raise CommandError("A SHA-256 has 64 hexadecimal digits.")
        if path.is_symlink() or not path.exists():
            raise CommandError(f"{path} is no file and no folder.")
        arrived = [copied(path)]
        try:
            if options["signature"]:
                arrived.append(copied(options["signature"]))
            item = intake.submit(
                path=arrived[0], name=options["name"], filename=path.name, source=LOCAL, actor="service:command",
                pin=options["sha256"].strip().lower(), signature=arrived[1] if len(arrived) > 1 else "",
            )  # fmt: skip
        except ServiceError as error:
            raise CommandError(error.message) from error
        finally:
            for name in arrived:
                discard(incoming() / name)
        self.stdout.write(f"{item.name} is in quarantine as {item.pk}.")
        if options["wait"]:
            self.follow(item)

    def follow(self, item: QuarantineItem) -> None:
        """Tell each verdict as it falls."""
        told = 0
        while True:
            item.refresh_from_db()
            decided = [stage for stage in item.stages.all() if stage.verdict != "pending"]
            for stage in decided[told:]:
                self.stdout.write(f"  {stage.name}: {stage.verdict}. {stage.reason}")
            told = len(decided)
            if item.status in ENDED:
                break
            time.sleep(TOLD_S)
        if item.status == ItemStatus.REFUSED:
            raise CommandError(f"{item.name} was refused: {item.reason}")
        self.stdout.write(f"{item.name} is {selectors.item_record(item)['status']}.")


def incoming() -> Path:
    """Where files arrive."""
    return Path(settings.QUARANTINE_DIR) / "incoming"


def copied(path: Path) -> str:
    """A copy in the incoming folder, under a name of ours; raises `CommandError` when it does not fit."""
    files = [found for found in path.rglob("*") if found.is_file()] if path.is_dir() else [path]
    needed = sum(found.stat().st_size for found in files)
    if needed + SPARE_BYTES > shutil.disk_usage(incoming()).free:
        raise CommandError(f"There is no room for {needed:,} bytes.")
    target = incoming() / uuid.uuid4().hex
    if path.is_dir():
        shutil.copytree(path, target, symlinks=True)
    else:
        shutil.copyfile(path, target)
    return target.name


def discard(path: Path) -> None:
    """Remove what was not taken in."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
