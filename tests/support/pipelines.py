"""Small picture pipelines, well-formed and broken: the settings of real ones, random weights of a few kilobytes.

A pipeline is its files, path to bytes. `benign()` gives whole ones; each case of `hostile()` changes exactly one
thing in a good one and names the stage and the code that it must be refused with.
"""

import contextlib
import json
import math
import os
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.quarantine.formats.members import Member

Files = dict[str, bytes]
Shapes = dict[str, tuple[int, ...]]

WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}


def weights(shapes: Shapes, dtype: str = "F32") -> bytes:
    """A safetensors file of small random numbers, the same ones each time."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    count = 0
    for name, shape in shapes.items():
        start, count = count, count + math.prod(shape)
        header[name] = {
            "dtype": dtype, "shape": shape, "data_offsets": [start * WIDTHS[dtype], count * WIDTHS[dtype]]
        }  # fmt: skip
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + numbers(count, dtype)


def numbers(count: int, dtype: str) -> bytes:
    """`count` numbers around zero, little endian."""
    drawn = random.Random(count)
    values = [drawn.gauss(0, 0.05) for _ in range(count)]
    if dtype == "F16":
        return struct.pack(f"<{count}e", *values)
    full = struct.pack(f"<{count}f", *values)
    return full if dtype == "F32" else b"".join(full[at + 2 : at + 4] for at in range(0, len(full), 4))


def text(value: Any) -> bytes:
    """A JSON file as `save_pretrained` writes it."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


# --- parts -------------------------------------------------------------------------------------------

UNET: Shapes = {
    "conv_in.weight": (8, 4, 3, 3),
    "mid.attn.to_k.weight": (16, 32),
    "conv_out.weight": (4, 8, 3, 3),
}
VAE: Shapes = {"decoder.conv_in.weight": (16, 4, 3, 3), "encoder.conv_in.weight": (8, 3, 3, 3)}
CLIP: Shapes = {"text_model.embeddings.token_embedding.weight": (64, 32), "text_model.fc1.weight": (64, 32)}
T5: Shapes = {"shared.weight": (64, 32), "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": (96, 32)}
MMDIT: Shapes = {"context_embedder.weight": (32, 48), "transformer_blocks.0.attn.to_q.weight": (32, 32)}


def unet(**changes: Any) -> dict[str, Any]:
    """Settings of a small UNet2DConditionModel."""
    return {
        "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.17.0.dev0", "act_fn": "silu",
        "attention_head_dim": 8, "block_out_channels": [8, 16], "center_input_sample": False,
        "class_embed_type": None, "cross_attention_dim": 32,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "downsample_padding": 1,
        "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
        "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 4, "out_channels": 4, "sample_size": 64,
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"], "use_linear_projection": False,
    } | changes  # fmt: skip


def vae(**changes: Any) -> dict[str, Any]:
    """Settings of a small AutoencoderKL."""
    return {
        "_class_name": "AutoencoderKL", "_diffusers_version": "0.31.0.dev0", "act_fn": "silu",
        "block_out_channels": [8, 16], "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
        "force_upcast": True, "in_channels": 3, "latent_channels": 4, "latents_mean": None, "layers_per_block": 1,
        "norm_num_groups": 4, "out_channels": 3, "sample_size": 512, "scaling_factor": 0.18215,
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    } | changes  # fmt: skip


def clip(**changes: Any) -> dict[str, Any]:
    """Settings of a small CLIPTextModel."""
    return {
        "_name_or_path": "openai/clip-vit-large-patch14", "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 2, "hidden_act": "quick_gelu",
        "hidden_size": 32, "initializer_range": 0.02, "intermediate_size": 64, "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 4,
        "num_hidden_layers": 2, "pad_token_id": 1, "projection_dim": 768, "torch_dtype": "float32",
        "transformers_version": "4.37.2", "vocab_size": 64,
    } | changes  # fmt: skip


def t5(**changes: Any) -> dict[str, Any]:
    """Settings of a small T5EncoderModel."""
    return {
        "_name_or_path": "google/t5-v1_1-xxl", "architectures": ["T5EncoderModel"], "classifier_dropout": 0.0,
        "d_ff": 96, "d_kv": 8, "d_model": 32, "dense_act_fn": "gelu_new", "dropout_rate": 0.1,
        "feed_forward_proj": "gated-gelu", "is_encoder_decoder": True, "layer_norm_epsilon": 1e-06,
        "model_type": "t5", "num_decoder_layers": 24, "num_heads": 4, "num_layers": 2,
        "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32, "use_cache": True,
        "vocab_size": 64,
    } | changes  # fmt: skip


