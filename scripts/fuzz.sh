#!/usr/bin/env bash
# Fuzzes every decoder for a minute each: no panic, no allocation beyond 2 GiB, no input that takes 25 s.
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]     e.g. scripts/fuzz.sh 600 parquet
#
# The first corpus are files that dlio-rs generates and what once failed (fuzz/regressions). Needs cargo-fuzz, which it
# installs into the target directory. What is found is kept in fuzz/artifacts; put it into fuzz/regressions/TARGET, where an
# ordinary test reads it, when it is repaired.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds=${1:-60}
shift || true
targets=("$@")
if [ "${#targets[@]}" = 0 ]; then
    mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | tail -n +2)
fi
scripts/setup.sh
choose_mpi
tool=$TARGET/tools/bin/cargo-fuzz
if [ ! -x "$tool" ]; then
    step "cargo install cargo-fuzz"
    cargo install --quiet --locked --root "$TARGET/tools" cargo-fuzz
fi
step "cargo build"
cargo build --locked --no-default-features --features hdf5,parquet
bin=$TARGET/debug/dlio-rs
# Coverage needs a compiler flag that stable Rust keeps locked; nothing else of nightly is used.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$TARGET/fuzz
cd fuzz
failed=()
for target in "${targets[@]}"; do
    format=${target%_index}
    mkdir -p "corpus/$target"
    # Bombs take a second each to be refused, and nothing grows from them.
    for input in "regressions/$target/"*; do
        case $input in
        *bomb* | *'*') ;;
        *) cp -n "$input" "corpus/$target/" ;;
        esac
    done
    seeds=$(mktemp -d)
    case $target in
    http) ;;
    checkpoint | pickle)
        # A model of a few KiB. Its pickle is stored within the file as it is.
        "$bin" run workload=checkpoint_small model.num_layers=1 model.transformer.{hidden_size,ffn_hidden_size}=8 \
            model.transformer.vocab_size=8 model.transformer.{num_attention_heads,num_kv_heads}=1 \
            checkpoint.num_checkpoints_write=1 checkpoint.num_checkpoints_read=0 \
            checkpoint.checkpoint_folder="$seeds/saved" output.folder="$seeds/out" --quiet >/dev/null 2>&1
        saved=$(find "$seeds/saved" -name '*.pt' -size -64k -print -quit)
        [ -n "$saved" ] || die 1 "no small checkpoint to begin with"
        if [ "$target" = pickle ]; then
            python3 -c 'import sys, zipfile
saved = zipfile.ZipFile(sys.argv[1])
sys.stdout.buffer.write(saved.read(next(n for n in saved.namelist() if n.endswith("data.pkl"))))' "$saved" >"corpus/$target/saved"
        else
            cp "$saved" "corpus/$target/saved"
        fi
        ;;
    *)
        "$bin" generate workload=quickstart dataset.format="$format" dataset.data_folder="$seeds/data" \
            dataset.num_files_train=2 dataset.record_dims=[9,11] dataset.num_samples_per_file=3 --quiet >/dev/null 2>&1
        cp "$seeds"/data/train/*."$format" "corpus/$target/"
        ;;
    esac
    rm -rf "$seeds"
    step "$target, $seconds s"
    if ! "$tool" run --sanitizer none "$target" -- -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 \
        -timeout=25 -print_final_stats=1 </dev/null >"corpus/$target.log" 2>&1; then
        failed+=("$target")
        tail -n 25 "corpus/$target.log" >&2
    fi
    sed -n 's/^stat::number_of_executed_units: */    executions: /p' "corpus/$target.log" >&2
done
[ "${#failed[@]}" = 0 ] || die 1 "inputs that break a decoder were found: ${failed[*]} (fuzz/artifacts)"
step "no decoder broke"
