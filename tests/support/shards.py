"""A real model in several files: what `llama-gguf-split` makes, written with the `gguf` package."""

from pathlib import Path

import gguf


def split(source: Path, folder: Path, *, tensors_each: int) -> list[str]:
    """Write `source` (a GGUF file) to `folder` as shards of `tensors_each` tensors; gives their names in order."""
    reader = gguf.GGUFReader(source)
    architecture = str(reader.fields["general.architecture"].contents())
    writer = gguf.GGUFWriter(
        folder / f"{source.stem}.gguf", architecture, split_max_tensors=tensors_each, use_temp_file=False
    )
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(path.name for path in folder.glob(f"{source.stem}-*-of-*.gguf"))