def scheduler(name: str = "PNDMScheduler", **changes: Any) -> dict[str, Any]:
    """Settings of a scheduler."""
    return {
        "_class_name": name, "_diffusers_version": "0.17.0.dev0", "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000,
        "prediction_type": "epsilon", "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
        "trained_betas": None,
    } | changes  # fmt: skip


def processor() -> dict[str, Any]:
    """Settings of a CLIPImageProcessor."""
    return {
        "crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_normalize": True,
        "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 224},
    }  # fmt: skip


def checker() -> dict[str, Any]:
    """Settings of the safety checker, with those of its unused text half as real ones have them."""
    return {
        "_name_or_path": "CompVis/stable-diffusion-safety-checker", "architectures": ["StableDiffusionSafetyChecker"],
        "logit_scale_init_value": 2.6592, "model_type": "clip", "projection_dim": 32,
        "text_config": {"hidden_size": 32, "intermediate_size": 2048, "vocab_size": 49408},
        "vision_config": {"hidden_size": 48, "image_size": 224, "intermediate_size": 96, "patch_size": 14},
    }  # fmt: skip


CLIP_WORDS = {
    "<|startoftext|>": 0,
    "<|endoftext|>": 1,
    "://": 2,
    "../": 3,
    "__class__</w>": 4,
    "/etc/passwd": 5,
}
TOKEN = {"__type": "AddedToken", "content": "<|startoftext|>", "lstrip": False, "normalized": True}


def clip_tokenizer(**changes: Any) -> Files:
    """The files of a CLIPTokenizer; its words are any text, addresses and paths too."""
    config = {
        "add_prefix_space": False, "bos_token": TOKEN, "do_lower_case": True, "errors": "replace",
        "model_max_length": 77, "name_or_path": "openai/clip-vit-large-patch14", "pad_token": "<|endoftext|>",
        "special_tokens_map_file": "./special_tokens_map.json", "tokenizer_class": "CLIPTokenizer",
    }  # fmt: skip
    return {
        "tokenizer_config.json": text(config | changes),
        "special_tokens_map.json": text({"bos_token": TOKEN, "pad_token": "!"}),
        "vocab.json": text(CLIP_WORDS),
        "merges.txt": "#version: 0.2\ni n\nt h\na n</w>\nĠ ð\n".encode(),
    }


def sentencepiece(*pieces: str) -> bytes:
    """A SentencePiece model: each piece a message of text and score, then the trainer's settings."""
    made = b""
    for piece in pieces:
        raw = piece.encode()
        message = b"\x0a" + bytes([len(raw)]) + raw + b"\x15" + struct.pack("<f", -1.0)
        made += b"\x0a" + bytes([len(message)]) + message
    return made + b"\x12\x02\x18\x01" + b"\x1a\x00"


def t5_tokenizer() -> Files:
    """The files of a T5TokenizerFast. Its longest input is int(1e30), as the library writes “none”."""
    words = [["<pad>", 0.0], ["</s>", 0.0], ["▁a", -2.0122], ["//", -3.5]]
    config = {
        "added_tokens_decoder": {"0": {"content": "<pad>", "lstrip": False, "special": True}},
        "additional_special_tokens": [f"<extra_id_{n}>" for n in range(100)], "extra_ids": 100,
        "model_max_length": int(1e30), "sp_model_kwargs": {}, "tokenizer_class": "T5Tokenizer",
    }  # fmt: skip
    return {
        "tokenizer_config.json": text(config),
        "special_tokens_map.json": text({"eos_token": "</s>"}),
        "tokenizer.json": text({"version": "1.0", "model": {"type": "Unigram", "vocab": words}}),
        "spiece.model": sentencepiece("<pad>", "</s>", "▁a"),
    }


def below(folder: str, files: Files) -> Files:
    """The same files in a folder."""
    return {f"{folder}/{name}": data for name, data in files.items()}


def part(folder: str, config: dict[str, Any], shapes: Shapes, dtype: str = "F32") -> Files:
    """A part with weights, under the name that its library gives them."""
    name = "diffusion_pytorch_model" if "_class_name" in config else "model"
    return below(folder, {"config.json": text(config), f"{name}.safetensors": weights(shapes, dtype)})


