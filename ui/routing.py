"""The websockets of port 8480."""

from django.urls import re_path

from ui.catalog.consumers import ModelsConsumer
from ui.chat.consumers import ChatConsumer

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

websocket_urlpatterns = [
    re_path(rf"^ws/chat/(?P<conversation>new|{UUID})$", ChatConsumer.as_asgi()),
    re_path(r"^ws/models$", ModelsConsumer.as_asgi()),
]
