"""Fuzzing of what reads files from strangers.

A target is one reader with the properties it must keep on any bytes. `python -m tests.fuzz gguf 600` lets atheris look
for a breach; `tests/registry/formats/test_fuzz.py` holds all targets to them with hypothesis and the kept corpus.
"""
