#!/bin/sh
# Compile the requirement files with hashes, without naming any package index.
set -eu
cd "$(dirname "$0")/.."
export CUSTOM_COMPILE_COMMAND="make requirements"
for name in requirements requirements-build requirements-dev; do
    .venv/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url \
        --no-emit-find-links --no-emit-trusted-host "$name.in" --output-file "$name.txt"
done
