#!/bin/sh
# Writes constraints.txt: the exact versions that a fresh environment with the demo and the tests gets.
# torch stays as it is pinned in the file: a newer one may exist for some platforms only.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
torch=$(grep '^torch==' constraints.txt)
"${PYTHON:-python3}" -m venv "$folder/venv"
pip="$folder/venv/bin/python -m pip --disable-pip-version-check -q"
$pip install "$torch"
$pip install '.[all]' pytest pytest-xdist hypothesis ruff mypy import-linter
{
  sed -n '/^#/p' constraints.txt
  $pip freeze --all --exclude pip --exclude opentelemetry-instrumentation-corevital | sed -E 's/ @ .*//; s/(==[^+]*)\+.*/\1/' | grep '=='
} > "$folder/constraints.txt"
mv "$folder/constraints.txt" constraints.txt
