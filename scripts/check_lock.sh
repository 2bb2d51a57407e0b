#!/bin/sh
# Checks that requirements.lock is what pyproject.toml resolves to; with --write, writes it anew.
# Versions that the lock has already are kept where pyproject.toml still allows them.
set -eu
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .uv/bin/uv)
made=$(mktemp)
trap 'rm -f "$made"' EXIT
cp requirements.lock "$made"
"$uv" pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
    --all-extras --python-version 3.11 pyproject.toml --output-file "$made"
if [ "${1:-}" = --write ]; then
    cp "$made" requirements.lock
elif ! cmp -s "$made" requirements.lock; then
    echo "requirements.lock is not what pyproject.toml asks for: run make lock" >&2
    exit 1
fi
if grep -nE '(https?|file)://' requirements.lock; then
    echo "requirements.lock names an address: nobody else may be able to reach it" >&2
    exit 1
fi
