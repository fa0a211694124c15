//! What each stage of the pipeline costs on one core. `cargo bench -p chatvault-benches`.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use chatvault_benches::{noise, text};
use chatvault_engine::base::RepoId;
use chatvault_engine::base::hash::IdKey;
use chatvault_engine::chunk::{Chunker, ChunkerParams};
use chatvault_engine::codec::{Compressor, Decompressor};
use chatvault_engine::crypto::{Algorithm, Header, KeyBundle, KeySource, ObjectType, Secret};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const MIB: usize = 1 << 20;
const RUN: usize = 128 << 10;

fn cutting(c: &mut Criterion) {
    let bundle = KeyBundle::random().expect("randomness");
    let chunker = Chunker::new(ChunkerParams::default(), bundle.gear_table()).expect("default sizes");
    let data = noise(16 * MIB);
    let mut group = c.benchmark_group("chunk");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("fastcdc 16 MiB", |b| {
        b.iter(|| {
            let mut rest = data.as_slice();
            while let Some(len) = chunker.cut(rest, true) {
                rest = rest.get(len..).unwrap_or_default();
            }
            black_box(rest.len())
        });
    });
}

fn naming(c: &mut Criterion) {
    let key = IdKey::new([1; 32]);
    let mut group = c.benchmark_group("hash");
    for (name, data) in [("keyed BLAKE3 of a run", noise(RUN)), ("keyed BLAKE3 of 1 MiB", noise(MIB))] {
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_function(name, |b| b.iter(|| black_box(key.name(&data))));
    }
}

fn sealing(c: &mut Criterion) {
    let mut group = c.benchmark_group("seal");
    group.throughput(Throughput::Bytes(MIB as u64));
    for algorithm in Algorithm::ALL {
        let header = Header::draw(ObjectType::Pack, algorithm, KeySource::Epoch, 1).expect("randomness");
        let key = header.object_key(&Secret::new([1; 32]), &RepoId::new([2; 32])).expect("a key");
        let data = noise(MIB);
        group.bench_function(format!("{algorithm:?} of 1 MiB"), |b| {
            b.iter(|| {
                let mut buffer = data.clone();
                key.seal(0, b"", &mut buffer).expect("sealing");
                black_box(buffer.len())
            });
        });
    }
}

fn packing(c: &mut Criterion) {
    let mut compressor = Compressor::new(3).expect("level 3");
    let mut decompressor = Decompressor::new().expect("a context");
    let mut group = c.benchmark_group("codec");
    let run = text(RUN);
    let frame = compressor.compress(&run).expect("compressing").expect("text shrinks");
    group.throughput(Throughput::Bytes(RUN as u64));
    group.bench_function("zstd 3 of a run", |b| b.iter(|| black_box(compressor.compress(&run))));
    group.bench_function("unpack a run", |b| {
        b.iter(|| black_box(decompressor.decompress(&frame, RUN as u32, None)));
    });
    let photo = noise(MIB);
    group.throughput(Throughput::Bytes(MIB as u64));
    group.bench_function("trial that leaves 1 MiB of media raw", |b| {
        b.iter(|| black_box(compressor.compress(&photo)));
    });
}

criterion_group!(stages, cutting, naming, sealing, packing);
criterion_main!(stages);
