#!/usr/bin/env python
"""The command line of the box: `manage.py help` lists what it can do."""

import os
import sys


def main() -> None:
    """Run one command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secai_site.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed here. Run “make setup” first, then .venv/bin/python manage.py …")
    from secai_site.kernel.env import ConfigurationError

    try:
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:
        sys.exit(f"Configuration: {error}")


if __name__ == "__main__":
    main()
