#!/bin/sh
# Looks up every version of requirements.lock among known vulnerabilities (pip-audit, OSV's data).
# That needs a network: without one it says so in a line and passes.
set -eu
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .uv/bin/uv)
skip() {
    echo "audit: skipped, $1"
    exit 0
}
reachable='import urllib.request; urllib.request.urlopen("https://api.osv.dev", timeout=5)'
reached=$(.venv/bin/python -c "$reachable" 2>&1) ||
    case $reached in *"HTTP Error"*) ;; *) skip "the database of vulnerabilities is out of reach" ;; esac
"$uv" tool run --quiet pip-audit --version >/dev/null 2>&1 || skip "pip-audit cannot be fetched"
"$uv" tool run --quiet pip-audit --requirement requirements.lock --require-hashes --disable-pip \
    --vulnerability-service osv --progress-spinner off
