"""The places of a pipeline's files: each is where it belongs, and none is anything else.

Hidden files, program code, pickles, pictures and whatever no part asks for are refused, not passed over: a
loader that looks for them would find them.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.pipeline_parts import INDEX, NEEDED, TEXTS, WEIGHTS, Component
from registry.quarantine.formats.tensors import shown

# (endings, code, what such a file is)
UNWANTED: Final[tuple[tuple[tuple[str, ...], str, str], ...]] = (
    ((".py", ".pyc", ".pyx", ".pth", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".js", ".jar", ".whl",
      ".ipynb", ".wasm", ".jinja"), "pipeline.file.program", "can hold program code"),
    ((".bin", ".ckpt", ".pt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".hdf5", ".keras", ".msgpack"),
     "pipeline.file.weights", "holds weights in a format that can carry program code; only safetensors is accepted"),
    ((".onnx", ".onnx_data", ".pb", ".tflite", ".xml", ".mlmodel", ".mlpackage", ".engine", ".gguf"),
     "pipeline.file.runtime", "belongs to another program than diffusers"),
    ((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".zst"), "pipeline.file.archive", "is an archive"),
    ((".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".svg", ".mp4"), "pipeline.file.picture",
     "is a picture, which drawing does not need"),
)  # fmt: skip


def check_places(paths: Iterable[str], components: Mapping[str, Component]) -> None:
    """Refuse each file that neither the root nor the folder of its part asks for; raises `FormatError`."""
    for path in paths:
        folder, _, filename = path.rpartition("/")
        component = components.get(folder)
        if component is not None and component.takes(filename):
            continue
        if folder or not (filename == INDEX or TEXTS.fullmatch(filename)):
            raise _misplaced(path, folder, component)


def check_complete(paths: Iterable[str], components: Mapping[str, Component]) -> None:
    """Refuse a pipeline that lacks a file which a part cannot be loaded without; raises `FormatError`."""
    present = set(paths)
    folders = {path.rpartition("/")[0] for path in present if WEIGHTS.fullmatch(path.rpartition("/")[2])}
    for name, component in components.items():
        if component.kind is None:
            continue
        for group in NEEDED[component.kind]:
            if not any(f"{name}/{filename}" in present for filename in group):
                raise _wrong(f"The part “{shown(name)}” lacks {' or '.join(group)}", "pipeline.part.missing")
        if component.kind == "model" and name not in folders:
            raise _wrong(f"The part “{shown(name)}” has no safetensors weights", "pipeline.part.missing")


def _misplaced(path: str, folder: str, component: Component | None) -> FormatError:
    if path.startswith(".") or "/." in path:
        return _wrong(f"“{shown(path)}” is hidden. Leave it out and try again", "pipeline.file.hidden")
    lower = path.lower()
    for endings, code, words in UNWANTED:
        if lower.endswith(endings):
            return _wrong(f"“{shown(path)}” {words}. Leave it out and try again", code)
    if component is not None:
        why = f"does not belong to the part “{shown(folder)}” ({shown(component.class_name)})"
    elif folder:
        why = f"lies in a folder that {INDEX} does not name"
    else:
        why = "does not belong at the top of a pipeline"
    return _wrong(f"“{shown(path)}” {why}. Leave it out and try again", "pipeline.file.place")


def _wrong(reason: str, code: str) -> FormatError:
    return FormatError(reason, None, code)
