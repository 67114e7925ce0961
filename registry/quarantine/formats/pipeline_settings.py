"""What a pipeline's settings must not say: run this code, fetch that address, open that path, be this large.

Looked for after JSON decoding, in every key and string at any depth. Real settings hold names, numbers and, as
a note where they came from, a repository or a path of the author's machine, which loaders overwrite.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from registry.quarantine.formats.pipeline_parts import CLASSES, INDEX
from registry.quarantine.formats.tensors import shown

# where the files came from: both libraries write these, and overwrite them when loading
ORIGIN: Final = frozenset({"_name_or_path", "name_or_path", "special_tokens_map_file"})

# keys by which loaders of this world find code: diffusers, transformers, hydra, jsonargparse, jsonpickle
CODE_KEYS: Final = frozenset({
    "auto_map", "custom_pipeline", "custom_pipelines", "custom_revision", "trust_remote_code", "remote_code",
    "_target_", "_partial_", "_module_", "class_path", "module_file", "import_path", "entry_point", "chat_template",
    "py/object", "py/reduce", "py/function", "py/type",
})  # fmt: skip
DUNDER: Final = re.compile(r"__.+__")

ADDRESS: Final = re.compile(r"[a-z0-9+.-]://|^\s*//\w|^\s*\\\\|^\s*(?:data|file|javascript|hf|s3):", re.I)
ABSOLUTE: Final = re.compile(r"^\s*(?:/\w|~[/\\\w]|[a-z]:[\\/])", re.I)
CLIMBING: Final = re.compile(r"(?:^|[\\/])\.\.(?:[\\/]|$)")
REPOSITORY: Final = re.compile(r"(?:\./)?[\w.-]+(?:/[\w.-]+)+(?:[@:][\w.-]+)?")

# (key, largest number). The largest real ones: 2,560 channels (SDXL refiner: 1,536), width 13,824, 250,112
# words, 57 layers, 1,024 pixels, 1,000 steps.
LARGEST: Final[tuple[tuple[re.Pattern[str], float], ...]] = (
    (re.compile(r"model_max_length"), 1e31),
    (re.compile(r"lambda_min_clipped"), math.inf),
    (re.compile(r"vocab_size|max_position_embeddings"), 1 << 20),
    (re.compile(r"(?:sample|image|crop|tile_.*)?_?size|height|width|(?:short|long)est_edge"), 16_384),
    (re.compile(r".*channels"), 16_384),
    (re.compile(r".*(?:layers|layers_per_block|num_blocks)"), 512),
    (re.compile(r".*heads|attention_head_dim"), 4_096),
    (re.compile(r".*(?:_dim|_size)|d_model|d_ff|d_kv"), 65_536),
    (re.compile(r"num_train_timesteps|original_inference_steps"), 100_000),
)
LARGEST_INTEGER: Final = 1 << 20
LARGEST_FLOAT: Final = 1e12
MAX_BLOCKS: Final = 64
MAX_TEXT: Final = 4_096

# sizes that some tensor of the part must have as well, or the loader would allocate what the file never held
WIDTHS: Final = frozenset({
    "block_out_channels", "cross_attention_dim", "joint_attention_dim", "pooled_projection_dim", "hidden_size",
    "intermediate_size", "d_model", "d_ff",
})  # fmt: skip
# The safety checker is half of a CLIP: its `text_config` is about a half that is not there.
LOADED: Final = ("", "vision_config")
QUANTIZERS: Final = frozenset({"bitsandbytes"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `file` says and should not: `code` for programs, `text` a sentence for people."""

    code: str
    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """One value of a settings file, with the key that it stands under (its list's, in a list) and the key of the
    object around that, "" at the top.
    """

    file: str
    key: str
    value: Any
    around: str


def examine(file: str, document: Mapping[str, Any], widest: int | None = None) -> Iterator[Finding]:
    """All that is wrong with the settings in `file`; `widest` is the largest dimension of its weights."""
    for said in _all(file, document):
        yield from _of_key(said)
        if isinstance(said.value, str):
            yield from _of_text(said)
        elif type(said.value) in (int, float):
            yield from _of_number(said, widest)
        elif isinstance(said.value, list) and "block" in said.key and len(said.value) > MAX_BLOCKS:
            yield Finding("settings.number", file, f"“{said.key}” lists {len(said.value):,} blocks")


def origins(file: str, document: Mapping[str, Any]) -> Iterator[Finding]:
    """Harmless notes: paths of the author's machine that loaders overwrite."""
    for said in _all(file, document):
        if said.key in ORIGIN and isinstance(said.value, str) and ABSOLUTE.search(said.value):
            text = f"It names a folder of its author's machine, “{shown(said.value)}”, which is not used"
            yield Finding("settings.origin", file, text)


def _all(file: str, document: Mapping[str, Any]) -> Iterator[Said]:
    waiting = [Said(file, "", document, "")]
    while waiting:
        said = waiting.pop()
        if isinstance(said.value, dict):
            waiting += (Said(file, key, value, said.key) for key, value in said.value.items())
        elif isinstance(said.value, list):
            waiting += (Said(file, said.key, value, said.around) for value in said.value)
        if said.key:
            yield said


def _of_key(said: Said) -> Iterator[Finding]:
    key = unicodedata.normalize("NFKC", said.key).casefold().strip()
    if key in CODE_KEYS or DUNDER.fullmatch(key) or (key == "__type" and said.value != "AddedToken"):
        yield _finding(
            said, "settings.code", "asks for program code that would come with the model or from elsewhere"
        )
    elif key == "_class_name" and said.file != INDEX and str(said.value) not in CLASSES:
        yield _finding(said, "settings.class", f"names “{shown(str(said.value))}”, which is no known part")
    elif key == "quant_method" and said.value not in QUANTIZERS:
        yield _finding(said, "settings.code", f"asks for the unknown decoder “{shown(str(said.value))}”")
    elif ADDRESS.search(key) or CLIMBING.search(key):
        yield _finding(said, "settings.address", "is an address and no name of a setting")


def _of_text(said: Said) -> Iterator[Finding]:
    text = unicodedata.normalize("NFKC", said.value[:MAX_TEXT])
    value = f"“{shown(said.value)}”"
    if len(said.value) > MAX_TEXT:
        yield _finding(said, "settings.text", f"is a text of {len(said.value):,} characters")
    elif ADDRESS.search(text):
        yield _finding(said, "settings.address", f"holds the address {value}")
    elif said.key in ORIGIN:
        return
    elif ABSOLUTE.search(text) or CLIMBING.search(text):
        yield _finding(said, "settings.path", f"points at {value}, outside the pipeline")
    elif REPOSITORY.fullmatch(text.strip()):
        yield _finding(said, "settings.path", f"points at {value}, which is not part of the pipeline")


def _of_number(said: Said, widest: int | None) -> Iterator[Finding]:
    usual = LARGEST_INTEGER if isinstance(said.value, int) else LARGEST_FLOAT
    largest = next((most for key, most in LARGEST if key.fullmatch(said.key)), usual)
    if abs(said.value) > largest:
        yield _finding(said, "settings.number", f"is {said.value:.4g}; at most {largest:,.0f} is sane")
    elif widest is not None and said.key in WIDTHS and said.around in LOADED and said.value > widest:
        yield _finding(
            said, "settings.number", f"is {said.value:,}, and no tensor of its weights is that wide"
        )


def _finding(said: Said, code: str, words: str) -> Finding:
    return Finding(code, said.file, f"“{shown(said.key)}” {words}")
