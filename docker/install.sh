#!/bin/sh
# The steps that the images have in common; the tests perform them too.
#
#   install.sh tools                             uv and the build tools, into $TOOLS (/tools)
#   install.sh packages ENVIRONMENT REQUIREMENTS a virtual environment with exactly these packages
#   install.sh wheel SOURCE WHEELS               Farpose's wheel from a source tree
#   install.sh farpose ENVIRONMENT WHEELS        that wheel into the environment
#
# The environment is one of the python3 on PATH, and holds no pip.
set -eu
tools=${TOOLS:-/tools}

case $1 in
tools)
    python3 -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
        --require-hashes --requirement requirements/bootstrap.txt
    ;;
packages)
    "$tools/bin/uv" venv --quiet --python "$(command -v python3)" "$2"
    "$tools/bin/uv" pip install --quiet --python "$2/bin/python" --compile-bytecode \
        --no-deps --require-hashes --requirement "$3"
    ;;
wheel)
    "$tools/bin/uv" build --quiet --wheel --no-build-isolation --python "$tools/bin/python" \
        --out-dir "$3" "$2"
    ;;
farpose)
    "$tools/bin/uv" pip install --quiet --python "$2/bin/python" --compile-bytecode \
        --no-deps "$3"/farpose-*.whl
    ;;
*)
    echo "install.sh: no step '$1'" >&2
    exit 2
    ;;
esac
