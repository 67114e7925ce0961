"""Which pipelines, parts and files of diffusers are known. An allow list: what is not here is refused.

Source: the classes that diffusers 0.42 and transformers 5 export, and the folders that their `save_pretrained`
writes, for Stable Diffusion 1, 2, XL and 3, Flux, and the unconditional DDPM family. Why by class: diffusers
imports whatever module the index names and takes the named attribute from it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["model", "scheduler", "tokenizer", "processor"]

INDEX: Final = "model_index.json"

PIPELINES: Final = frozenset({
    "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
    "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline",
    "StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline",
    "FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline", "FluxFillPipeline",
    "LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline",
    "DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "ConsistencyModelPipeline",
})  # fmt: skip

MODELS: Final = (
    "UNet2DModel", "UNet2DConditionModel", "SD3Transformer2DModel", "FluxTransformer2DModel", "AutoencoderKL",
    "AutoencoderTiny", "AsymmetricAutoencoderKL",
)  # fmt: skip
SCHEDULERS: Final = (
    "CMStochasticIterativeScheduler", "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler", "DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler", "EDMEulerScheduler", "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler",
    "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LCMScheduler",
    "LMSDiscreteScheduler", "PNDMScheduler", "TCDScheduler", "UniPCMultistepScheduler",
)  # fmt: skip
ENCODERS: Final = (
    "CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection", "T5EncoderModel",
)  # fmt: skip
TOKENIZERS: Final = ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast")
PROCESSORS: Final = (
    "CLIPFeatureExtractor",
    "CLIPImageProcessor",
    "CLIPImageProcessorFast",
    "CLIPImageProcessorPil",
)

# (library, class) as the index names them
PARTS: Final[Mapping[tuple[str, str], Kind]] = {
    **{("diffusers", name): "model" for name in MODELS},
    **{("diffusers", name): "scheduler" for name in SCHEDULERS},
    **{("transformers", name): "model" for name in ENCODERS},
    **{("transformers", name): "tokenizer" for name in TOKENIZERS},
    **{("transformers", name): "processor" for name in PROCESSORS},
    ("stable_diffusion", "StableDiffusionSafetyChecker"): "model",
}
CLASSES: Final = frozenset(name for _, name in PARTS)

WEIGHTS: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,120}\.safetensors", re.ASCII)
SHARD: Final = re.compile(r"-(\d{5})-of-(\d{5})\.", re.ASCII)
WEIGHTS_INDEX: Final = re.compile(
    r"[A-Za-z0-9][\w.-]{0,80}\.safetensors(?:\.\w{1,20})?\.index(?:\.\w{1,20})?\.json", re.ASCII
)
CONFIGS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "model": ("config.json", "generation_config.json"),
    "scheduler": ("scheduler_config.json",),
    "tokenizer": ("tokenizer_config.json", "special_tokens_map.json"),
    "processor": ("preprocessor_config.json",),
}
VOCABULARIES: Final = ("vocab.json", "added_tokens.json", "tokenizer.json", "merges.txt", "spiece.model")
TEXTS: Final = re.compile(
    r"(?:README|LICEN[CS]E|NOTICE)(?:[-_]\w{1,30}){0,3}(?:\.(?:md|txt|rst))?", re.ASCII | re.IGNORECASE
)

# what a part cannot be loaded without: one file of each group
NEEDED: Final[Mapping[Kind, tuple[tuple[str, ...], ...]]] = {
    "model": (("config.json",),),
    "scheduler": (("scheduler_config.json",),),
    "tokenizer": (("vocab.json", "tokenizer.json", "spiece.model"),),
    "processor": (("preprocessor_config.json",),),
}


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a pipeline: its `name` (also its folder), and the `library` and `class_name` to load it with."""

    name: str
    library: str
    class_name: str

    @property
    def kind(self) -> Kind | None:
        """What it is, or `None` for a part that is not known."""
        return PARTS.get((self.library, self.class_name))

    def is_config(self, filename: str) -> bool:
        """Whether a file of its folder is a small JSON with settings."""
        return any(filename in names for kind, names in CONFIGS.items() if self.kind in (kind, None))

    def takes(self, filename: str) -> bool:
        """Whether such a file belongs in its folder; for a part that is not known, in that of any."""
        if self.is_config(filename):
            return True
        if self.kind in ("model", None) and (
            WEIGHTS.fullmatch(filename) or WEIGHTS_INDEX.fullmatch(filename)
        ):
            return True
        return self.kind in ("tokenizer", None) and filename in VOCABULARIES
