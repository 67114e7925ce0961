"""The numbers of the GGUF format: value types, tensor types, names of quantizations, bounds.

Source: ggml `docs/gguf.md`, `ggml_type` in `ggml.h`, block structures in `ggml-common.h`, `llama_ftype` in
`llama.h`. Types whose support ggml has removed (4, 5, 31 to 33, 36 to 38) are unknown on purpose,
and so is Q8_1 (9): it never leaves the processor, and the readers in use disagree on its size (36 or 40).
"""

from typing import Final

MAX_KV: Final = 4_096
MAX_TENSORS: Final = 65_536
MAX_KEY: Final = 65_535
MAX_STRING: Final = 16 << 20
MAX_ARRAY: Final = 16 << 20
# Strings in arrays, over the whole header: eight times the largest vocabulary with merges known today. Each
# costs a step in Python, so this is what bounds the time.
MAX_ARRAY_STRINGS: Final = 4 << 20
MAX_HEADER: Final = 256 << 20
MAX_ALIGNMENT: Final = 1 << 20
MAX_TENSOR_NAME: Final = 63
MAX_TEMPLATE: Final = 1 << 20
MAX_TEMPLATES: Final = 32
SHORT_TEXT: Final = 4_096
MAX_LAYERS: Final = 1_024

STRING: Final = 8
ARRAY: Final = 9
BOOL: Final = 7

# number -> (name, struct format, bytes); strings and arrays have no fixed size
SCALARS: Final[dict[int, tuple[str, str, int]]] = {
    0: ("uint8", "<B", 1),
    1: ("int8", "<b", 1),
    2: ("uint16", "<H", 2),
    3: ("int16", "<h", 2),
    4: ("uint32", "<I", 4),
    5: ("int32", "<i", 4),
    6: ("float32", "<f", 4),
    7: ("bool", "<B", 1),
    10: ("uint64", "<Q", 8),
    11: ("int64", "<q", 8),
    12: ("float64", "<d", 8),
}

# integers and truth values
WHOLE: Final = frozenset({0, 1, 2, 3, 4, 5, 7, 10, 11})

# number -> (name, elements in a block, bytes of a block)
TENSOR_TYPES: Final[dict[int, tuple[str, int, int]]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}

# general.file_type -> (what people call it, the tensor type most weights should have)
FILE_TYPES: Final[dict[int, tuple[str, str]]] = {
    0: ("F32", "F32"),
    1: ("F16", "F16"),
    2: ("Q4_0", "Q4_0"),
    3: ("Q4_1", "Q4_1"),
    7: ("Q8_0", "Q8_0"),
    8: ("Q5_0", "Q5_0"),
    9: ("Q5_1", "Q5_1"),
    10: ("Q2_K", "Q2_K"),
    11: ("Q3_K_S", "Q3_K"),
    12: ("Q3_K_M", "Q3_K"),
    13: ("Q3_K_L", "Q3_K"),
    14: ("Q4_K_S", "Q4_K"),
    15: ("Q4_K_M", "Q4_K"),
    16: ("Q5_K_S", "Q5_K"),
    17: ("Q5_K_M", "Q5_K"),
    18: ("Q6_K", "Q6_K"),
    19: ("IQ2_XXS", "IQ2_XXS"),
    20: ("IQ2_XS", "IQ2_XS"),
    21: ("Q2_K_S", "Q2_K"),
    22: ("IQ3_XS", "IQ3_S"),
    23: ("IQ3_XXS", "IQ3_XXS"),
    24: ("IQ1_S", "IQ1_S"),
    25: ("IQ4_NL", "IQ4_NL"),
    26: ("IQ3_S", "IQ3_S"),
    27: ("IQ3_M", "IQ3_S"),
    28: ("IQ2_S", "IQ2_XS"),
    29: ("IQ2_M", "IQ2_S"),
    30: ("IQ4_XS", "IQ4_XS"),
    31: ("IQ1_M", "IQ1_M"),
    32: ("BF16", "BF16"),
    36: ("TQ1_0", "TQ1_0"),
    37: ("TQ2_0", "TQ2_0"),
    38: ("MXFP4", "MXFP4"),
    39: ("NVFP4", "NVFP4"),
    40: ("Q1_0", "Q1_0"),
}

BITS_PER_WEIGHT: Final[dict[str, float]] = {
    name: size * 8 / block for name, block, size in TENSOR_TYPES.values()
}
