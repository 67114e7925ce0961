"""Daphne, told what this product needs: two doors per listener, bounded bodies, streamed uploads.

Import this module only in the process that serves (and after a fork): it installs Twisted's reactor.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from daphne.server import Server  # isort: skip - installs the reactor before anything else of Twisted
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory
from django.conf import settings
from django.db import connection
from twisted.internet import reactor as twisted_reactor
from twisted.internet import threads
from twisted.internet.endpoints import serverFromString
from twisted.logger import STDLibLogObserver, globalLogBeginner
from twisted.web import http

from secai_site.asgi import application_for
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.http.errors import as_service_error
from secai_site.kernel.http.parsers import BodyTooLarge
from secai_site.kernel.http.uploads import SCOPE_KEY, IncomingUpload, ReceivedFile
from secai_site.listeners import LISTENERS

log = logging.getLogger(__name__)
reactor: Any = twisted_reactor

UPLOAD_PATHS = frozenset({b"/api/models/import"})
WEBSOCKET_MESSAGE_LIMIT = 1024 * 1024
LINGER_S = 2.0


class Request(WebRequest):  # type: ignore[misc]
    """A request whose body is bounded before it is kept, and an upload's body never kept in memory."""

    upload: IncomingUpload | None = None
    refusal: ServiceError | None = None
    received: ReceivedFile | None = None
    handed_over = False
    _finishing = False
    _read = 0
    _waiting: list[bytes] | None = None
    _complete: Callable[[], None] | None = None

    # --- Twisted calls these in order: headers, chunks, end ---

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """All headers are here."""
        path = self.channel._path.partition(b"?")[0]
        if path in UPLOAD_PATHS and self.channel._command == b"POST":
            super().gotLength(0)
            self._waiting = []
            self.channel._networkProducer.pauseProducing()
            threads.deferToThread(self._admit, length).addBoth(self._admitted)
            return
        if length is not None and length > settings.BODY_LIMIT:
            super().gotLength(0)
            self._refuse(_too_large())
        else:
            self._guarded(lambda: super(Request, self).gotLength(length))

    def _guarded(self, keep: Callable[[], None]) -> None:
        """Keep a part of the body, which goes to disk when it is large; a full disk refuses the request."""
        try:
            keep()
        except OSError as error:
            self._refuse(_known(error))

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """A piece of the body."""
        if self.refusal is not None:
            return
        if self._waiting is not None:
            self._waiting.append(data)
        elif self.upload is not None:
            self._feed(data)
        else:
            self._read += len(data)
            if self._read > settings.BODY_LIMIT:
                self._refuse(_too_large())
            else:
                self._guarded(lambda: super(Request, self).handleContentChunk(data))

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """The body is complete."""
        if self._waiting is not None:
            self._complete = lambda: self.requestReceived(command, path, version)
            return
        if self.upload is not None and self.refusal is None:
            self._finishing = True
            self.channel._networkProducer.pauseProducing()
            threads.deferToThread(self.upload.finish).addBoth(self._finished, command, path, version)
        elif self.refusal is None:
            super().requestReceived(command, path, version)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        """The client went away."""
        if self.upload is not None and not self.handed_over and not self._finishing:
            self.upload.abort()
        super().connectionLost(reason)

    def finish(self) -> None:
        """The answer is out: an upload that no view took is not kept."""
        if self.received is not None:
            self.received.discard()
        super().finish()

    # --- uploads ---

    def _admit(self, length: int | None) -> IncomingUpload:
        """Check the credentials before a byte is kept (in a thread: it reads the database)."""
        from ui.catalog.uploads import accept_name, admit_upload

        try:
            headers = {
                name.decode("latin1").lower(): values[0].decode("latin1")
                for name, values in self.requestHeaders.getAllRawHeaders()
            }
            admit_upload(headers, length)
            incoming = Path(settings.QUARANTINE_DIR) / "incoming"
            return IncomingUpload(incoming, headers.get("content-type", ""), length, accept_name)
        finally:
            connection.close()

    def _admitted(self, outcome: Any) -> None:
        waiting, self._waiting = self._waiting or [], None
        if self.channel is None:
            return  # the client went away meanwhile, and nothing was written yet
        if isinstance(outcome, IncomingUpload):
            self.upload = outcome
            for data in waiting:
                self._feed(data)
        else:
            self._refuse(_known(outcome.value))
        if self.refusal is None:
            self.channel._networkProducer.resumeProducing()
            if self._complete is not None:
                self._complete()

    def _finished(self, outcome: Any, command: bytes, path: bytes, version: bytes) -> None:
        assert self.upload is not None
        self._finishing = False
        if self.channel is None:
            self.upload.abort()  # the client went away meanwhile
        elif isinstance(outcome, ReceivedFile):
            self.received = outcome
            self.channel._networkProducer.resumeProducing()
            super().requestReceived(command, path, version)
        else:
            self._refuse(_known(outcome.value))

    def _feed(self, data: bytes) -> None:
        assert self.upload is not None
        try:
            self.upload.feed(data)
        except (ServiceError, OSError) as error:
            self._refuse(_known(error))

    def _refuse(self, error: ServiceError) -> None:
        """Answer at once and close: what is still coming would only fill the disk."""
        if self.refusal is not None:
            return
        self.refusal = error
        if self.upload is not None:
            self.upload.abort()
        body = json.dumps(error.body()).encode()
        reason = http.RESPONSES.get(error.http_status, b"Refused")
        head = (
            f"HTTP/1.1 {error.http_status} {reason.decode()}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        if self.channel is not None:
            transport = self.channel.transport
            transport.write(head.encode() + body)
            # Closing with unread data would reset the connection and take the answer with it: say that nothing more
            # follows, drop what still comes, and close a moment later.
            getattr(transport, "loseWriteConnection", lambda: None)()
            self.channel._networkProducer.resumeProducing()
            reactor.callLater(LINGER_S, transport.abortConnection)


def _too_large() -> ServiceError:
    return BodyTooLarge(f"The body is larger than {settings.BODY_LIMIT // 1024} KiB.")


def _known(error: BaseException) -> ServiceError:
    known = as_service_error(error)
    if known is None:
        log.error("upload failed", exc_info=error)
        known = ServiceError("The upload failed; see the log.", status=500, code="internal")
    return known


class Factory(HTTPFactory):  # type: ignore[misc]
    """Makes connections whose requests are ours."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol


class ListenerServer(Server):  # type: ignore[misc]
    """One listener: its application behind its TCP port and its Unix socket."""

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if getattr(protocol, "received", None) is not None:
            scope[SCOPE_KEY] = protocol.received
            protocol.handed_over = True
        return super().create_application(protocol, scope)

    def open(self) -> None:
        """Listen; the reactor is started once for all listeners of this process."""
        self.connections: dict[Any, Any] = {}
        self.http_factory = Factory(self)
        self.ws_factory = WebSocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=False,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=WEBSOCKET_MESSAGE_LIMIT,
            maxFramePayloadSize=WEBSOCKET_MESSAGE_LIMIT,
            # the frame around a few words is larger than the words, and nearly the same each time
            perMessageCompressionAccept=accept_compression,
        )
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        for description in self.endpoints:
            endpoint: Any = serverFromString(reactor, description)  # type: ignore[no-untyped-call]
            listening = endpoint.listen(self.http_factory)
            listening.addCallback(self.listen_success)
            listening.addErrback(self.listen_error)
        reactor.addSystemEventTrigger("before", "shutdown", self.kill_all_applications)

    def listen_error(self, failure: Any) -> None:
        """End the process: whoever supervises it then knows."""
        log.critical("cannot listen: %s", failure.getErrorMessage())
        os._exit(1)

    def kill_all_applications(self) -> Any:
        for protocol in [p for p, d in self.connections.items() if "application_instance" not in d]:
            del self.connections[protocol]
        return super().kill_all_applications()


def accept_compression(offers: list[Any]) -> PerMessageDeflateOfferAccept | None:
    """Compress where the browser offers it; what it sends stays bounded after decompression."""
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            limit = WEBSOCKET_MESSAGE_LIMIT
            return PerMessageDeflateOfferAccept(offer, max_message_size=limit)  # type: ignore[no-untyped-call]
    return None


def endpoints_of(name: str) -> list[str]:
    """The Twisted endpoint descriptions of a listener's two doors."""
    port = LISTENERS[name].port + settings.PORT_OFFSET
    unix = Path(settings.RUN_DIR) / f"{name}.sock"
    unix.unlink(missing_ok=True)
    escaped = str(unix).replace("\\", "\\\\").replace(":", "\\:")
    return [
        f"tcp:{port}:interface={settings.BIND.replace(':', chr(92) + ':')}",
        f"unix:{escaped}:mode=600:lockfile=0",
    ]


def run(names: Iterable[str]) -> None:
    """Serve the named listeners in this process until it is told to stop."""
    observer: Any = STDLibLogObserver("twisted")
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
    asyncio.set_event_loop(reactor._asyncioEventloop)
    for name in names:
        ListenerServer(application_for(name), endpoints=endpoints_of(name), server_name="secai").open()
        if name == "ui":
            reactor.callWhenRunning(lambda: asyncio.ensure_future(_recover_answers()))
    reactor.run()


async def _recover_answers() -> None:
    """Pick up the answers that were being written when the ui process last ended."""
    from ui.chat.generation import recover

    await recover()