def index(name: str, **parts: Any) -> Files:
    """The pipeline's index."""
    head = {"_class_name": name, "_diffusers_version": "0.31.0"}
    return {"model_index.json": text(head | parts)}


# --- whole pipelines ---------------------------------------------------------------------------------

SD_PARTS: dict[str, Any] = {
    "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
CARD = (
    b"---\nlicense: creativeml-openrail-m\ntags:\n- text-to-image\n---\n\n# Tiny\nSee https://example.org.\n"
)


def sd15() -> Files:
    """Like Stable Diffusion 1.5, with card and licence."""
    return (
        index("StableDiffusionPipeline", requires_safety_checker=True, **SD_PARTS)
        | {"README.md": CARD, "LICENSE": b"Free.\n"}
        | below("feature_extractor", {"preprocessor_config.json": text(processor())})
        | part("safety_checker", checker(), {"vision_model.fc1.weight": (96, 48)})
        | below("scheduler", {"scheduler_config.json": text(scheduler())})
        | part("text_encoder", clip(), CLIP)
        | below("tokenizer", clip_tokenizer())
        | part("unet", unet(), UNET)
        | part("vae", vae(), VAE)
    )


def sdxl() -> Files:
    """Like Stable Diffusion XL: two encoders, parts left out, half precision beside full."""
    half = {"unet/diffusion_pytorch_model.fp16.safetensors": weights(UNET, "F16")}
    return (
        index(
            "StableDiffusionXLPipeline", force_zeros_for_empty_prompt=True, image_encoder=[None, None],
            feature_extractor=[None, None], scheduler=["diffusers", "EulerDiscreteScheduler"],
            text_encoder=["transformers", "CLIPTextModel"],
            text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
            tokenizer=["transformers", "CLIPTokenizer"], tokenizer_2=["transformers", "CLIPTokenizer"],
            unet=["diffusers", "UNet2DConditionModel"], vae=["diffusers", "AutoencoderKL"],
        )
        | below("scheduler", {"scheduler_config.json": text(scheduler("EulerDiscreteScheduler"))})
        | part("text_encoder", clip(), CLIP) | part("text_encoder_2", clip(projection_dim=1280), CLIP)
        | below("tokenizer", clip_tokenizer()) | below("tokenizer_2", clip_tokenizer(pad_token="!"))
        | part("unet", unet(addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
                            transformer_layers_per_block=[1, 10]), UNET)
        | half | part("vae", vae(scaling_factor=0.13025), VAE)
    )  # fmt: skip


def transformer(name: str) -> dict[str, Any]:
    """Settings of a small diffusion transformer."""
    return {
        "_class_name": name, "_diffusers_version": "0.30.3.dev0", "attention_head_dim": 64,
        "axes_dims_rope": [16, 56, 56], "in_channels": 16, "joint_attention_dim": 48, "num_attention_heads": 38,
        "num_layers": 38, "patch_size": 2, "pos_embed_max_size": 192, "sample_size": 128,
    }  # fmt: skip


def flow() -> dict[str, Any]:
    """Settings of the scheduler of the flow models."""
    return {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.30.3.dev0",
        "base_image_seq_len": 256, "max_shift": 1.15, "num_train_timesteps": 1000, "shift": 3.0,
        "use_dynamic_shifting": False,
    }  # fmt: skip


def sd3() -> Files:
    """Like Stable Diffusion 3: three encoders, weights in half precision."""
    return (
        index(
            "StableDiffusion3Pipeline", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"],
            text_encoder=["transformers", "CLIPTextModelWithProjection"],
            text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
            text_encoder_3=["transformers", "T5EncoderModel"], tokenizer=["transformers", "CLIPTokenizer"],
            tokenizer_2=["transformers", "CLIPTokenizer"], tokenizer_3=["transformers", "T5TokenizerFast"],
            transformer=["diffusers", "SD3Transformer2DModel"], vae=["diffusers", "AutoencoderKL"],
        )
        | below("scheduler", {"scheduler_config.json": text(flow())})
        | part("text_encoder", clip(), CLIP, "F16") | part("text_encoder_2", clip(), CLIP, "F16")
        | part("text_encoder_3", t5(), T5, "F16") | below("tokenizer", clip_tokenizer())
        | below("tokenizer_2", clip_tokenizer()) | below("tokenizer_3", t5_tokenizer())
        | part("transformer", transformer("SD3Transformer2DModel"), MMDIT, "F16")
        | part("vae", vae(latent_channels=16, shift_factor=0.0609), VAE, "F16")
    )  # fmt: skip


def shards(folder: str, stem: str, *parts: Shapes) -> Files:
    """Weights in several files, and their index."""
    names = [f"{stem}-{n + 1:05}-of-{len(parts):05}.safetensors" for n in range(len(parts))]
    total = sum(len(weights(one, "BF16")) for one in parts)
    mapping = {tensor: name for name, one in zip(names, parts, strict=True) for tensor in one}
    made = {name: weights(one, "BF16") for name, one in zip(names, parts, strict=True)}
    made[f"{stem}.safetensors.index.json"] = text({"metadata": {"total_size": total}, "weight_map": mapping})
    return below(folder, made)


def flux() -> Files:
    """Like Flux: sharded transformer, and a path of its author's machine as a note."""
    home = "/root/.cache/huggingface/hub/models--black-forest-labs--FLUX.1-schnell/snapshots/741f7c3/vae"
    return (
        index(
            "FluxPipeline", _name_or_path="black-forest-labs/FLUX.1-schnell",
            scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"],
            text_encoder=["transformers", "CLIPTextModel"], text_encoder_2=["transformers", "T5EncoderModel"],
            tokenizer=["transformers", "CLIPTokenizer"], tokenizer_2=["transformers", "T5TokenizerFast"],
            transformer=["diffusers", "FluxTransformer2DModel"], vae=["diffusers", "AutoencoderKL"],
        )
        | below("scheduler", {"scheduler_config.json": text(flow())})
        | part("text_encoder", clip(), CLIP, "BF16") | part("text_encoder_2", t5(), T5, "BF16")
        | below("tokenizer", clip_tokenizer()) | below("tokenizer_2", t5_tokenizer())
        | below("transformer", {"config.json": text(transformer("FluxTransformer2DModel"))})
        | shards("transformer", "diffusion_pytorch_model", {"x_embedder.weight": (48, 16)}, MMDIT)
        | part("vae", vae(_name_or_path=home), VAE, "BF16")
    )  # fmt: skip


def ddpm() -> Files:
    """Like DDPM: a UNet and a scheduler, nothing else."""
    config = unet(_class_name="UNet2DModel", add_attention=True, sample_size=128)
    del config["cross_attention_dim"]
    return (
        index("DDPMPipeline", scheduler=["diffusers", "DDPMScheduler"], unet=["diffusers", "UNet2DModel"])
        | below("scheduler", {"scheduler_config.json": text(scheduler("DDPMScheduler", variance_type="fixed_small"))})
        | part("unet", config, UNET)
    )  # fmt: skip


def changed(files: Files, path: str, change: Callable[[dict[str, Any]], object]) -> Files:
    """The pipeline with one JSON file changed in place."""
    document = json.loads(files[path])
    change(document)
    return files | {path: text(document)}


def without(files: Files, *paths: str) -> Files:
    """The pipeline without some files."""
    return {path: data for path, data in files.items() if path not in paths}


def benign() -> dict[str, Files]:
    """Pipelines that must pass, by name."""
    quantized = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
                 "llm_int8_threshold": 6.0, "llm_int8_skip_modules": None}  # fmt: skip
    lcm = index("LatentConsistencyModelPipeline", **(SD_PARTS | {"scheduler": ["diffusers", "LCMScheduler"]}))
    unchecked = {path: data for path, data in sd15().items() if not path.startswith("safety_checker/")}
    long_list = scheduler(trained_betas=[n / 1e5 for n in range(1000)])
    return {
        "sd15": sd15(),
        "sdxl": sdxl(),
        "sd3": sd3(),
        "flux": flux(),
        "ddpm": ddpm(),
        "sd15 without safety checker": changed(
            unchecked, "model_index.json", lambda said: said.update(safety_checker=[None, None])
        ),
        "lcm, scheduler exchanged in the index only": sd15() | lcm,
        "inpainting": changed(
            sd15(), "model_index.json", lambda said: said.update(_class_name="StableDiffusionInpaintPipeline")
        ),
        "quantized transformer": changed(
            flux(), "transformer/config.json", lambda said: said.update(quantization_config=quantized)
        ),
        "sd15 saved from a folder": changed(
            sd15(), "unet/config.json", lambda said: said.update(_name_or_path="../models/sd/unet")
        ),
        "processor of transformers 5": changed(
            sd15(), "model_index.json",
            lambda said: said.update(feature_extractor=["transformers", "CLIPImageProcessorPil"]),
        ),
        "scheduler with an infinite default": sd15() | {
            "scheduler/scheduler_config.json": text(scheduler(lambda_min_clipped=-math.inf))
        },
        "betas written out": sd15() | {"scheduler/scheduler_config.json": text(long_list)},
        "windows line ends": sd15() | {"vae/config.json": text(vae()).replace(b"\n", b"\r\n")},
    }  # fmt: skip


