"""The routes of the agent's listener."""

from django.urls import path

from agent import api
from secai_site.kernel.http.urls import handler400, handler403, handler404, handler500, routes_of

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = routes_of(
    "agent",
    [
        path("v1/task", api.TaskCreate.as_view()),
        path("v1/task/<str:task_id>", api.TaskDetail.as_view()),
        path("v1/task/<str:task_id>/approve", api.TaskApprove.as_view()),
        path("v1/task/<str:task_id>/deny", api.TaskDeny.as_view()),
        path("v1/task/<str:task_id>/cancel", api.TaskCancel.as_view()),
        path("v1/tasks", api.TaskList.as_view()),
        path("v1/modes", api.Modes.as_view()),
    ],
)
