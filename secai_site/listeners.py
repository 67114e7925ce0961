"""The table of listeners: what runs under which name, on which port, with which routes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listener:
    """One service as the network sees it: a TCP port for people and programs, a Unix socket for its peers."""

    name: str
    port: int
    title: str

    @property
    def urlconf(self) -> str:
        """The module with this service's routes."""
        return f"{self.name}.urls"


LISTENERS: dict[str, Listener] = {
    listener.name: listener
    for listener in (
        Listener("registry", 8470, "Model registry"),
        Listener("firewall", 8475, "Tool firewall"),
        Listener("agent", 8476, "Agent"),
        Listener("ui", 8480, "SecAI"),
        Listener("search", 8485, "Search mediator"),
        Listener("airlock", 8490, "Airlock"),
    )
}

# The one process that holds all listeners where they share one.
ALL_LISTENERS = "listeners"

# Processes beside the listeners; they have no port of their own.
WORKERS: tuple[str, ...] = ("engine", "jobs")

# Callers that hold a service token: every listener, and the worker that runs jobs for them.
CALLERS: tuple[str, ...] = (*LISTENERS, "jobs")