# --- hostile ones ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PipelineCase:
    """A pipeline that must be refused: at stage 2 with the error's `code`, or at stage 7 with the finding's."""

    name: str
    files: Files
    stage: str
    code: str


def put(name: str, code: str, path: str, data: bytes = b"x") -> PipelineCase:
    """A good pipeline with one file put in or exchanged, refused by the format gate."""
    return PipelineCase(name, sd15() | {path: data}, "format_gate", code)


def says(name: str, code: str, path: str, **settings: Any) -> PipelineCase:
    """A good pipeline with settings added, refused by the diffusion stage."""
    return PipelineCase(name, changed(sd15(), path, lambda said: said.update(settings)), "diffusion", code)


def hostile() -> Iterator[PipelineCase]:
    """Pipelines that must be refused."""
    yield from _wrong_files()
    yield from _wrong_json()
    yield from _wrong_weights()
    yield from _wrong_parts()
    yield from _code()
    yield from _addresses()
    yield from _numbers()


def _wrong_files() -> Iterator[PipelineCase]:
    for path, code in (
        ("pipeline.py", "pipeline.file.program"),
        ("README.py", "pipeline.file.program"),
        ("unet/modeling.py", "pipeline.file.program"),
        ("unet/evil.PTH", "pipeline.file.program"),
        ("tokenizer/chat_template.jinja", "pipeline.file.program"),
        ("unet/native.so", "pipeline.file.program"),
        ("unet/diffusion_pytorch_model.bin", "pipeline.file.weights"),
        ("sd-v1-5.ckpt", "pipeline.file.weights"),
        ("text_encoder/pytorch_model.pt", "pipeline.file.weights"),
        ("text_encoder/flax_model.msgpack", "pipeline.file.weights"),
        ("vae_encoder/model.onnx", "pipeline.file.runtime"),
        ("unet/model.onnx_data", "pipeline.file.runtime"),
        ("weights.zip", "pipeline.file.archive"),
        ("preview.png", "pipeline.file.picture"),
        (".gitattributes", "pipeline.file.hidden"),
        ("unet/.config.json", "pipeline.file.hidden"),
        (".cache/huggingface/x", "pipeline.file.hidden"),
        ("config.json", "pipeline.file.place"),
        ("v1-5-pruned.safetensors", "pipeline.file.place"),
        ("controlnet/config.json", "pipeline.file.place"),
        ("unet/deep/config.json", "pipeline.file.place"),
        ("scheduler/config.json", "pipeline.file.place"),
        ("unet/adapter_config.json", "pipeline.file.place"),
        ("vae/tokenizer.json", "pipeline.file.place"),
        ("UNET/config.json", "set.twin"),
        ("readme.MD", "set.twin"),
        ("unet/con\u202efig.json", "set.name"),
        ("unet/../config.json", "set.name"),
        ("/unet/config.json", "set.name"),
        ("unet\\config.json", "set.name"),
    ):
        yield put(f"file {path}", code, path)
    yield PipelineCase(
        "too many files", sd15() | {f"LICENSE-{n}": b"x" for n in range(500)}, "format_gate", "set.count"
    )
    yield put("readme that is no text", "pipeline.text.encoding", "README.md", b"\xff\xfe\x00x")
    yield put("readme of two megabytes", "pipeline.file.size", "README.md", b"x" * (2 << 20))
    yield put("words that are no numbers", "pipeline.vocabulary.shape", "tokenizer/vocab.json", b'{"a": "b"}')
    yield put("merges that are none", "pipeline.vocabulary.shape", "tokenizer/merges.txt", b"import os\nx")
    yield put("tokenizer without a model", "pipeline.vocabulary.shape", "tokenizer/tokenizer.json", b"{}")
    piece = "pipeline.vocabulary.sentencepiece"
    for name, data in (
        ("pickle", b"\x80\x04\x95"),
        ("empty", b""),
        ("cut", sentencepiece("a")[:-3]),
        ("program", b"\x7fELF"),
    ):
        yield put(f"sentencepiece {name}", piece, "tokenizer/spiece.model", data)


