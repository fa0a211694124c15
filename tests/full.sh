#!/usr/bin/env bash
# Longer runs of single tests: tests/full.sh NAME, or without a name the list of names.
set -euo pipefail
cd "$(dirname "$0")/.."

engine() { cargo test -p chatvault-tests --test engine "$1" -- --nocapture; }

case ${1:-} in
  model) # 2,000 random lives from a random seed on; a failure prints its own seed
    export CHATVAULT_CASES=${CHATVAULT_CASES:-2000} CHATVAULT_SEED=${CHATVAULT_SEED:-$((RANDOM * 32768 + RANDOM))}
    echo "CHATVAULT_SEED=$CHATVAULT_SEED"
    engine model::
    ;;
  databases) # 10,000 edits in random lives of databases from a random seed on; a failure prints its own
    export CHATVAULT_EDITS=${CHATVAULT_EDITS:-10000} CHATVAULT_SEED=${CHATVAULT_SEED:-$((RANDOM * 32768 + RANDOM))}
    echo "CHATVAULT_SEED=$CHATVAULT_SEED"
    engine databases::
    ;;
  concurrency) # 50 rounds of two snapshots at once
    export CHATVAULT_ROUNDS=${CHATVAULT_ROUNDS:-50}
    engine concurrency::
    ;;
  faults) # every fault at every point, and 50 rounds of two programs at once
    export CHATVAULT_FAULTS=${CHATVAULT_FAULTS:-all} CHATVAULT_ROUNDS=${CHATVAULT_ROUNDS:-50}
    cargo test -p chatvault --test faults
    ;;
  races) # 200 races of two programs that create one repository, of each kind
    CHATVAULT_RACES=${CHATVAULT_RACES:-200} cargo test -p chatvault --test faults races::
    ;;
  capture) # 1,000 captures of a database that another process writes to, and 30 snapshots of each pair
    CHATVAULT_CAPTURES=${CHATVAULT_CAPTURES:-1000} CHATVAULT_PAIRS=${CHATVAULT_PAIRS:-30} cargo test -p chatvault-tests --test capture
    ;;
  reader) # what the engine stored against the independent reader
    tests/reader_ci.sh
    ;;
  samples) # real samples and a chat app's week, where they are
    cargo test -p chatvault-tests --test samples
    ;;
  all) # one after the other
    for name in model databases concurrency faults races capture reader samples; do "$0" "$name"; done
    ;;
  *)
    echo "usage: tests/full.sh NAME"
    sed -n "s/^  \\([a-z]*\\)) # \\(.*\\)/  \\1: \\2/p" "$0"
    [ -z "${1:-}" ] || exit 2
    ;;
esac
