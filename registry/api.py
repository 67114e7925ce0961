"""The registry's HTTP API."""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from django.conf import settings
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from registry import intake, policies, selectors, services
from registry.integrity import verify_all
from registry.jobs import unload
from registry.policy import admit_source
from registry.serializers import PromoteRequest, SourceRequest, SubmitRequest
from secai_site.kernel import ports
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.decisions import Allow, Deny
from secai_site.kernel.errors import Conflict, ServiceError
from secai_site.kernel.http.errors import as_service_error
from secai_site.kernel.http.views import ServiceView
from secai_site.kernel.inference.errors import EngineDown
from secai_site.kernel.inference.protocol import Engine
from secai_site.kernel.jobs.queue import enqueue

log = logging.getLogger(__name__)


class RegistryView(ServiceView):
    """Anyone may read, who manages models may change."""

    read_scope = Scope.READ
    write_scope = Scope.MODELS


class ModelList(RegistryView):
    answers_list = True

    def get(self, request: Request) -> Response:
        """All promoted models, a bare array."""
        records = selectors.all_models()
        etag = f'"{hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()[:32]}"'
        if request.headers.get("If-None-Match") == etag:
            return Response(status=304, headers={"ETag": etag})
        return Response(records, headers={"ETag": etag})


class ModelDetail(RegistryView):
    def get(self, request: Request, name: str) -> Response:
        """One model."""
        return Response(selectors.model_record(selectors.find_model(name)))

    def delete(self, request: Request, name: str) -> Response:
        """Remove a model; 409 while it is loaded, unless `?force=true`."""
        artifact = selectors.find_model(name)
        if loaded_name() == artifact.name:
            if request.query_params.get("force") != "true":
                raise Conflict(
                    f"“{artifact.name}” is loaded. Unload it first, or delete it with ?force=true.",
                    code="model.loaded",
                )
            unload(artifact.name)
        services.delete_model(artifact=artifact, actor=self.caller.name)
        return Response({"name": artifact.name, "status": "deleted"})


def loaded_name() -> str | None:
    """The model in the engine's memory; None when the engine is down, for then nothing is loaded."""
    try:
        return async_to_sync(ports.get(Engine).status)().model
    except EngineDown:
        return None


class Promote(RegistryView):
    body_limit = settings.DECISION_BODY_LIMIT
    forms = {"POST": PromoteRequest}

    def post(self, request: Request) -> Response:
        """Promote a quarantined file whose scan passed."""
        body = self.body()
        artifact = services.promote_path(kind=body.pop("format"), actor=self.caller.name, **body)
        return Response(selectors.model_record(artifact))


class VerifyManifest(RegistryView):
    def post(self, request: Request) -> HttpResponseBase:
        """Hash all models again: at once, as an event stream, or as a job with `?async=true`."""
        self.body()
        name = request.query_params.get("name")
        if name is not None:
            name = selectors.find_model(name).name
        if request.query_params.get("async") == "true":
            owner = self.caller.user.pk if self.caller.user else None
            job = enqueue(
                "registry.verify", subject=name or "all", owner_id=owner, name=name, background=False
            )
            return Response({"job": str(job.pk)}, status=202)
        if "text/event-stream" in request.headers.get("Accept", ""):
            return StreamingHttpResponse(_events(name), content_type="text/event-stream")
        return Response(verify_all(lambda _fraction, _name: None, name=name, unload=unload))


async def _events(name: str | None) -> AsyncIterator[str]:
    """`data: {"progress", "model"}` while it hashes, then `event: done` with the report, or `event: error`."""
    told: asyncio.Queue[tuple[float, str] | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(fraction: float, model: str) -> None:
        loop.call_soon_threadsafe(told.put_nowait, (fraction, model))

    def work() -> dict[str, Any]:
        return verify_all(tell, name=name, unload=unload)

    working = asyncio.ensure_future(database_sync_to_async(work, thread_sensitive=False)())
    working.add_done_callback(lambda _work: told.put_nowait(None))
    last = -1
    while (item := await told.get()) is not None:
        if int(item[0] * 100) > last:
            last = int(item[0] * 100)
            yield f"data: {json.dumps({'progress': round(item[0], 3), 'model': item[1]})}\n\n"
    try:
        yield f"event: done\ndata: {json.dumps(await working)}\n\n"
    except Exception as error:
        known = as_service_error(error)
        if known is None:
            log.exception("verifying the models")
            known = ServiceError("It failed; see the log.", code="internal", status=500)
        yield f"event: error\ndata: {json.dumps(known.body())}\n\n"


class JobDetail(RegistryView):
    def get(self, request: Request, job_id: UUID) -> Response:
        """How far a job is that was started with `?async=true`, and its result."""
        return Response(selectors.job_record(selectors.find_job(str(job_id), self.caller.user)))


class PolicyInForce(RegistryView):
    def get(self, request: Request) -> Response:
        """The operator's policy for models; it is changed in the admin."""
        policy, number = policies.current()
        return Response({"number": number, "sha256": policy.sha256, "document": policy.document()})


class PolicyAdmit(RegistryView):
    body_limit = settings.DECISION_BODY_LIMIT
    forms = {"POST": SourceRequest}

    def post(self, request: Request) -> Response:
        """Whether a model may come from `source`; nothing is fetched."""
        policy, _number = policies.current()
        decision = admit_source(self.body()["source"], policy)
        reason = decision.reason if isinstance(decision, Deny) else ""
        return Response(
            {
                "allowed": isinstance(decision, Allow), "code": decision.rule, "reason": reason,
                "max_size_bytes": policy.max_size_bytes,
            }
        )  # fmt: skip


class QuarantineList(RegistryView):
    forms = {"POST": SubmitRequest}
    answers_list = True

    def get(self, request: Request) -> Response:
        """Files in quarantine, newest first, with each stage's verdict."""
        return Response(selectors.open_items())

    def post(self, request: Request) -> Response:
        """Take a file from the incoming folder into quarantine."""
        item = intake.submit(actor=self.caller.name, **self.body())
        return Response(selectors.item_record(item), status=201)


class QuarantineDetail(RegistryView):
    def get(self, request: Request, item_id: UUID) -> Response:
        """One file in quarantine."""
        return Response(selectors.item_record(selectors.find_item(str(item_id))))

    def delete(self, request: Request, item_id: UUID) -> Response:
        """Delete it."""
        services.drop(item=selectors.find_item(str(item_id)), actor=self.caller.name)
        return Response({"id": str(item_id), "status": "dropped"})


class QuarantineRescan(RegistryView):
    def post(self, request: Request, item_id: UUID) -> Response:
        """Scan it again."""
        self.body()
        item = services.rescan(item=selectors.find_item(str(item_id)), actor=self.caller.name)
        return Response(selectors.item_record(item))


class QuarantinePromote(RegistryView):
    def post(self, request: Request, item_id: UUID) -> Response:
        """Promote it, when it passed and is held for the operator."""
        self.body()
        item = selectors.find_item(str(item_id))
        artifact = services.promote_item(item=item, actor=self.caller.name)
        return Response(selectors.model_record(artifact))
