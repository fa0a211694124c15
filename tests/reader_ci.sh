#!/usr/bin/env bash
# Runs the independent reader: its own tests, the document against its tables, and what the engine stored against it.
# CHATVAULT_PYTHON names an interpreter that has tests/reader/requirements.txt; without it a virtual environment is made.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${CHATVAULT_PYTHON:-}
if [ -z "$python" ]; then
  environment=$(mktemp -d)
  trap 'rm -rf "$environment"' EXIT
  python3 -m venv "$environment"
  "$environment/bin/pip" -q install --disable-pip-version-check -r tests/reader/requirements.txt
  python=$environment/bin/python
fi
export PYTHONDONTWRITEBYTECODE=1
(cd tests/reader && "$python" selftest.py)
"$python" tests/reader/check_document.py docs/format.md
cargo build --quiet -p chatvault-tests --example sample_repository
"$python" tests/reader/check_engine.py "${CARGO_TARGET_DIR:-target}/debug/examples/sample_repository"
