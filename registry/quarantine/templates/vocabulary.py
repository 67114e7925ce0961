# ruff: noqa: RUF001, RUF003 - the letters and bars of markers are as they are
"""The words of conversations' markup: what a template may look for in a message without meaning the message.

Collected from the published formats of the model families (roles, fields of a message, kinds of content, names of
tool and thinking sections) and from JSON Schema, which templates walk to describe tools.
"""

import re
from typing import Final

ROLES: Final = frozenset({
    "system", "user", "assistant", "tool", "tools", "model", "bot", "human", "ai", "chatbot", "developer",
    "function", "functions", "ipython", "observation", "environment", "context", "documents", "document",
    "prompter", "gpt", "instruction", "instructions", "input", "response", "root", "platform",
})  # fmt: skip
FIELDS: Final = frozenset({
    "content", "contents", "text", "type", "role", "name", "id", "image", "images", "image_url", "image_urls",
    "video", "videos", "video_url", "audio", "input_audio", "audio_url", "media", "url", "file",
    "placeholder", "parts", "part", "thinking", "thinking_blocks", "reasoning", "reasoning_content",
    "tool_use", "tool_result", "tool_call", "tool_calls", "tool_call_id", "tool_response", "tool_responses",
    "tool_output", "tool_outputs", "tool_reference", "blocks", "function", "function_call", "arguments",
    "parameters", "tools", "data", "source", "title", "snippet",
})  # fmt: skip
SCHEMA: Final = frozenset({
    "string", "number", "integer", "boolean", "object", "array", "null", "any", "enum", "const", "properties",
    "items", "required", "description", "default", "nullable", "additionalproperties", "oneof", "anyof",
    "allof", "format", "schema", "json", "str", "int", "float", "bool", "list", "dict",
    "json_object", "json_schema", "union",
})  # fmt: skip
MARKUP: Final = (
    ROLES
    | FIELDS
    | SCHEMA
    | frozenset(
        {
            "think",
            "thought",
            "thoughts",
            "thinking",
            "answer",
            "final",
            "analysis",
            "commentary",
            "channel",
            "message",
            "constrain",
            "call",
            "calls",
            "result",
            "results",
            "output",
            "outputs",
            "begin",
            "end",
            "start",
            "stop",
            "bos",
            "eos",
            "eot",
            "eom",
            "eod",
            "sep",
            "turn",
            "header",
            "inst",
            "sys",
            "of",
            "sentence",
            "im",
            "sot",
            "eoh",
            "im_start",
            "im_end",
            "response",
            "request",
            "query",
            "chat",
            "conversation",
            "begin_of_text",
            "end_of_text",
            "box",
            "section",
            "self",
            "argument",
            "args",
            "param",
            "parameter",
            "value",
            "key",
        }
    )
)
# Tools that model families know by name.
TOOLS: Final = frozenset({
    "browser", "python", "code_interpreter", "brave_search", "wolfram_alpha", "all", "directly_answer",
    "directly-answer", "msearch", "retrieval", "assistant", "user", "final", "json", "typescript",
    "display_answers",
})  # fmt: skip
# Words that published templates take as a switch when they stand in a message (SmolLM3, GLM, Ling, transformers).
SWITCHES: Final = frozenset(
    {
        "/think", "/no_think", "/nothink", "/system_override", "detailed thinking on", "detailed thinking off",
        "CONTINUE_FINAL_MESSAGE_TAG",
    }
)  # fmt: skip

# One marker: <think>, </s>, <|im_end|>, <｜User｜>, [INST], [/TOOL_CALLS], <<SYS>>
MARKER: Final = re.compile(
    r"<[|｜]{1,2}[^<>|｜\s]{1,48}[|｜]{1,2}>|<{1,2}[/!]?[^\W\d][^<>\s]{0,47}>{1,2}|<[/｜|]?DSML[^<>\s]{0,40}>?"
    r"|\[[/|]?[A-Z][A-Z_]{1,31}\|?\]|【|】|\]~!?b[\[\]]|\[e~\["
)
# The same, cut off anywhere: what a template looks for may be half of a marker.
PIECE: Final = re.compile(r"[<\[{(][^\s<>\[\]{}()]{0,48}[>\]})]?|[^\s<>\[\]{}()]{0,48}[>\]})]")
PART: Final = re.compile(r"[^\W\d_]+")
MARKER_WORDS: Final = 3  # that are no markup themselves
WORD: Final = re.compile(r"[^\W\d_]+(?:['’_-][^\W\d_]+)*")


def is_markup(literal: str) -> bool:
    """Whether `literal` is a marker, punctuation, blank or a word of the vocabulary rather than what people say."""
    if literal.strip() in SWITCHES:
        return True
    rest = PIECE.sub(" ", MARKER.sub(" ", literal))
    return all(word.lower() in MARKUP for word in WORD.findall(rest)) and not re.search(r"\d", rest)


def without_markers(text: str, blank: str) -> str:
    """`text` with `blank` in place of every marker; one that is made of many words is a sentence in disguise."""
    return MARKER.sub(lambda found: blank if _is_short(found[0]) else _spelled(found[0]), text)


def _is_short(marker: str) -> bool:
    words = [part for part in PART.findall(marker) if part.lower() not in MARKUP]
    return len(words) <= MARKER_WORDS


def _spelled(marker: str) -> str:
    return f" {' '.join(PART.findall(marker))} "


def own_words(text: str) -> list[str]:
    """The words of `text` that are no markup, in lower case and in order."""
    words = (word.lower() for word in WORD.findall(without_markers(text, " ")))
    return [word for word in words if word not in MARKUP]