def _wrong_json() -> Iterator[PipelineCase]:
    nested = b'{"a":' + b"[" * 40 + b"]" * 40 + b"}"
    for name, code, data in (
        ("no JSON", "pipeline.json.syntax", b"not json"),
        ("empty", "pipeline.json.syntax", b""),
        ("two documents", "pipeline.json.syntax", b"{}{}"),
        ("byte order mark", "pipeline.json.syntax", b"\xef\xbb\xbf{}"),
        (
            "git lfs pointer",
            "pipeline.json.syntax",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:30\n",
        ),
        ("list", "pipeline.json.shape", b"[]"),
        ("duplicate key", "pipeline.json.duplicate", b'{"in_channels": 4, "in_channels": 5}'),
        ("duplicate key, once escaped", "pipeline.json.duplicate", b'{"a": 4, "\\u0061": 5}'),
        ("NaN", "pipeline.json.number", b'{"norm_eps": NaN}'),
        ("infinity", "pipeline.json.number", b'{"norm_eps": Infinity}'),
        ("infinity by size", "pipeline.json.number", b'{"norm_eps": 1e999}'),
        ("endless number", "pipeline.json.number", b'{"x": ' + b"9" * 5_000 + b"}"),
        ("nested", "pipeline.json.depth", nested),
        ("nested beyond the stack", "pipeline.json.depth", b'{"a":' + b"[" * 9_000 + b"]" * 9_000 + b"}"),
        ("UTF-16", "pipeline.text.encoding", '{"a": 1}'.encode("utf-16")),
        ("lone surrogate", "pipeline.text.encoding", b'{"a": "\\ud800"}'),
        ("NUL", "pipeline.text.encoding", b'{"a": "\0"}'),
        ("many values", "pipeline.json.values", b'{"a": [' + b"0," * 20_000 + b"0]}"),
        ("nine megabytes", "pipeline.file.size", b" " * (9 << 20) + b"{}"),
    ):
        yield put(f"settings: {name}", code, "unet/config.json", data)
    many = b'{"model": {}, "x": [' + b"[]," * 1_600_000 + b"[]]}"
    yield put("tokenizer of a million lists", "pipeline.json.values", "tokenizer/tokenizer.json", many)


