"""Binds each contract to what stands behind it in this process."""

from collections.abc import Callable
from functools import cache

from django.conf import settings

from airlock.client import AirlockClient
from airlock.contract import Airlock
from registry.client import RegistryClient
from registry.contract import Registry
from secai_site.kernel import ports
from secai_site.kernel.env import ConfigurationError
from secai_site.kernel.inference.client import EngineClient
from secai_site.kernel.inference.echo import EchoEngine
from secai_site.kernel.inference.protocol import Engine


def bind_all() -> None:
    """Bind everything; called once at start."""
    ports.bind(Registry, cache(lambda: RegistryClient(caller="ui")))
    ports.bind(Airlock, cache(lambda: AirlockClient(caller="ui")))
    engines: dict[str, Callable[[], Engine]] = {
        "worker": lambda: EngineClient(settings.ENGINE_SOCKET),
        "echo": cache(EchoEngine),
    }
    if settings.ENGINE not in engines:
        raise ConfigurationError(f"SECAI_ENGINE is {settings.ENGINE!r}; write worker (or echo, for tests)")
    ports.bind(Engine, engines[settings.ENGINE])
