"""Models over HTTP, for the models page and for programs."""

from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from registry.contract import ModelRecord, Registry
from secai_site.kernel import ports
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.errors import Conflict, InvalidRequest, NotFound
from secai_site.kernel.http.uploads import SCOPE_KEY, NotMultipart, ReceivedFile
from secai_site.kernel.http.views import ServiceView
from secai_site.kernel.inference.protocol import Engine
from ui.catalog.fit import Fit as Weighed
from ui.catalog.fit import Scales, note_load
from ui.catalog.listing import all_models, engine_status
from ui.catalog.serializers import FitQuery
from ui.chat.generation import WRITING, choose_model, model_file


class ModelsView(ServiceView):
    """Anyone may see the models, who manages them may change them."""

    read_scope = Scope.READ
    write_scope = Scope.MODELS

    @property
    def registry(self) -> Registry:
        """The registry service."""
        return ports.get(Registry)

    @property
    def by(self) -> int | None:
        """The id of the person who asks."""
        return self.caller.user.pk if self.caller.user else None


class ModelList(ModelsView):
    answers_list = True

    def get(self, request: Request) -> Response:
        """Registry, quarantine and downloads, with status and progress."""
        return Response(all_models())


class UploadedAlready(BaseParser):
    """The body was taken in while it arrived; there is nothing left to parse."""

    media_type = "multipart/form-data"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        return {}


class Import(ModelsView):
    throttle_classes = ()  # counted before the first byte was kept, see uploads.py
    parser_classes = (UploadedAlready,)

    def post(self, request: Request) -> Response:
        """Take an uploaded model, in one file or several, into quarantine."""
        scope: dict[str, Any] = getattr(request._request, "scope", {})
        received = scope.get(SCOPE_KEY) or request._request.META.get(SCOPE_KEY)
        if not isinstance(received, ReceivedFile):
            raise NotMultipart("Send the file as multipart/form-data, in a part named “file”.")
        try:
            item = self.registry.submit(
                path=received.path.name, name=received.fields.get("name", ""), filename=received.filename,
                source="local", by=self.by, pin=checked_pin(received),
                signature=received.signature.name if received.signature else "",
            )  # fmt: skip
        finally:
            received.discard()
        return Response(
            {
                "status": "quarantined", "id": item["id"], "name": item["name"], "sha256": item["sha256"],
                "size_bytes": item["size_bytes"],
            }
        )  # fmt: skip


def checked_pin(received: ReceivedFile) -> str:
    """The SHA-256 that the sender asked for, "" for none; raises `InvalidRequest` when something else arrived."""
    pin = received.fields.get("sha256", "").strip().lower()
    if pin and pin != received.sha256:
        raise InvalidRequest(
            "What arrived does not have the SHA-256 that you named: it is another file, or it was damaged on the "
            "way. Nothing of it was kept.",
            code="upload.digest", expected=pin[:64], actual=received.sha256,
        )  # fmt: skip
    return pin


class Load(ModelsView):
    write_scope = Scope.CHAT

    def post(self, request: Request, name: str) -> Response:
        """Bring a model into memory; it is checked byte for byte first."""
        self.body()
        model = choose_model(name, WRITING)
        loaded = async_to_sync(ports.get(Engine).load)(model_file(model))
        note_load(model, loaded)
        return Response(
            {"name": loaded.name, "context_length": loaded.context_length, "load_ms": loaded.load_ms}
        )


class Unload(ModelsView):
    def post(self, request: Request, name: str) -> Response:
        """Free the model's memory; answers that it is writing end as cancelled."""
        self.body()
        status = async_to_sync(ports.get(Engine).status)()
        if status.model != name:
            raise Conflict(f"“{name}” is not loaded.", code="model.not_loaded")
        async_to_sync(ports.get(Engine).unload)(name)
        return Response({"name": name, "status": "unloaded"})


class Fit(ModelsView):
    query = FitQuery

    def get(self, request: Request) -> Response:
        """Memory needed and free: of a model (`?name=`), of a file in quarantine (`?id=`), of a size in bytes."""
        asked = self.asked()
        models = self.registry.models()
        fit = self._weighed(asked, models, Scales(models, engine_status()))
        if fit is None:
            raise NotFound(
                "Only for a GGUF model of the registry, or one whose format was checked, can this be told.",
                code="model.not_found",
            )
        return Response(
            {**{name: str(value) for name, value in asked.items() if name != "size_bytes"}, **fit}
        )

    def _weighed(self, asked: dict[str, Any], models: list[ModelRecord], scales: Scales) -> Weighed | None:
        if "size_bytes" in asked:
            return scales.size(asked["size_bytes"])
        if "id" in asked:
            wanted = str(asked["id"])
            return next(
                (scales.item(item) for item in self.registry.quarantine() if item["id"] == wanted), None
            )
        key = asked["name"].casefold()
        return next((scales.model(model) for model in models if model["name"].casefold() == key), None)


class ModelDetail(ModelsView):
    def delete(self, request: Request, name: str) -> Response:
        """Remove a model; 409 while it is loaded, unless `?force=true`."""
        self.registry.delete(name, force=request.query_params.get("force") == "true", by=self.by)
        return Response({"name": name, "status": "deleted"})


class VerifyManifest(ModelsView):
    def post(self, request: Request) -> Response:
        """Hash all models again and say which are still what they were; with `?async=true` as a job."""
        self.body()
        if request.query_params.get("async") == "true":
            return Response({"job": self.registry.start_verify(by=self.by)}, status=202)
        return Response(self.registry.verify(by=self.by))


class JobDetail(ModelsView):
    def get(self, request: Request, job_id: UUID) -> Response:
        """How far a job of `?async=true` is, and its result."""
        return Response(self.registry.job(str(job_id), by=self.by))


class QuarantineDetail(ModelsView):
    def delete(self, request: Request, item_id: UUID) -> Response:
        """Drop a quarantined file."""
        self.registry.drop(str(item_id), by=self.by)
        return Response({"id": str(item_id), "status": "dropped"})


class QuarantineRescan(ModelsView):
    def post(self, request: Request, item_id: UUID) -> Response:
        """Scan a refused or held file again."""
        self.body()
        return Response(self.registry.rescan(str(item_id), by=self.by))


class QuarantinePromote(ModelsView):
    def post(self, request: Request, item_id: UUID) -> Response:
        """Promote a file that passed and is held."""
        self.body()
        return Response(self.registry.promote_item(str(item_id), by=self.by))