def _wrong_weights() -> Iterator[PipelineCase]:
    path = "unet/diffusion_pytorch_model.safetensors"
    good = weights(UNET)
    yield put("weights that are a pickle", "file.pickle", path, b"\x80\x04\x95" + bytes(40))
    yield put(
        "weights that are a pytorch zip",
        "file.zip",
        path,
        b"PK\x03\x04" + bytes(26) + b"x/data.pkl" + bytes(64),
    )
    yield put(
        "weights that are a git lfs pointer",
        "file.lfs_pointer",
        path,
        b"version https://git-lfs.github.com/spec/v1\n",
    )
    yield put("weights cut off", "safetensors.tensor.outside", path, good[:-4])
    yield put("weights with a tail", "safetensors.trailing", path, good + b"tail")
    end = b"PK\x05\x06" + bytes(18)
    yield put("weights that are a zip too", "file.polyglot", path, good + end)
    yield put("weights that are a gguf", "safetensors.header.size", path, b"GGUF\3\0\0\0" + bytes(64))
    sharded = "transformer/diffusion_pytorch_model.safetensors.index.json"
    first = "transformer/diffusion_pytorch_model-00001-of-00002.safetensors"
    for name, code, mapping in (
        ("outside", "pipeline.shards.outside", {"x": "../vae/diffusion_pytorch_model.safetensors"}),
        ("absolute", "pipeline.shards.outside", {"x": "/etc/passwd"}),
        ("pickle", "pipeline.shards.outside", {"x": "pytorch_model.bin"}),
        ("number", "pipeline.shards.outside", {"x": 3}),
        ("missing file", "pipeline.shards.missing", {"x": "absent.safetensors"}),
        ("other tensors", "pipeline.shards.tensors", {"evil": first.rpartition("/")[2]}),
        ("nothing", "pipeline.shards.index", {}),
    ):
        files = flux() | {sharded: text({"metadata": {}, "weight_map": mapping})}
        yield PipelineCase(f"shard index names {name}", files, "format_gate", code)
    yield PipelineCase(
        "shards without an index", without(flux(), sharded), "format_gate", "pipeline.shards.index"
    )
    yield PipelineCase("shard missing", without(flux(), first), "format_gate", "pipeline.shards.missing")


