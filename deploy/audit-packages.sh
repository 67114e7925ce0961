#!/bin/sh
# Look the pinned packages up among known vulnerabilities, where the network allows. A vulnerable package fails;
# a database that cannot be asked does not, and is said.
set -u
cd "$(dirname "$0")/.."
report=$(mktemp)
trap 'rm -f "$report"' EXIT
if .venv/bin/pip-audit --no-deps --disable-pip --strict --timeout 10 -r requirements.txt >"$report" 2>&1; then
    echo "pip-audit: no known vulnerability in requirements.txt"
elif grep -q "Found .* known vulnerabilit" "$report"; then
    cat "$report"
    exit 1
else
    echo "pip-audit: the vulnerability database could not be asked; packages were not checked"
fi
