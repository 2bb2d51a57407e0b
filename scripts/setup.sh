#!/bin/sh
# Sets up everything in .venv, on a machine with git, make and Python 3.11 to 3.13.
# What is there already is left alone, so that running it again takes no time.
set -eu
cd "$(dirname "$0")/.."

# g++, pkg-config, OpenCV and TurboJPEG build ffcv; chromium opens the report in the tests.
packages="g++ pkg-config libopencv-dev libturbojpeg0-dev chromium"
python=${PYTHON:-python3}
# Debian keeps the headers and venv apart from its own Python; others bring them along.
if [ "$("$python" -c 'import sys; print(sys.prefix)')" = /usr ]; then
    packages="$packages python3-dev python3-venv"
fi

missing=""
for package in $packages; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null |
        grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    root=""
    [ "$(id -u)" = 0 ] || root=sudo
    echo "Installing system packages:$missing"
    $root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing
fi

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    uv=.uv/bin/uv
    [ -x "$uv" ] || { "$python" -m venv .uv && .uv/bin/python -m pip install -q uv; }
fi

stamp=.venv/requirements.lock.installed
if ! cmp -s requirements.lock "$stamp"; then
    echo "Installing Python packages (some 7 GB, once)"
    [ -x .venv/bin/python ] || "$uv" venv -q --python "$python" .venv
    UV_COMPILE_BYTECODE=1 "$uv" pip sync --require-hashes requirements.lock
    cp requirements.lock "$stamp"
fi