def _wrong_parts() -> Iterator[PipelineCase]:
    where = "model_index.json"

    def named(name: str, code: str, stage: str = "diffusion", **parts: Any) -> PipelineCase:
        return PipelineCase(name, changed(sd15(), where, lambda said: said.update(parts)), stage, code)

    yield named("part os.system", "component.unlisted", vae=["os", "system"])
    yield named("part of a module beside it", "component.unlisted", vae=["modeling", "AutoencoderKL"])
    yield named("part by a relative module", "component.unlisted", vae=["..evil", "AutoencoderKL"])
    yield named("part by a path", "component.unlisted", vae=["./evil", "AutoencoderKL"])
    yield named("part of the pickle kind", "component.unlisted", vae=["diffusers", "OnnxRuntimeModel"])
    yield named("class in other letters", "component.unlisted", vae=["Diffusers", "autoencoderkl"])
    yield named("class with a look-alike letter", "component.unlisted", vae=["diffusers", "AutoencοderKL"])
    yield named("unknown pipeline", "pipeline.unlisted", _class_name="EvilPipeline")
    yield named("audio pipeline", "pipeline.unlisted", _class_name="AudioLDMPipeline")
    gate = "format_gate"
    yield named("pipeline of its own code", "pipeline.index.class", gate, _class_name=["pipeline", "Mine"])
    yield named("part with three names", "pipeline.index.part", gate, vae=["diffusers", "AutoencoderKL", {}])
    yield named("part that is an object", "pipeline.index.part", gate, vae={"class": "os.system"})
    yield named("part half left out", "pipeline.index.part", gate, vae=["diffusers", None])
    yield named(
        "part with a bad name", "pipeline.index.part", gate, **{"../x": ["diffusers", "AutoencoderKL"]}
    )
    yield named(
        "fifty parts",
        "pipeline.index.part",
        gate,
        **{f"p{n}": ["diffusers", "UNet2DModel"] for n in range(50)},
    )
    yield named("part without a folder", "pipeline.part.missing", gate, vae_2=["diffusers", "AutoencoderKL"])
    yield named("folder of a part left out", "pipeline.file.place", gate, safety_checker=[None, None])
    yield PipelineCase(
        "no weights",
        without(sd15(), "vae/diffusion_pytorch_model.safetensors"),
        gate,
        "pipeline.part.missing",
    )
    yield PipelineCase("no settings", without(sd15(), "vae/config.json"), gate, "pipeline.part.missing")
    yield PipelineCase("no words", without(sd15(), "tokenizer/vocab.json"), gate, "pipeline.part.missing")


def _code() -> Iterator[PipelineCase]:
    for key, value in (
        ("auto_map", {"AutoModel": "modeling--Evil"}),
        ("custom_pipeline", "evil"),
        ("custom_pipelines", {"x": {"impl": "evil.P"}}),
        ("trust_remote_code", True),
        ("_target_", "os.system"),
        ("__class__", "os.system"),
        ("__reduce__", []),
        ("__type", "Popen"),
        ("AUTO_MAP", {}),
        ("ａuto_map", {}),
        ("chat_template", "{{ x }}"),
        ("py/object", "os.system"),
    ):
        yield says(f"settings say {key}", "settings.code", "unet/config.json", **{key: value})
    deep: Any = {"auto_map": {}}
    for _ in range(10):
        deep = {"inner": [deep]}
    yield says("code far inside", "settings.code", "text_encoder/config.json", text_config=deep)
    yield says(
        "code in the tokenizer's settings", "settings.code", "tokenizer/tokenizer_config.json", auto_map={}
    )
    yield says("code in the index", "settings.code", "model_index.json", custom_pipeline="x")
    yield says(
        "decoder that loads classes",
        "settings.code",
        "unet/config.json",
        quantization_config={"quant_method": "torchao"},
    )
    yield says("class of its own", "settings.class", "unet/config.json", _class_name=["modeling", "Evil"])
    yield says(
        "class that is none of ours",
        "settings.class",
        "scheduler/scheduler_config.json",
        _class_name="system",
    )


