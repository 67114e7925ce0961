"""Renders a model's chat template in a confined child process that is killed when it takes too long."""

import asyncio
import contextlib
import json
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from secai_site.kernel.inference.errors import TemplateFailed
from secai_site.kernel.inference.protocol import ChatMessage

DEADLINE: Final = 2.0  # seconds of wall clock per rendering; an ordinary one takes 1 to 5 ms
STARTING: Final = 20.0  # seconds for the child to be ready, on a very busy machine
MAX_INPUT: Final = 32 * 1024 * 1024
MAX_REPLY: Final = 64 * 1024 * 1024
_CHILD: Final = Path(__file__).with_name("template_process.py")

Kind = Literal["template", "time", "memory", "size", "died"]


class TemplateRenderError(TemplateFailed):
    """Why a rendering failed: `kind` is "template" (it raised), "time", "memory", "size" or "died"."""

    def __init__(self, message: str, kind: Kind) -> None:
        super().__init__(message)
        self.kind = kind


class TemplateRenderer:
    """One child process, started on first use and after each kill; renderings run one after another.

    ```python
    async with TemplateRenderer() as renderer:
        text = await renderer.render(template, messages, bos_token="<s>", eos_token="</s>")
    ```
    """

    def __init__(self, *, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._turn = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "TemplateRenderer":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id while it lives."""
        return self._child.pid if self._child is not None else None

    async def start(self) -> None:
        """Start the child and wait until it is confined and warm."""
        async with self._turn:
            await self._ensure_child()

    async def close(self) -> None:
        """End the child; a later rendering starts a new one."""
        async with self._turn:
            await self._kill()

    async def render(
        self,
        template: str,
        messages: Sequence[ChatMessage],
        *,
        bos_token: str = "",
        eos_token: str = "",
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The prompt that `template` makes of `messages`; raises `TemplateRenderError`."""
        rendered = await self.render_each(
            template,
            [messages],
            bos_token=bos_token,
            eos_token=eos_token,
            add_generation_prompt=add_generation_prompt,
            **variables,
        )
        return rendered[0]

    async def render_each(
        self, template: str, conversations: Sequence[Sequence[ChatMessage]], **variables: Any
    ) -> list[str]:
        """Render several conversations with one template under one deadline."""
        sets = [{**variables, "messages": [_plain(m) for m in messages]} for messages in conversations]
        request = json.dumps({"template": template, "variables": sets}).encode()
        if len(request) > MAX_INPUT:
            raise TemplateRenderError("the conversation is too large for a template", "size")
        async with self._turn:
            reply = await self._ask(request)
        if "texts" in reply:
            return [str(text) for text in reply["texts"]]
        raise TemplateRenderError(f"the model's chat template failed: {reply.get('error')}", reply["kind"])

    async def _ask(self, request: bytes) -> Mapping[str, Any]:
        child = await self._ensure_child()
        try:
            async with asyncio.timeout(self._deadline):
                return await _exchange(child, request)
        except TimeoutError:
            await self._kill()
            raise TemplateRenderError("the model's chat template takes too long", "time") from None
        except (OSError, EOFError, ValueError):
            await self._kill()
            raise TemplateRenderError("the model's chat template broke its process", "died") from None
        except BaseException:
            await self._kill()
            raise

    async def _ensure_child(self) -> asyncio.subprocess.Process:
        if self._child is not None and self._child.returncode is None:
            return self._child
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-B",
            str(_CHILD),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env={"LANG": "C.UTF-8"},
        )
        try:
            async with asyncio.timeout(STARTING):
                await _exchange(self._child, b'{"template":"","variables":[]}')
        except (OSError, EOFError, TimeoutError):
            await self._kill()
            raise TemplateRenderError("the template process does not start", "died") from None
        return self._child

    async def _kill(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        if child.stdin is not None:
            child.stdin.close()
        await child.wait()


async def _exchange(child: asyncio.subprocess.Process, request: bytes) -> Mapping[str, Any]:
    if child.stdin is None or child.stdout is None:
        raise EOFError
    child.stdin.write(struct.pack(">I", len(request)) + request)
    await child.stdin.drain()
    (size,) = struct.unpack(">I", await child.stdout.readexactly(4))
    if size > MAX_REPLY:
        raise EOFError
    reply: Mapping[str, Any] = json.loads(await child.stdout.readexactly(size))
    return reply


def _plain(message: ChatMessage) -> dict[str, str]:
    return {"role": message.role, "content": message.content}
