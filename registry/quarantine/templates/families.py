# ruff: noqa: RUF001 - the letters and bars of markers are as they are
"""The conversation formats of the known model families, as data.

Written after the formats' published descriptions (model cards, tokenizer configurations). `{}` is what is said; a
family may place the system message in a user's turn. Where a text ends, `</s>` stands for the family's end token; the
token that begins a text, empty thoughts, dates and default system prompts are left out of comparisons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from registry.quarantine.templates.conversations import Shape

Fold = Literal["", "first", "last"]


@dataclass(frozen=True, slots=True)
class Family:
    """One format. `head` stands before everything; `system` None: the family takes no system message.

    `fold`: which of the user's messages takes the system message in, as `folded` says ({s}, {u}); "" for none.
    `absent` stands for a system message where there is none.
    """

    name: str
    system: str | None
    user: str
    assistant: str
    prompt: str
    head: str = ""
    absent: str = ""
    fold: Fold = ""
    folded: str = "{s}\n\n{u}"

    def render(self, shape: Shape) -> str | None:
        """A conversation of that shape with messages masked; None where the family refuses it."""
        if shape.startswith("s") and self.system is None and not self.fold:
            return None
        offset = 1 if shape.startswith("s") else 0
        users = [index for index, letter in enumerate(shape) if letter == "u"]
        bearer = {"first": users[0], "last": users[-1], "": -1}[self.fold] if offset else -1
        pieces = [self.head, self._system(shape)]
        for index, letter in enumerate(shape[offset:], offset):
            said = f"⟦{index}⟧"
            if index == bearer:
                said = self.folded.format(s="⟦s⟧", u=said)
            pieces.append((self.user if letter == "u" else self.assistant).replace("{}", said))
        return "".join([*pieces, self.prompt])

    def _system(self, shape: Shape) -> str:
        if not shape.startswith("s"):
            return self.absent
        return self.system.replace("{}", "⟦s⟧") if self.system and not self.fold else ""


def _roles(name: str, form: str, end: str, roles: Sequence[str], prompt: str | None = None) -> Family:
    """A format in which every message looks alike: `form` with {role}, the message, `end`."""
    system, user, assistant = (form.replace("{role}", role) for role in roles)
    opened = assistant if prompt is None else prompt
    return Family(name, system + "{}" + end, user + "{}" + end, assistant + "{}" + end, opened)


def _folding(name: str, user: str, assistant: str, prompt: str = "") -> list[Family]:
    """The same turns with no system message, and with one in the first or in the last question."""
    folds: tuple[Fold, ...] = ("", "first", "last")
    return [Family(name, None, user, assistant, prompt, fold=fold) for fold in folds]


SUA: Final = ("system", "user", "assistant")
HEADER: Final = "<|start_header_id|>{role}<|end_header_id|>\n\n"
LLAMA_3: Final = _roles("Llama 3", HEADER, "<|eot_id|>", SUA)
LLAMA_DATES: Final = "Cutting Knowledge Date: December 2023\nToday Date: ⟨date⟩\n\n"
GLM_4: Final = _roles("GLM-4", "<|{role}|>\n", "", SUA, "<|assistant|>")
COHERE: Final = "<|START_OF_TURN_TOKEN|><|{role}_TOKEN|>"
HARMONY: Final = (
    "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\n"
    "Current date: ⟨date⟩\n\nReasoning: medium\n\n# Valid channels: analysis, commentary, final. Channel must be "
    "included for every message.<|end|>"
)
SMOLLM3: Final = (
    "<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\nReasoning Mode: /think\n\n"
    "## Custom Instructions\n\n"
)
CHATML: Final = _roles("ChatML", "<|im_start|>{role}\n", "<|im_end|>\n", SUA)

FAMILIES: Final[tuple[Family, ...]] = (
    CHATML,
    Family("SmolLM3", f"{SMOLLM3}{{}}\n\n<|im_end|>\n", CHATML.user, CHATML.assistant, CHATML.prompt),
    Family(
        "Llama 2", None, "<s>[INST] {} [/INST]", " {} </s>", "",
        fold="first", folded="<<SYS>>\n{s}\n<</SYS>>\n\n{u}",
    ),
    LLAMA_3,
    Family(
        "Llama 3.1", HEADER.replace("{role}", "system") + LLAMA_DATES + "{}<|eot_id|>", LLAMA_3.user,
        LLAMA_3.assistant, LLAMA_3.prompt,
        absent=HEADER.replace("{role}", "system") + LLAMA_DATES + "<|eot_id|>",
    ),
    _roles("Llama 4", "<|header_start|>{role}<|header_end|>\n\n", "<|eot|>", SUA),
    *_folding("Mistral v1", "[INST] {} [/INST]", "{}</s>"),
    *_folding("Mistral v1", "[INST] {} [/INST]", " {}</s>"),
    *_folding("Mistral v1", "[INST] {} [/INST]", "{}</s> "),
    *_folding("Mistral v3", "[INST] {}[/INST]", " {}</s>"),
    *_folding("Mistral v3 (Tekken)", "[INST]{}[/INST]", "{}</s>"),
    Family("Mistral v7", "[SYSTEM_PROMPT] {}[/SYSTEM_PROMPT]", "[INST] {}[/INST]", " {}</s>", ""),
    Family("Mistral v7 (Tekken)", "[SYSTEM_PROMPT]{}[/SYSTEM_PROMPT]", "[INST]{}[/INST]", "{}</s>", ""),
    *_folding(
        "Gemma", "<start_of_turn>user\n{}<end_of_turn>\n", "<start_of_turn>model\n{}<end_of_turn>\n",
        "<start_of_turn>model\n",
    ),
    Family(
        "Gemma 4", "<|turn>system\n{}<turn|>\n", "<|turn>user\n{}<turn|>\n", "<|turn>model\n{}<turn|>\n",
        "<|turn>model\n<|channel>thought\n<channel|>",
    ),
    Family("Phi-2", "{}\n", "Instruct: {}\n", "Output: {}\n", "Output:"),
    _roles("Phi-3", "<|{role}|>\n", "<|end|>\n", SUA),
    _roles("Phi-4", "<|im_start|>{role}<|im_sep|>", "<|im_end|>", SUA),
    _roles("Phi-4 mini", "<|{role}|>", "<|end|>", SUA),
    _roles("Zephyr", "<|{role}|>\n", "</s>\n", SUA),
    _roles("Zephyr", "<|{role}|>\n", "</s>\n", SUA, "<|assistant|>"),
    Family("Tulu", "<|system|>\n{}\n", "<|user|>\n{}\n", "<|assistant|>\n{}</s>\n", "<|assistant|>\n"),
    Family("Falcon 3", "<|system|>\n{}\n", "<|user|>\n{}\n", "<|assistant|>\n{}</s>\n", "<|assistant|>\n"),
    Family("Vicuna", "{} ", "USER: {} ", "ASSISTANT: {}</s>", "ASSISTANT:"),
    Family("Vicuna", "{}\n\n", "USER: {}\n", "ASSISTANT: {}</s>\n", "ASSISTANT:"),
    Family(
        "Alpaca", "{}\n\n", "### Instruction:\n{}\n\n", "### Response:\n{}\n\n", "### Response:\n",
    ),
    Family(
        "Alpaca", "{}\n\n", "### Instruction:\n{}\n\n", "### Response:\n{}</s>\n\n", "### Response:\n",
    ),
    Family("DeepSeek Coder", "{}", "### Instruction:\n{}\n", "### Response:\n{}\n<|EOT|>\n", "### Response:"),
    Family("DeepSeek v2", "{}\n\n", "User: {}\n\n", "Assistant: {}</s>", "Assistant:"),
    Family("DeepSeek v3", "{}", "<｜User｜>{}", "<｜Assistant｜>{}</s>", "<｜Assistant｜>"),
    Family("DeepSeek v3", "{}", "<｜User｜>{}</s>", "<｜Assistant｜>{}</s>", "<｜Assistant｜>"),
    _roles("Command R", COHERE, "<|END_OF_TURN_TOKEN|>", ("SYSTEM", "USER", "CHATBOT")),
    _roles("Granite", "<|start_of_role|>{role}<|end_of_role|>", "</s>\n", SUA),
    Family("Falcon", "{}\n\n", "User: {}\n\n", "Assistant: {}\n\n", "Assistant:"),
    Family("Falcon", "System: {}\n", "User: {}\n", "Falcon: {}\n", "Falcon:"),
    _roles(
        "OpenChat", "GPT4 Correct {role}: ", "<|end_of_turn|>", ("System", "User", "Assistant"),
        "GPT4 Correct Assistant:",
    ),
    Family(
        "OpenChat", "{}<|end_of_turn|>", "GPT4 Correct User: {}<|end_of_turn|>",
        "GPT4 Correct Assistant: {}<|end_of_turn|>", "GPT4 Correct Assistant:",
    ),
    _roles("Solar (Orca)", "### {role}:\n", "\n\n", ("System", "User", "Assistant")),
    _roles("EXAONE", "[|{role}|]", "[|endofturn|]\n", SUA),
    Family("EXAONE", "[|system|]{}[|endofturn|]\n", "[|user|]{}\n", "[|assistant|]{}[|endofturn|]\n", "[|assistant|]",
           absent="[|system|][|endofturn|]\n"),
    Family("MiniCPM", "{}", "<用户>{}", "<AI>{}", "<AI>"),
    GLM_4,
    Family("GLM-4", GLM_4.system, GLM_4.user, GLM_4.assistant, GLM_4.prompt, head="[gMASK]<sop>"),
    Family("GLM-4.7", "<|system|>{}", "<|user|>{}", "<|assistant|>{}", "<|assistant|>", head="[gMASK]<sop>"),
    Family(
        "Kimi K2", "<|im_system|>system<|im_middle|>{}<|im_end|>", "<|im_user|>user<|im_middle|>{}<|im_end|>",
        "<|im_assistant|>assistant<|im_middle|>{}<|im_end|>", "<|im_assistant|>assistant<|im_middle|>",
    ),
    Family(
        "gpt-oss (Harmony)", "<|start|>developer<|message|># Instructions\n\n{}\n\n<|end|>",
        "<|start|>user<|message|>{}<|end|>", "<|start|>assistant<|channel|>final<|message|>{}<|end|>",
        "<|start|>assistant", head=HARMONY,
    ),
    _roles("RWKV World", "{role}: ", "\n\n", ("System", "User", "Assistant"), "Assistant:"),
    _roles("Seed", "<seed:bos>{role}\n", "<seed:eos>", SUA),
    _roles("MiniMax M2", "]~b]{role}\n", "[e~[\n", ("system", "user", "ai")),
    Family(
        "Apertus", "<|system_start|>{}<|system_end|>" + (APERTUS := "<|developer_start|>Deliberation: disabled\n"
        "Tool Capabilities: disabled<|developer_end|>"), "<|user_start|>{}<|user_end|>",
        "<|assistant_start|>{}<|assistant_end|>", "<|assistant_start|>", absent=APERTUS,
    ),
)  # fmt: skip

# Texts of their own that published templates write beyond a short default prompt: preambles about tools, safety or
# thinking, by the digest of `insertions.prose` (templates of llama.cpp, models/templates).
KNOWN_TEXTS: Final[Mapping[str, str]] = {
    "24b0e07e6f914a33fe91f0a7ff233d45": "Apriel 1.6",
    "a0fcf5409812ca21339f09a158fdd047": "Apriel 1.6",
    "198090ae8add87077caa37b3d6ff6547": "Command A",
    "697f0900e050988a86855475fc1dc4e6": "Command R+",
    "42df61198e852b21216ee6472edf8433": "Command R+",
    "b5e01382968e776d83c33e78ec9a075e": "Command R7B",
    "af4d7524b58de61aa518c0bb345345ae": "Command R7B",
    "27fec44a2e05a580c5c8239d125e132b": "GigaChat 3",
    "4d3631a5be6ecacac85d0d1e15778838": "SmolLM3",
    "20389202b5a9e0b3b556c90431fb62dc": "Kimi K3",
    "540a3b83508016599b894f62b3b8bd6d": "MiniMax M3",
    "4a31a57ce6e502e0f7a16cb3da710c3e": "MiniMax M3",
    "8e1c6d302da1391a8dae5f79fbbd70f7": "Mistral Small 3.2",
    "23b8bee28722e7b30c9570b4f5e03627": "Hermes 2 Pro and 3, tools",
    "cd9317ad54f5ff5f57e0510ecb86d292": "Spark 2.5",
    "b3d89b1a11f75688293469af01066b0d": "Functionary 3.2",
    "4ad8333e4ce7df7fa5ccb48c46bc597b": "Ministral 3 Reasoning",
    "ca8d6fa21b8a0274817f848453d3068e": "gpt-oss",
    "cd9d8b9c8e7d556654b25936546be7cf": "Apriel 1.5",
    "bf117c4754106b6718a9bb539afecde9": "Devstral Small",
    "71117f53434600462c0b546b9cdb1552": "Solar Open",
}