def _addresses() -> Iterator[PipelineCase]:
    for name, value in (
        ("https", "https://evil.example/x"),
        ("in the middle", "see HTTP://evil.example"),
        ("without scheme", "//evil.example/x"),
        ("data", "data:text/html,x"),
        ("file", "file:/etc/passwd"),
        ("share", "\\\\evil\\share"),
        ("full-width", "ｈｔｔｐｓ：／／evil.example"),
        ("s3", "s3://bucket/key"),
    ):
        yield says(f"address {name}", "settings.address", "vae/config.json", act_fn=value)
    for name, value in (
        ("absolute", "/etc/passwd"),
        ("home", "~/.ssh/id_rsa"),
        ("drive", "C:\\Windows"),
        ("climbing", "../../secret"),
        ("climbing inside", "a/../../b"),
        ("repository", "evil/kernels"),
        ("repository with version", "kernels-community/flash-attn@main"),
    ):
        yield says(f"path {name}", "settings.path", "vae/config.json", act_fn=value)
    yield says("endless text", "settings.text", "vae/config.json", act_fn="a" * 500_000)
    escaped = text(vae()).replace(b'"silu"', b'"\\u0068ttps:\\/\\/evil.example"')
    yield PipelineCase(
        "address in escapes", sd15() | {"vae/config.json": escaped}, "diffusion", "settings.address"
    )
    yield says(
        "address as origin", "settings.address", "vae/config.json", _name_or_path="https://evil.example/m"
    )
    yield says("address as a key", "settings.address", "vae/config.json", **{"https://evil.example": 1})
    yield says(
        "address far inside", "settings.address", "tokenizer/tokenizer_config.json", x=[{"y": [["ftp://x"]]}]
    )
    yield says(
        "tokenizer opens a file", "settings.path", "tokenizer/tokenizer_config.json", vocab_file="/etc/passwd"
    )
    yield says(
        "kernel from a repository", "settings.path", "text_encoder/config.json", _attn_implementation="a/b"
    )


def _numbers() -> Iterator[PipelineCase]:
    for name, path, settings in (
        ("picture of a million pixels a side", "unet/config.json", {"sample_size": 1_000_000}),
        ("channels", "unet/config.json", {"in_channels": 100_000}),
        ("channels in a list", "unet/config.json", {"block_out_channels": [8, 2**40]}),
        ("layers", "unet/config.json", {"layers_per_block": 5_000}),
        ("negative layers", "unet/config.json", {"layers_per_block": -5_000}),
        ("wider than its weights", "text_encoder/config.json", {"hidden_size": 60_000}),
        ("channels beyond its weights", "vae/config.json", {"block_out_channels": [8, 4_096]}),
        ("words", "text_encoder/config.json", {"vocab_size": 2**31}),
        ("any number", "unet/config.json", {"freq_shift": 2**60}),
        ("fraction", "unet/config.json", {"norm_eps": 1e300}),
        ("infinity below", "unet/config.json", {"norm_eps": -math.inf}),
        ("steps", "scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}),
        ("blocks", "unet/config.json", {"down_block_types": ["DownBlock2D"] * 1_000}),
        ("crop", "feature_extractor/preprocessor_config.json", {"crop_size": {"height": 10**6, "width": 1}}),
    ):
        yield says(f"number: {name}", "settings.number", path, **settings)


# --- on disk -----------------------------------------------------------------------------------------


def write_files(folder: Path, files: Files) -> Path:
    """Write a pipeline below `folder`."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@contextlib.contextmanager
def opened(folder: Path, files: Files) -> Iterator[Sequence[Member]]:
    """The files as the inspection gets them: under their paths, whatever those are, opened read-only."""
    members: list[Member] = []
    try:
        for number, (path, data) in enumerate(files.items()):
            (folder / str(number)).write_bytes(data)
            members.append(Member(path, os.open(folder / str(number), os.O_RDONLY)))
        yield members
    finally:
        for member in members:
            os.close(member.fd)
